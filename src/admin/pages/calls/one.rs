//! `GET /debug/calls/{call_id}`: a call, from its request to its answer.

use askama::Template;
use axum::{http::StatusCode, response::Response};
use serde_json::Value;

use super::{
    Row,
    bar::Bar,
    timeline::{self, Moment},
};
use crate::{
    admin::{
        access::{Caller, Role},
        pages::{
            Forget, Page, Section,
            conversation::{Message, Reader, results},
            render, text,
        },
        routes::AdminState,
    },
    store::{Call, Sides},
};

/// So many messages of a request stand open, and so many more are there to be opened.
const OPEN: usize = 6;
const MOST: usize = 60;
/// So much of a body stands on the page as JSON, in bytes.
const RAW: usize = 100_000;
/// What the record says in place of what is too long or was taken out.
const TOO_LONG: &str = "[not recorded: longer than";
const REDACTED: &str = "[redacted:";

#[derive(Template)]
#[template(path = "call.html")]
struct One {
    page: Page,
    call: Call,
    row: Row,
    json: String,
    diff: String,
    trace: Option<String>,
    may_delete: bool,
    forget: Forget,
    bar: Bar,
    moments: Vec<Moment>,
    /// What is not there, and why.
    missing: Vec<&'static str>,
    request: Request,
    answer: Vec<Message>,
    raws: Vec<Raw>,
}

/// What a client asked.
#[derive(Default)]
struct Request {
    system: Option<Message>,
    /// Names of tools.
    tools: Vec<String>,
    /// Not on the page.
    left_out: usize,
    earlier: Vec<Message>,
    messages: Vec<Message>,
}

/// A body as JSON.
struct Raw {
    name: &'static str,
    json: String,
    is_cut: bool,
}

/// `GET /debug/calls/{call_id}`
pub(in crate::admin) fn one(state: &AdminState, caller: Caller, call: Call) -> Response {
    let mut reader = Reader::new(&call.summary.call_id);
    let moments = timeline::of(&call.events, &call.summary.started_at);
    let mut answer = call
        .response
        .sent
        .as_ref()
        .or(call.response.original.as_ref())
        .map(|body| reader.answer(body))
        .unwrap_or_default();
    results(&mut [&mut answer]);
    let id = &call.summary.call_id;
    let page = One {
        page: Page::new(Section::Calls, caller),
        row: Row::of(&call.summary, ""),
        json: text::call_json(id),
        diff: format!("{}/diff", text::call(id)),
        trace: state.about.trace(id, call.summary.trace_id.as_deref()),
        may_delete: caller.role == Role::Admin,
        forget: Forget {
            title: "Delete this call?",
            about: "Its request, its answer and its events are forgotten. What other calls share with it stays.",
            path: text::call(id),
            then: "/debug/calls",
        },
        bar: Bar::of(&moments, call.summary.time_to_first_byte_ms, call.summary.duration_ms),
        moments,
        missing: missing(&call),
        request: call.request.original.as_ref().map(|body| Request::of(body, &mut reader)).unwrap_or_default(),
        answer,
        raws: raws(&call),
        call,
    };
    render(StatusCode::OK, &page)
}

impl Request {
    fn of(body: &Value, reader: &mut Reader) -> Self {
        let items = match body.get("messages").or_else(|| body.get("input")) {
            Some(Value::Array(items)) => items.as_slice(),
            Some(item) => std::slice::from_ref(item),
            // What is no request of any dialect is shown as it is.
            None => std::slice::from_ref(body),
        };
        let left_out = items.len().saturating_sub(MOST);
        // The last ones first: they matter most, and there is only so much room.
        let mut messages = reader.messages(items.get(items.len().saturating_sub(OPEN)..).unwrap_or_default());
        let mut earlier = reader.messages(items.get(left_out..items.len().saturating_sub(OPEN)).unwrap_or_default());
        results(&mut [&mut earlier, &mut messages]);
        let name = |tool: &Value| {
            let named =
                [tool.get("name"), tool.get("function").and_then(|function| function.get("name")), tool.get("type")];
            named.into_iter().flatten().find_map(Value::as_str).map(|name| text::short(name, 80))
        };
        let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten().filter_map(name);
        Self { system: reader.system(body), tools: tools.collect(), left_out, earlier, messages }
    }
}

/// What is not there, and why.
fn missing(call: &Call) -> Vec<&'static str> {
    let summary = &call.summary;
    let sides = [&call.request, &call.response];
    let bodies = || sides.iter().flat_map(|Sides { original, sent, .. }| [original, sent]).flatten();
    let has_text = |part: &str| bodies().any(|body| has(body, part));
    let too_long = bodies().any(|body| body.as_str().is_some_and(|text| text.starts_with(TOO_LONG)));
    let is_whole = summary.record == "full";
    [
        (
            !is_whole,
            "The texts of the request and the answer are not recorded: the record of this call is `metadata`. \
             `recording.level: full` records them, unless the rules say otherwise (`record`).",
        ),
        (too_long, "The answer is not recorded: it is longer than `limits.response_body`."),
        (
            has_text(REDACTED),
            "Credentials were taken out before this was recorded; `[redacted:…]` stands in their place.",
        ),
        (
            summary.outcome.as_deref() == Some("interrupted"),
            "Luthien stopped while the call went on. What it had recorded until then is here.",
        ),
        (summary.outcome.is_none(), "The call goes on. Its answer is recorded when it ends."),
        (
            is_whole && summary.outcome.is_some() && call.response.original.is_none() && call.response.sent.is_none(),
            "No answer is recorded: there was none, or it ended before anything was said.",
        ),
        (
            is_whole && call.request.original.is_none(),
            "The request is not recorded: it was never whole, or there was no room.",
        ),
    ]
    .into_iter()
    .filter_map(|(is_so, why)| is_so.then_some(why))
    .collect()
}

/// Whether a text stands somewhere in a value.
fn has(value: &Value, part: &str) -> bool {
    match value {
        Value::String(text) => text.contains(part),
        Value::Array(items) => items.iter().any(|item| has(item, part)),
        Value::Object(fields) => fields.values().any(|value| has(value, part)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Bodies as JSON. What is the same twice stands there once.
fn raws(call: &Call) -> Vec<Raw> {
    let Call { request, response, summary, .. } = call;
    let sent = request.sent.as_ref().filter(|_| summary.changed.request);
    let told = response.sent.as_ref().filter(|_| summary.changed.response);
    let bodies = [
        ("Request of the client", request.original.as_ref()),
        ("Request to the provider", sent),
        ("Answer of the provider", response.original.as_ref()),
        ("Answer to the client", told),
    ];
    let raw = |(name, body): (_, Option<&Value>)| {
        let mut json = serde_json::to_string_pretty(body?).unwrap_or_default();
        let is_cut = json.len() > RAW;
        json.truncate(if is_cut { json.floor_char_boundary(RAW) } else { json.len() });
        Some(Raw { name, json, is_cut })
    };
    bodies.into_iter().filter_map(raw).collect()
}
