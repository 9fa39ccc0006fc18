//! Frames of a Responses stream, read.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use crate::{
    dialect::{Decoder, MOST_BLOCKS, Parsed, Undecodable, carried::Carried, provider_error, usage},
    json::{Kind, Text, Value},
    model::{BlockHead, BlockId, BlockKind, Dialect, Event, Extra, Slot, Start, Stop, StopReason},
};

use super::{
    items::{Place, Stage, TextEvent, block_kind, is_value, part_event, places, stage, text_event},
    listed::listed,
    said::{Said, text_of},
    shape,
};

/// Far above any number of items, and below what could not be counted on from.
const HIGHEST_INDEX: u32 = 1 << 30;

/// Reads the frames of one Responses stream.
#[derive(Default)]
pub(crate) struct StreamDecoder {
    pub(super) items: BTreeMap<u64, Item>,
    /// The items by their ids.
    names: HashMap<String, u64>,
    /// Bytes of ids and names.
    kept: usize,
    parts: usize,
    blocks: u32,
    /// Used again for each frame.
    events: Vec<Event>,
    pub(super) started: bool,
    pub(super) complete: bool,
}

/// An item as far as it was said.
pub(super) struct Item {
    pub(super) block: BlockId,
    pub(super) head: ItemHead,
    /// Its texts, in order.
    pub(super) parts: Vec<Said>,
    /// The part that is being said.
    pub(super) at: Option<(&'static str, u64)>,
    /// The parts that were said before it.
    pub(super) left: HashSet<(&'static str, u64)>,
    pub(super) open: bool,
    /// What it says is a refusal.
    refuses: bool,
}

/// What never changes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ItemHead {
    pub(super) id: String,
    pub(super) wire: String,
    pub(super) kind: BlockKind,
}

impl ItemHead {
    pub(super) fn of(item: Value<'_>) -> Self {
        let text = |key: &str| item.str_at(key).unwrap_or_default().into_owned();
        Self { id: text("id"), wire: text("type"), kind: block_kind(item) }
    }
}

impl Decoder for StreamDecoder {
    fn decode(&mut self, frame: &Parsed<'_>, out: &mut Vec<(Event, Slot)>) -> Result<(), Undecodable> {
        let mut events = std::mem::take(&mut self.events);
        let outcome = self.read(frame, &mut events);
        if outcome.is_ok() {
            out.extend((0..).zip(events.drain(..)).map(|(slot, event)| (event, slot)));
        }
        events.clear();
        self.events = events;
        outcome
    }

    fn check(&self, frame: &Parsed<'_>) -> Result<(), Undecodable> {
        // What is no JSON is told when it is read.
        frame.value().map_or(Ok(()), |value| shape::check_event(self, value, frame.event))
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn kept(&self) -> usize {
        self.kept
    }
}

impl StreamDecoder {
    fn read(&mut self, frame: &Parsed<'_>, out: &mut Vec<Event>) -> Result<(), Undecodable> {
        let Some((data, value)) = &frame.data else {
            out.push(Event::Ping);
            return Ok(());
        };
        // Compatible servers end with it, as in the older protocol. It says nothing here.
        if data.trim_ascii() == b"[DONE]" {
            out.push(Event::Opaque);
            return Ok(());
        }
        let value = match value {
            Ok(value) => *value,
            Err(_) if frame.is_named_error() => {
                self.complete = true;
                out.push(Event::Error(provider_error::read_body(500, data).into()));
                return Ok(());
            }
            Err(error) => return Err(Undecodable(format!("an event of the stream is {error}"))),
        };
        if value.kind() != Kind::Object {
            return Err(Undecodable("an event of the stream is not a JSON object".to_owned()));
        }
        let named = || frame.event.map(String::from_utf8_lossy);
        let kind = value.str_at("type").or_else(named).unwrap_or_default();
        if self.complete && (kind.starts_with("response.") || kind == "error") {
            return Err(Undecodable("the answer goes on behind its end".to_owned()));
        }
        if let Some(stage) = stage(&kind) {
            return self.stage(stage, value, data, out);
        }
        if let Some(said) = text_event(&kind) {
            return self.text(said, kind.contains("refusal"), value, data, out);
        }
        if let Some((number, ends)) = part_event(&kind) {
            return self.part(number, ends, value, data, out);
        }
        match &*kind {
            // The service nests it, the documentation does not; some compatible servers leave the name out.
            "error" => self.error(value, out),
            _ if value.some("error").is_some_and(|error| error.kind() == Kind::Object) => self.error(value, out),
            "response.output_item.added" => self.open(index(value)?, member(value, "item")?, data, out)?,
            "response.output_item.done" => self.done(value, data, out)?,
            "response.output_text.annotation.added" => {
                out.push(Event::Extra(self.item(value)?.block, Extra::Citation));
            }
            "keepalive" => out.push(Event::Ping),
            _ => out.push(self.other(value)),
        }
        Ok(())
    }

