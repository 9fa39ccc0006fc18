//! What `luthien.yaml` says about traces and metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    environment::Environment,
    target::{HttpTarget, Target},
};
use crate::telemetry::trace::{Collector, gen_ai::Convention};

/// Variables of the OpenTelemetry specification that name the collector, the strongest first.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// So many spans are sent at once where messages stand in them.
const WITH_CONTENT: usize = 32;

/// The collector's address is none. Says where it stands, and not what: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is no address of a collector; write http://HOST:4317, or https:// for TLS, without user, password and path"
)]
pub struct NoCollector(pub &'static str);

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
    /// Where traces are sent, and where that is said. `None`: there are none.
    fn endpoint(&self, environment: &Environment) -> Option<(String, &'static str)> {
        let is_true = |name| environment.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let is_none = environment.get("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        if is_true("OTEL_SDK_DISABLED") || is_none {
            return None;
        }
        let standard = || ENDPOINTS.iter().find_map(|name| Some((environment.get(name)?.to_owned(), *name)));
        self.endpoint.clone().map(|endpoint| (endpoint, "telemetry.traces.endpoint")).or_else(standard)
    }

    /// The collector, as the settings and the standard variables describe it. `None`: there are no traces.
    pub fn collector(&self, environment: &Environment) -> Result<Option<Collector>, NoCollector> {
        let get = |names: [&str; 2]| names.iter().find_map(|name| environment.get(name)).map(str::to_owned);
        let Some((endpoint, said)) = self.endpoint(environment) else { return Ok(None) };
        if address(&endpoint).is_none() {
            return Err(NoCollector(said));
        }
        let captures = environment.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT").is_some_and(|value| {
            ["true", "span_only", "span_and_event"].iter().any(|word| value.eq_ignore_ascii_case(word))
        });
        let content = self.content || captures;
        let key = get(["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"]);
        let own = get(["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"]);
        Ok(Some(Collector {
            endpoint,
            ca: get(["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]),
            identity: own.zip(key),
            service: environment.get("OTEL_SERVICE_NAME").map(str::to_owned),
            resource: Vec::new(),
            content,
            // Collectors take 4 MiB at once unless they are told otherwise, and messages are long.
            batch: (content && environment.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").is_none()).then_some(WITH_CONTENT),
            convention: Convention::of_opt_in(environment.get("OTEL_SEMCONV_STABILITY_OPT_IN")),
        }))
    }
}

/// Where a collector is, if this is scheme, host and port, and nothing that could be a secret.
pub fn address(endpoint: &str) -> Option<HttpTarget> {
    let (_, behind) = endpoint.split_once("://")?;
    let has_path = behind.strip_suffix('/').unwrap_or(behind).contains('/');
    match endpoint.parse() {
        Ok(Target::Http(target)) if !has_path => Some(target),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector(own: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<String>, NoCollector> {
        let traces = Traces { endpoint: own.map(str::to_owned), content: false };
        let collector = traces.collector(&variables.iter().copied().collect())?;
        Ok(collector.map(|collector| collector.endpoint))
    }

    #[test]
    fn the_settings_are_stronger_than_the_standard_variables_and_either_can_be_switched_off() {
        let endpoint = |own, variables: &[(&str, &str)]| collector(own, variables).unwrap();
        let (general, own) = (("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1"), Some("http://c:3"));
        let signal = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:2/");
        assert_eq!(endpoint(None, &[]), None);
        assert_eq!(endpoint(None, &[general]).as_deref(), Some("http://a:1"));
        assert_eq!(endpoint(None, &[general, signal]).as_deref(), Some("http://b:2/"));
        assert_eq!(endpoint(own, &[general, signal]).as_deref(), own);
        assert_eq!(endpoint(own, &[("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(endpoint(own, &[("OTEL_TRACES_EXPORTER", "none")]), None);
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for wrong in [
            "localhost:4317",
            "http://user:hunter2@h:4317",
            "http://h:99999",
            "http://h:4317/v1/traces",
            "http://h?key=hunter2",
            "ftp://h",
            "http://:4317",
        ] {
            let error = collector(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", wrong)]).expect_err(wrong).to_string();
            assert!(
                error.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT is no address") && !error.contains("hunter2"),
                "{error}"
            );
        }
        for good in ["http://[::1]:4317", "https://collector.example", "http://10.0.0.1:4317/"] {
            assert!(collector(Some(good), &[]).is_ok(), "{good}");
        }
    }
}
