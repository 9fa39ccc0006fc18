//! Frames of a Chat Completions stream, written.

use std::collections::{BTreeMap, HashSet};

use crate::{
    dialect::{Encoder, Recipient, Run, WireError, encode_runs, event_of, is_left, provider_error},
    json::{Patch, Span, Text, Value, quote},
    model::{
        BlockHead, BlockId, BlockKind, Body, Dialect, Event, Extra, Origin, Piece, Slot, Start, Stop, StopReason, Usage,
    },
    wire::{Frame, write_event},
};

use super::{
    FUNCTION,
    parts::{Field, Part, THINKING_KEYS, What, choice_number, parts, repeats, tool_body},
    stop_word, write,
};

/// Writes one Chat Completions stream.
pub(crate) struct StreamEncoder {
    recipient: Recipient,
    start: Option<Start>,
    blocks: BTreeMap<BlockId, Written>,
    /// The thinking that was said last, of an answer in another dialect.
    thought: Option<BlockId>,
    choices: BTreeMap<u32, Choice>,
    usage: Usage,
    usage_said: bool,
}

/// A block as it was written.
struct Written {
    choice: u32,
    kind: BlockKind,
    came: Option<u32>,
    index: u32,
    /// It is a call of our own whose arguments have not begun.
    unsaid: bool,
}

#[derive(Default)]
struct Choice {
    /// The number of the next tool call of our own.
    next_tool: u32,
    /// How far the provider's numbers have moved: up for each call added, down for each taken out.
    shift: i64,
    stopped: bool,
}

/// Which part of a frame a run is.
#[derive(Clone, Copy)]
struct Share<'a> {
    /// Every slot that had an event, also those taken out.
    said: &'a HashSet<Slot>,
    first: bool,
    last: bool,
}

impl StreamEncoder {
    pub(crate) fn new(recipient: Recipient) -> Self {
        Self {
            recipient,
            start: None,
            blocks: BTreeMap::new(),
            thought: None,
            choices: BTreeMap::new(),
            usage: Usage::default(),
            usage_said: false,
        }
    }
}

impl Encoder for StreamEncoder {
    fn in_step(&self, event: &Event) -> bool {
        if let Event::Open(_, head) = event {
            return !is_numbered(head) || self.choices.get(&head.choice).is_none_or(|choice| choice.shift == 0);
        }
        event.block().and_then(|id| self.blocks.get(&id)).is_none_or(Written::is_in_place)
    }

    fn passed(&mut self, frame: &Frame, pieces: &[Piece]) {
        let events = || pieces.iter().filter_map(Piece::event);
        events().for_each(|event| self.note(event));
        // Most frames say more of a block, whose choice is known.
        if events().any(|event| event.block().is_some() || event.stop().is_some()) {
            return;
        }
        if let Ok(value) = Value::parse(&frame.data().unwrap_or_default()) {
            self.note_choices(value);
        }
    }

