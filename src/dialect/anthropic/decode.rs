//! Frames of a Messages stream, read.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use crate::{
    dialect::{Decoder, MOST_BLOCKS, Parsed, Undecodable, carried::Carried, provider_error, usage},
    json::{Kind, Text, Value},
    model::{BlockHead, BlockId, BlockKind, Dialect, Event, Extra, Slot, Start, Stop, Usage},
};

use super::{block_kind, explanation, shape, stop_reason, text_key};

/// Slot of a block's first text, where it stands in the frame that opens the block.
pub(super) const FIRST_TEXT: Slot = 1;
/// Slot of thinking that the provider hides, which stands in the frame that opens the block.
const HIDDEN: Slot = 2;

/// Reads the frames of one Messages stream.
#[derive(Default)]
pub(crate) struct StreamDecoder {
    open: BTreeMap<u64, (BlockId, BlockKind)>,
    /// Every number that a block has had: readers put what comes under a number again into the old block.
    seen: HashSet<u64>,
    blocks: u32,
    /// The tokens read, by the members that say them; each event says only some.
    reads: [Option<u64>; 3],
    started: bool,
    complete: bool,
}

/// The members that together say how many tokens were read.
const READS: [&str; 3] = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];

impl Decoder for StreamDecoder {
    fn decode(&mut self, frame: &Parsed<'_>, out: &mut Vec<(Event, Slot)>) -> Result<(), Undecodable> {
        let Some((data, value)) = &frame.data else {
            out.push((Event::Ping, 0));
            return Ok(());
        };
        let value = match value {
            Ok(value) => *value,
            // Proxies between here and the provider write their own text into an error event.
            Err(_) if frame.is_named_error() => {
                self.complete = true;
                out.push((Event::Error(provider_error::read_body(500, data).into()), 0));
                return Ok(());
            }
            Err(error) => return Err(Undecodable(format!("an event of the stream is {error}"))),
        };
        let [kind, index, delta, usage] = value.pick(["type", "index", "delta", "usage"]);
        let named = || frame.event.map(String::from_utf8_lossy);
        let kind = kind.and_then(Value::as_str).or_else(named).unwrap_or_default();
        let event = match &*kind {
            "message_start" => self.start(value)?,
            "content_block_start" => return self.open_block(value, data, out),
            "content_block_delta" => self.delta(number(index)?, delta, data)?,
            "content_block_stop" => {
                let index = number(index)?;
                // A stop for a block that is not open says nothing that a policy has not seen.
                self.open.remove(&index).map_or(Event::Opaque, |(id, _)| Event::Close(id))
            }
            "message_delta" => Event::Stop(
                Stop {
                    choice: 0,
                    reason: delta.and_then(|delta| stop_reason(delta.get("stop_reason")?)),
                    explanation: delta.and_then(|delta| explanation(delta, data)),
                    usage: usage.map(|value| self.usage(value)).unwrap_or_default(),
                }
                .into(),
            ),
            "message_stop" => {
                self.complete = true;
                Event::End
            }
            "error" => {
                self.complete = true;
                Event::Error(provider_error::read(value.some("error").unwrap_or(value)).into())
            }
            "ping" => Event::Ping,
            _ => Event::Opaque,
        };
        out.push((event, 0));
        Ok(())
    }

    fn check(&self, frame: &Parsed<'_>) -> Result<(), Undecodable> {
        // What is no JSON is told when it is read.
        frame.value().map_or(Ok(()), |value| shape::check_event(value, frame.event))
    }

    fn is_complete(&self) -> bool {
        self.complete
    }
}

