//! Messages to Envoy.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
        extensions::filters::http::ext_proc::v3::ProcessingMode,
        service::ext_proc::v3::{
            BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, ImmediateResponse,
            ProcessingResponse, StreamedBodyResponse, TrailersResponse, body_mutation::Mutation,
            processing_response::Response,
        },
        r#type::v3::HttpStatus,
    },
    google::protobuf::{Struct, Value, value::Kind},
};

use crate::dialect::ErrorAnswer;

use super::bodies::{Bodies, Leave};

/// The namespace of Envoy's dynamic metadata that the access log reads.
const METADATA: &str = "luthien";

/// Envoy buffers what it is sent without a bound, message by message; small messages keep it fair.
const CHUNK: usize = 64 << 10;

/// The body of an answer in place of the provider's.
pub(super) fn immediate_body(reply: &ProcessingResponse) -> Bytes {
    match &reply.response {
        Some(Response::ImmediateResponse(answer)) => Bytes::copy_from_slice(&answer.body),
        _ => Bytes::new(),
    }
}

/// What the access log is told of a call, by name.
pub(super) type Metadata = Vec<(&'static str, Told)>;

/// One thing that the access log is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    Text(String),
    Count(u64),
}

impl From<&str> for Told {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Messages that wait to be sent. Body messages are made when their turn comes, so that a body waits here only once.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Outgoing>,
    /// Of bodies, in bytes.
    bytes: usize,
}

enum Outgoing {
    Reply(Box<ProcessingResponse>),
    Body { direction: Direction, chunk: Bytes, end: Option<Metadata> },
}

impl Outbox {
    /// Sends a message.
    pub(super) fn push(&mut self, reply: ProcessingResponse) {
        self.waiting.push_back(Outgoing::Reply(Box::new(reply)));
    }

    /// Lets body bytes go on, as messages of a bounded size; `end` completes the direction, and says what the access log is
    /// told with it.
    pub(super) fn push_body(
        &mut self,
        direction: Direction,
        chunks: impl IntoIterator<Item = Bytes>,
        end: Option<Metadata>,
    ) {
        for chunk in chunks.into_iter().filter(|chunk| !chunk.is_empty()) {
            self.bytes += chunk.len();
            self.waiting.push_back(Outgoing::Body { direction, chunk, end: None });
        }
        if end.is_some() {
            self.waiting.push_back(Outgoing::Body { direction, chunk: Bytes::new(), end });
        }
    }

    /// Bytes of bodies that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether more of bodies waits than one message takes.
    pub(super) fn is_long(&self) -> bool {
        self.bytes > CHUNK
    }

    /// Whether the answer's headers are among what waits.
    pub(super) fn has_answer_headers(&self) -> bool {
        let is_headers = |waiting: &Outgoing| match waiting {
            Outgoing::Reply(reply) => matches!(reply.response, Some(Response::ResponseHeaders(_))),
            Outgoing::Body { .. } => false,
        };
        self.waiting.iter().any(is_headers)
    }

    /// The next message. Body bytes that wait one behind the other go as one.
    pub(super) fn pop(&mut self) -> Option<ProcessingResponse> {
        match self.waiting.pop_front()? {
            Outgoing::Reply(reply) => Some(*reply),
            Outgoing::Body { direction, chunk, end } => Some(self.body(direction, chunk, end)),
        }
    }

    fn body(&mut self, direction: Direction, mut chunk: Bytes, mut end: Option<Metadata>) -> ProcessingResponse {
        let same = |waiting: &Outgoing| matches!(waiting, Outgoing::Body { direction: its, .. } if *its == direction);
        let waiting = || self.waiting.iter().take_while(|waiting| same(waiting)).map(Outgoing::len);
        let mut message = Vec::with_capacity(CHUNK.min(chunk.len() + waiting().sum::<usize>()));
        loop {
            let part = chunk.split_to(chunk.len().min(CHUNK - message.len()));
            message.extend_from_slice(&part);
            if !chunk.is_empty() {
                self.waiting.push_front(Outgoing::Body { direction, chunk, end: end.take() });
            } else if end.is_none()
                && self.waiting.front().is_some_and(same)
                && let Some(Outgoing::Body { chunk: next, end: its, .. }) = self.waiting.pop_front()
            {
                (chunk, end) = (next, its);
                continue;
            }
            self.bytes = self.bytes.saturating_sub(message.len());
            return body_message(direction, message, end);
        }
    }
}

impl Outgoing {
    /// Bytes of a body.
    fn len(&self) -> usize {
        match self {
            Self::Reply(_) => 0,
            Self::Body { chunk, .. } => chunk.len(),
        }
    }
}

/// Changes of headers, credentials among them.
#[derive(Default)]
pub(super) struct Headers {
    set: Vec<HeaderValueOption>,
    remove: Vec<String>,
}

