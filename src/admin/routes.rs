//! What the admin listener answers.

use std::{io, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    config::live::ReloadStatus, journal::activity::Activity, lifecycle::Readiness, telemetry::metrics::Metrics,
};

use super::{
    activity::stream,
    guard::{Guard, Trusted, check},
};

/// What the answers are read from.
#[derive(Clone)]
pub struct AdminState {
    /// What keeps the process from being ready.
    pub readiness: Readiness,
    /// How the rules came to be what they are.
    pub rules: watch::Receiver<ReloadStatus>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The live activity.
    pub activity: Arc<Activity>,
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    axum::serve(listener, router).await
}

/// The admin listener.
pub fn router(state: AdminState, guard: Guard) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route("/activity/stream", get(stream))
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(Arc::new(guard), check))
        .with_state(state)
}

/// The probe listener: no token, no detail.
pub fn probe_router(state: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(async |State(state): State<AdminState>| status(&state)))
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn healthz() -> &'static str {
    "ok\n"
}

fn status(state: &AdminState) -> StatusCode {
    if state.readiness.missing().is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn readyz(State(state): State<AdminState>, Extension(trusted): Extension<Trusted>) -> Response {
    if !trusted.0 {
        return status(&state).into_response();
    }
    let missing: serde_json::Map<String, Value> =
        state.readiness.missing().into_iter().map(|(part, reason)| (part.to_owned(), reason.into())).collect();
    let rules = state.rules.borrow().clone();
    let body = json!({
        "ready": missing.is_empty(),
        "missing": missing,
        "rules": {
            "hash": rules.hash,
            "last_error": rules.last_error,
            "reloads_ok": rules.reloads_ok,
            "reloads_failed": rules.reloads_failed,
        },
    });
    (status(&state), Json(body)).into_response()
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], state.metrics.encode())
}

async fn version(State(state): State<AdminState>) -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION"), "rules": state.rules.borrow().hash }))
}

async fn unknown() -> (StatusCode, Json<Value>) {
    let message = "no such page; there are /healthz, /readyz, /metrics, /version and /activity/stream";
    (StatusCode::NOT_FOUND, Json(json!({ "error": message })))
}
