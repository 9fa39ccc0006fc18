//! The only code that knows providers' JSON.
//!
//! A [`Decoder`] reads the frames of one stream into events, an [`Encoder`] writes events back: untouched frames leave as
//! they came as long as their numbering is still right, changed ones are patched, new ones are made up in the dialect's own
//! form. [`request`], [`decode_body`] and [`patch_body`] do the same for whole bodies. [`failure_answer`] and
//! [`Encoder::error`] say in each dialect's words why a call does not go on. An [`Assembler`] makes one body of a stream,
//! for whoever keeps it.
//!
//! Sources: the providers' API references and what their official SDKs accept.

mod anthropic;
mod assemble;
mod carried;
mod convert;
mod errors;
mod models;
mod openai_chat;
mod openai_responses;
mod parameters;
mod parsed;
mod path;
mod provider_error;
mod runs;
mod shape;
mod texts;
mod told;
mod transcript;
mod unambiguous;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    json::{Kind, Patch, Text, Value},
    model::{
        Block, BlockHead, BlockId, Dialect, Event, Failure, Piece, Place, ProviderError, Refusal, Request, Slot, Start,
        Stop, StopReason, Usage, conversation::Conversation,
    },
    wire::Frame,
};

pub use assemble::Assembler;
pub use convert::{
    ConvertedRequest, ConvertedTools, Inconvertible, Target, convert_request, without_foreign_reasoning,
};
pub use errors::{ErrorAnswer, WireError};
pub use models::convert_models;
use runs::{Run, encode_runs, event_of, is_left};

pub use parameters::{Parameters, parameters};
pub use parsed::Parsed;
pub use path::{Endpoint, endpoint, error_dialect, is_disguised, path, without_version};
pub use told::{TellRequest, tell_answer, tell_request};
pub use transcript::{Transcript, json};

/// Reads the frames of one stream.
pub trait Decoder: Send {
    /// Adds what a frame says to `out`, each event with the slot of the frame that says it. At least one.
    fn decode(&mut self, frame: &Parsed<'_>, out: &mut Vec<(Event, Slot)>) -> Result<(), Undecodable>;

    /// Whether a policy can judge what `frame`, which is decoded next, says: readers must not differ in what they make of
    /// it.
    fn check(&self, frame: &Parsed<'_>) -> Result<(), Undecodable>;

    /// Whether readers may differ in what they make of what was decoded, though each frame by itself is clear.
    fn is_ambiguous(&self) -> bool {
        false
    }

    /// Whether the body may end here: the dialect's end, or an error, was said.
    fn is_complete(&self) -> bool;

    /// Bytes that it keeps of what it has read.
    fn kept(&self) -> usize {
        0
    }
}

/// Writes the frames of one stream.
pub trait Encoder: Send {
    /// Whether the bytes of a frame that says this are still right after everything written so far.
    fn in_step(&self, event: &Event) -> bool;

    /// A frame left as it came: takes note of what it said.
    fn passed(&mut self, frame: &Frame, pieces: &[Piece]);

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
    fn keepalive(&mut self, out: &mut Vec<u8>);

    /// Bytes that it keeps of what has left.
    fn kept(&self) -> usize {
        0
    }
}

/// Whom an answer is written for.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// What was asked.
    pub request: RequestView,
    /// Luthien's id of the call.
    pub call: Arc<str>,
    /// When the answer is made, in seconds since 1970.
    pub created: u64,
    /// Whether the provider answers in another dialect.
    pub converts: bool,
    /// Whether anything of the answer may be changed, so that what has left is to be remembered.
    pub changes: bool,
}

impl Recipient {
    /// The head of an answer, with what this dialect wants and the provider's did not say.
    fn start(&self, prefix: &str, start: &Start) -> Start {
        let own = || format!("{prefix}{}", self.call);
        let id = if start.id.starts_with(prefix) { start.id.clone() } else { own() };
        let model = if start.model.is_empty() { self.request.model.clone() } else { start.model.clone() };
        let created = if start.created == 0 { self.created } else { start.created };
        Start { id, model, created, usage: start.usage }
    }
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
        Dialect::OpenaiResponses => Box::<openai_responses::StreamDecoder>::default(),
    }
}

/// An encoder for a stream in `dialect`.
pub fn encoder(dialect: Dialect, recipient: Recipient) -> Box<dyn Encoder> {
    match dialect {
        Dialect::AnthropicMessages => Box::new(anthropic::StreamEncoder::new(recipient)),
        Dialect::OpenaiChat => Box::new(openai_chat::StreamEncoder::new(recipient)),
        Dialect::OpenaiResponses => Box::new(openai_responses::StreamEncoder::new(recipient)),
    }
}

