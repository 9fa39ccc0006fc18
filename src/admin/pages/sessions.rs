//! `GET /debug/sessions`, `GET /debug/sessions/{session_id}`: conversations, as people read them.

use askama::Template;
use axum::{http::StatusCode, response::Response};

use super::{
    Forget, Page, Section,
    calls::{
        Row, Used, address, level,
        timeline::{self, Moment},
    },
    conversation::{Message, Pairing, Reader, results},
    render, text,
};
use crate::{
    admin::{
        access::{Caller, Role},
        debug::Conversation,
        routes::AdminState,
    },
    store,
};

/// So many models of a conversation stand in a list.
const MODELS: usize = 4;

#[derive(Template)]
#[template(path = "sessions.html")]
struct List {
    page: Page,
    sessions: Vec<Line>,
    older: Option<String>,
    newest: Option<String>,
    level: &'static str,
}

/// A conversation in a list.
struct Line {
    href: String,
    id: String,
    first: (String, String),
    last: (String, String),
    calls: String,
    failed: u64,
    models: String,
    tokens: Used,
    cost: Option<String>,
}

#[derive(Template)]
#[template(path = "session.html")]
struct Session {
    page: Page,
    line: Line,
    export: String,
    json: String,
    may_delete: bool,
    forget: Forget,
    has_probes: String,
    turns: Vec<Turn>,
    older: Option<String>,
    newest: Option<String>,
    /// Some of it is not recorded.
    is_partial: bool,
}

/// One call of a conversation.
struct Turn {
    row: Row,
    diff: String,
    messages: Vec<Message>,
    answer: Vec<Message>,
    moments: Vec<Moment>,
    /// Results that stand with their calls.
    results: usize,
    is_recorded: bool,
}

/// `GET /debug/sessions`
pub(in crate::admin) fn sessions(
    state: &AdminState,
    caller: Caller,
    query: &[(String, String)],
    found: &store::Page<store::Session>,
) -> Response {
    let page = List {
        page: Page::new(Section::Sessions, caller),
        sessions: found.items.iter().map(Line::of).collect(),
        older: found.next_cursor.as_deref().map(|cursor| address("/debug/sessions", query, Some(cursor))),
        newest: is_behind(query).then(|| address("/debug/sessions", query, None)),
        level: level(state.about.recording),
    };
    render(StatusCode::OK, &page)
}

/// `GET /debug/sessions/{session_id}`
pub(in crate::admin) fn session(caller: Caller, query: &[(String, String)], found: Conversation) -> Response {
    let Conversation { session, turns } = found;
    let path = text::session(&session.session_id);
    let older = turns.next_cursor.as_deref().map(|cursor| address(&path, query, Some(cursor)));
    let turns = in_order(turns.items);
    let page = Session {
        page: Page::new(Section::Sessions, caller),
        line: Line::of(&session),
        export: format!("{path}/export"),
        json: format!("{path}?format=json"),
        may_delete: caller.role == Role::Admin,
        forget: Forget {
            title: "Delete this session?",
            about: "Every call of it is forgotten, probes included.",
            path: path.clone(),
            then: "/debug/sessions",
        },
        has_probes: format!("/debug/calls?session={}", text::part(&session.session_id)),
        is_partial: turns.iter().any(|turn| !turn.is_recorded),
        turns,
        older,
        newest: is_behind(query).then(|| address(&path, query, None)),
    };
    render(StatusCode::OK, &page)
}

fn is_behind(query: &[(String, String)]) -> bool {
    query.iter().any(|(name, value)| name == "cursor" && !value.is_empty())
}

/// The turns, each with what is new in it.
fn in_order(found: Vec<store::Turn>) -> Vec<Turn> {
    let (mut pairing, mut reader) = (Pairing::default(), Reader::new(""));
    let mut turns = Vec::new();
    for store::Turn { call, messages, response, events } in found {
        reader.next(&call.call_id);
        let is_recorded = call.record == "full";
        let mut messages = reader.messages(&messages);
        pairing.without_echo(&mut messages);
        let answer = response.as_ref().map(|body| reader.answer(body)).unwrap_or_default();
        pairing.said(&messages);
        pairing.said(&answer);
        turns.push(Turn {
            row: Row::of(&call, ""),
            diff: format!("{}/diff", text::call(&call.call_id)),
            messages,
            answer,
            moments: timeline::of(&events, &call.started_at),
            results: 0,
            is_recorded,
        });
    }
    let mut lists: Vec<_> = turns.iter_mut().flat_map(|turn| [&mut turn.messages, &mut turn.answer]).collect();
    let moved = results(&mut lists);
    for (turn, moved) in turns.iter_mut().zip(moved.chunks(2)) {
        turn.results = moved.first().copied().unwrap_or_default();
    }
    turns
}

impl Line {
    fn of(session: &store::Session) -> Self {
        let more = session.models.len().saturating_sub(MODELS);
        let models =
            session.models.iter().take(MODELS).map(|model| text::short(model, 60)).collect::<Vec<_>>().join(", ");
        Self {
            href: text::session(&session.session_id),
            id: session.session_id.clone(),
            first: (session.first_at.clone(), text::moment(&session.first_at)),
            last: (session.last_at.clone(), text::moment(&session.last_at)),
            calls: text::count(session.calls),
            failed: session.failed,
            models: if more > 0 { format!("{models} and {more} more") } else { models },
            tokens: Used::of(session.usage),
            cost: session.cost_usd.map(text::dollars),
        }
    }
}
