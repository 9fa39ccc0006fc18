//! The pages over the recorded calls.

mod bar;
mod diff;
mod one;
mod row;
pub(super) mod timeline;
mod words;

use askama::Template;
use axum::{http::StatusCode, response::Response};

use super::{Page, Section, render};
use crate::{
    admin::{access::Caller, debug::Problem, routes::AdminState},
    model::RecordLevel,
    store,
};

pub(super) use self::row::{Row, Used};
pub(in crate::admin) use self::{
    diff::{Ask, ask, diff},
    one::one,
};

/// Every outcome that there is.
const OUTCOMES: [&str; 11] = [
    "completed",
    "refused",
    "rejected",
    "stalled",
    "truncated",
    "upstream_error",
    "policy_fault",
    "no_rules",
    "client_gone",
    "interrupted",
    "open",
];

#[derive(Template)]
#[template(path = "calls.html")]
struct List {
    page: Page,
    form: Form,
    /// What is wrong with the filters.
    mistake: Option<String>,
    calls: Vec<Row>,
    older: Option<String>,
    /// Where the list begins, for a reader who is not there.
    newest: Option<String>,
    level: &'static str,
    policies: Vec<String>,
    is_filtered: bool,
}

/// What stands in the filters.
#[derive(Default)]
struct Form {
    text: String,
    model: String,
    outcome: String,
    /// Every outcome, and whether it is the one.
    outcomes: Vec<(&'static str, bool)>,
    policy: String,
    session: String,
    client: String,
    from: String,
    to: String,
    without_probes: bool,
    has_more: bool,
}

/// `GET /debug/calls`
pub(in crate::admin) fn list(
    state: &AdminState,
    caller: Caller,
    query: &[(String, String)],
    found: Result<store::Page<store::Summary>, Problem>,
) -> Response {
    let form = Form::of(query);
    let (status, mistake, found) = match found {
        Ok(found) => (StatusCode::OK, None, found),
        Err(problem) => {
            let nothing = store::Page { items: Vec::new(), next_cursor: None };
            (problem.status(), Some(problem.message().to_owned()), nothing)
        }
    };
    let is_filtered = query.iter().any(|(name, value)| {
        !matches!(name.as_str(), "cursor" | "limit" | "format")
            && !value.is_empty()
            && (name, value) != (&"probes".to_owned(), &"true".to_owned())
    });
    let is_behind = query.iter().any(|(name, value)| name == "cursor" && !value.is_empty());
    let page = List {
        page: Page::new(Section::Calls, caller),
        calls: found.items.iter().map(|call| Row::of(call, &form.text)).collect(),
        older: found.next_cursor.as_deref().map(|cursor| address("/debug/calls", query, Some(cursor))),
        newest: is_behind.then(|| address("/debug/calls", query, None)),
        level: level(state.about.recording),
        policies: state.live.current().entries.iter().map(|entry| entry.name.to_string()).collect(),
        form,
        mistake,
        is_filtered,
    };
    render(status, &page)
}

/// What is recorded unless rules say otherwise, where it is not everything.
pub(super) fn level(level: RecordLevel) -> &'static str {
    if level == RecordLevel::Full { "" } else { level.name() }
}

/// The same list from another place on.
pub(super) fn address(path: &str, query: &[(String, String)], cursor: Option<&str>) -> String {
    let kept = query.iter().filter(|(name, value)| name != "cursor" && !value.is_empty());
    let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept.chain(cursor.map(|cursor| ("cursor", cursor))))
        .finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

impl Form {
    fn of(query: &[(String, String)]) -> Self {
        let value = |wanted: &str| {
            let value = query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.trim().to_owned());
            value.unwrap_or_default()
        };
        let outcome = value("outcome");
        let form = Self {
            text: value("text"),
            model: value("model"),
            outcomes: OUTCOMES.map(|known| (known, known == outcome)).into(),
            // Several stand in an address only.
            outcome: if OUTCOMES.contains(&outcome.as_str()) { String::new() } else { outcome },
            policy: value("policy"),
            session: value("session"),
            client: value("client"),
            from: value("from"),
            to: value("to"),
            without_probes: value("probes") == "false",
            has_more: false,
        };
        let more = [&form.policy, &form.session, &form.client, &form.to];
        Self { has_more: form.without_probes || more.iter().any(|value| !value.is_empty()), ..form }
    }
}