/// Reads a whole answer as the events of a short stream.
pub fn decode_body(dialect: Dialect, body: &Bytes) -> Result<Vec<(Event, Slot)>, Undecodable> {
    match dialect {
        Dialect::AnthropicMessages => anthropic::decode_body(body),
        Dialect::OpenaiChat => openai_chat::decode_body(body),
        Dialect::OpenaiResponses => openai_responses::decode_body(body),
    }
}

/// Whether a policy can judge what a whole answer says: readers must not differ in what they make of it.
pub fn check_body(dialect: Dialect, body: &Bytes) -> Result<(), Undecodable> {
    // What is no JSON is told when it is read.
    let Ok(value) = Value::parse(body) else { return Ok(()) };
    match dialect {
        Dialect::AnthropicMessages => anthropic::check_body(value),
        Dialect::OpenaiChat => openai_chat::check_body(value),
        Dialect::OpenaiResponses => openai_responses::check_body(value),
    }
}

/// Writes a whole answer that was changed. `pieces` are all its events, in order, with what policies put between them.
/// `call` is Luthien's id of the call.
pub fn patch_body(dialect: Dialect, body: &Bytes, pieces: &[Piece], call: &str) -> Vec<u8> {
    match dialect {
        Dialect::AnthropicMessages => anthropic::patch_body(body, pieces),
        Dialect::OpenaiChat => openai_chat::patch_body(body, pieces),
        Dialect::OpenaiResponses => openai_responses::patch_body(body, pieces, call),
    }
}

/// An answer that is no stream, to be written from nothing.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    /// Its head.
    pub start: Start,
    /// Its blocks.
    pub blocks: Vec<Built>,
    /// Why it ended.
    pub reason: Option<StopReason>,
    /// Token counts.
    pub usage: Usage,
}

/// A block of an answer that is written from nothing.
#[derive(Debug, Clone)]
pub struct Built {
    /// The block.
    pub block: Block,
    /// What its provider needs to see again, sealed.
    pub sealed: Option<String>,
    /// The namespace of the tool that it calls.
    pub namespace: Option<String>,
}

impl Built {
    /// A block and nothing beside it.
    pub fn new(block: Block) -> Self {
        Self { block, sealed: None, namespace: None }
    }

    /// Whether there is anything in it that an answer can say.
    fn says_anything(&self) -> bool {
        !self.block.text.is_empty() || self.block.kind.tool_name().is_some() || self.sealed.is_some()
    }
}

impl Whole {
    /// An answer of these blocks.
    fn of(blocks: &[Block]) -> Self {
        let calls = blocks.iter().any(|block| block.kind.tool_name().is_some());
        let reason = Some(if calls { StopReason::ToolUse } else { StopReason::EndTurn });
        Self { blocks: blocks.iter().cloned().map(Built::new).collect(), reason, ..Self::default() }
    }
}

/// Whether an answer can be said as a body in `dialect`.
pub fn can_be_whole(dialect: Dialect, whole: &Whole) -> bool {
    match dialect {
        Dialect::AnthropicMessages => anthropic::can_be_whole(whole),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => true,
    }
}

/// Writes a whole answer.
pub fn whole(dialect: Dialect, recipient: &Recipient, whole: &Whole) -> Vec<u8> {
    match dialect {
        Dialect::AnthropicMessages => anthropic::whole(recipient, whole),
        Dialect::OpenaiChat => openai_chat::whole(recipient, whole),
        Dialect::OpenaiResponses => openai_responses::whole(recipient, whole),
    }
}

/// A whole answer of our own, as the body of a response to a request that asked for `stream` or not.
pub fn answer(dialect: Dialect, recipient: &Recipient, blocks: &[Block]) -> Vec<u8> {
    let answer = Whole::of(blocks);
    if !recipient.request.stream {
        return whole(dialect, recipient, &answer);
    }
    let mut out = Vec::new();
    let mut encoder = encoder(dialect, recipient.clone());
    encoder.write(&Event::Start(answer.start.into()), &mut out);
    for (number, block) in (0..).zip(blocks) {
        let id = BlockId(number);
        encoder
            .write(&Event::Open(id, BlockHead { kind: block.kind.clone(), choice: 0, index: None }.into()), &mut out);
        encoder.write(&Event::Delta(id, Text::new(&block.text)), &mut out);
        encoder.write(&Event::Close(id), &mut out);
    }
    encoder
        .write(&Event::Stop(Stop { reason: answer.reason, usage: answer.usage, ..Stop::default() }.into()), &mut out);
    encoder.write(&Event::End, &mut out);
    out
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
    /// The most tokens that the answer may have.
    pub max_tokens: Option<u64>,
    /// The client's tools that take free text.
    pub custom_tools: Vec<String>,
    /// What of it rests on what a provider keeps.
    pub state: State,
    /// What an answer repeats of it, as a JSON object. Empty where answers repeat nothing.
    pub echo: Bytes,
}