/// The direction that a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

impl Direction {
    /// How metrics call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

impl Headers {
    /// Sets a header, in place of whatever the client or the provider sent.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.set.push(HeaderValueOption {
            header: Some(HeaderValue {
                key: name.to_owned(),
                raw_value: value.as_bytes().to_vec(),
                ..HeaderValue::default()
            }),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
            ..HeaderValueOption::default()
        });
    }

    /// Removes a header.
    pub(super) fn remove(&mut self, name: &str) {
        self.remove.push(name.to_owned());
    }

    fn mutation(self) -> HeaderMutation {
        HeaderMutation { set_headers: self.set, remove_headers: self.remove }
    }
}

/// Lets a request's headers go on, changed. They go nowhere without leave.
pub(super) fn request_headers(leave: &Leave, mut changes: Headers, metadata: Metadata) -> ProcessingResponse {
    leave.bodies().and_then(Bodies::outdated).into_iter().for_each(|name| changes.remove(name));
    headers(Direction::Request, changes, metadata)
}

/// Lets an answer's headers go on, changed. `bodies`: its body comes here.
pub(super) fn response_headers(bodies: Option<Bodies>, mut changes: Headers, metadata: Metadata) -> ProcessingResponse {
    bodies.and_then(Bodies::outdated).into_iter().for_each(|name| changes.remove(name));
    headers(Direction::Response, changes, metadata)
}

/// Asks for another mode than the configured one, for this call. Answers nothing.
pub(super) fn mode(mode: ProcessingMode) -> ProcessingResponse {
    ProcessingResponse { mode_override: Some(mode), ..ProcessingResponse::default() }
}

fn headers(direction: Direction, headers: Headers, metadata: Metadata) -> ProcessingResponse {
    let common = CommonResponse {
        header_mutation: Some(headers.mutation()),
        // The route is chosen again after the change: the upstream and the path are new.
        clear_route_cache: direction == Direction::Request,
        ..CommonResponse::default()
    };
    let inner = HeadersResponse { response: Some(common) };
    let response = match direction {
        Direction::Request => Response::RequestHeaders(inner),
        Direction::Response => Response::ResponseHeaders(inner),
    };
    telling(reply(response), metadata)
}

/// Lets an answer's trailers go on. Only ever in answer to trailers: unasked, Envoy would take it for the end of processing.
pub(super) fn trailers() -> ProcessingResponse {
    reply(Response::ResponseTrailers(TrailersResponse::default()))
}

/// Answers the client in place of the provider. Envoy cancels the provider, and processing is over.
pub(super) fn immediate(answer: ErrorAnswer, content_type: &str, call: &str, details: &str) -> ProcessingResponse {
    let mut headers = Headers::default();
    headers.set("content-type", content_type);
    headers.set("x-luthien-call-id", call);
    for (name, value) in &answer.headers {
        headers.set(name, value);
    }
    let response = ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(answer.status) }),
        headers: Some(headers.mutation()),
        body: answer.body,
        details: details.to_owned(),
        ..ImmediateResponse::default()
    };
    reply(Response::ImmediateResponse(response))
}

/// Tells the access log something with a message.
pub(super) fn telling(reply: ProcessingResponse, metadata: Metadata) -> ProcessingResponse {
    ProcessingResponse { dynamic_metadata: Some(dynamic_metadata(metadata)), ..reply }
}

fn body_message(direction: Direction, body: Vec<u8>, end: Option<Metadata>) -> ProcessingResponse {
    let streamed = StreamedBodyResponse { body, end_of_stream: end.is_some(), ..StreamedBodyResponse::default() };
    let common = CommonResponse {
        body_mutation: Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) }),
        ..CommonResponse::default()
    };
    let inner = BodyResponse { response: Some(common) };
    let message = reply(match direction {
        Direction::Request => Response::RequestBody(inner),
        Direction::Response => Response::ResponseBody(inner),
    });
    match end.filter(|metadata| !metadata.is_empty()) {
        Some(metadata) => telling(message, metadata),
        None => message,
    }
}

fn reply(response: Response) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

fn dynamic_metadata(fields: Metadata) -> Struct {
    // Counts of tokens are far below what a double can say.
    #[expect(clippy::cast_precision_loss, reason = "the protocol has no other numbers")]
    let value = |told| match told {
        Told::Text(text) => Value { kind: Some(Kind::StringValue(text)) },
        Told::Count(count) => Value { kind: Some(Kind::NumberValue(count as f64)) },
    };
    let fields: HashMap<_, _> = fields.into_iter().map(|(name, told)| (name.to_owned(), value(told))).collect();
    let inner = Value { kind: Some(Kind::StructValue(Struct { fields })) };
    Struct { fields: HashMap::from([(METADATA.to_owned(), inner)]) }
}
