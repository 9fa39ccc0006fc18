//! `GET /policies`: the rules in force, and how their last reload went. A page, or JSON.

use askama::Template;
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{Page, Section, render};
use crate::{
    admin::{access::Caller, reply, routes::AdminState},
    policies,
    policy::{Entry, Mode, OnFault},
};

#[derive(Template)]
#[template(path = "policies.html")]
struct Policies {
    page: Page,
    rules: Described,
}

/// The rules in force.
#[derive(Serialize)]
struct Described {
    hash: String,
    /// The document; nothing where the rules are built in.
    file: Option<String>,
    loaded_at: String,
    /// Why the document as it stands now is not in force.
    last_error: Option<String>,
    reloads_ok: u64,
    reloads_failed: u64,
    policies: Vec<Row>,
    /// The text that is in force, with secrets masked.
    document: String,
}

/// One policy.
#[derive(Serialize)]
struct Row {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    summary: &'static str,
    mode: &'static str,
    on_fault: &'static str,
    timeout: String,
    #[serde(rename = "match")]
    conditions: Vec<Condition>,
}

#[derive(Serialize)]
struct Condition {
    on: String,
    value: String,
}

pub(in crate::admin) async fn policies(
    State(state): State<AdminState>,
    caller: Caller,
    headers: HeaderMap,
) -> Response {
    let current = state.live.current();
    let status = state.rules.borrow().clone();
    let rules = Described {
        hash: current.hash.clone(),
        file: state.about.rules.clone(),
        loaded_at: humantime::format_rfc3339_seconds(status.loaded_at).to_string(),
        last_error: status.last_error,
        reloads_ok: status.reloads_ok,
        reloads_failed: status.reloads_failed,
        policies: current.entries.iter().map(Row::of).collect(),
        document: current.text.to_string(),
    };
    if reply::prefers_html(&headers) {
        render(StatusCode::OK, &Policies { page: Page::new(Section::Policies, caller), rules })
    } else {
        Json(rules).into_response()
    }
}

impl Row {
    fn of(entry: &Entry) -> Self {
        let kind = policies::all().iter().find(|kind| kind.name == entry.kind);
        let conditions = entry.selects.said.iter();
        Self {
            name: entry.name.to_string(),
            kind: entry.kind,
            summary: kind.map_or("", |kind| kind.summary),
            mode: match entry.mode {
                Mode::Enforce => "enforce",
                Mode::Shadow => "shadow",
            },
            on_fault: match entry.on_fault {
                OnFault::Closed => "closed",
                OnFault::Open => "open",
            },
            timeout: humantime::format_duration(entry.timeout).to_string(),
            conditions: conditions.map(|(on, value)| Condition { on: on.clone(), value: value.clone() }).collect(),
        }
    }
}
