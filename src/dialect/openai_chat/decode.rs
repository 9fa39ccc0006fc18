//! Frames of a Chat Completions stream, read.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use indexmap::IndexMap;

use crate::{
    dialect::{Decoder, MOST_BLOCKS, Parsed, Undecodable, provider_error, usage},
    json::{Kind, Value},
    model::{BlockHead, BlockId, BlockKind, Dialect, Event, Extra, ProviderError, Slot, Start, Stop},
};

use super::{
    FUNCTION,
    parts::{CARRIER, Field, Part, What, arguments, parts, tool_body},
    shape, stop_reason,
};

/// Reads the frames of one Chat Completions stream.
#[derive(Default)]
pub(crate) struct StreamDecoder {
    open: BTreeMap<u32, IndexMap<Key, BlockId>>,
    closed: HashSet<(u32, Key)>,
    names: BTreeMap<BlockId, String>,
    /// The tool call that each choice was last about, by the index that the server gave it.
    last_tool: HashMap<u32, u32>,
    /// The tool call that each index of a choice means.
    tools: HashMap<(u32, u32), Tool>,
    /// A call was named again, or begun within another: clients that go by the index alone make one of both. Or a choice
    /// went on behind its end, or had its number only at times.
    is_ambiguous: bool,
    /// Whether choices have numbers.
    numbered: Option<bool>,
    /// Which choices have begun, and whether they have stopped.
    choices: BTreeMap<u32, bool>,
    blocks: u32,
    started: bool,
    ended: bool,
}

/// A tool call by its number here, which is the server's unless that stands for another call already.
struct Tool {
    number: u32,
    id: String,
}

/// What identifies a block of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Text(Field),
    Tool(u32),
}

impl Decoder for StreamDecoder {
    fn decode(&mut self, frame: &Parsed<'_>, out: &mut Vec<(Event, Slot)>) -> Result<(), Undecodable> {
        let Some((data, value)) = &frame.data else {
            out.push((Event::Ping, CARRIER));
            return Ok(());
        };
        // Servers are seen to write a space behind it; one SDK tests a prefix, the other equality.
        if data.trim_ascii() == b"[DONE]" {
            for choice in self.open.keys().copied().collect::<Vec<_>>() {
                self.close(choice, CARRIER, out);
            }
            // Most clients stop reading here; those that read on begin anew.
            self.closed.clear();
            self.ended = true;
            out.push((Event::End, CARRIER));
            return Ok(());
        }
        let named_error = frame.is_named_error();
        let value = match value {
            Ok(value) => *value,
            Err(_) if named_error => {
                self.error(provider_error::read_body(500, data), out);
                return Ok(());
            }
            Err(error) => return Err(Undecodable(format!("an event of the stream is {error}"))),
        };
        if value.kind() != Kind::Object {
            return Err(Undecodable("an event of the stream is not a JSON object".to_owned()));
        }
        let [error, id, usage] = value.pick(["error", "id", "usage"]).map(|member| member.filter(|it| !it.is_null()));
        if let Some(error) = error.filter(|error| says_error(*error)).or(named_error.then_some(value)) {
            self.error(provider_error::read(error), out);
            return Ok(());
        }
        out.push((self.carrier(value, id, usage), CARRIER));
        for (slot, part) in (1..).zip(parts(value, "delta")) {
            self.part(part, slot, data, out)?;
        }
        Ok(())
    }

    fn check(&self, frame: &Parsed<'_>) -> Result<(), Undecodable> {
        // What is no JSON is told when it is read.
        let Some(value) = frame.value() else { return Ok(()) };
        if frame.is_named_error() && value.some("choices").is_some() {
            return Err(Undecodable("an error event has an answer in it".to_owned()));
        }
        shape::check(value, "delta")
    }

    fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }

    fn is_complete(&self) -> bool {
        self.ended || (!self.choices.is_empty() && self.choices.values().all(|stopped| *stopped))
    }
}

impl StreamDecoder {
    fn error(&mut self, error: ProviderError, out: &mut Vec<(Event, Slot)>) {
        self.ended = true;
        out.push((Event::Error(error.into()), CARRIER));
    }

