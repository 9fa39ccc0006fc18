//! The only code that knows providers' JSON.
//!
//! A [`Decoder`] reads the frames of one stream into events, an [`Encoder`] writes events back: untouched frames leave as
//! they came as long as their numbering is still right, changed ones are patched, new ones are made up in the dialect's own
//! form. [`request`], [`decode_body`] and [`patch_body`] do the same for whole bodies. [`failure_answer`] and
//! [`Encoder::error`] say in each dialect's words why a call does not go on.
//!
//! Sources: the providers' API references and what their official SDKs accept.

mod anthropic;
mod errors;
mod openai_chat;
mod path;
mod runs;
mod shape;
mod texts;

use std::collections::HashSet;

use bytes::Bytes;

use crate::{
    json::{Kind, Patch, Value},
    model::{Block, Dialect, Event, Failure, Piece, Place, Refusal, Request, Slot, Usage},
    wire::Frame,
};

pub use errors::{ErrorAnswer, WireError};
use runs::{Run, encode_runs, event_of, is_left};

pub use path::{Endpoint, endpoint, error_dialect};

/// Reads the frames of one stream.
pub trait Decoder: Send {
    /// Adds what `frame` says to `out`, each event with the slot of the frame that says it. At least one.
    fn decode(&mut self, frame: &Frame, out: &mut Vec<(Event, Slot)>) -> Result<(), Undecodable>;

    /// Whether a policy can judge what `frame` says: readers must not differ in what they make of it.
    fn check(&self, frame: &Frame) -> Result<(), Undecodable>;

    /// Whether the body may end here: the dialect's end, or an error, was said.
    fn is_complete(&self) -> bool;
}

/// Writes the frames of one stream.
pub trait Encoder: Send {
    /// Whether the bytes of a frame that says this are still right after everything written so far.
    fn in_step(&self, event: &Event) -> bool;

    /// These bytes left as they came: takes note of what they said.
    fn passed(&mut self, event: &Event);

    /// A frame that says nothing of any block left as it came: takes note of what it begins.
    fn passed_frame(&mut self, _frame: &Frame) {}

    /// Writes a frame that was changed. `pieces` are all its events, in order, with what policies put between them.
    fn patch(&mut self, frame: &Frame, pieces: &[Piece], out: &mut Vec<u8>);

    /// Writes an event of our own.
    fn write(&mut self, event: &Event, out: &mut Vec<u8>);

    /// Writes an error that ends the stream.
    fn error(&mut self, error: &WireError, out: &mut Vec<u8>);

    /// Ends the stream as a complete answer that ends with `text`. `false`: that cannot be, because half of a tool call
    /// has left.
    fn conclude(&mut self, text: &str, out: &mut Vec<u8>) -> bool;

    /// Writes a keepalive.
    fn keepalive(&self, out: &mut Vec<u8>);
}

/// More blocks than any answer has; what goes beyond is an attack on whoever keeps account of them.
const MOST_BLOCKS: usize = 10_000;

/// What a frame or a body says cannot be read. Clients are told why, so it never quotes what a provider said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(pub String);

/// A decoder for a stream in `dialect`.
pub fn decoder(dialect: Dialect) -> Box<dyn Decoder> {
    match dialect {
        Dialect::AnthropicMessages => Box::<anthropic::StreamDecoder>::default(),
        Dialect::OpenaiChat => Box::<openai_chat::StreamDecoder>::default(),
    }
}

/// An encoder for a stream in `dialect`. `include_usage`: the client asked for token counts at the end of the stream.
pub fn encoder(dialect: Dialect, include_usage: bool) -> Box<dyn Encoder> {
    match dialect {
        Dialect::AnthropicMessages => Box::<anthropic::StreamEncoder>::default(),
        Dialect::OpenaiChat => Box::new(openai_chat::StreamEncoder::new(include_usage)),
    }
}

/// Reads a whole answer as the events of a short stream.
pub fn decode_body(dialect: Dialect, body: &Bytes) -> Result<Vec<(Event, Slot)>, Undecodable> {
    match dialect {
        Dialect::AnthropicMessages => anthropic::decode_body(body),
        Dialect::OpenaiChat => openai_chat::decode_body(body),
    }
}

/// Whether a policy can judge what a whole answer says: readers must not differ in what they make of it.
pub fn check_body(dialect: Dialect, body: &Bytes) -> Result<(), Undecodable> {
    // What is no JSON is told when it is read.
    let Ok(value) = Value::parse(body) else { return Ok(()) };
    match dialect {
        Dialect::AnthropicMessages => anthropic::check_body(value),
        Dialect::OpenaiChat => openai_chat::check_body(value),
    }
}

