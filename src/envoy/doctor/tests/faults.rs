//! One fault after the other, and how it is put into our configuration.

use serde_json::{Value, json};

/// The check that is to find it, and what is written where; see `put`.
pub(super) type Fault = (&'static str, Vec<(&'static str, Value)>);

/// All of them.
pub(super) fn faults() -> Vec<Fault> {
    [whole(), of_filter(), of_listener(), of_routes(), of_clusters()].concat()
}

/// An HTTP filter.
pub(super) fn filter(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}").into();
    json!({ "name": name, "typed_config": config })
}

/// What a route says of ext_proc.
pub(super) fn per_route(config: &Value) -> Value {
    let mut own = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute" });
    own.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    json!({ "envoy.filters.http.ext_proc": own })
}

fn whole() -> Vec<Fault> {
    let off = per_route(&json!({ "disabled": true }));
    let around = json!({
        "match": { "path": "/v1/messages" },
        "route": { "cluster_header": "x-luthien-upstream" },
        "typed_per_filter_config": off,
    });
    let elsewhere = json!({
        "match": { "prefix": "/v1" },
        "route": { "cluster": "_envoy_admin" },
        "typed_per_filter_config": off,
    });
    vec![
        ("no-ext-proc", vec![("~/http_filters/0", Value::Null)]),
        ("no-ext-proc", vec![("~/route_config/typed_per_filter_config", Value::Null)]),
        ("unpoliced-route", vec![("~/route_config/virtual_hosts/0/routes/0", around)]),
        ("other-route", vec![("~/route_config/virtual_hosts/0/routes/0", elsewhere)]),
        ("incomplete", vec![("~/rds", json!({ "route_config_name": "x" })), ("~/route_config", Value::Null)]),
        ("incomplete", vec![("~/http_filters/1", json!({ "name": "far", "config_discovery": {} }))]),
        ("incomplete", vec![("~/route_config/virtual_hosts/0/matcher", json!({}))]),
        ("incomplete", vec![("@", Value::Null)]),
        (
            "admin-exposed",
            vec![("/admin/address", json!({ "socket_address": { "address": "0.0.0.0", "port_value": 9901 } }))],
        ),
    ]
}

/// Bodies come only when they are asked for, and this.
fn on_demand(pointer: &'static str, value: Value) -> Vec<(&'static str, Value)> {
    vec![("^/processing_mode", json!({})), ("^/allow_mode_override", json!(true)), (pointer, value)]
}