    fn error(&mut self, value: Value<'_>, out: &mut Vec<Event>) {
        self.complete = true;
        out.push(Event::Error(provider_error::read(value.some("error").unwrap_or(value)).into()));
    }

    /// An event of the response as a whole.
    fn stage(&mut self, stage: Stage, value: Value<'_>, data: &Bytes, out: &mut Vec<Event>) -> Result<(), Undecodable> {
        let response = member(value, "response")?;
        match stage {
            Stage::Going => {
                let first = !std::mem::replace(&mut self.started, true);
                out.push(if first { Event::Start(start(response).into()) } else { Event::Opaque });
            }
            Stage::Failed => {
                self.complete = true;
                out.push(Event::Error(failure(response).into()));
            }
            Stage::Ended => {
                self.complete = true;
                // Servers that stream nothing, or not all, say it here.
                let output: Vec<Value<'_>> = response.get("output").into_iter().flat_map(Value::items).collect();
                let is_new: Vec<bool> = self.listed(&output).iter().map(Option::is_none).collect();
                for (item, is_new) in output.into_iter().zip(is_new) {
                    if is_new {
                        let next = self.items.keys().next_back().map_or(0, |last| last + 1);
                        self.whole(next, item, data, out)?;
                    }
                }
                out.push(Event::Stop(self.stop(response).into()));
                out.push(Event::End);
            }
        }
        Ok(())
    }

    fn stop(&self, response: Value<'_>) -> Stop {
        let called = self.items.values().any(|item| item.head.kind.tool_name().is_some());
        Stop { reason: Some(reason(response, called)), usage: usage_of(response), ..Stop::default() }
    }

    fn open(&mut self, index: u64, item: Value<'_>, data: &Bytes, out: &mut Vec<Event>) -> Result<(), Undecodable> {
        if self.items.contains_key(&index) {
            return Err(Undecodable(format!("two items have the output_index {index}")));
        }
        if self.items.len() > MOST_BLOCKS {
            return Err(Undecodable(format!("the answer has more than {MOST_BLOCKS} items")));
        }
        let block = BlockId(self.blocks);
        self.blocks += 1;
        let head = ItemHead::of(item);
        let kind = head.kind.clone();
        let number = u32::try_from(index).ok().filter(|number| *number < HIGHEST_INDEX);
        let number = number.ok_or_else(|| Undecodable("an output_index is out of range".to_owned()))?;
        let mut known = Item {
            block,
            head,
            parts: vec![Said::default()],
            at: None,
            left: HashSet::new(),
            open: true,
            refuses: false,
        };
        out.push(Event::Open(block, BlockHead { kind, choice: 0, index: Some(number) }.into()));
        out.extend(free_text(item).then_some(Event::Extra(block, Extra::FreeText)));
        // Some servers say a call's arguments with its beginning. What comes as a JSON value is said at the end.
        let place = places(item).first().copied().filter(|place| place.holder.span() == item.span());
        match place.and_then(|place| place.text) {
            Some(text) if is_value(text) => out.push(Event::Extra(block, Extra::Echo)),
            Some(text) => {
                if let Some(text) = text_of(text, data) {
                    known.say(&text, out);
                }
            }
            None => {}
        }
        self.kept += 2 * known.head.id.len() + known.head.kind.tool_name().map_or(0, str::len);
        if !known.head.id.is_empty() {
            self.names.entry(known.head.id.clone()).or_insert(index);
        }
        self.items.insert(index, known);
        Ok(())
    }

