//! Frames of a Messages stream, written.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    dialect::{
        Encoder, Recipient, Run, WireError,
        carried::{Carried, SEAL},
        encode_runs, event_of, is_left, provider_error,
    },
    json::{Patch, Text, Value, quote},
    model::{BlockHead, BlockId, BlockKind, Body, Dialect, Event, Extra, Piece, Start, Stop, StopReason, Usage},
    wire::{Frame, write_event},
};

use super::{
    decode::{FIRST_TEXT, delta_key},
    stop_word, text_key, write,
};

/// Writes one Messages stream.
pub(crate) struct StreamEncoder {
    recipient: Recipient,
    start: Option<Start>,
    blocks: BTreeMap<BlockId, Written>,
    open: Vec<BlockId>,
    /// The number of the next block of our own.
    next: u32,
    /// How far the provider's numbers have moved: up for each block added, down for each taken out.
    shift: i64,
    usage: Usage,
    stopped: bool,
    /// Blocks of our own that begin with their first text, so that none is empty.
    waiting: BTreeMap<BlockId, BlockHead>,
}

/// A block as it was written.
struct Written {
    came: Option<u32>,
    index: u32,
    kind: BlockKind,
    edited: bool,
    /// It is thinking of our own whose signature has not been written.
    unsigned: bool,
}

impl Encoder for StreamEncoder {
    fn in_step(&self, event: &Event) -> bool {
        if matches!(event, Event::Open(..)) {
            return self.shift == 0;
        }
        let is_citation = matches!(event, Event::Extra(_, Extra::Citation));
        event.block().is_none_or(|id| self.is_in_place(id) && !(is_citation && self.is_edited(id)))
    }

    fn passed(&mut self, _frame: &Frame, pieces: &[Piece]) {
        pieces.iter().filter_map(Piece::event).for_each(|event| self.note(event));
    }

    fn patch(&mut self, frame: &Frame, pieces: &[Piece], out: &mut Vec<u8>) {
        encode_runs(pieces, |run| match run {
            Ok(run) => self.patch_run(frame, run, out),
            Err(event) => self.write(event, out),
        });
    }

    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        let data = match event {
            Event::Start(start) => write::message_start(&self.recipient.start("msg_", start)),
            Event::Open(id, head) if head.kind.tool_name().is_none() => {
                self.waiting.insert(*id, (**head).clone());
                return;
            }
            Event::Open(id, head) => return self.begin(*id, head, "", out),
            Event::Delta(id, text) => {
                if text.is_empty() {
                    return;
                }
                if let Some(head) = self.waiting.remove(id) {
                    self.begin(*id, &head, "", out);
                }
                return self.write_delta(*id, text, out);
            }
            Event::Extra(id, Extra::Break) => return self.write_break(*id, out),
            Event::Extra(id, Extra::Signature(sealed)) => return self.sign(*id, &unsealed(&sealed.decode()), out),
            Event::Close(id) => {
                self.waiting.remove(id);
                self.sign(*id, &unsigned(), out);
                match self.blocks.get(id) {
                    Some(block) => json!({"type": "content_block_stop", "index": block.index}),
                    None => return,
                }
            }
            Event::Stop(stop) => {
                self.usage.update(&stop.usage);
                write::message_delta(stop.reason.as_ref(), &self.usage)
            }
            Event::End => json!({"type": "message_stop"}),
            Event::Error(error) => {
                let error = provider_error::told(Dialect::AnthropicMessages, error, &self.recipient.call);
                return self.error(&error, out);
            }
            Event::Ping => return self.keepalive(out),
            Event::Name(..) | Event::Extra(..) | Event::Usage(_) | Event::Opaque | Event::Eof => {
                return self.note(event);
            }
        };
        write::event(&data, out);
        self.note(event);
    }

    fn error(&mut self, error: &WireError, out: &mut Vec<u8>) {
        write_event(Some("error"), &write::error_json(error), out);
    }

    fn conclude(&mut self, text: &str, out: &mut Vec<u8>) -> bool {
        let half_tool =
            self.open.iter().any(|id| self.blocks.get(id).is_some_and(|block| block.kind != BlockKind::Text));
        if half_tool || self.stopped {
            return false;
        }
        if self.start.is_none() {
            self.write(&Event::Start(Start::default().into()), out);
        }
        for id in std::mem::take(&mut self.open) {
            self.write(&Event::Close(id), out);
        }
        let note = BlockId(u32::MAX);
        self.write(&Event::Open(note, BlockHead { kind: BlockKind::Text, choice: 0, index: None }.into()), out);
        self.write(&Event::Delta(note, Text::new(text)), out);
        self.write(&Event::Close(note), out);
        // A call that has left whole is run whatever comes behind it.
        let calls = self.blocks.values().any(|block| block.kind.tool_name().is_some());
        let reason = Some(if calls { StopReason::ToolUse } else { StopReason::EndTurn });
        self.write(&Event::Stop(Stop { reason, ..Stop::default() }.into()), out);
        self.write(&Event::End, out);
        true
    }

    fn keepalive(&mut self, out: &mut Vec<u8>) {
        write::event(&json!({"type": "ping"}), out);
    }
}

