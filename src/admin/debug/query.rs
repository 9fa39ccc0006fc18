//! What may stand behind the `?`.

use std::time::SystemTime;

use super::answers::Problem;
use crate::{
    record::micros,
    store::{Cursor, Filter},
};

/// How many items there are on a page unless the query says otherwise.
const LIMIT: u16 = 50;
/// The most.
const MOST: u16 = 500;

/// Which page of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::admin) struct Asked {
    /// What has to fit.
    pub(in crate::admin) filter: Filter,
    /// Where the page begins.
    pub(in crate::admin) after: Option<Cursor>,
    /// How many items.
    pub(in crate::admin) limit: u16,
}

/// Every filter, with what it means.
pub(super) const FILTERS: [(&str, &str); 9] = [
    ("model", "Globs of the model that the client asked for, with commas between them"),
    ("outcome", "Outcomes, with commas between them; `open` for calls that go on"),
    ("policy", "The name of a policy that did something in the call"),
    ("session", "The client's id of the conversation"),
    ("client", "The name of the client's key"),
    ("from", "Began at this time or later: as in RFC 3339, or so long ago, as `15m`"),
    ("to", "Began before this time: as in RFC 3339, or so long ago, as `15m`"),
    ("text", "Words that all stand in one text of the call; a `*` behind one stands for the rest of it"),
    ("probes", "`false`: without calls that are no part of a conversation"),
];

/// How calls can end, and that one goes on.
const OUTCOMES: [&str; 13] = [
    "open",
    "completed",
    "refused",
    "stalled",
    "truncated",
    "timed_out",
    "limited",
    "upstream_error",
    "policy_fault",
    "no_rules",
    "client_gone",
    "interrupted",
    "rejected",
];

/// What every list takes.
pub(super) const PAGING: [(&str, &str); 3] = [
    ("limit", "How many items, from 1 to 500; otherwise 50"),
    ("cursor", "The `next_cursor` of the page before"),
    FORMAT,
];

/// What everything takes that is a page as well.
pub(super) const FORMAT: (&str, &str) = ("format", "`json`: no page, whatever `accept` says");

impl Asked {
    /// What is asked for. `filters`: whether the list can be filtered.
    pub(in crate::admin) fn of(query: &[(String, String)], filters: bool) -> Result<Self, Problem> {
        Self::at(query, filters, SystemTime::now())
    }

    fn at(query: &[(String, String)], filters: bool, now: SystemTime) -> Result<Self, Problem> {
        let mut asked = Self { limit: LIMIT, ..Self::default() };
        let mut seen = Vec::new();
        for (name, value) in query {
            if seen.contains(&name) {
                return Err(Problem::bad(format!("`{name}` is given twice")));
            }
            seen.push(name);
            // What a form leaves empty is not asked for.
            if value.trim().is_empty() {
                continue;
            }
            let text = || Some(value.trim().to_owned());
            let list = || value.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect();
            let filter = &mut asked.filter;
            match (name.as_str(), filters) {
                ("limit", _) => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    asked.limit =
                        limit.ok_or_else(|| Problem::bad(format!("`limit` is no number from 1 to {MOST}")))?;
                }
                ("cursor", _) => {
                    let cursor = value.parse();
                    let cursor = cursor.map_err(|()| Problem::bad("`cursor` is not the `next_cursor` of another page"));
                    asked.after = Some(cursor?);
                }
                ("format", _) => {}
                ("model", true) => filter.models = list(),
                ("outcome", true) => {
                    filter.outcomes = list();
                    let unknown = filter.outcomes.iter().find(|outcome| !OUTCOMES.contains(&outcome.as_str()));
                    if let Some(unknown) = unknown {
                        let known = OUTCOMES.join("`, `");
                        return Err(Problem::bad(format!("no call ends with `{unknown}`; there are `{known}`")));
                    }
                }
                ("policy", true) => filter.policy = text(),
                ("session", true) => filter.session = text(),
                ("client", true) => filter.client = text(),
                ("text", true) => filter.text = text(),
                ("from", true) => filter.from = Some(time(name, value.trim(), now)?),
                ("to", true) => filter.to = Some(time(name, value.trim(), now)?),
                ("probes", true) => match value.trim() {
                    "true" => filter.without_probes = false,
                    "false" => filter.without_probes = true,
                    _ => return Err(Problem::bad("`probes` is `true` or `false`")),
                },
                (other, _) => return Err(Problem::bad(unknown(other, filters))),
            }
        }
        Ok(asked)
    }
}

fn unknown(name: &str, filters: bool) -> String {
    let filters = if filters { &FILTERS[..] } else { &[] };
    let known: Vec<_> = filters.iter().chain(&PAGING).map(|(name, _)| format!("`{name}`")).collect();
    format!("`{name}` cannot be asked for; there are {}", known.join(", "))
}

/// A time in microseconds since 1970.
fn time(name: &str, text: &str, now: SystemTime) -> Result<i64, Problem> {
    let ago = || humantime::parse_duration(text).ok().and_then(|ago| now.checked_sub(ago));
    let weak = |text: &str| humantime::parse_rfc3339_weak(text).ok();
    let time = weak(text.trim_end_matches('Z')).or_else(|| weak(&format!("{text} 00:00:00"))).or_else(ago);
    let remedy = || {
        Problem::bad(format!(
            "`{name}` is no time; write it as 2026-01-31T12:00:00Z or 2026-01-31, or as 15m for so long ago"
        ))
    };
    time.map(micros).ok_or_else(remedy)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(query: &[(&str, &str)], filters: bool) -> Result<Asked, Problem> {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Asked::at(&query, filters, SystemTime::UNIX_EPOCH + Duration::from_secs(1000))
    }

    #[test]
    fn what_is_asked_for_is_understood_or_refused() {
        let asked =
            at(&[("model", "a*, b"), ("from", "15m"), ("to", "1970-01-01T00:00:01Z"), ("outcome", "")], true).unwrap();
        assert_eq!((asked.filter.models, asked.limit), (vec!["a*".to_owned(), "b".to_owned()], 50));
        assert_eq!((asked.filter.from, asked.filter.to), (Some(100_000_000), Some(1_000_000)));
        let cursor = Cursor { at: 5, id: "x y".to_owned() };
        assert_eq!(at(&[("cursor", &cursor.to_string())], false).unwrap().after, Some(cursor));
        for (query, filters) in [
            (("limit", "0"), true),
            (("limit", "501"), true),
            (("cursor", "!"), true),
            (("modle", "x"), true),
            (("model", "x"), false),
            (("from", "yesterday"), true),
            (("probes", "maybe"), true),
            (("outcome", "completed,foo"), true),
        ] {
            assert!(at(&[query], filters).is_err(), "{query:?}");
        }
        assert!(at(&[("model", "x"), ("model", "y")], true).is_err());
    }
}