fn of_filter() -> Vec<Fault> {
    vec![
        ("body-mode", vec![("^/processing_mode/request_body_mode", json!("BUFFERED"))]),
        ("body-mode", vec![("^/processing_mode/response_body_mode", Value::Null)]),
        ("body-mode", vec![("^/processing_mode/response_body_mode", json!(1))]),
        (
            "body-mode",
            vec![(
                ">/typed_per_filter_config",
                per_route(&json!({ "overrides": { "processing_mode": {
                "request_body_mode": "FULL_DUPLEX_STREAMED", "response_body_mode": "NONE",
                "request_trailer_mode": "SEND", "response_trailer_mode": "SEND",
            } } })),
            )],
        ),
        ("trailer-mode", vec![("^/processing_mode/request_trailer_mode", Value::Null)]),
        ("trailer-mode", vec![("^/processing_mode/response_trailer_mode", json!("SKIP"))]),
        ("header-mode", vec![("^/processing_mode/response_header_mode", json!("SKIP"))]),
        ("failure-mode", vec![("^/failure_mode_allow", json!(true))]),
        (
            "failure-mode",
            vec![(">/typed_per_filter_config", per_route(&json!({ "overrides": { "failure_mode_allow": true } })))],
        ),
        ("mode-override", vec![("^/allow_mode_override", json!(true))]),
        ("body-mode", vec![("^/processing_mode", json!({}))]),
        ("body-mode", on_demand("^/send_body_without_waiting_for_header_response", json!(true))),
        ("body-mode", on_demand("^/allowed_override_modes", json!([{}]))),
        ("header-mode", on_demand("^/processing_mode/response_header_mode", json!("SKIP"))),
        ("message-timeout", on_demand("^/message_timeout", Value::Null)),
        ("message-timeout", on_demand("^/message_timeout", json!("1s"))),
        ("observability-mode", vec![("^/observability_mode", json!(true))]),
        ("immediate-response", vec![("^/disable_immediate_response", json!(true))]),
        ("transport", vec![("^/http_service", json!({}))]),
        ("transport", vec![("^/grpc_service/google_grpc", json!({ "target_uri": "luthien:50051" }))]),
        ("mutation-rules", vec![("^/mutation_rules/disallow_all", json!(true))]),
        ("mutation-rules", vec![("^/mutation_rules/disallow_system", json!(true))]),
        ("mutation-rules", vec![("^/mutation_rules/disallow_expression", json!({ "regex": "auth.*" }))]),
        ("route-cache", vec![("^/route_cache_action", json!("RETAIN"))]),
        ("route-cache", vec![("^/disable_clear_route_cache", json!(true))]),
        ("content-length", vec![("^/allow_content_length_header", json!(true))]),
        ("forward-rules", vec![("^/forward_rules", json!({ "disallowed_headers": {} }))]),
        ("metadata", vec![("^/metadata_options", Value::Null)]),
        ("metadata", vec![("^/metadata_options/forwarding_namespaces", json!({ "untyped": ["x"] }))]),
        ("targets", vec![("^/request_attributes", json!(["request.id", "xds.route_name"]))]),
        ("attributes", vec![("^/response_attributes", json!(["xds.cluster_name"]))]),
    ]
}

fn of_listener() -> Vec<Fault> {
    vec![
        ("decompressor", vec![("~/http_filters/0", filter("d", "decompressor.v3.Decompressor", json!({})))]),
        ("decompressor", vec![("~/http_filters/1", filter("d", "decompressor.v3.Decompressor", json!({})))]),
        ("compressor", vec![("~/http_filters/1", filter("c", "compressor.v3.Compressor", json!({})))]),
        (
            "compressor",
            vec![(
                "~/http_filters/0",
                filter(
                    "c",
                    "compressor.v3.Compressor",
                    json!({ "response_direction_config": { "common_config": { "content_type": ["text/event-stream"] } } }),
                ),
            )],
        ),
        ("buffer", vec![("~/http_filters/0", filter("b", "buffer.v3.Buffer", json!({ "max_request_bytes": 1 })))]),
        (
            "buffer",
            vec![("~/http_filters/0", filter("a", "ext_authz.v3.ExtAuthz", json!({ "with_request_body": {} })))],
        ),
        ("other-body-filter", vec![("~/http_filters/0", filter("l", "lua.v3.Lua", json!({})))]),
        ("other-body-filter", vec![("~/http_filters/1", filter("w", "wasm.v3.Wasm", json!({})))]),
        ("upstream-header", vec![("~/early_header_mutation_extensions/0/typed_config/mutations/0", Value::Null)]),
        ("client-headers", vec![("~/early_header_mutation_extensions/0/typed_config/mutations/1", Value::Null)]),
        ("client-headers", vec![("~/early_header_mutation_extensions/0/typed_config/mutations/7", Value::Null)]),
        ("paths", vec![("~/normalize_path", Value::Null)]),
        ("paths", vec![("~/merge_slashes", json!(false))]),
        ("paths", vec![("~/path_with_escaped_slashes_action", Value::Null)]),
        ("idle-timeout", vec![("~/stream_idle_timeout", Value::Null), (">/route/idle_timeout", Value::Null)]),
        ("idle-timeout", vec![(">/route/idle_timeout", json!("299s"))]),
        ("request-timeout", vec![("~/request_timeout", json!("299s"))]),
        ("stream-duration", vec![("~/common_http_protocol_options/max_stream_duration", json!("299s"))]),
        ("stream-duration", vec![(">/route/max_stream_duration", json!({ "max_stream_duration": "9s" }))]),
        (
            "stream-duration",
            vec![("#OPTIONS", json!({ "common_http_protocol_options": { "max_stream_duration": "9s" } }))],
        ),
        ("buffer-limit", vec![("/static_resources/listeners/0/per_connection_buffer_limit_bytes", json!(32768))]),
    ]
}

