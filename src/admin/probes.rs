//! Health, readiness, metrics, version: what programs ask.

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{access::Caller, routes::AdminState};

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) fn status(state: &AdminState) -> StatusCode {
    if missing(state).is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// What keeps the process from serving calls, with the reason.
fn missing(state: &AdminState) -> Map<String, Value> {
    let missing = state.readiness.missing().into_iter().map(|(part, reason)| (part.to_owned(), reason.into()));
    // New calls are refused then.
    let why = match (state.room.required, state.room.is_full(), state.room.spool.is_failing()) {
        (false, _, _) | (true, false, false) => None,
        (true, true, _) => Some("the spool is full (recording.spool)"),
        (true, false, true) => Some("the spool cannot be written; the log says why"),
    };
    let recording = why.map(|why| ("recording".to_owned(), why.into()));
    missing.chain(recording).collect()
}

/// Who is nobody in particular learns whether, but not why.
pub(super) async fn readyz(State(state): State<AdminState>, caller: Option<Extension<Caller>>) -> Response {
    if caller.is_none() {
        return status(&state).into_response();
    }
    let missing = missing(&state);
    let rules = state.rules.borrow().clone();
    let drift = state.drift.borrow().clone();
    let body = json!({
        "ready": missing.is_empty(),
        "missing": missing,
        "rules": {
            "hash": rules.hash,
            "last_error": rules.last_error,
            "reloads_ok": rules.reloads_ok,
            "reloads_failed": rules.reloads_failed,
        },
        "settings": { "note": drift.note(), "last_error": drift.last_error },
        "recording": { "spool_bytes": state.room.spool.bytes(), "full": state.room.is_full(), "failing": state.room.spool.is_failing() },
    });
    (status(&state), Json(body)).into_response()
}

/// OpenMetrics for who asks for it, as Prometheus does; for others the format that everybody reads.
pub(super) async fn metrics(State(state): State<AdminState>, headers: HeaderMap) -> impl IntoResponse {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let (media_type, text) = if accepted.any(|accept| accept.contains("application/openmetrics-text")) {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", state.metrics.encode())
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", state.metrics.encode_older())
    };
    ([(header::CONTENT_TYPE, media_type)], text)
}

pub(super) async fn version(State(state): State<AdminState>) -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION"), "rules": state.rules.borrow().hash }))
}
