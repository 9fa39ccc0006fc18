//! Envoy's own spans, which Luthien's lie below, and the collector that they are sent to.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::address::Address;
use super::bootstrap::BootstrapError;
use super::clusters::{authority_validation, protocol_options};
use super::yaml::set;
use crate::config::environment::Environment;
use crate::config::settings::Settings;
use crate::config::telemetry::sampled;

/// The cluster of the collector. The underscore keeps it apart from every provider.
const COLLECTOR: &str = "_otlp_collector";

/// What Envoy is called in traces, beside `luthien`.
const SERVICE: &str = "luthien-envoy";

/// Where Envoy sends its spans.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracer {
    collector: Address,
    tls: bool,
    ca: Option<PathBuf>,
    sampled: f64,
}

impl Tracer {
    /// As settings and environment say. `None`: Envoy does not trace. Nor does it where the collector wants headers: they
    /// hold keys, and Envoy's configuration is no place for them.
    pub fn of(settings: &Settings, environment: &Environment) -> Result<Option<Self>, BootstrapError> {
        let wants_headers = ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"];
        let collector = settings.telemetry.traces.collector(environment);
        let Some(collector) = collector.filter(|_| wants_headers.iter().all(|name| environment.get(name).is_none()))
        else {
            return Ok(None);
        };
        let wrong = || BootstrapError::Collector { url: collector.endpoint.clone() };
        let uri: http::Uri = collector.endpoint.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(wrong()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let collector_address = Address::Socket { host, port };
        let ca = collector.ca.map(PathBuf::from);
        Ok(Some(Self { collector: collector_address, tls, ca, sampled: sampled(environment) }))
    }

    /// The HTTP connection manager's `tracing`.
    pub(super) fn tracing() -> Value {
        json!({
            "provider": {
                "name": "envoy.tracers.opentelemetry",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                    "grpc_service": { "envoy_grpc": { "cluster_name": COLLECTOR }, "timeout": "10s" },
                    "service_name": SERVICE,
                },
            },
            "spawn_upstream_span": true,
            // Some clients put a key into the query, and the tag would hold it.
            "max_path_tag_length": 0,
        })
    }

    /// The `tracing` of routes whose requests are traced: how many of them, where the client has not decided.
    pub(super) fn route(&self) -> Value {
        // Whole millionths: what is smaller is none.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1")]
        let numerator = (self.sampled * 1e6).round() as u32;
        json!({ "random_sampling": { "numerator": numerator, "denominator": "MILLION" } })
    }

    /// The collector's cluster.
    pub(super) fn cluster(&self, system_ca: Option<&Path>) -> Result<Value, BootstrapError> {
        let is_name = self.collector.ip().is_none();
        let mut cluster = json!({
            "name": COLLECTOR,
            "type": if is_name { "STRICT_DNS" } else { "STATIC" },
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": COLLECTOR,
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": self.collector.to_envoy() } }] }],
            },
        });
        set(
            &mut cluster,
            "typed_extension_protocol_options",
            protocol_options(json!({ "explicit_http_config": { "http2_protocol_options": {} } })),
        );
        if self.tls {
            let missing = || BootstrapError::NoCa { upstream: COLLECTOR.to_owned() };
            let ca = self.ca.as_deref().or(system_ca).ok_or_else(missing)?;
            if let Address::Socket { host, .. } = &self.collector {
                set(&mut cluster, "transport_socket", authority_validation(host, !is_name, ca));
            }
        }
        Ok(cluster)
    }
}

/// No span for this route.
pub(super) fn untraced() -> Value {
    let none = json!({ "numerator": 0 });
    json!({ "client_sampling": none, "random_sampling": none, "overall_sampling": none })
}