    fn done(&mut self, value: Value<'_>, data: &Bytes, out: &mut Vec<Event>) -> Result<(), Undecodable> {
        let (index, item) = (index(value)?, member(value, "item")?);
        match self.items.get(&index) {
            Some(known) if known.open => {}
            Some(_) => return Err(Undecodable("an item ends twice".to_owned())),
            // Some servers leave out its beginning.
            None => return self.whole(index, item, data, out),
        }
        self.finish(index, item, data, out);
        Ok(())
    }

    /// An item that comes all at once.
    fn whole(&mut self, index: u64, item: Value<'_>, data: &Bytes, out: &mut Vec<Event>) -> Result<(), Undecodable> {
        let mut opened = Vec::new();
        self.open(index, item, &Bytes::new(), &mut opened)?;
        out.extend(opened.into_iter().filter(|event| !matches!(event, Event::Extra(_, Extra::Echo))));
        self.finish(index, item, data, out);
        Ok(())
    }

    /// What each item that is listed at the end is, as it was streamed. One that has another id says the same text.
    pub(super) fn listed(&self, output: &[Value<'_>]) -> Vec<Option<&Item>> {
        let mut known: Vec<&Item> = self.items.values().collect();
        known.sort_by_key(|item| item.block);
        let heads: Vec<ItemHead> = output.iter().copied().map(ItemHead::of).collect();
        let indexes = listed(&known.iter().map(|item| &item.head).collect::<Vec<_>>(), &heads);
        let found = indexes.into_iter().map(|place| known.get(place?).copied());
        let same = |known: &Item, head: &ItemHead, item: Value<'_>| {
            known.head.kind == head.kind && !differs(&known.parts, &places(item), false)
        };
        let all = found.zip(&heads).zip(output);
        all.map(|((known, head), item)| known.filter(|known| known.head.id == head.id || same(known, head, *item)))
            .collect()
    }

    /// The item of that name, if it was streamed.
    pub(super) fn named(&self, id: &str) -> Option<&Item> {
        self.names.get(id).and_then(|index| self.items.get(index))
    }

    /// An item is whole: says what of it no event has said.
    fn finish(&mut self, index: u64, item: Value<'_>, data: &Bytes, out: &mut Vec<Event>) {
        let Some(known) = self.items.get_mut(&index) else { return };
        let places = places(item);
        for (number, place) in places.into_iter().enumerate() {
            if known.parts.get(number).is_some_and(Said::any) {
                continue;
            }
            if number >= known.parts.len() {
                known.next_part(out);
            }
            known.refuse(place.refuses(), out);
            if let Some(text) = place.text.and_then(|text| text_of(text, data)) {
                known.say(&text, out);
            }
        }
        if let Some(encrypted) = item.some("encrypted_content").and_then(Value::as_str)
            && known.head.kind == BlockKind::Thinking
        {
            let carried = Carried::Reasoning { id: known.head.id.clone(), encrypted: encrypted.into_owned() };
            out.push(Event::Extra(known.block, Extra::Signature(Text::new(&carried.seal()))));
        }
        known.open = false;
        out.push(Event::Close(known.block));
    }

