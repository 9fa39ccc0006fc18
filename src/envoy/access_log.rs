//! Envoy's access log: one JSON object for each call, joined to our records by `call_id`.
//!
//! The path is logged without its query: some clients put a key there. No header with a credential is named.

use serde_json::{Value, json};

use super::bootstrap::AccessLog;
use super::yaml::set;

/// The HTTP connection manager's `access_log`.
pub(super) fn access_log(to: &AccessLog) -> Vec<Value> {
    let (name, kind, path) = match to {
        AccessLog::Off => return Vec::new(),
        AccessLog::Stdout => ("envoy.access_loggers.stdout", "stream.v3.StdoutAccessLog", None),
        AccessLog::File(path) => ("envoy.access_loggers.file", "file.v3.FileAccessLog", Some(path)),
    };
    let mut config = json!({ "@type": format!("type.googleapis.com/envoy.extensions.access_loggers.{kind}") });
    if let Some(path) = path {
        set(&mut config, "path", json!(path));
    }
    set(&mut config, "log_format", json!({ "json_format": format() }));
    // Who looks every few seconds whether somebody is there makes no calls.
    vec![json!({ "name": name, "filter": { "not_health_check_filter": {} }, "typed_config": config })]
}

/// Duration fields are milliseconds. `luthien` is what the service tells with its answers (dynamic metadata of that
/// namespace): model, outcome, policy, tokens; an early end by Luthien looks like `via_upstream` to Envoy, so the reason
/// can only come from there.
fn format() -> Value {
    json!({
        "time": "%START_TIME%",
        "call_id": "%DYNAMIC_METADATA(luthien:call_id)%",
        "trace_id": "%TRACE_ID%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "duration_ms": "%DURATION%",
        "first_byte_ms": "%RESPONSE_DURATION%",
        "received_bytes": "%BYTES_RECEIVED%",
        "sent_bytes": "%BYTES_SENT%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "upstream": "%UPSTREAM_CLUSTER%",
        "upstream_host": "%UPSTREAM_HOST%",
        "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "luthien": "%DYNAMIC_METADATA(luthien)%",
    })
}
