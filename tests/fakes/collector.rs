//! A collector of traces: takes OTLP over gRPC, and shows the spans of a trace as a tree.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    trace::v1::{Span, status::StatusCode},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, codec::CompressionEncoding, transport::Server};

/// The fake. Dropping it closes its listener.
pub(crate) struct Collector {
    address: SocketAddr,
    spans: watch::Sender<Vec<Collected>>,
    _server: JoinSet<()>,
}

/// A span that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Collected {
    /// Who sent it, `luthien` or `luthien-envoy`.
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) is_client: bool,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty where there is none.
    pub(crate) parent: String,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) events: Vec<(String, BTreeMap<String, Value>)>,
    pub(crate) is_error: bool,
    began: u64,
    pub(crate) took: Duration,
}

struct Service {
    spans: watch::Sender<Vec<Collected>>,
    /// Only counts, so that it takes no time from what is measured.
    counts: Option<Arc<AtomicUsize>>,
}

impl Collector {
    /// Starts it on a free port of the loopback interface.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port is free");
        Self::on(listener)
    }

    /// Starts one that keeps nothing, and returns it with the number of spans that it gets.
    pub(crate) async fn counting() -> (Self, Arc<AtomicUsize>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port is free");
        let count = Arc::new(AtomicUsize::new(0));
        (Self::serve(listener, Some(Arc::clone(&count))), count)
    }

    /// Starts it on this listener.
    pub(crate) fn on(listener: TcpListener) -> Self {
        Self::serve(listener, None)
    }

    fn serve(listener: TcpListener, counts: Option<Arc<AtomicUsize>>) -> Self {
        let address = listener.local_addr().expect("a bound listener has an address");
        let spans = watch::Sender::new(Vec::new());
        let service = TraceServiceServer::new(Service { spans: spans.clone(), counts })
            .accept_compressed(CompressionEncoding::Gzip);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let end = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
            end.await.expect("the collector serves");
        });
        Self { address, spans, _server: server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span so far.
    pub(crate) fn spans(&self) -> Vec<Collected> {
        self.spans.borrow().clone()
    }

    /// Every span, as soon as they fit.
    pub(crate) async fn until(&self, what: &str, fit: impl Fn(&[Collected]) -> bool) -> Vec<Collected> {
        let mut seen = self.spans.subscribe();
        let found = time::timeout(Duration::from_secs(30), seen.wait_for(|spans| fit(spans))).await;
        let found = found.map(|spans| spans.expect("the collector is alive").clone());
        found.unwrap_or_else(|_| panic!("the collector did not get {what}; it has:\n{}", forest(&self.spans())))
    }

    /// The spans of one trace, as soon as all of these names are among them.
    pub(crate) async fn trace(&self, names: &[&str]) -> Vec<Collected> {
        let has = |spans: &[Collected], trace: &str, name: &str| {
            spans.iter().any(|span| span.trace == trace && span.name == name)
        };
        let whole = |spans: &[Collected]| {
            let traces = spans.iter().map(|span| span.trace.clone());
            traces.into_iter().find(|trace| names.iter().all(|name| has(spans, trace, name)))
        };
        let spans = self.until(&format!("{names:?}"), |spans| whole(spans).is_some()).await;
        let trace = whole(&spans).expect("it was just there");
        spans.into_iter().filter(|span| span.trace == trace).collect()
    }
}

impl Collected {
    /// An attribute.
    pub(crate) fn get(&self, name: &str) -> &Value {
        self.attributes.get(name).unwrap_or(&Value::Null)
    }
}

/// The spans as a tree: each below its parent, in the order in which they began.
pub(crate) fn forest(spans: &[Collected]) -> String {
    fn below(spans: &[Collected], parent: &str, depth: usize, out: &mut String) {
        for span in spans.iter().filter(|span| span.parent == parent) {
            let hook = span.get("luthien.policy.hook").as_str().map(|hook| format!(" {hook}")).unwrap_or_default();
            let failed = if span.is_error { " !" } else { "" };
            writeln!(out, "{:indent$}{}{hook}{failed}", "", span.name, indent = depth * 2)
                .expect("a string takes text");
            below(spans, &span.id, depth + 1, out);
        }
    }
    let mut out = String::new();
    let known = |id: &str| spans.iter().any(|span| span.id == id);
    let mut roots: Vec<&str> = spans.iter().map(|span| span.parent.as_str()).filter(|parent| !known(parent)).collect();
    roots.sort_unstable();
    roots.dedup();
    for root in roots {
        below(spans, root, 0, &mut out);
    }
    out
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if let Some(counts) = &self.counts {
            let scopes = request.get_ref().resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            counts.fetch_add(scopes.map(|scope| scope.spans.len()).sum(), Ordering::Relaxed);
            return Ok(Response::new(ExportTraceServiceResponse::default()));
        }
        let mut new = Vec::new();
        for resource in request.into_inner().resource_spans {
            let attributes = named(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
            let service = attributes.get("service.name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            new.extend(spans.map(|span| collected(&service, span)));
        }
        self.spans.send_modify(|spans| {
            // Envoy ends, and so sends, the span of its question to Luthien twice.
            for span in new {
                if spans.iter().all(|known: &Collected| known.id != span.id) {
                    spans.push(span);
                }
            }
            spans.sort_by_key(|span| span.began);
        });
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn collected(service: &str, span: Span) -> Collected {
    let events = span.events.into_iter().map(|event| (event.name, named(event.attributes)));
    Collected {
        service: service.to_owned(),
        name: span.name,
        is_client: span.kind == 3,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        attributes: named(span.attributes),
        events: events.collect(),
        is_error: span.status.is_some_and(|status| status.code == StatusCode::Error as i32),
        began: span.start_time_unix_nano,
        took: Duration::from_nanos(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)),
    }
}

fn named(attributes: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let count = attributes.len();
    let named: BTreeMap<_, _> = attributes.into_iter().map(|pair| (pair.key, value(pair.value))).collect();
    assert_eq!(named.len(), count, "an attribute stands twice: {named:?}");
    named
}

fn value(any: Option<AnyValue>) -> Value {
    match any.and_then(|any| any.value) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(yes)) => json!(yes),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::ArrayValue(array)) => array.values.into_iter().map(|any| value(Some(any))).collect(),
        Some(other) => json!(format!("{other:?}")),
        None => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes text");
        out
    })
}