impl StreamEncoder {
    pub(crate) fn new(recipient: Recipient) -> Self {
        Self {
            recipient,
            start: None,
            blocks: BTreeMap::new(),
            open: Vec::new(),
            next: 0,
            shift: 0,
            usage: Usage::default(),
            stopped: false,
            waiting: BTreeMap::new(),
        }
    }

    /// Takes note of an event that has left.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Start(start) => {
                self.usage.update(&start.usage);
                self.start = Some((**start).clone());
            }
            Event::Open(id, head) => {
                self.open_block(*id, head);
            }
            Event::Close(id) => self.open.retain(|open| open != id),
            Event::Stop(stop) => {
                self.usage.update(&stop.usage);
                self.stopped = true;
            }
            Event::Usage(usage) => self.usage.update(usage),
            Event::Name(..)
            | Event::Delta(..)
            | Event::Extra(..)
            | Event::Error(_)
            | Event::End
            | Event::Ping
            | Event::Opaque
            | Event::Eof => {}
        }
    }

    /// Begins a block of our own. `data`: thinking that only its provider can read.
    fn begin(&mut self, id: BlockId, head: &BlockHead, data: &str, out: &mut Vec<u8>) {
        // Without a signature of its provider, thinking would be refused on the next turn; a policy has none.
        let is_thinking = head.kind == BlockKind::Thinking && self.recipient.converts;
        let kind = if head.kind.tool_name().is_some() || is_thinking { head.kind.clone() } else { BlockKind::Text };
        let content = match (is_thinking, data.is_empty()) {
            (true, true) => json!({"type": "thinking", "thinking": "", "signature": ""}),
            (true, false) => json!({"type": "redacted_thinking", "data": data}),
            (false, _) => write::content_block(&kind, ""),
        };
        let index = self.open_block(id, &BlockHead { kind, index: None, ..head.clone() });
        if let Some(block) = self.blocks.get_mut(&id) {
            block.unsigned = is_thinking && data.is_empty();
        }
        write::event(&json!({"type": "content_block_start", "index": index, "content_block": content}), out);
    }

    /// Signs thinking, once. Thinking without a text is hidden thinking.
    fn sign(&mut self, id: BlockId, signature: &str, out: &mut Vec<u8>) {
        if let Some(head) = self.waiting.remove(&id) {
            if head.kind == BlockKind::Thinking && self.recipient.converts {
                self.begin(id, &head, signature, out);
            }
            return;
        }
        let Some(block) = self.blocks.get_mut(&id).filter(|block| block.unsigned) else { return };
        block.unsigned = false;
        let delta = json!({"type": "signature_delta", "signature": signature});
        write::event(&json!({"type": "content_block_delta", "index": block.index, "delta": delta}), out);
    }

    /// The next part of a block begins: paragraphs of thinking.
    fn write_break(&mut self, id: BlockId, out: &mut Vec<u8>) {
        if self.blocks.get(&id).is_some_and(|block| block.kind == BlockKind::Thinking) {
            self.write_delta(id, &Text::new("\n\n"), out);
        }
    }

    fn is_in_place(&self, id: BlockId) -> bool {
        self.blocks.get(&id).is_none_or(|block| block.came == Some(block.index))
    }

    fn is_edited(&self, id: BlockId) -> bool {
        self.blocks.get(&id).is_some_and(|block| block.edited)
    }

    fn open_block(&mut self, id: BlockId, head: &BlockHead) -> u32 {
        self.shift += i64::from(head.index.is_none());
        let moved = head.index.and_then(|came| u32::try_from(i64::from(came) + self.shift).ok());
        let index = moved.unwrap_or(self.next);
        self.next = index + 1;
        self.open.push(id);
        let kind = head.kind.clone();
        self.blocks.insert(id, Written { came: head.index, index, kind, edited: false, unsigned: false });
        index
    }

    fn write_delta(&mut self, id: BlockId, text: &Text, out: &mut Vec<u8>) {
        let Some(block) = self.blocks.get(&id) else { return };
        let (kind, key) = match block.kind {
            BlockKind::ToolCall { .. } | BlockKind::ServerTool { .. } => ("input_json_delta", "partial_json"),
            BlockKind::Thinking => ("thinking_delta", "thinking"),
            BlockKind::Text => ("text_delta", "text"),
            // A block of these has no text that could be changed.
            BlockKind::Refusal | BlockKind::ServerResult { .. } | BlockKind::Other(_) => return,
        };
        // Written by hand, because the text is escaped already and must stay as it is.
        let mut data =
            format!(r#"{{"type":"content_block_delta","index":{},"delta":{{"type":"{kind}","{key}":""#, block.index)
                .into_bytes();
        data.extend_from_slice(text.raw());
        data.extend_from_slice(b"\"}}");
        write_event(Some("content_block_delta"), &data, out);
    }

    /// Writes some events of one frame, all of which say one thing of one block or of the message.
    fn patch_run(&mut self, frame: &Frame, run: &Run<'_>, out: &mut Vec<u8>) {
        let data = frame.data().unwrap_or_default();
        let Ok(value) = Value::parse(&data) else { return out.extend_from_slice(frame.raw()) };
        let mut patch = Patch::default();
        let mut behind = None;
        for (origin, body) in run {
            let Some((event, edited)) = event_of(body) else {
                self.shift -= i64::from(matches!(body, Body::Gone(Event::Open(..))));
                // What citations behind it name is there no more.
                if let Body::Gone(Event::Delta(id, _)) = body
                    && let Some(block) = self.blocks.get_mut(id)
                {
                    block.edited = true;
                }
                continue;
            };
            if let Event::Extra(id, Extra::Citation) = event
                && self.is_edited(*id)
            {
                return;
            }
            if let Event::Delta(id, text) = event
                && edited
            {
                behind = self.patch_text(*id, text, origin.slot == FIRST_TEXT, value, &mut patch);
            }
            if let Some(reason) = event.stop().filter(|_| edited).and_then(|stop| stop.reason.as_ref())
                && let Some(old) = value.get("delta").and_then(|delta| delta.get("stop_reason"))
            {
                patch.replace(old.span(), quote(stop_word(reason)));
            }
            self.note(event);
            if let Some(block) = event.block().and_then(|id| self.blocks.get(&id))
                && let Some(index) = value.get("index")
            {
                patch.number(index, u64::from(block.index));
            }
        }
        if !is_left(run) {
            return;
        }
        clear_first_text(value, run, &mut patch);
        let frame = if patch.is_empty() { frame.clone() } else { frame.with_data(&patch.apply(&data)) };
        out.extend_from_slice(frame.raw());
        out.extend_from_slice(frame.missing_end());
        if let Some((id, text)) = behind {
            self.write_delta(id, &text, out);
        }
    }

    /// Puts new text into a delta, or into the start of a block. A tool's input at the start of its block is an object and
    /// cannot hold any text: it is emptied and the text returned, to follow as a delta.
    fn patch_text(
        &mut self,
        id: BlockId,
        text: &Text,
        at_start: bool,
        value: Value<'_>,
        patch: &mut Patch,
    ) -> Option<(BlockId, Text)> {
        let block = self.blocks.get_mut(&id)?;
        block.edited = true;
        let (holder, key) =
            if at_start { ("content_block", text_key(&block.kind)?) } else { ("delta", delta_key(&block.kind)?) };
        let old = value.get(holder)?.get(key)?;
        if at_start && key == "input" {
            patch.replace(old.span(), "{}");
            return Some((id, text.clone()));
        }
        let mut quoted = vec![b'"'];
        quoted.extend_from_slice(text.raw());
        quoted.push(b'"');
        patch.replace(old.span(), quoted);
        None
    }
}

/// Empties the text in the start of a block when its event was taken out and the block stays.
fn clear_first_text(value: Value<'_>, run: &Run<'_>, patch: &mut Patch) {
    let kept = run.iter().any(|(origin, body)| origin.slot == FIRST_TEXT && event_of(body).is_some());
    let (false, Some(block)) = (kept, value.get("content_block")) else { return };
    let kind = super::block_kind(block);
    if let Some(old) = text_key(&kind).and_then(|key| block.some(key)) {
        let empty = if old.string_raw().is_some() { "\"\"" } else { "{}" };
        if old.raw_str() != empty {
            patch.replace(old.span(), empty);
        }
    }
}

/// What stands in `signature` or `data`: a signature of this provider's own, or the seal of another.
pub(super) fn unsealed(sealed: &str) -> String {
    match Carried::open(sealed) {
        Some(Carried::Signature(own) | Carried::Redacted(own)) => own,
        Some(Carried::Reasoning { .. }) | None => sealed.to_owned(),
    }
}

/// What stands in `signature` where the provider gave none: sealed for nobody, so that it goes to nobody.
pub(super) fn unsigned() -> String {
    format!("{SEAL}text.")
}
