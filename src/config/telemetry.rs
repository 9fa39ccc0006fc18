//! What `luthien.yaml` says about traces and metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::environment::Environment;

/// Variables of the OpenTelemetry specification that name the collector, the strongest first.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// What the process tells about itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Traces, sent to a collector over OTLP gRPC.
    pub traces: Traces,
    /// Metrics, at `/metrics` of the admin and probe listeners.
    pub metrics: MetricsSettings,
}

/// Traces. The standard `OTEL_*` variables hold for what is not said here.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// The collector, as `http://127.0.0.1:4317`; `https` is TLS. Absent: where `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` says, and no traces without either.
    #[schemars(regex(pattern = r"^https?://[^/@]+/?$"))]
    #[schemars(extend("x-remedy" = "write http://HOST:4317, or https:// for TLS; without user, password and path"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Whether messages stand in traces as well: what was sent to the provider and what the client got, without
    /// credentials, where `recording.level` allows texts.
    pub content: bool,
}

/// Metrics.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// Names of models that are always told apart, whatever else clients ask for.
    pub models: Vec<String>,
    /// So many other models are told apart; the rest counts as `other`.
    pub most_models: u32,
    /// Where Envoy serves its own metrics, and nothing else, at `/stats/prometheus`, `ADDRESS:PORT`. Off when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envoy_listen: Option<String>,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { models: Vec::new(), most_models: 50, envoy_listen: None }
    }
}

impl Traces {
    /// Where traces are sent. `None`: there are none.
    pub fn endpoint(&self, environment: &Environment) -> Option<String> {
        let is_true = |name| environment.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let is_none = environment.get("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        if is_true("OTEL_SDK_DISABLED") || is_none {
            return None;
        }
        let standard = || ENDPOINTS.iter().find_map(|name| environment.get(name)).map(str::to_owned);
        self.endpoint.clone().or_else(standard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_stronger_than_the_standard_variables_and_either_can_be_switched_off() {
        let endpoint = |own: Option<&str>, variables: &[(&str, &str)]| {
            let traces = Traces { endpoint: own.map(str::to_owned), content: false };
            traces.endpoint(&variables.iter().copied().collect())
        };
        let (general, own) = (("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1"), Some("http://c:3"));
        let signal = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:2");
        assert_eq!(endpoint(None, &[]), None);
        assert_eq!(endpoint(None, &[general]).as_deref(), Some("http://a:1"));
        assert_eq!(endpoint(None, &[general, signal]).as_deref(), Some("http://b:2"));
        assert_eq!(endpoint(own, &[general, signal]).as_deref(), own);
        assert_eq!(endpoint(own, &[("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(endpoint(own, &[("OTEL_TRACES_EXPORTER", "none")]), None);
    }
}
