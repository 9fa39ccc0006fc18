//! Traces: spans of calls, sent to a collector over OTLP gRPC.
//!
//! [`Tracing`] begins the spans of calls, [`Span`] is one of them, [`Parent`] is what others begin theirs below, in this
//! process or in another. Without a collector all of them are empty and cost nothing; with one, they wait in a queue of a
//! bounded length, and what does not fit is dropped. Nothing here knows what a call is.

mod export;
pub mod gen_ai;

use std::{borrow::Cow, fmt, sync::Arc, time::SystemTime};

use opentelemetry::{
    Context, KeyValue,
    context::FutureExt as _,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _,
    },
};
use opentelemetry_sdk::trace::{SdkTracer, Span as Recording};

pub use export::{Collector, Tracing, TracingError};
pub use opentelemetry::{Array, StringValue, Value};

/// The names of W3C trace context headers.
pub const HEADERS: [&str; 2] = ["traceparent", "tracestate"];

/// A span. It ends when it is dropped.
#[derive(Default)]
pub struct Span {
    own: Parent,
    recording: Option<Recording>,
    has_failed: bool,
}

/// What spans are begun below. Empty where nobody traces.
#[derive(Clone, Default)]
pub struct Parent(Option<Arc<Origin>>);

struct Origin {
    /// `None`: somebody else traces, and we do not.
    tracer: Option<SdkTracer>,
    context: SpanContext,
}

/// The ids of a span, for log lines and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The trace, 32 hexadecimal digits.
    pub trace: TraceId,
    /// The span, 16 hexadecimal digits.
    pub span: SpanId,
}

/// Whose work a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Our own.
    Internal,
    /// Somebody's that we asked.
    Client,
}

impl Parent {
    /// What `traceparent` and `tracestate` of another process say. Empty where they are missing or wrong.
    pub fn of_headers(traceparent: Option<&str>, tracestate: Option<&str>) -> Self {
        let context = traceparent.and_then(|parent| export::extract(parent, tracestate));
        Self(context.map(|context| Arc::new(Origin { tracer: None, context })))
    }

    /// The span around the code that runs, see [`Parent::around`].
    pub fn current() -> Self {
        Context::map_current(|context| context.get::<Self>().cloned()).unwrap_or_default()
    }

    /// Runs a future below this span: inside, [`Parent::current`] is this one.
    pub fn around<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        future.with_context(Context::new().with_value(self))
    }

    /// Whether nobody traces.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether spans below it are sent to the collector.
    pub fn is_sampled(&self) -> bool {
        self.0.as_ref().is_some_and(|origin| origin.tracer.is_some() && origin.context.is_sampled())
    }

    /// The ids, if there are any.
    pub fn ids(&self) -> Option<Ids> {
        let context = &self.0.as_ref()?.context;
        Some(Ids { trace: context.trace_id(), span: context.span_id() })
    }

    /// The headers that tell another process of it, where we trace. `tracestate` is left out where it says nothing.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let [traceparent, tracestate] = HEADERS;
        let ours = self.0.as_ref().filter(|origin| origin.tracer.is_some());
        let context = ours.map(|origin| &origin.context);
        let parent = context.map(|context| {
            let (trace, span) = (context.trace_id(), context.span_id());
            (traceparent, format!("00-{trace}-{span}-{:02x}", context.trace_flags()))
        });
        let state = context.map(|context| (tracestate, context.trace_state().header()));
        parent.into_iter().chain(state.filter(|(_, state)| !state.is_empty()))
    }

    /// Begins a span below this one, now.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Span {
        self.child_since(name, kind, SystemTime::now())
    }

    /// Begins a span below this one, as if it had begun at this time.
    pub fn child_since(&self, name: impl Into<Cow<'static, str>>, kind: Kind, began: SystemTime) -> Span {
        match self.0.as_deref() {
            Some(Origin { tracer: Some(tracer), context }) if context.is_sampled() => {
                begin(tracer, name.into(), kind, began, Some(context))
            }
            // What lies below a span that nobody keeps is not kept either.
            Some(_) | None => Span { own: self.clone(), ..Span::default() },
        }
    }
}

impl Span {
    /// What spans are begun below it with.
    pub fn parent(&self) -> &Parent {
        &self.own
    }

    /// Whether what is said of it is sent to the collector.
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Says something about it, once for each name.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(recording) = &mut self.recording {
            recording.set_attribute(KeyValue::new(name, cut(value.into(), LONGEST)));
        }
    }

    /// Says something about it, if there is something to say.
    pub fn set_some(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Something happened now.
    pub fn event(&mut self, name: &'static str, attributes: impl IntoIterator<Item = (&'static str, Value)>) {
        if let Some(recording) = &mut self.recording {
            let attributes =
                attributes.into_iter().map(|(name, value)| KeyValue::new(name, cut(value, LONGEST_OF_EVENT))).collect();
            recording.add_event(name, attributes);
        }
    }

    /// It failed: how, in a word for programs, and why. The first word counts.
    pub fn failed(&mut self, kind: impl Into<Value>, why: String) {
        if std::mem::replace(&mut self.has_failed, true) {
            return;
        }
        self.set(gen_ai::ERROR_TYPE, kind);
        if let Some(recording) = &mut self.recording {
            recording.set_status(Status::error(why));
        }
    }

    /// Its work was over at this time.
    pub fn finish(self, at: SystemTime) -> Finished {
        Finished { span: self, at }
    }
}

/// A span whose work is over, of which there is still something to say.
pub struct Finished {
    span: Span,
    at: SystemTime,
}

impl Finished {
    /// Says something about it, if there is something to say.
    pub fn set_some(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        self.span.set_some(name, value);
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        if let Some(recording) = &mut self.span.recording {
            recording.end_with_timestamp(self.at);
        }
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Finished")
    }
}

/// The longest text that an attribute of a span holds, in bytes: what waits to be sent is bounded by the number of spans.
const LONGEST: usize = 64 << 10;
/// The same of an event, of which there are many.
const LONGEST_OF_EVENT: usize = 4 << 10;

fn cut(value: Value, longest: usize) -> Value {
    let Value::String(text) = &value else { return value };
    let text = text.as_str();
    match text.get(..text.floor_char_boundary(longest)) {
        Some(beginning) if beginning.len() < text.len() => Value::from(format!("{beginning}…")),
        _ => value,
    }
}

/// A number for a span.
pub fn count(number: impl TryInto<i64>) -> Value {
    Value::I64(number.try_into().unwrap_or(i64::MAX))
}

fn begin(
    tracer: &SdkTracer,
    name: Cow<'static, str>,
    kind: Kind,
    began: SystemTime,
    parent: Option<&SpanContext>,
) -> Span {
    let kind = match kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Client => SpanKind::Client,
    };
    let builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(began);
    let around = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent.clone()));
    let recording = tracer.build_with_context(builder, &around);
    let context = recording.span_context().clone();
    let own = Parent(Some(Arc::new(Origin { tracer: Some(tracer.clone()), context })));
    Span { own, recording: recording.is_recording().then_some(recording), has_failed: false }
}
