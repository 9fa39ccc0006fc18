//! What a client gets when Envoy itself answers.
//!
//! Two kinds of such answers never pass Luthien: those about Luthien (it is gone, hung, or broke the protocol) and those
//! about a request that Envoy refuses before any filter (malformed, too large, too slow, an upgrade). Here they become
//! the JSON errors that the SDKs know. Replies about a provider pass Luthien as well, which then says more; the forms
//! here remain for the case that it cannot.
//!
//! A mapper applies only to the details that it names. Luthien's own immediate answers are local replies to Envoy too,
//! with details of Luthien's making: they match nothing here and leave as they are.

use serde_json::{Value, json};

use super::yaml::set;

/// One kind of reply, in both dialects.
struct Reply {
    /// How Envoy's response code details begin. Prefixes, because some go on with a reason; and no regular expression,
    /// because Envoy's limit for the size of one is small.
    details: &'static [&'static str],
    /// The status for the client, if not Envoy's own.
    status: Option<u16>,
    /// `error.type` for Anthropic's SDKs.
    anthropic: &'static str,
    /// `error.type` for OpenAI's SDKs.
    openai: &'static str,
    /// `error.code` for OpenAI's SDKs and `error.details.error_code` for Anthropic's.
    code: &'static str,
    /// For people. Names no address and no internal.
    message: &'static str,
}

/// In order; the first that fits is used. The details are those of Envoy 1.40 (its `response_code_details.h`, the
/// codecs' and ext_proc's).
const REPLIES: [Reply; 8] = [
    Reply {
        details: &["ext_proc_error", "spurious_message", "unhandled_message"],
        status: Some(503),
        anthropic: "api_error",
        openai: "server_error",
        code: "policy_service_unavailable",
        message: "The policy service does not answer, and nothing passes without it. Please try again shortly.",
    },
    Reply {
        details: &[
            "cluster_not_found",
            "no_healthy_upstream",
            "maintenance_mode",
            "upstream_reset",
            "upstream_max",
            "upstream_conn",
        ],
        status: Some(503),
        anthropic: "api_error",
        openai: "server_error",
        code: "provider_unavailable",
        message: "The provider could not be reached. Please try again shortly.",
    },
    Reply {
        details: &[
            "stream_idle_timeout",
            "upstream_response_timeout",
            "upstream_per_try",
            "duration_timeout",
            "max_duration",
        ],
        status: None,
        anthropic: "timeout_error",
        openai: "server_error",
        code: "timeout",
        message: "The call took too long and was ended.",
    },
    Reply {
        details: &["request_header_timeout", "request_overall_timeout"],
        status: None,
        anthropic: "timeout_error",
        openai: "invalid_request_error",
        code: "request_timeout",
        message: "The request did not arrive in time.",
    },
    Reply {
        details: &[
            "request_payload",
            "http1.headers_too_large",
            "http1.too_many_headers",
            "http2.header_list",
            "http2.too_many",
            "http2.cookies",
        ],
        status: None,
        anthropic: "request_too_large",
        openai: "invalid_request_error",
        code: "request_too_large",
        message: "The request, or its headers, are larger than this gateway accepts.",
    },
    Reply {
        // Envoy says 403, which Codex takes for final or tries again for seconds; on 426 it goes on with plain HTTP.
        details: &["upgrade_failed"],
        status: Some(426),
        anthropic: "invalid_request_error",
        openai: "invalid_request_error",
        code: "upgrade_not_supported",
        message: "This gateway does not support WebSockets; send the request as a POST and read the answer as \
                  server-sent events.",
    },
    Reply {
        details: &["overload"],
        status: None,
        anthropic: "overloaded_error",
        openai: "server_error",
        code: "overloaded",
        message: "The gateway is overloaded. Please try again shortly.",
    },
    Reply {
        details: &[
            "http1.",
            "http2.",
            "absolute_path_rejected",
            "low_version",
            "missing_host_header",
            "missing_path_rejected",
            "path_normalization_failed",
            "request_headers_failed_strict_check",
            "invalid_",
            "route_not_found",
            "filter_chain_not_found",
            "route_configuration_not_found",
        ],
        status: None,
        anthropic: "invalid_request_error",
        openai: "invalid_request_error",
        code: "malformed_request",
        message: "The request is not well-formed HTTP, or its path is not one that this gateway accepts.",
    },
];

/// Who is asking: Anthropic's path, or the header that all of Anthropic's SDKs send (also for `/v1/models`). A request
/// that broke before it had a path fits neither, and gets OpenAI's form, which Anthropic's SDKs print as well.
const ANTHROPIC: &str = "(request.url_path.startsWith('/v1/messages') || 'anthropic-version' in request.headers)";

/// The HTTP connection manager's `local_reply_config`.
pub(super) fn local_reply() -> Value {
    let mappers: Vec<Value> = REPLIES.iter().flat_map(|reply| [anthropic(reply), openai(reply)]).collect();
    json!({ "mappers": mappers })
}

fn anthropic(reply: &Reply) -> Value {
    let body = json!({
        "type": "error",
        "error": {
            "type": reply.anthropic,
            "message": reply.message,
            "details": { "error_code": reply.code },
        },
        "request_id": "%REQ(X-REQUEST-ID)%",
    });
    mapper(reply, Some(ANTHROPIC), &body)
}

fn openai(reply: &Reply) -> Value {
    let body = json!({
        "error": { "message": reply.message, "type": reply.openai, "param": null, "code": reply.code },
    });
    mapper(reply, None, &body)
}

fn mapper(reply: &Reply, who: Option<&str>, body: &Value) -> Value {
    let begins: Vec<String> =
        reply.details.iter().map(|prefix| format!("response.code_details.startsWith('{prefix}')")).collect();
    let mut expression = format!("({})", begins.join(" || "));
    if let Some(who) = who {
        expression = format!("{expression} && {who}");
    }
    let mut mapper = json!({
        "filter": {
            "extension_filter": {
                "name": "cel",
                "typed_config": {
                    "@type":
                        "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                    "expression": expression,
                },
            },
        },
    });
    if let Some(status) = reply.status {
        set(&mut mapper, "status_code", json!(status));
    }
    if reply.status == Some(503) {
        // Clients wait for this long in place of their own, shorter, first pause.
        set(
            &mut mapper,
            "headers_to_add",
            json!([{
                "header": { "key": "retry-after", "value": "2" },
                "append_action": "ADD_IF_ABSENT",
            }]),
        );
    }
    set(&mut mapper, "body_format_override", json!({ "json_format": body }));
    mapper
}
