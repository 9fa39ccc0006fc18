//! Where spans go: the collector, the queue before it, and what is said when nobody is there.

use std::{
    collections::HashMap,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    KeyValue,
    propagation::TextMapPropagator,
    trace::{SpanContext, TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_otlp::{
    SpanExporter, WithExportConfig as _, WithTonicConfig as _,
    tonic_types::transport::{Certificate, ClientTlsConfig, Identity},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanData, SpanExporter as Exporter},
};
use tracing::{info, warn};

use super::{Kind, Parent, Span, begin, gen_ai::Convention};

/// What the process is called, unless somebody says otherwise.
const SERVICE: &str = "luthien";
/// How long the last spans may take to be sent when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where traces are sent, and what stands in them.
#[derive(Debug, Clone)]
pub struct Collector {
    /// As `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// PEM file of the authorities to trust in place of the system's.
    pub ca: Option<String>,
    /// PEM files of our own certificate and its key.
    pub identity: Option<(String, String)>,
    /// What the process is called. Default: `luthien`.
    pub service: Option<String>,
    /// Further attributes of the process.
    pub resource: Vec<(&'static str, String)>,
    /// Whether messages stand in traces as well.
    pub content: bool,
    /// So many spans are sent at once. `None`: as `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` says.
    pub batch: Option<usize>,
    /// The names of attributes about models.
    pub convention: Convention,
}

/// Begins the spans of calls.
#[derive(Default)]
pub struct Tracing {
    own: Option<(SdkTracerProvider, SdkTracer)>,
    content: bool,
    convention: Convention,
}

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    /// The endpoint, or a variable about it.
    #[error("{0}")]
    Collector(#[from] opentelemetry_otlp::ExporterBuildError),
    /// A certificate or a key.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
}

impl Tracing {
    /// Sends traces to a collector, which need not be there yet.
    pub fn to(collector: Collector) -> Result<Self, TracingError> {
        let Collector { endpoint, ca, identity, service, resource, content, batch, convention } = collector;
        let mut builder = SpanExporter::builder().with_tonic().with_endpoint(&endpoint);
        if endpoint.starts_with("https://") {
            let read = |path: &str| fs::read(path).map_err(|error| TracingError::File { path: path.to_owned(), error });
            let mut tls = match &ca {
                Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            if let Some((certificate, key)) = &identity {
                tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
            }
            builder = builder.with_tls_config(tls);
        }
        let exporter = Telling { inner: builder.build()?, endpoint, is_failing: AtomicBool::new(false) };
        let attributes = resource.into_iter().map(|(name, value)| KeyValue::new(name, value));
        // What `OTEL_RESOURCE_ATTRIBUTES` says of the process is stronger, and `OTEL_SERVICE_NAME` the strongest.
        let mut described = Resource::builder_empty()
            .with_service_name(SERVICE)
            .with_attributes(attributes)
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_detector(Box::new(EnvResourceDetector::new()));
        if let Some(service) = service {
            described = described.with_service_name(service);
        }
        let resource = described.build();
        let batches = BatchConfigBuilder::default();
        let batches = match batch {
            Some(spans) => batches.with_max_export_batch_size(spans),
            None => batches,
        };
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches.build()).build();
        let provider = SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build();
        let tracer = provider.tracer(SERVICE);
        Ok(Self { own: Some((provider, tracer)), content, convention })
    }

    /// Begins a span that lies below nothing of ours, but perhaps below that of another process.
    pub fn root(&self, name: &'static str, above: &Parent, began: SystemTime) -> Span {
        let Some((_, tracer)) = &self.own else { return Span { own: above.clone(), ..Span::default() } };
        begin(tracer, name.into(), Kind::Internal, began, above.0.as_deref().map(|origin| &origin.context))
    }

    /// Whether messages stand in traces as well.
    pub fn has_content(&self) -> bool {
        self.content
    }

    /// The names of attributes about models.
    pub fn convention(&self) -> Convention {
        self.convention
    }

    /// Sends what waits to be sent, for as long as there is time.
    pub async fn finish(&self) {
        let Some((provider, _)) = self.own.clone() else { return };
        // The library waits in the way of threads.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_WORDS)).await;
        if !matches!(ended, Ok(Ok(()))) {
            warn!("the last spans were not sent in time");
        }
    }
}

/// Says once that the collector does not answer, and once that it does again.
#[derive(Debug)]
struct Telling<E> {
    inner: E,
    endpoint: String,
    is_failing: AtomicBool,
}

impl<E: Exporter> Exporter for Telling<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
        match &result {
            Err(error) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                let endpoint = &*self.endpoint;
                warn!(endpoint, %error, "traces cannot be sent; they are dropped until the collector answers");
            }
            Ok(()) if self.is_failing.swap(false, Ordering::Relaxed) => {
                info!(endpoint = &*self.endpoint, "traces are sent again");
            }
            Ok(()) | Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Reads W3C trace context.
pub(super) fn extract(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    let [parent, state] = super::HEADERS;
    let mut headers = HashMap::from([(parent.to_owned(), traceparent.to_owned())]);
    headers.extend(tracestate.map(|value| (state.to_owned(), value.to_owned())));
    let found = TraceContextPropagator::new().extract(&headers);
    let context = found.span().span_context().clone();
    context.is_valid().then_some(context)
}
