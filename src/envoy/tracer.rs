//! Envoy's own spans, which Luthien's lie below, and the collector that they are sent to.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::address::Address;
use super::bootstrap::BootstrapError;
use super::clusters::{authority_validation, protocol_options};
use super::yaml::set;
use crate::config::environment::Environment;
use crate::config::settings::Settings;
use crate::config::target::HttpTarget;
use crate::config::telemetry::{NoCollector, address};

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
    sampler: Option<Value>,
}

impl Tracer {
    /// As settings and environment say. `None`: Envoy does not trace. Nor does it where the collector wants headers: they
    /// hold keys, and Envoy's configuration is no place for them.
    pub fn of(settings: &Settings, environment: &Environment) -> Result<Option<Self>, BootstrapError> {
        let wants_headers = ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"];
        let collector = settings.telemetry.traces.collector(environment)?;
        let Some(collector) = collector.filter(|_| wants_headers.iter().all(|name| environment.get(name).is_none()))
        else {
            return Ok(None);
        };
        let HttpTarget { tls, host, port, .. } =
            address(&collector.endpoint).ok_or(NoCollector("telemetry.traces.endpoint"))?;
        let ca = collector.ca.map(PathBuf::from);
        Ok(Some(Self { collector: Address::Socket { host, port }, tls, ca, sampler: sampler(environment) }))
    }

    /// The HTTP connection manager's `tracing`.
    pub(super) fn tracing(&self) -> Value {
        let mut config = json!({
            "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
            "grpc_service": { "envoy_grpc": { "cluster_name": COLLECTOR }, "timeout": "10s" },
            "service_name": SERVICE,
        });
        if let Some(sampler) = &self.sampler {
            set(&mut config, "sampler", sampler.clone());
        }
        json!({
            "provider": { "name": "envoy.tracers.opentelemetry", "typed_config": config },
            "spawn_upstream_span": true,
            // Some clients put a key into the query, and the tag would hold it.
            "max_path_tag_length": 0,
        })
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

/// The sampler that `OTEL_TRACES_SAMPLER` names. `None`: the default, by which what the client decided counts, and otherwise all is
/// traced.
fn sampler(environment: &Environment) -> Option<Value> {
    let config = |name: &str, kind: &str, more: Value| {
        let mut config = json!({
            "@type": format!("type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3.{kind}SamplerConfig"),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            set(&mut config, key, value.clone());
        }
        json!({ "name": format!("envoy.tracers.opentelemetry.samplers.{name}"), "typed_config": config })
    };
    let ratio = |share: f64| {
        // Whole millionths: what is smaller is none.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1")]
        let numerator = (share.clamp(0.0, 1.0) * 1e6).round() as u32;
        let share = json!({ "sampling_percentage": { "numerator": numerator, "denominator": "MILLION" } });
        config("trace_id_ratio_based", "TraceIdRatioBased", share)
    };
    let by_parent = |otherwise: Value| config("parent_based", "ParentBased", json!({ "wrapped_sampler": otherwise }));
    let argument = environment.get("OTEL_TRACES_SAMPLER_ARG").and_then(|share| share.parse().ok()).unwrap_or(1.0);
    match environment.get("OTEL_TRACES_SAMPLER")? {
        "always_on" => Some(config("always_on", "AlwaysOn", json!({}))),
        "always_off" => Some(ratio(0.0)),
        "traceidratio" => Some(ratio(argument)),
        "parentbased_always_off" => Some(by_parent(ratio(0.0))),
        "parentbased_traceidratio" => Some(by_parent(ratio(argument))),
        _ => None,
    }
}

/// No span for this route.
pub(super) fn untraced() -> Value {
    let none = json!({ "numerator": 0 });
    json!({ "client_sampling": none, "random_sampling": none, "overall_sampling": none })
}
