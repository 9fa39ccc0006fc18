//! What the admin listener answers, and who may ask.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    middleware::{from_fn_with_state, map_response},
    response::Response,
    routing::get,
};
use tokio::sync::watch;

use crate::{
    config::{
        drift::Drift,
        live::{Live, ReloadStatus},
    },
    journal::activity::Activity,
    lifecycle::Readiness,
    policy::Rules,
    record::Room,
    store::Store,
    telemetry::metrics::Metrics,
};

use super::{
    About,
    access::{Access, guard, login_routes, recognise},
    activity, assets, debug, log_level, pages, probes, reply,
};

/// What the answers are read from.
#[derive(Clone)]
pub struct AdminState {
    /// What keeps the process from being ready.
    pub readiness: Readiness,
    /// How the rules came to be what they are.
    pub rules: watch::Receiver<ReloadStatus>,
    /// How the settings file differs from the settings in force.
    pub drift: watch::Receiver<Drift>,
    /// The rules in force.
    pub live: Arc<Live<Rules>>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The live activity.
    pub activity: Arc<Activity>,
    /// What is recorded of calls.
    pub store: Arc<Store>,
    /// Whether there is room to record more.
    pub room: Room,
    /// The settings, as far as pages show them.
    pub about: Arc<About>,
}

/// The admin listener. A route that is not named as open is for those only whom `access` lets in.
pub fn router(state: AdminState, access: Access) -> Router {
    let open = Router::new()
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .layer(from_fn_with_state(access.clone(), recognise))
        .with_state(state.clone())
        .route("/assets/{name}", get(assets::serve))
        .merge(login_routes().with_state(access.clone()));
    let guarded = Router::new()
        .route("/", get(pages::overview))
        .route("/policies", get(pages::policies))
        .route("/activity/monitor", get(pages::monitor))
        .route("/activity/stream", get(activity::stream))
        .route("/openapi.json", get(debug::openapi_json))
        .merge(debug::routes())
        .route("/debug/diff", get(debug::ask_diff))
        .route("/metrics", get(probes::metrics))
        .route("/version", get(probes::version))
        .route("/log/level", get(log_level::show).put(log_level::change))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(access, guard))
        .with_state(state);
    open.merge(guarded).layer(map_response(reply::secure))
}

/// The probe listener: no token, no detail.
pub fn probe_router(state: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(async |State(state): State<AdminState>| probes::status(&state)))
        .route("/metrics", get(probes::metrics))
        .with_state(state)
}

async fn unknown(headers: HeaderMap) -> Response {
    let message = "no such page; there are /, /debug/calls, /debug/sessions, /debug/diff, /activity/monitor, \
                   /activity/stream, /policies, /openapi.json, /healthz, /readyz, /metrics, /log/level and /version";
    reply::error(&headers, StatusCode::NOT_FOUND, message)
}

async fn wrong_method(headers: HeaderMap) -> Response {
    reply::error(&headers, StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here; see docs/configuration.md")
}
