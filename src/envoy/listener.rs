//! The client listener: HTTP/1.1 and HTTP/2, plain or TLS.

use serde_json::{Value, json};

use super::access_log::access_log;
use super::address::Address;
use super::bootstrap::{Mode, Placement};
use super::clusters::BUFFER;
use super::extproc_filter::extproc_filter;
use super::headers::{CLIENT_TRACE_ID, ENVOYS_PREFIX, OURS, REQUEST_ID};
use super::local_reply::local_reply;
use super::routes::{health_check, route_config};
use super::timers::{Timers, seconds};
use super::tls;
use super::yaml::set;
use crate::config::{extproc::SentBodies, settings::Settings};

/// Envoy's default of 60 KiB is in reach of agents that put metadata, betas and several tokens into headers.
const REQUEST_HEADERS_KIB: u32 = 96;

/// The listener on `address`.
pub(super) fn listener(address: &Address, settings: &Settings, timers: Timers, placement: &Placement) -> Value {
    let mut chain = json!({ "filters": [connection_manager(settings.extproc.bodies, timers, placement)] });
    if let Some(tls) = &settings.tls {
        set(&mut chain, "transport_socket", tls::downstream(tls, placement));
    }
    let mut listener = json!({
        "name": "clients",
        "address": address.to_envoy_listen(),
        // Also bounds what the router keeps for a retry. It is not a limit for bodies: in full duplex they stream.
        "per_connection_buffer_limit_bytes": BUFFER,
        // A client over HTTP/1.1 that does not take its answer, for which there is no `stream_flush_timeout`: nothing else ends
        // it before `idle_timeout`.
        "per_connection_buffer_high_watermark_timeout": seconds(timers.backlog),
        "filter_chains": [chain],
    });
    if placement.mode == Mode::Local {
        // With port reuse a second Envoy of the same user would take half of the connections without an error.
        set(&mut listener, "enable_reuse_port", json!(false));
    }
    listener
}

fn connection_manager(bodies: SentBodies, timers: Timers, placement: &Placement) -> Value {
    let mut filter = http(bodies, timers, placement);
    if let (Some(tracer), Some(config)) = (&placement.tracer, filter.get_mut("typed_config")) {
        set(config, "tracing", tracer.tracing());
    }
    filter
}

fn http(bodies: SentBodies, timers: Timers, placement: &Placement) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type":
                "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "clients",
            // HTTP/2 by ALPN, or by prior knowledge without TLS. Upgrades are not enabled: ext_proc sees no WebSocket
            // frames, so a WebSocket would pass every policy unseen.
            "codec_type": "AUTO",
            "use_remote_address": true,
            // The headers of providers pass untouched, `server` among them.
            "server_header_transformation": "PASS_THROUGH",
            // One spelling of a path, so that none goes round a rule.
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "REJECT_REQUEST",
            "generate_request_id": true,
            "max_request_headers_kb": REQUEST_HEADERS_KIB,
            "request_headers_timeout": "10s",
            // Runs until all filters have passed the request on, so it must outlast Luthien's upload clock and every
            // hook on the request.
            "request_timeout": seconds(timers.silence),
            "stream_idle_timeout": seconds(timers.silence),
            // Over HTTP/2 Envoy keeps the provider's connection until the client has taken the last byte of an answer that is
            // over; by default for as long as for a silent one.
            "stream_flush_timeout": seconds(timers.rest),
            // For an early end over HTTP/1.1 with an upload in flight: the client gets to read the answer.
            "delayed_close_timeout": "1s",
            "common_http_protocol_options": {
                "idle_timeout": "3600s",
                // Allowed: clients do send such headers (older Codex `session_id`, tracing tools), and nothing here or
                // at the providers takes an underscore for a hyphen.
                "headers_with_underscores_action": "ALLOW",
            },
            "http2_protocol_options": {
                "max_concurrent_streams": 256,
                "initial_stream_window_size": BUFFER,
                "initial_connection_window_size": 16 * BUFFER,
            },
            "early_header_mutation_extensions": [early_header_mutation()],
            "access_log": access_log(&placement.access_log),
            "local_reply_config": local_reply(),
            "http_filters": [
                extproc_filter(bodies),
                health_check(),
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                        "suppress_envoy_headers": true,
                    },
                },
            ],
            "route_config": route_config(timers),
        },
    })
}

/// Runs before anything reads the request, so that none of these can come from a client.
fn early_header_mutation() -> Value {
    let ours = OURS.into_iter().chain([REQUEST_ID, CLIENT_TRACE_ID]).map(|name| json!({ "remove": name }));
    let envoys = json!({ "remove_on_match": { "key_matcher": { "prefix": ENVOYS_PREFIX, "ignore_case": true } } });
    json!({
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type":
                "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": ours.chain([envoys]).collect::<Vec<_>>(),
        },
    })
}