impl StreamDecoder {
    fn start(&mut self, value: Value<'_>) -> Result<Event, Undecodable> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(Event::Opaque);
        }
        let Some(message) = value.get("message") else {
            return Err(Undecodable("message_start has no message".to_owned()));
        };
        let mut start = start(message);
        if let Some(said) = message.get("usage") {
            start.usage = self.usage(said);
        }
        Ok(Event::Start(start.into()))
    }

    /// Token counts. All that were read are the sum of what this event says and of what an earlier one said.
    fn usage(&mut self, value: Value<'_>) -> Usage {
        let said = READS.map(|key| value.get(key).and_then(Value::as_u64));
        for (known, said) in self.reads.iter_mut().zip(said) {
            *known = said.or(*known);
        }
        let sum = self.reads.iter().flatten().fold(0, |sum: u64, more| sum.saturating_add(*more));
        let uncached = self.reads.first().copied().flatten();
        let input = uncached.filter(|_| said.iter().any(Option::is_some)).map(|_| sum);
        Usage { input, ..usage(Dialect::AnthropicMessages, value) }
    }

    fn open_block(&mut self, value: Value<'_>, data: &Bytes, out: &mut Vec<(Event, Slot)>) -> Result<(), Undecodable> {
        let [at, block] = value.pick(["index", "content_block"]);
        let at = number(at)?;
        let (Some(block), Ok(number)) = (block, u32::try_from(at)) else {
            return Err(Undecodable("content_block_start has no content_block".to_owned()));
        };
        if self.complete {
            return Err(Undecodable("a block starts after message_stop".to_owned()));
        }
        let id = BlockId(self.blocks);
        self.blocks += 1;
        let kind = block_kind(block);
        let first = text_key(&kind).and_then(|key| whole_text(block.get(key)?, data));
        if !self.seen.insert(at) {
            return Err(Undecodable(format!("block {at} starts twice")));
        }
        if self.seen.len() > MOST_BLOCKS {
            return Err(Undecodable(format!("the answer has more than {MOST_BLOCKS} blocks")));
        }
        self.open.insert(at, (id, kind.clone()));
        out.push((Event::Open(id, BlockHead { kind, choice: 0, index: Some(number) }.into()), 0));
        out.extend(first.map(|text| (Event::Delta(id, text), FIRST_TEXT)));
        out.extend(hidden(block).map(|sealed| (Event::Extra(id, Extra::Signature(sealed)), HIDDEN)));
        Ok(())
    }

    fn delta(&self, at: u64, delta: Option<Value<'_>>, data: &Bytes) -> Result<Event, Undecodable> {
        let (id, kind) = self.open.get(&at).ok_or_else(|| not_open(at))?;
        let Some(delta) = delta else {
            return Err(Undecodable("content_block_delta has no delta".to_owned()));
        };
        let key = delta_key(kind);
        let [delta_type, text] = delta.pick(["type", key.unwrap_or_default()]);
        let delta_type = delta_type.and_then(Value::as_str).unwrap_or_default();
        let fits = match (&*delta_type, kind) {
            ("citations_delta", _) => return Ok(Event::Extra(*id, Extra::Citation)),
            ("text_delta", BlockKind::Text | BlockKind::Other(_))
            | ("thinking_delta", BlockKind::Thinking)
            | ("input_json_delta", BlockKind::ToolCall { .. } | BlockKind::ServerTool { .. }) => true,
            ("text_delta" | "thinking_delta" | "input_json_delta", kind) => {
                !matches!(kind, BlockKind::ServerResult { .. } | BlockKind::Other(_))
            }
            ("signature_delta", BlockKind::Thinking) => {
                let signature = delta.str_at("signature").unwrap_or_default().into_owned();
                return Ok(Event::Extra(*id, Extra::Signature(Text::new(&Carried::Signature(signature).seal()))));
            }
            _ => return Ok(Event::Extra(*id, Extra::Other)),
        };
        let text = key.and(text).and_then(|text| text.text_in(data));
        match text {
            Some(text) if fits && !text.is_empty() => Ok(Event::Delta(*id, text)),
            None if fits => Err(Undecodable(format!("a {delta_type} does not fit its {} block", kind.name()))),
            Some(_) | None => Ok(Event::Extra(*id, Extra::Other)),
        }
    }
}

/// The member of a delta that holds text for this kind of block.
pub(super) fn delta_key(kind: &BlockKind) -> Option<&'static str> {
    match kind {
        BlockKind::Text | BlockKind::Other(_) => Some("text"),
        BlockKind::Thinking => Some("thinking"),
        BlockKind::ToolCall { .. } | BlockKind::ServerTool { .. } => Some("partial_json"),
        BlockKind::Refusal | BlockKind::ServerResult { .. } => None,
    }
}

/// What only the provider can read of a block, sealed.
pub(super) fn hidden(block: Value<'_>) -> Option<Text> {
    let (kind, key) = (block.str_at("type")?, "data");
    let text =
        block.str_at(if kind == "redacted_thinking" { key } else { "signature" }).filter(|text| !text.is_empty())?;
    let carried = match &*kind {
        "redacted_thinking" => Carried::Redacted(text.into_owned()),
        "thinking" => Carried::Signature(text.into_owned()),
        _ => return None,
    };
    Some(Text::new(&carried.seal()))
}

/// The head of a message.
pub(super) fn start(message: Value<'_>) -> Start {
    Start {
        id: message.str_at("id").unwrap_or_default().into_owned(),
        model: message.str_at("model").unwrap_or_default().into_owned(),
        created: 0,
        usage: message.get("usage").map(|value| usage(Dialect::AnthropicMessages, value)).unwrap_or_default(),
    }
}

/// The text of a whole block, unless it is empty; a tool's input is its JSON text.
pub(super) fn whole_text(value: Value<'_>, document: &Bytes) -> Option<Text> {
    let text = match value.kind() {
        Kind::String => value.text_in(document)?,
        Kind::Object if value.members().next().is_none() => return None,
        Kind::Null => return None,
        Kind::Object | Kind::Array | Kind::Number | Kind::Bool => Text::new(value.raw_str()),
    };
    (!text.is_empty()).then_some(text)
}

fn number(index: Option<Value<'_>>) -> Result<u64, Undecodable> {
    index.and_then(Value::as_u64).ok_or_else(|| Undecodable("a block event has no index".to_owned()))
}

fn not_open(index: u64) -> Undecodable {
    Undecodable(format!("content_block_delta for block {index}, which is not open"))
}
