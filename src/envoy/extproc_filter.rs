//! The ext_proc filter: how Envoy talks to Luthien.

use serde_json::{Value, json};

use super::clusters::EXTPROC;
use crate::config::extproc::SentBodies;

/// The name under which routes switch the filter off.
pub(super) const NAME: &str = "envoy.filters.http.ext_proc";

/// Both bodies in full duplex: Envoy releases nothing before Luthien has sent it back, Luthien may answer with more,
/// fewer or other chunks, and may hold the headers until it has seen the whole body. By default the mode is static, so that no
/// answer of ours (and no forgotten one) can let a body pass unseen.
///
/// With [`SentBodies::WhenNeeded`] headers come first, and Luthien asks for full duplex before it answers them; until it answers,
/// nothing goes on. Envoy demands trailers only where bodies come.
pub(super) fn extproc_filter(bodies: SentBodies) -> Value {
    let (body, trailers, override_mode) = match bodies {
        SentBodies::Always => ("FULL_DUPLEX_STREAMED", "SEND", false),
        SentBodies::WhenNeeded => ("NONE", "SKIP", true),
    };
    json!({
        "name": NAME,
        // Until there is a route; see `routes`.
        "disabled": true,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": { "envoy_grpc": { "cluster_name": EXTPROC } },
            "failure_mode_allow": false,
            "status_on_error": { "code": "ServiceUnavailable" },
            // Full duplex has no message timeout in 1.40. Should a later Envoy apply it, held headers must survive it: so
            // this is the longest that Envoy takes.
            "message_timeout": "3600s",
            "allow_mode_override": override_mode,
            "processing_mode": {
                "request_header_mode": "SEND",
                "response_header_mode": "SEND",
                "request_body_mode": body,
                "response_body_mode": body,
                // Full duplex demands both; Envoy rejects the configuration otherwise.
                "request_trailer_mode": trailers,
                "response_trailer_mode": trailers,
            },
            // After our header answer the route is chosen anew: the cluster comes from a header that we set.
            "route_cache_action": "CLEAR",
            "mutation_rules": {
                // Without this a change of `:authority` is ignored without a word.
                "allow_all_routing": true,
                "allow_envoy": true,
                // A change that Envoy would not make fails the call, in place of leaving it half changed.
                "disallow_is_error": true,
            },
            // Received, never forwarded: a forwarded namespace is sent again with every message.
            "metadata_options": { "receiving_namespaces": { "untyped": ["luthien"] } },
            "request_attributes":
                ["request.id", "source.address", "connection.id", "xds.route_name", "xds.virtual_host_name"],
            "response_attributes":
                ["xds.cluster_name", "upstream.address", "response.flags", "response.code_details"],
        },
    })
}

/// Switches the filter on, for every route below the place where this stands.
pub(super) fn enabled() -> Value {
    per_route(&json!({ "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {} }))
}

/// Switches the filter off for one route.
pub(super) fn disabled() -> Value {
    per_route(&json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute",
        "disabled": true,
    }))
}

fn per_route(config: &Value) -> Value {
    json!({ (NAME): config })
}
