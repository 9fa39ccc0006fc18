//! `GET /debug/calls/{call_id}/diff`: what policies changed, and `GET /debug/diff`, the way there.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Row,
    words::{Line, Run, cut, lines, shortened},
};
use crate::{
    admin::{
        access::Caller,
        debug::{Change, Difference, Differences},
        pages::{Page, Section, render, text},
    },
    store::Call,
};

/// The most of one side that is shown, in bytes.
const MOST: usize = 20_000;

#[derive(Template)]
#[template(path = "diff.html")]
struct Diff {
    page: Page,
    row: Row,
    json: String,
    /// The call.
    call: String,
    is_side: bool,
    is_recorded: bool,
    /// Of which protocol into which it was converted.
    converted: Option<(String, String)>,
    sides: [Side; 2],
}

/// A request or an answer.
struct Side {
    name: &'static str,
    about: &'static str,
    places: Vec<Shown>,
}

/// A place that changed.
struct Shown {
    path: String,
    /// Where it is, in words.
    place: String,
    change: &'static str,
    tone: &'static str,
    block: Option<String>,
    /// Who decided it, and what.
    by: Vec<(String, String)>,
    words: Vec<Run>,
    lines: Vec<Line>,
    before: Option<String>,
    after: Option<String>,
    is_cut: bool,
}

/// Which call is asked for.
#[derive(Debug, Deserialize)]
pub(in crate::admin) struct Ask {
    #[serde(default)]
    call: String,
}

#[derive(Template)]
#[template(path = "diff-ask.html")]
struct Asking {
    page: Page,
}

/// `GET /debug/diff`: to the call that is asked for, or a form that asks which.
pub(in crate::admin) fn ask(caller: Caller, ask: &Ask) -> Response {
    match ask.call.trim() {
        "" => render(StatusCode::OK, &Asking { page: Page::new(Section::Calls, caller) }),
        call => Redirect::to(&format!("{}/diff", text::call(call))).into_response(),
    }
}

/// `GET /debug/calls/{call_id}/diff`
pub(in crate::admin) fn diff(caller: Caller, is_side: bool, call: &Call, differences: Differences) -> Response {
    let summary = &call.summary;
    let dialects = summary.dialect.clone().zip(summary.upstream_dialect.clone());
    let page = Diff {
        page: Page::new(Section::Calls, caller),
        row: Row::of(summary, ""),
        json: format!("{}/diff?format=json", text::call(&summary.call_id)),
        call: text::call(&summary.call_id),
        is_side,
        is_recorded: summary.record == "full",
        converted: dialects.filter(|(client, upstream)| client != upstream),
        sides: [
            Side {
                name: "Request",
                about: "what the provider got in place of what the client sent",
                places: differences.request.into_iter().map(Shown::of).collect(),
            },
            Side {
                name: "Answer",
                about: "what the client got in place of what the provider answered",
                places: differences.response.into_iter().map(Shown::of).collect(),
            },
        ],
    };
    render(StatusCode::OK, &page)
}

impl Shown {
    fn of(difference: Difference) -> Self {
        let Difference { path, change, block, before, after, words, by } = difference;
        let is_text = !words.is_empty();
        let mut is_cut = false;
        let words = cut(words, MOST, &mut is_cut);
        let lines = lines(&words);
        let mut json = |value: Option<Value>| {
            let value = value.filter(|_| !is_text)?;
            let pretty = || serde_json::to_string_pretty(&value).unwrap_or_default();
            let mut text = value.as_str().map_or_else(pretty, str::to_owned);
            is_cut |= text.len() > MOST;
            text.truncate(if text.len() > MOST { text.floor_char_boundary(MOST) } else { text.len() });
            Some(text)
        };
        let (before, after) = (json(before), json(after));
        let (change, tone) = match change {
            Change::Changed => ("changed", "warn"),
            Change::Added => ("added", "ok"),
            Change::Removed => ("removed", "bad"),
        };
        Self {
            place: in_words(&path),
            path,
            change,
            tone,
            block: block.map(|block| block.replace('_', " ")),
            by: by.into_iter().map(|by| (by.policy, by.decision)).collect(),
            words: shortened(words),
            lines,
            before,
            after,
            is_cut,
        }
    }
}

/// A path as people say it: `messages[3].content[0].text` is message 4, block 1, text.
fn in_words(path: &str) -> String {
    let word = |step: &str| match step {
        "messages" => "message".to_owned(),
        "choices" => "choice".to_owned(),
        "input" | "output" => "item".to_owned(),
        "content" => "block".to_owned(),
        "tool_calls" => "tool call".to_owned(),
        "tools" => "tool".to_owned(),
        other => other.replace('_', " "),
    };
    let step = |step: &str| {
        let (name, index) = step.split_once('[').map_or((step, None), |(name, rest)| (name, rest.strip_suffix(']')));
        match index.map(str::parse::<usize>) {
            Some(Ok(index)) => format!("{} {}", word(name), index + 1),
            Some(Err(_)) | None => step.replace('_', " "),
        }
    };
    path.split('.').map(step).collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_said_in_words() {
        for (path, said) in [
            ("messages[3].content[0].text", "message 4 · block 1 · text"),
            ("choices[0].message.tool_calls[1]", "choice 1 · message · tool call 2"),
            ("stop_reason", "stop reason"),
            ("[\"a b\"]", "[\"a b\"]"),
            ("", ""),
        ] {
            assert_eq!(in_words(path), said);
        }
    }
}