    fn text(
        &mut self,
        said: TextEvent,
        refuses: bool,
        value: Value<'_>,
        data: &Bytes,
        out: &mut Vec<Event>,
    ) -> Result<(), Undecodable> {
        let part = said.part.unwrap_or_default();
        let [index, id, at, text] = value.pick(["output_index", "item_id", part, said.key]);
        self.note_name(id, index);
        if let Some(key) = said.part {
            self.go_to(key, at, index, out)?;
        }
        let item = self.open_item(index)?;
        item.refuse(refuses || said.key == "refusal", out);
        let text = text.and_then(|text| text.text_in(data));
        let Some(text) = text else { return Err(Undecodable(format!("a text event has no `{}`", said.key))) };
        let repeats = !said.is_delta && item.parts.last().is_some_and(Said::any);
        if text.is_empty() || repeats {
            let extra = if said.is_delta { Extra::Other } else { Extra::Repeat };
            out.push(Event::Extra(item.block, extra));
        } else {
            item.say(&text, out);
        }
        Ok(())
    }

    fn part(
        &mut self,
        key: &'static str,
        ends: bool,
        value: Value<'_>,
        data: &Bytes,
        out: &mut Vec<Event>,
    ) -> Result<(), Undecodable> {
        let [index, id, at] = value.pick(["output_index", "item_id", key]);
        self.note_name(id, index);
        let before = out.len();
        self.go_to(key, at, index, out)?;
        let item = self.open_item(index)?;
        let part = super::items::part(member(value, "part")?);
        item.refuse(part.refuses(), out);
        let text = part.text.and_then(|text| text_of(text, data));
        match text {
            Some(text) if !ends || !item.parts.last().is_some_and(Said::any) => item.say(&text, out),
            Some(_) | None if ends => out.push(Event::Extra(item.block, Extra::Repeat)),
            Some(_) | None if out.len() == before => out.push(Event::Extra(item.block, Extra::Other)),
            Some(_) | None => {}
        }
        Ok(())
    }

    /// What is said from here on belongs to the part that an event names.
    fn go_to(
        &mut self,
        key: &'static str,
        at: Option<Value<'_>>,
        index: Option<Value<'_>>,
        out: &mut Vec<Event>,
    ) -> Result<(), Undecodable> {
        let at = number(at, key)?;
        let item = self.open_item(index)?;
        if item.at == Some((key, at)) {
            return Ok(());
        }
        item.begin_part((key, at), out);
        self.parts += 1;
        self.kept += size_of::<Said>() + size_of::<(&str, u64)>();
        if self.parts > MOST_BLOCKS {
            return Err(Undecodable(format!("the answer has more than {MOST_BLOCKS} parts")));
        }
        Ok(())
    }

    /// Events may name an item that has no name of its own.
    fn note_name(&mut self, id: Option<Value<'_>>, index: Option<Value<'_>>) {
        let (Some(id), Some(index)) = (id.and_then(Value::as_str), index.and_then(Value::as_u64)) else { return };
        if !self.names.contains_key(&*id) && self.names.len() <= 2 * MOST_BLOCKS {
            self.kept += id.len();
            self.names.insert(id.into_owned(), index);
        }
    }

    /// An event that says no text: it goes with its item, if it names one.
    fn other(&self, value: Value<'_>) -> Event {
        let item = value.get("output_index").and_then(Value::as_u64).and_then(|index| self.items.get(&index));
        match item.filter(|item| item.open) {
            // Commands and patches come in pieces of their own form before they come whole.
            Some(item) if item.is_value() => Event::Extra(item.block, Extra::Echo),
            Some(item) => Event::Extra(item.block, Extra::Other),
            None => Event::Opaque,
        }
    }

    fn item(&self, value: Value<'_>) -> Result<&Item, Undecodable> {
        self.items.get(&index(value)?).filter(|item| item.open).ok_or_else(not_open)
    }

    fn open_item(&mut self, index: Option<Value<'_>>) -> Result<&mut Item, Undecodable> {
        self.items.get_mut(&number(index, "output_index")?).filter(|item| item.open).ok_or_else(not_open)
    }
}

impl Item {
    fn say(&mut self, text: &Text, out: &mut Vec<Event>) {
        if let Some(part) = self.parts.last_mut() {
            part.push(text);
        }
        out.push(Event::Delta(self.block, text.clone()));
    }