    fn patch(&mut self, frame: &Frame, pieces: &[Piece], out: &mut Vec<u8>) {
        let slots =
            |pieces: &[Piece]| pieces.iter().filter_map(|piece| Some(piece.origin?.slot)).collect::<HashSet<_>>();
        let said = slots(pieces);
        let mut runs = 0;
        encode_runs(pieces, |run| runs += usize::from(run.is_ok_and(is_left)));
        let mut number = 0;
        encode_runs(pieces, |run| match run {
            Ok(run) => {
                number += usize::from(is_left(run));
                let share = Share { said: &said, first: number == 1, last: number == runs };
                self.patch_run(frame, run, share, out);
            }
            Err(event) => self.write(event, out),
        });
    }

    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Open(id, head) => {
                self.begin(head.choice, out);
                self.note(event);
                let custom = self.is_custom(&head.kind);
                if let (BlockKind::ToolCall { id: call, name }, Some(block)) = (&head.kind, self.blocks.get_mut(id)) {
                    block.unsaid = !custom;
                    let start = write::tool_start(block.index, call, name, custom);
                    self.chunk(head.choice, &start, None, out);
                }
            }
            Event::Delta(id, text) if !text.is_empty() => {
                self.begin_paragraph(*id, out);
                self.write_delta(*id, text, out);
            }
            Event::Extra(id, Extra::Break) => {
                if self.blocks.get(id).is_some_and(|block| block.kind == BlockKind::Thinking) {
                    self.write_delta(*id, &Text::new("\n\n"), out);
                }
            }
            // No arguments are an empty object.
            Event::Close(id) if self.blocks.get(id).is_some_and(|block| block.unsaid) => {
                self.write_delta(*id, &Text::new("{}"), out);
            }
            Event::Stop(stop) => {
                self.usage.update(&stop.usage);
                self.begin(stop.choice, out);
                self.chunk(stop.choice, b"{}", stop.reason.as_ref(), out);
                self.note(event);
            }
            Event::End => {
                if self.recipient.request.include_usage && !self.usage_said {
                    write::usage_chunk(&self.head(), &self.usage, out);
                }
                write_event(None, b"[DONE]", out);
            }
            Event::Start(start) => {
                self.usage.update(&start.usage);
                self.start = Some(self.recipient.start("chatcmpl-", start));
                self.begin(0, out);
            }
            Event::Error(error) => {
                let error = provider_error::told(Dialect::OpenaiChat, error, &self.recipient.call);
                self.error(&error, out);
            }
            Event::Usage(usage) => self.usage.update(usage),
            Event::Ping => self.keepalive(out),
            Event::Name(..) | Event::Delta(..) | Event::Extra(..) | Event::Close(_) | Event::Opaque | Event::Eof => {}
        }
    }

    fn error(&mut self, error: &WireError, out: &mut Vec<u8>) {
        write_event(None, &write::error_json(error), out);
    }

    fn conclude(&mut self, text: &str, out: &mut Vec<u8>) -> bool {
        let stopped = |choice: u32| self.choices.get(&choice).is_some_and(|choice| choice.stopped);
        let half_tool = self.blocks.values().any(|block| block.kind.tool_name().is_some() && !stopped(block.choice));
        if half_tool || (!self.choices.is_empty() && self.choices.values().all(|choice| choice.stopped)) {
            return false;
        }
        self.choices.entry(0).or_default();
        let open: Vec<u32> =
            self.choices.iter().filter(|(_, choice)| !choice.stopped).map(|(number, _)| *number).collect();
        for choice in open {
            self.begin(choice, out);
            self.chunk(choice, &write::text_delta("content", &Text::new(text)), None, out);
            let reason = Some(StopReason::EndTurn);
            self.write(&Event::Stop(Stop { choice, reason, ..Stop::default() }.into()), out);
        }
        self.write(&Event::End, out);
        true
    }

    fn keepalive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": keepalive\n\n");
    }
}

/// Whether a block has a number on the wire.
fn is_numbered(head: &BlockHead) -> bool {
    head.kind.tool_name().is_some() && head.index != Some(FUNCTION)
}

impl Written {
    fn is_in_place(&self) -> bool {
        self.kind.tool_name().is_none() || self.came == Some(FUNCTION) || self.came == Some(self.index)
    }
}