/// Writes a whole answer that was changed. `pieces` are all its events, in order, with what policies put between them.
pub fn patch_body(dialect: Dialect, body: &Bytes, pieces: &[Piece]) -> Vec<u8> {
    match dialect {
        Dialect::AnthropicMessages => anthropic::patch_body(body, pieces),
        Dialect::OpenaiChat => openai_chat::patch_body(body, pieces),
    }
}

/// A whole answer of our own, as the body of a response to a request that asked for `stream` or not.
pub fn answer(dialect: Dialect, request: &RequestView, id: &str, created: u64, blocks: &[Block]) -> Vec<u8> {
    match dialect {
        Dialect::AnthropicMessages => anthropic::answer(request, id, blocks),
        Dialect::OpenaiChat => openai_chat::answer(request, id, created, blocks),
    }
}

/// What the gateway itself reads of a request.
#[derive(Debug, Clone, Default)]
pub struct RequestView {
    /// The model asked for.
    pub model: String,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// Whether token counts at the end of the stream are asked for.
    pub include_usage: bool,
    /// The client's id of the conversation, where the body says it.
    pub session: Option<String>,
}

/// Reads a request.
pub fn request(dialect: Dialect, body: &Bytes) -> Result<(RequestView, Request), Undecodable> {
    match dialect {
        Dialect::AnthropicMessages => anthropic::request(body),
        Dialect::OpenaiChat => openai_chat::request(body),
    }
}

/// The object that a request body is. A key that stands twice is refused: who reads the first one and who the last
/// differs, and a policy must see what the provider will.
fn request_object(body: &Bytes) -> Result<Value<'_>, Undecodable> {
    let value = Value::parse(body).map_err(|error| Undecodable(format!("the request body is {error}")))?;
    if value.kind() != Kind::Object {
        return Err(Undecodable("the request body is not a JSON object".to_owned()));
    }
    let mut seen = HashSet::new();
    match value.members().find(|member| !seen.insert(member.key.clone())) {
        Some(member) => Err(Undecodable(format!("the request body has the key `{}` twice", member.key))),
        None => Ok(value),
    }
}

/// The body of a request with what policies changed; the same bytes if they changed nothing.
pub fn patch_request(body: &Bytes, request: &Request) -> Bytes {
    if !request.is_changed() {
        return body.clone();
    }
    let mut patch = Patch::default();
    if let (Some(model), Ok(value)) = (request.new_model(), Value::parse(body))
        && let Some(old) = value.get("model")
    {
        patch.replace(old.span(), crate::json::quote(model));
    }
    for text in request.texts() {
        let Some(edited) = text.edited() else { continue };
        match text.place() {
            Place::String(span) => {
                let mut escaped = Vec::new();
                crate::json::escape(edited, &mut escaped);
                patch.replace(span, escaped);
            }
            Place::Value(span) => patch.replace(span, edited),
        }
    }
    patch.apply(body).into()
}

/// The HTTP answer to a call that failed before its answer began.
pub fn failure_answer(dialect: Dialect, failure: &Failure, call: &str) -> ErrorAnswer {
    errors::failure(dialect, failure, call)
}

/// The HTTP answer to a call that was refused before its answer began.
pub fn refusal_answer(dialect: Dialect, refusal: &Refusal, call: &str) -> ErrorAnswer {
    errors::refusal(dialect, refusal, call)
}

/// Token counts in a whole answer's `usage`, or in a stream's.
fn usage(dialect: Dialect, value: Value<'_>) -> Usage {
    let count = |key: &str| value.get(key).and_then(Value::as_u64);
    match dialect {
        Dialect::AnthropicMessages => {
            let cached = count("cache_read_input_tokens");
            let uncached = count("input_tokens");
            let also = [cached, count("cache_creation_input_tokens")];
            let input = uncached
                .map(|tokens| also.into_iter().flatten().fold(tokens, |sum: u64, more| sum.saturating_add(more)));
            Usage { input, cached, output: count("output_tokens") }
        }
        Dialect::OpenaiChat => Usage {
            input: count("prompt_tokens"),
            cached: value.get("prompt_tokens_details").and_then(|details| details.get("cached_tokens")?.as_u64()),
            output: count("completion_tokens"),
        },
    }
}
