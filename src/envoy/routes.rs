//! The routes: answers on `/` and `/readyz` for those who look whether somebody is there, and everything else through
//! Luthien to the provider that it names.

use serde_json::{Value, json};

use super::extproc_filter::{disabled, enabled};
use super::headers::hidden_from_providers;
use super::timers::{Timers, seconds};
use super::tracer::untraced;

/// Where the listener says whether calls should be sent to it.
const READY: &str = "/readyz";

/// The route configuration. The ext_proc filter is off until there is a route and on for every route, also one that
/// somebody adds by hand. So a request that Envoy refuses before it has one (malformed, headers too large) is answered
/// by Envoy at once: through ext_proc, the connection would be closed before Luthien's answer to the refusal came.
pub(super) fn route_config(timers: Timers) -> Value {
    json!({
        "name": "luthien",
        "typed_per_filter_config": enabled(),
        "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [alive(), ready(), upgrade(), policed(timers)] }],
    })
}

/// `GET /` and `HEAD /`, which clients send to warm up a connection and load balancers to probe. Answered by Envoy
/// alone: there is no content in them, and a probe of the listener must not depend on a call slot.
fn alive() -> Value {
    json!({
        "name": "alive",
        "match": {
            "path": "/",
            "headers": [{
                "name": ":method",
                "string_match": { "safe_regex": { "regex": "GET|HEAD" } },
            }],
        },
        "direct_response": { "status": 200, "body": { "inline_string": "Luthien is listening.\n" } },
        "typed_per_filter_config": disabled(),
        "tracing": untraced(),
    })
}

/// The health check of the listener, for balancers and kubelet. The filter answers it: 200, and 503 once Envoy is to end
/// (`luthien drain`). The route only keeps it out of the ext_proc stream and the traces.
fn ready() -> Value {
    json!({
        "name": "ready",
        "match": { "path": READY },
        "direct_response": { "status": 200 },
        "typed_per_filter_config": disabled(),
        "tracing": untraced(),
    })
}

/// The filter that answers [`ready`].
pub(super) fn health_check() -> Value {
    json!({
        "name": "envoy.filters.http.health_check",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": false,
            "headers": [{ "name": ":path", "string_match": { "exact": READY } }],
        },
    })
}

/// Upgrades to a WebSocket, which Envoy refuses (`upgrade_failed`, see `local_reply`) because no upgrade is enabled. The route only
/// keeps that refusal out of the ext_proc stream, in which it would be a response without a request.
fn upgrade() -> Value {
    json!({
        "name": "upgrade",
        "match": {
            "prefix": "/",
            "headers": [{ "name": "upgrade", "string_match": { "exact": "websocket", "ignore_case": true } }],
        },
        "direct_response": { "status": 426 },
        "typed_per_filter_config": disabled(),
    })
}

/// All other requests. Luthien sets `x-luthien-upstream`; without it, or with an unknown name, Envoy answers 503
/// (`cluster_not_found`) and contacts nobody.
fn policed(timers: Timers) -> Value {
    json!({
        "name": "policed",
        "match": { "prefix": "/" },
        "route": {
            "cluster_header": "x-luthien-upstream",
            "auto_host_rewrite": true,
            // The default of 15 s would cut every stream. Luthien has the clocks.
            "timeout": "0s",
            "idle_timeout": seconds(timers.silence),
            // Only failures in which the provider has certainly not begun: no connection, or an HTTP/2 stream that it
            // refused. Anything else could generate, and bill, twice.
            "retry_policy": { "retry_on": "connect-failure,refused-stream", "num_retries": 2 },
        },
        // Removed by the router after the cluster was chosen, so that routing by header and hiding it do not collide.
        "request_headers_to_remove": hidden_from_providers(),
    })
}