impl StreamEncoder {
    /// Takes note of an event that has left.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Start(start) => {
                self.usage.update(&start.usage);
                self.choices.entry(0).or_default();
                self.start = Some((**start).clone());
            }
            Event::Open(id, head) => self.open_block(*id, head),
            Event::Stop(stop) => self.choices.entry(stop.choice).or_default().stopped = true,
            Event::Usage(usage) => {
                self.usage.update(usage);
                self.usage_said = true;
            }
            Event::Name(..)
            | Event::Delta(..)
            | Event::Extra(..)
            | Event::Close(_)
            | Event::Error(_)
            | Event::End
            | Event::Ping
            | Event::Opaque
            | Event::Eof => {}
        }
    }

    /// The head of the answer.
    fn head(&self) -> Start {
        self.start.clone().unwrap_or_else(|| self.recipient.start("chatcmpl-", &Start::default()))
    }

    fn is_custom(&self, kind: &BlockKind) -> bool {
        let custom = &self.recipient.request.custom_tools;
        kind.tool_name().is_some_and(|name| custom.iter().any(|custom| custom == name))
    }

    /// Says the role, where nothing of the provider's has said it.
    fn begin(&mut self, choice: u32, out: &mut Vec<u8>) {
        if !self.choices.contains_key(&choice) {
            self.start = Some(self.head());
            self.choices.entry(choice).or_default();
            self.chunk(choice, br#"{"role":"assistant","content":""}"#, None, out);
        }
    }

    /// A choice has begun, and its role is said, with the first chunk that names it.
    fn note_choices(&mut self, value: Value<'_>) {
        for (position, choice) in value.get("choices").into_iter().flat_map(Value::items).enumerate() {
            self.choices.entry(choice_number(choice, position)).or_default();
        }
    }

    fn chunk(&self, choice: u32, delta: &[u8], finish: Option<&StopReason>, out: &mut Vec<u8>) {
        write::chunk(&self.head(), choice, delta, finish, out);
    }

    fn open_block(&mut self, id: BlockId, head: &BlockHead) {
        let choice = self.choices.entry(head.choice).or_default();
        let mut index = 0;
        if is_numbered(head) {
            choice.shift += i64::from(head.index.is_none());
            let moved = head.index.and_then(|came| u32::try_from(i64::from(came) + choice.shift).ok());
            index = moved.unwrap_or(choice.next_tool);
            choice.next_tool = index + 1;
        }
        let kind = head.kind.clone();
        self.blocks.insert(id, Written { choice: head.choice, kind, came: head.index, index, unsaid: false });
    }

    /// All thinking of a message is one text here: what is a block elsewhere is a paragraph of it.
    fn begin_paragraph(&mut self, id: BlockId, out: &mut Vec<u8>) {
        if self.recipient.converts && self.blocks.get(&id).is_some_and(|block| block.kind == BlockKind::Thinking) {
            let before = self.thought.replace(id);
            if before.is_some_and(|before| before != id) {
                self.write_delta(id, &Text::new("\n\n"), out);
            }
        }
    }

    fn write_delta(&mut self, id: BlockId, text: &Text, out: &mut Vec<u8>) {
        let Some(block) = self.blocks.get_mut(&id) else { return };
        block.unsaid = false;
        let Some(block) = self.blocks.get(&id) else { return };
        let delta = match block.kind {
            BlockKind::ToolCall { .. } if block.came == Some(FUNCTION) => {
                [b"{\"function_call\":", write::text_delta("arguments", text).as_slice(), b"}"].concat()
            }
            BlockKind::ToolCall { .. } => write::tool_arguments(block.index, text, self.is_custom(&block.kind)),
            BlockKind::Refusal => write::text_delta(Field::Refusal.key(), text),
            BlockKind::Thinking => write::text_delta(Field::Thinking.key(), text),
            BlockKind::Text | BlockKind::ServerTool { .. } | BlockKind::ServerResult { .. } | BlockKind::Other(_) => {
                write::text_delta(Field::Content.key(), text)
            }
        };
        self.chunk(block.choice, &delta, None, out);
    }

    /// Writes the share of a frame that some of its events are. The role goes with the first share, token counts with the
    /// last; a share that says nothing any more is not written.
    fn patch_run(&mut self, frame: &Frame, run: &Run<'_>, share: Share<'_>, out: &mut Vec<u8>) {
        for (_, body) in run {
            match body {
                Body::Kept(event) | Body::Edited(event) => self.note(event),
                Body::Gone(Event::Open(_, head)) if is_numbered(head) => {
                    self.choices.entry(head.choice).or_default().shift -= 1;
                }
                Body::Gone(_) => {}
            }
        }
        if !is_left(run) {
            return;
        }
        let data = frame.data().unwrap_or_default();
        let Ok(value) = Value::parse(&data) else {
            // `[DONE]`, or an error in plain text.
            let says = run.iter().filter_map(|(_, body)| event_of(body));
            if says.into_iter().any(|(event, _)| matches!(event, Event::End | Event::Error(_))) {
                out.extend_from_slice(frame.raw());
            }
            return;
        };
        self.note_choices(value);
        let mut patch = Patch::default();
        let mut says = value.get("choices").is_none();
        let parts = parts(value, "delta");
        for (position, choice) in value.get("choices").into_iter().flat_map(Value::items).enumerate() {
            let mine: Vec<_> = (1..).zip(&parts).filter(|(_, part)| part.position == position).collect();
            says |= self.patch_choice(choice, &mine, run, share, &mut patch);
        }
        match value.some("usage") {
            Some(_) if share.last => says = true,
            Some(_) => patch.remove_members(value, |member| member.key == "usage"),
            None => {}
        }
        if says || parts.is_empty() {
            out.extend_from_slice(frame.with_data(&patch.apply(&data)).raw());
            out.extend_from_slice(frame.missing_end());
        }
    }

    /// Patches one choice of a chunk. Returns whether it still says anything.
    fn patch_choice(
        &self,
        choice: Value<'_>,
        parts: &[(Slot, &Part<'_>)],
        run: &Run<'_>,
        share: Share<'_>,
        patch: &mut Patch,
    ) -> bool {
        let delta = choice.get("delta");
        let mut gone_keys: Vec<&str> = Vec::new();
        let (mut gone_tools, mut gone_items) = (HashSet::new(), HashSet::new());
        let (mut is_said, mut text_changed) = (false, false);
        for (slot, part) in parts {
            let left = |(origin, body): &&(Origin, &Body)| origin.slot == *slot && event_of(body).is_some();
            let events: Vec<_> = run.iter().filter(left).collect();
            let stays = match part.what {
                // Blocks close in the name of the reason too; the reason itself is said where the choice stops.
                What::Finish { .. } => {
                    events.iter().any(|(_, body)| event_of(body).is_some_and(|(event, _)| event.stop().is_some()))
                }
                What::Text { .. } | What::Item { .. } | What::Tool { .. } | What::Function { .. } => {
                    !events.is_empty() || (!share.said.contains(slot) && share.first)
                }
            };
            is_said |= stays;
            match part.what {
                What::Text { value, field } => {
                    let changed = patch_text(value, &events, patch);
                    text_changed |= changed && field == Field::Content;
                    match field {
                        Field::Thinking if !stays => gone_keys.extend(THINKING_KEYS),
                        Field::Thinking if changed => {
                            gone_keys.extend(delta.into_iter().flat_map(|delta| repeats(delta, value)));
                        }
                        Field::Content | Field::Refusal if !stays => gone_keys.push(field.key()),
                        Field::Thinking | Field::Content | Field::Refusal => {}
                    }
                }
                What::Item { position, .. } if !stays => {
                    gone_items.insert(position);
                }
                What::Item { value, .. } => {
                    patch_text(value, &events, patch);
                }
                What::Tool { position, .. } if !stays => {
                    gone_tools.insert(position);
                }
                What::Tool { entry, .. } => self.patch_tool(entry, &events, patch),
                What::Function { .. } if !stays => gone_keys.push("function_call"),
                What::Function { call } => {
                    if let Some(arguments) = call.some("arguments") {
                        patch_text(arguments, &events, patch);
                    }
                }
                What::Finish { value } => {
                    let mut edited = events.iter().filter_map(|(_, body)| event_of(body)).filter(|(_, edited)| *edited);
                    let reason = edited.find_map(|(event, _)| event.stop()?.reason.as_ref());
                    if !stays {
                        patch.replace(value.span(), "null");
                    } else if let Some(reason) = reason {
                        patch.replace(value.span(), quote(stop_word(reason)));
                    }
                }
            }
        }
        for (key, gone) in [("tool_calls", &gone_tools), ("content", &gone_items)] {
            let Some(array) = delta.and_then(|delta| delta.get(key)) else { continue };
            if !gone.is_empty() && array.items().count() == gone.len() {
                gone_keys.push(key);
            } else {
                patch.remove_items(array, |position| gone.contains(&position));
            }
        }
        if let Some(delta) = delta {
            let has_part = |key: &str| PART_KEYS.contains(&key);
            is_said |= share.first && delta.members().any(|member| !has_part(&member.key) && !member.value.is_null());
            patch.remove_members(delta, |member| {
                gone_keys.contains(&&*member.key) || (!share.first && !has_part(&member.key))
            });
        }
        // What repeats the old text in keys that nobody reads.
        patch.remove_members(choice, |member| ["message", "text"].contains(&&*member.key));
        // Log probabilities name the tokens of the old text.
        if text_changed && let Some(logprobs) = choice.some("logprobs") {
            patch.replace(logprobs.span(), "null");
        }
        is_said
    }

    fn patch_tool(&self, entry: Value<'_>, events: &[&(Origin, &Body)], patch: &mut Patch) {
        let block = events.iter().find_map(|(_, body)| self.blocks.get(&event_of(body)?.0.block()?));
        if let (Some(block), Some(index)) = (block, entry.get("index")) {
            patch.number(index, u64::from(block.index));
        }
        if let Some(arguments) = tool_body(entry).and_then(|(body, key)| body.some(key)) {
            patch_text(arguments, events, patch);
        }
    }
}

/// The members of a delta that are parts, or repeat one.
const PART_KEYS: [&str; 7] =
    ["content", "refusal", "reasoning_content", "reasoning", "reasoning_details", "tool_calls", "function_call"];

/// Puts new text in the place of `value`, or empties it when its event was taken out. Returns whether it changed.
fn patch_text(value: Value<'_>, events: &[&(Origin, &Body)], patch: &mut Patch) -> bool {
    let mut left = events.iter().filter_map(|(_, body)| event_of(body));
    let text = match left.find_map(|(event, edited)| Some((event.text()?, edited))) {
        Some((_, false)) => return false,
        Some((text, true)) => text.raw().clone(),
        None if value.string_span().is_some_and(Span::is_empty) => return false,
        None => bytes::Bytes::new(),
    };
    patch.replace(value.span(), [b"\"", &text[..], b"\""].concat());
    true
}