fn of_routes() -> Vec<Fault> {
    let default = json!({
        "match": { "prefix": "/v1/" },
        "route": { "cluster": "openai", "timeout": "0s", "auto_host_rewrite": true },
    });
    vec![
        ("route-timeout", vec![(">/route/timeout", Value::Null)]),
        ("route-timeout", vec![(">/route/timeout", json!("299s"))]),
        ("mirrors", vec![(">/route/request_mirror_policies", json!([{ "cluster": "openai" }]))]),
        ("retries", vec![(">/route/hedge_policy", json!({ "initial_requests": 2 }))]),
        ("retries", vec![(">/route/retry_policy/retry_on", json!("connect-failure, 5xx"))]),
        ("retries", vec![(">/route/retry_policy/per_try_timeout", json!("299s"))]),
        (
            "retries",
            vec![
                (">/route/retry_policy", Value::Null),
                (
                    "~/route_config/virtual_hosts/0/retry_policy",
                    json!({ "retry_on": "retriable-status-codes", "retriable_status_codes": [503] }),
                ),
            ],
        ),
        ("upgrades", vec![("~/upgrade_configs", json!([{ "upgrade_type": "websocket" }])), ("<", Value::Null)]),
        (
            "upgrades",
            vec![
                (">/route/upgrade_configs", json!([{ "upgrade_type": "WebSocket", "enabled": true }])),
                ("</match/prefix", json!("/v2")),
            ],
        ),
        ("host-rewrite", vec![(">/route/auto_host_rewrite", Value::Null)]),
        ("upstream-routing", vec![(">/route/cluster_header", Value::Null), (">/route/cluster", json!("openai"))]),
        ("default-upstream", vec![("~/route_config/virtual_hosts/0/routes/0", default)]),
        ("unknown-upstream", vec![("#", Value::Null)]),
    ]
}

fn of_clusters() -> Vec<Fault> {
    let far = json!({ "socket_address": { "address": "luthien", "port_value": 50051 } });
    let mutual = |context: Value| {
        json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": context,
        } })
    };
    vec![
        ("circuit-breaker", vec![("@/circuit_breakers", Value::Null)]),
        ("circuit-breaker", vec![("#/circuit_breakers/thresholds/0/max_connections", json!(1999))]),
        ("keepalive", vec![("@OPTIONS/explicit_http_config/http2_protocol_options/connection_keepalive", Value::Null)]),
        ("http2", vec![("@/typed_extension_protocol_options", Value::Null)]),
        ("extproc-plaintext", vec![("@/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address", far.clone())]),
        ("extproc-plaintext", vec![("@/load_assignment", Value::Null)]),
        (
            "extproc-client",
            vec![
                ("@/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address", far.clone()),
                ("@/transport_socket", mutual(json!({ "validation_context": { "trusted_ca": {} } }))),
            ],
        ),
        (
            "extproc-server",
            vec![
                ("@/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address", far),
                ("@/transport_socket", mutual(json!({ "tls_certificates": [{}] }))),
            ],
        ),
        ("provider-tls", vec![("#/transport_socket", Value::Null)]),
        ("provider-tls", vec![("#TLS", Value::Null)]),
        ("provider-tls", vec![("#TLS/match_typed_subject_alt_names", Value::Null)]),
        ("provider-tls", vec![("#TLS/trust_chain_verification", json!("ACCEPT_UNTRUSTED"))]),
    ]
}
