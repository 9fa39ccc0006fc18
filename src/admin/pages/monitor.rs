//! `GET /activity/monitor`: the live activity, to be watched.

use askama::Template;
use axum::{extract::Query, http::StatusCode, response::Response};

use super::{Page, Section, render};
use crate::{admin::access::Caller, journal::activity::What};

#[derive(Template)]
#[template(path = "monitor.html")]
struct Monitor {
    page: Page,
    filters: Vec<Filter>,
    types: [&'static str; 15],
}

/// A field of the form. The script sends what stands in them to `/activity/stream`, which also says what is wrong with it.
struct Filter {
    name: &'static str,
    label: &'static str,
    example: &'static str,
    value: String,
}

pub(in crate::admin) async fn monitor(caller: Caller, Query(query): Query<Vec<(String, String)>>) -> Response {
    let filter = |(name, label, example)| {
        let value = query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        Filter { name, label, example, value: value.unwrap_or_default() }
    };
    let filters = [
        ("event_type", "Event type", "policy.*, call.closed"),
        ("model", "Model", "claude-*"),
        ("policy", "Policy", "guard"),
        ("call_id", "Call", "an id"),
    ];
    let page = Page::new(Section::Activity, caller);
    render(StatusCode::OK, &Monitor { page, filters: filters.map(filter).into(), types: What::TYPES })
}