    /// What is said from here on belongs to that part, which is another one than before.
    fn begin_part(&mut self, at: (&'static str, u64), out: &mut Vec<Event>) {
        if let Some(before) = self.at.replace(at) {
            self.left.insert(before);
            self.next_part(out);
        }
    }

    fn refuse(&mut self, refuses: bool, out: &mut Vec<Event>) {
        if refuses && !std::mem::replace(&mut self.refuses, true) {
            out.push(Event::Extra(self.block, Extra::Refuses));
        }
    }

    fn next_part(&mut self, out: &mut Vec<Event>) {
        self.parts.push(Said::default());
        out.push(Event::Extra(self.block, Extra::Break));
    }

    /// Whether its text comes as a JSON value.
    pub(super) fn is_value(&self) -> bool {
        let kinds = ["local_shell_call", "shell_call", "computer_call", "apply_patch_call", "tool_search_call"];
        self.head.kind.tool_name().is_some() && kinds.contains(&&*self.head.wire)
    }
}

/// Whether an item calls a tool that takes free text.
pub(super) fn free_text(item: Value<'_>) -> bool {
    item.str_at("type").as_deref() == Some("custom_tool_call")
}

/// The head of a response object.
pub(super) fn start(response: Value<'_>) -> Start {
    let created = response.get("created_at").map(|value| value.raw_str().split('.').next().unwrap_or_default());
    Start {
        id: response.str_at("id").unwrap_or_default().into_owned(),
        model: response.str_at("model").unwrap_or_default().into_owned(),
        created: created.and_then(|text| text.parse().ok()).unwrap_or(0),
        usage: usage_of(response),
    }
}

/// Why a response failed.
pub(super) fn failure(response: Value<'_>) -> crate::model::ProviderError {
    provider_error::read(response.some("error").unwrap_or(response))
}

/// The states of a response that is no answer, or not yet one.
const UNSAID: [&str; 3] = ["queued", "in_progress", "cancelled"];

/// Why a response that did not fail ended.
pub(super) fn reason(response: Value<'_>, called: bool) -> StopReason {
    let incomplete = response.some("incomplete_details").and_then(|details| details.str_at("reason"));
    match incomplete.as_deref() {
        Some("content_filter") => StopReason::Refused,
        Some(_) => StopReason::Unfinished,
        None if response.str_at("status").as_deref() == Some("incomplete") => StopReason::Unfinished,
        None if response.str_at("status").is_some_and(|status| UNSAID.contains(&&*status)) => StopReason::Failed,
        None if called => StopReason::ToolUse,
        None => StopReason::EndTurn,
    }
}

/// The token counts of a response object.
pub(super) fn usage_of(response: Value<'_>) -> crate::model::Usage {
    response.some("usage").map(|value| usage(Dialect::OpenaiResponses, value)).unwrap_or_default()
}

/// The `output_index` of an event.
pub(super) fn index(value: Value<'_>) -> Result<u64, Undecodable> {
    number(value.get("output_index"), "output_index")
}

fn number(value: Option<Value<'_>>, key: &str) -> Result<u64, Undecodable> {
    value.and_then(Value::as_u64).ok_or_else(|| Undecodable(format!("an event has no `{key}`")))
}

fn member<'a>(value: Value<'a>, key: &str) -> Result<Value<'a>, Undecodable> {
    value.some(key).ok_or_else(|| Undecodable(format!("an event has no `{key}`")))
}

fn not_open() -> Undecodable {
    Undecodable("an event is about an item that is not open".to_owned())
}

/// Whether an item says other texts than were said of it. `more`: what was not said yet may still be.
pub(super) fn differs(parts: &[Said], places: &[Place<'_>], more: bool) -> bool {
    let fits = |said: Option<&Said>, place: Option<&Place<'_>>| match (said, place) {
        (Some(said), Some(place)) => said.agrees(place) || (more && !said.any()),
        // A part that was said must be there.
        (Some(said), None) => !said.any(),
        (None, Some(place)) => more || Said::default().agrees(place),
        (None, None) => true,
    };
    let longest = parts.len().max(places.len());
    (0..longest).any(|number| !fits(parts.get(number), places.get(number)))
}