/// What of a request rests on what a provider keeps, and what it has the provider keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The fields without which the provider could not answer.
    pub needs: Vec<&'static str>,
    /// The provider keeps the answer.
    pub stores: bool,
}

/// Reads a request.
pub fn request(dialect: Dialect, body: &Bytes) -> Result<(RequestView, Request), Undecodable> {
    match dialect {
        Dialect::AnthropicMessages => anthropic::request(body),
        Dialect::OpenaiChat => openai_chat::request(body),
        Dialect::OpenaiResponses => openai_responses::request(body),
    }
}

/// The request for an answer that a provider kept, which says nothing but its name in the path.
pub fn retrieval(path: &str) -> (RequestView, Request) {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let view = RequestView { stream: query.split('&').any(|pair| pair == "stream=true"), ..RequestView::default() };
    let request = Request::new(String::new(), view.stream, Vec::new());
    (view, request)
}

/// A request that tells the provider to keep nothing.
pub fn unstored(body: &Bytes) -> Bytes {
    let Ok(value) = Value::parse(body) else { return body.clone() };
    let mut patch = Patch::default();
    match value.get("store") {
        Some(old) if old.as_bool() == Some(false) => return body.clone(),
        Some(old) => patch.replace(old.span(), "false"),
        None => patch.append(value, false, b"\"store\":false"),
    }
    patch.apply(body).into()
}

/// A request of our own in `dialect`, to this model.
pub fn own_request(dialect: Dialect, conversation: &Conversation, model: &str) -> Result<Bytes, Inconvertible> {
    convert::write_own(dialect, conversation, model)
}

/// About how many tokens the texts of a request are, as the answer to the question for it in Messages.
///
/// Four characters are taken for a token, as the vendors' own rule of thumb has it.
pub fn estimate(request: &Request) -> Vec<u8> {
    let characters: usize = request.texts().iter().map(|text| text.get().chars().count()).sum();
    let tokens = characters.div_ceil(4) + request.texts().len() * 4;
    serde_json::json!({"input_tokens": tokens}).to_string().into_bytes()
}

/// The object that a request body is, if it says one thing to every reader.
fn request_object(body: &Bytes) -> Result<Value<'_>, Undecodable> {
    let value = Value::parse(body).map_err(|error| Undecodable(format!("the request body is {error}")))?;
    if value.kind() != Kind::Object {
        return Err(Undecodable("the request body is not a JSON object".to_owned()));
    }
    unambiguous::check(value)?;
    Ok(value)
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

/// The body of an answer that says an error of the provider's in another dialect.
pub fn error_body(dialect: Dialect, error: &ProviderError, call: &str) -> Vec<u8> {
    provider_error::told(dialect, error, call).json(dialect)
}

/// Reads the body of a provider's answer with an error `status`.
pub fn read_error(status: u16, body: &[u8]) -> ProviderError {
    provider_error::read_body(status, body)
}

/// An answer in `dialect`, or an event of one, that calls its model by another name.
pub fn with_model(dialect: Dialect, data: &[u8], model: &str) -> Option<Vec<u8>> {
    let value = Value::parse(data).ok()?;
    let holder = match dialect {
        Dialect::OpenaiChat => value,
        Dialect::AnthropicMessages => value.get("message").unwrap_or(value),
        Dialect::OpenaiResponses => value.get("response").unwrap_or(value),
    };
    let old = holder.get("model").filter(|old| old.as_str().is_some_and(|old| old != model))?;
    let mut patch = Patch::default();
    patch.replace(old.span(), crate::json::quote(model));
    Some(patch.apply(data))
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
    let detail = |key: &str, inner: &str| value.get(key).and_then(|details| details.get(inner)?.as_u64());
    match dialect {
        Dialect::AnthropicMessages => {
            let cached = count("cache_read_input_tokens");
            let uncached = count("input_tokens");
            let cache_write = count("cache_creation_input_tokens");
            let input = uncached.map(|tokens| {
                [cached, cache_write].into_iter().flatten().fold(tokens, |sum: u64, more| sum.saturating_add(more))
            });
            let reasoning = detail("output_tokens_details", "thinking_tokens");
            Usage { input, cached, cache_write, output: count("output_tokens"), reasoning }
        }
        Dialect::OpenaiChat => Usage {
            input: count("prompt_tokens"),
            cached: detail("prompt_tokens_details", "cached_tokens"),
            cache_write: detail("prompt_tokens_details", "cache_write_tokens"),
            output: count("completion_tokens"),
            reasoning: detail("completion_tokens_details", "reasoning_tokens"),
        },
        Dialect::OpenaiResponses => Usage {
            input: count("input_tokens"),
            cached: detail("input_tokens_details", "cached_tokens"),
            cache_write: detail("input_tokens_details", "cache_write_tokens"),
            output: count("output_tokens"),
            reasoning: detail("output_tokens_details", "reasoning_tokens"),
        },
    }
}
