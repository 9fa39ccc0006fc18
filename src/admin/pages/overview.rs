//! `GET /`: how it goes, and how to use it.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use bytesize::ByteSize;

use super::{
    Page, Section,
    calls::{Row, level},
    render,
};
use crate::{
    admin::{about::Provider, access::Caller, routes::AdminState},
    store::Filter,
};

/// So many of the last calls stand on the page.
const LAST: u16 = 5;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview<'a> {
    page: Page,
    /// What keeps the process from being ready, each with the reason.
    missing: Vec<(&'static str, String)>,
    in_flight: i64,
    held: String,
    totals: Totals,
    /// The last calls. Nothing where the store does not answer.
    calls: Option<Vec<Row>>,
    level: &'static str,
    hash: String,
    rules: &'a str,
    policies: usize,
    shadows: usize,
    loaded_at: String,
    is_refused: bool,
    upstreams: &'a [Provider],
    clients: String,
    model: &'static str,
}

/// How calls ended since the process began.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    all: u64,
    completed: u64,
    /// A policy said no.
    refused: u64,
    /// They ended badly, through nobody's decision.
    failed: u64,
    /// Every outcome that there was.
    outcomes: BTreeMap<String, u64>,
}

pub(in crate::admin) async fn overview(
    State(state): State<AdminState>,
    caller: Caller,
    headers: HeaderMap,
) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let rules = state.live.current();
    let status = state.rules.borrow().clone();
    let has_demo = state.about.upstreams.iter().any(|upstream| upstream.target.starts_with("the built-in"));
    let last = state.store.list(&Filter::default(), None, LAST).await;
    let calls = match last {
        Ok(last) => Some(last.items.iter().map(|call| Row::of(call, "")).collect()),
        Err(error) => {
            tracing::warn!(%error, "the store did not answer");
            None
        }
    };
    let page = Overview {
        calls,
        level: level(state.about.recording),
        page: Page::new(Section::Overview, caller),
        missing: state.readiness.missing().into_iter().collect(),
        in_flight: state.metrics.in_flight.get(),
        held: ByteSize::b(state.metrics.held.get().try_into().unwrap_or_default()).display().iec().to_string(),
        totals: Totals::read(&state.metrics.encode()),
        hash: status.hash,
        rules: state.about.rules.as_deref().unwrap_or("built in: every call passes unchanged"),
        policies: rules.entries.len(),
        shadows: rules.entries.iter().filter(|entry| entry.mode == crate::policy::Mode::Shadow).count(),
        loaded_at: humantime::format_rfc3339_seconds(status.loaded_at).to_string(),
        is_refused: status.last_error.is_some(),
        upstreams: &state.about.upstreams,
        clients: state.about.clients(host),
        model: if has_demo { "claude-demo" } else { "MODEL" },
    };
    render(StatusCode::OK, &page)
}

impl Totals {
    /// Reads them where everybody else does: the library does not give its counters back.
    fn read(metrics: &str) -> Self {
        let mut totals = Self::default();
        for line in metrics.lines().filter(|line| line.starts_with("luthien_calls_total{")) {
            let outcome = line.split_once("outcome=\"").and_then(|(_, rest)| rest.split_once('"'));
            let count = line.rsplit_once(' ').and_then(|(_, count)| count.parse::<u64>().ok());
            let (Some((outcome, _)), Some(count)) = (outcome, count) else { continue };
            totals.all += count;
            match outcome {
                "completed" => totals.completed += count,
                "refused" => totals.refused += count,
                // Who leaves has changed their mind.
                "client_gone" => {}
                _ => totals.failed += count,
            }
            *totals.outcomes.entry(outcome.to_owned()).or_default() += count;
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{CallLabels, Metrics};

    #[test]
    fn totals_are_those_of_the_metrics() {
        let metrics = Metrics::default();
        for (outcome, count) in [("completed", 3), ("refused", 2), ("stalled", 1), ("client_gone", 5)] {
            for (dialect, upstream) in [("openai_chat", "a"), ("none", "")] {
                let labels = CallLabels { dialect, upstream: upstream.to_owned(), model: "m".into(), outcome };
                metrics.calls.get_or_create(&labels).inc_by(count);
            }
        }
        let totals = Totals::read(&metrics.encode());
        assert_eq!((totals.all, totals.completed, totals.refused, totals.failed), (22, 6, 4, 2));
        assert_eq!(totals.outcomes.get("client_gone"), Some(&10));
        assert_eq!(Totals::read(""), Totals::default());
    }
}