    fn carrier(&mut self, value: Value<'_>, id: Option<Value<'_>>, said: Option<Value<'_>>) -> Event {
        let usage = said.map(|value| usage(Dialect::OpenaiChat, value));
        let id = id.and_then(Value::as_str).unwrap_or_default();
        // Azure's first chunk carries filter results and an empty id.
        if !self.started && !id.is_empty() {
            self.started = true;
            return Event::Start(start(value).into());
        }
        usage.map_or(Event::Opaque, |usage| Event::Usage(usage.into()))
    }

    fn part(
        &mut self,
        part: Part<'_>,
        slot: Slot,
        data: &Bytes,
        out: &mut Vec<(Event, Slot)>,
    ) -> Result<(), Undecodable> {
        self.choices.entry(part.choice).or_default();
        if !matches!(part.what, What::Finish { .. }) {
            // Clients keep what has no number apart from the choice that it stands in the place of.
            self.is_ambiguous |= *self.numbered.get_or_insert(part.is_numbered) != part.is_numbered;
        }
        if self.blocks as usize > MOST_BLOCKS {
            return Err(Undecodable(format!("the answer has more than {MOST_BLOCKS} blocks")));
        }
        match part.what {
            What::Text { field, value } | What::Item { field, value, .. } => {
                let id = self.open_block(part.choice, Key::Text(field), slot, || field.kind(), out);
                let text = value.text_in(data).unwrap_or_default();
                out.push((Event::Delta(id, text), slot));
            }
            What::Tool { entry, .. } => {
                let number = self.tool_number(part.choice, entry)?;
                let (body, key) = tool_body(entry).unzip();
                self.tool(part.choice, Key::Tool(number), entry.str_at("id"), body, key, slot, data, out)?;
            }
            What::Function { call } => {
                self.tool(part.choice, Key::Tool(FUNCTION), None, Some(call), Some("arguments"), slot, data, out)?;
            }
            What::Finish { value } => {
                self.close(part.choice, slot, out);
                self.choices.insert(part.choice, true);
                let stop = Stop { choice: part.choice, reason: stop_reason(value), ..Stop::default() };
                out.push((Event::Stop(stop.into()), slot));
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the two forms of a call differ in just these")]
    fn tool(
        &mut self,
        choice: u32,
        number: Key,
        id: Option<std::borrow::Cow<'_, str>>,
        body: Option<Value<'_>>,
        key: Option<&str>,
        slot: Slot,
        data: &Bytes,
        out: &mut Vec<(Event, Slot)>,
    ) -> Result<(), Undecodable> {
        let name = body.and_then(|body| body.str_at("name")).unwrap_or_default().into_owned();
        let known = self.find(choice, number);
        let block = self.open_block(
            choice,
            number,
            slot,
            || BlockKind::ToolCall { id: id.unwrap_or_default().into_owned(), name: name.clone() },
            out,
        );
        let said = self.names.entry(block).or_default();
        let mut said_anything = known.is_none();
        if said.is_empty() && !name.is_empty() {
            said.clone_from(&name);
            if known.is_some() {
                said_anything = true;
                out.push((Event::Name(block, name), slot));
            }
        } else if !name.is_empty() && known.is_some() {
            if *said != name {
                return Err(Undecodable("a tool call is named twice".to_owned()));
            }
            self.is_ambiguous = true;
        }
        if known.is_none() && key == Some("input") {
            out.push((Event::Extra(block, Extra::FreeText), slot));
        }
        let text = body.zip(key).and_then(|(body, key)| arguments(body.get(key)?, data));
        match text.filter(|text| !text.is_empty()) {
            Some(text) => out.push((Event::Delta(block, text), slot)),
            None if said_anything => {}
            None => out.push((Event::Extra(block, Extra::Other), slot)),
        }
        Ok(())
    }

    /// The number of a tool call. Servers that leave out the index are understood by the id: a new one is a new call. So
    /// are those that give every call the same index, if the new id comes with a name: others make up an id for each chunk.
    fn tool_number(&mut self, choice: u32, entry: Value<'_>) -> Result<u32, Undecodable> {
        let id = entry.str_at("id").unwrap_or_default();
        let last = self.last_tool.get(&choice).copied();
        let is_other = |tool: &Tool| !id.is_empty() && id != tool.id.as_str();
        let index = match (entry.some("index"), last) {
            (Some(index), _) => index
                .as_u64()
                .and_then(|index| u32::try_from(index).ok())
                .ok_or_else(|| Undecodable("the `index` of a tool call is not a whole number".to_owned()))?,
            (None, None) => 0,
            (None, Some(last)) => last.saturating_add(u32::from(self.tools.get(&(choice, last)).is_some_and(is_other))),
        };
        self.last_tool.insert(choice, index);
        let body = tool_body(entry).map(|(body, _)| body);
        let begins = body.is_some_and(|body| body.str_at("name").is_some_and(|name| !name.is_empty()));
        let is_same =
            self.tools.get(&(choice, index)).is_some_and(|known| known.id.is_empty() || !begins || !is_other(known));
        if is_same && let Some(known) = self.tools.get_mut(&(choice, index)) {
            if known.id.is_empty() {
                known.id = id.into_owned();
            }
            return Ok(known.number);
        }
        self.is_ambiguous |= self.tools.contains_key(&(choice, index));
        let is_taken = self.find(choice, Key::Tool(index)).is_some();
        let number = if is_taken { self.free_number(choice) } else { index };
        if number == FUNCTION {
            return Err(Undecodable("there are too many tool calls".to_owned()));
        }
        self.tools.insert((choice, index), Tool { number, id: id.into_owned() });
        Ok(number)
    }

    /// A number that no tool call of the choice has.
    fn free_number(&self, choice: u32) -> u32 {
        let known = self.open.get(&choice).into_iter().flat_map(IndexMap::keys);
        let numbers = known.filter_map(|key| if let Key::Tool(number) = key { Some(*number) } else { None });
        numbers.filter(|number| *number != FUNCTION).max().map_or(0, |most| most.saturating_add(1))
    }

    fn find(&self, choice: u32, key: Key) -> Option<BlockId> {
        self.open.get(&choice)?.get(&key).copied()
    }

    fn open_block(
        &mut self,
        choice: u32,
        key: Key,
        slot: Slot,
        kind: impl FnOnce() -> BlockKind,
        out: &mut Vec<(Event, Slot)>,
    ) -> BlockId {
        if let Some(id) = self.find(choice, key) {
            return id;
        }
        // Some servers finish a choice with each of its calls. But what had an end and goes on is one text for clients, and
        // none for whoever judged it.
        let is_behind = self.closed.contains(&(choice, key));
        self.is_ambiguous |= is_behind;
        let kind = if is_behind { BlockKind::Other("behind_the_end".to_owned()) } else { kind() };
        let id = BlockId(self.blocks);
        self.blocks += 1;
        self.open.entry(choice).or_default().insert(key, id);
        let index = match key {
            Key::Tool(index) => index,
            Key::Text(_) => 0,
        };
        out.push((Event::Open(id, BlockHead { kind, choice, index: Some(index) }.into()), slot));
        id
    }

    /// Everything of a choice is complete when the choice is: text may go on behind tool calls, and fragments of several
    /// calls may interleave.
    fn close(&mut self, choice: u32, slot: Slot, out: &mut Vec<(Event, Slot)>) {
        for (key, id) in self.open.remove(&choice).unwrap_or_default() {
            self.closed.insert((choice, key));
            out.push((Event::Close(id), slot));
        }
    }
}

/// Whether the `error` of an object says one: an empty one, as some servers add to every chunk, does not.
pub(super) fn says_error(error: Value<'_>) -> bool {
    match error.kind() {
        Kind::Object => error.members().next().is_some(),
        Kind::String => error.string_span().is_some_and(|span| !span.is_empty()),
        Kind::Bool => error.as_bool() == Some(true),
        Kind::Array | Kind::Number => true,
        Kind::Null => false,
    }
}

/// The head of a chunk or of a completion.
pub(super) fn start(value: Value<'_>) -> Start {
    Start {
        id: value.str_at("id").unwrap_or_default().into_owned(),
        model: value.str_at("model").unwrap_or_default().into_owned(),
        created: value.get("created").and_then(Value::as_u64).unwrap_or(0),
        usage: value.some("usage").map(|value| usage(Dialect::OpenaiChat, value)).unwrap_or_default(),
    }
}
