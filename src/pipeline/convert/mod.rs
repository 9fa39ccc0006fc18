//! An answer of one dialect, written in another.
//!
//! Takes the events that policies have decided on and has the encoder of the client's dialect write each of them. What is
//! common to all pairs of dialects is here: what no other dialect can say goes, [`calls`] gives calls what they lack, in
//! [`serial`] blocks come one after the other, and the end is said once, with all that is known of it.

mod calls;
mod incoming;
mod serial;
mod whole;

use std::collections::HashSet;

use crate::{
    dialect::{self, Encoder, Recipient},
    journal::Fact,
    json::Text,
    model::{
        BlockHead, BlockId, BlockKind, Dialect, ErrorKind, Event, Extra, ProviderError, Start, Stop, StopReason, Usage,
    },
};

pub(super) use self::incoming::Incoming;
use self::{calls::Calls, serial::Serial, whole::Building};

/// Writes an answer in another dialect.
pub(super) struct Converter {
    form: Form,
    calls: Calls,
    serial: Serial,
    /// Blocks that the client's dialect has no words for.
    dropped: HashSet<BlockId>,
    /// The first half of a character, whose second half the next delta of the block says.
    half: Option<(BlockId, Text)>,
    started: bool,
    /// The provider marked some of it as a refusal.
    refused: bool,
    /// The client's dialect.
    to: Dialect,
    /// There was a block.
    said_anything: bool,
    stop: Option<Stop>,
    usage: Usage,
    end: End,
    facts: Vec<Fact>,
}

enum Form {
    Stream(Box<dyn Encoder>),
    Body(Box<Building>),
}

/// Whether the last word has been said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Ahead,
    Said,
    /// It was an error of our own, with this message.
    Failed(&'static str),
}

impl Converter {
    /// From the dialect `from` of a provider to the dialect `to` of a client.
    pub(super) fn new(from: Dialect, to: Dialect, recipient: Recipient, stream: bool) -> Self {
        let calls = Calls::new(recipient.call.to_string(), recipient.request.custom_tools.clone());
        let form = if stream {
            Form::Stream(dialect::encoder(to, recipient))
        } else {
            Form::Body(Box::new(Building::new(from, to, recipient)))
        };
        Self {
            form,
            calls,
            serial: Serial::default(),
            dropped: HashSet::new(),
            half: None,
            started: false,
            refused: false,
            to,
            said_anything: false,
            stop: None,
            usage: Usage::default(),
            end: End::Ahead,
            facts: Vec::new(),
        }
    }

    /// Whether the last word has been said.
    pub(super) fn has_ended(&self) -> bool {
        self.end != End::Ahead
    }

    /// The encoder of a stream.
    pub(super) fn encoder(&mut self) -> Option<&mut dyn Encoder> {
        match &mut self.form {
            Form::Stream(encoder) => Some(encoder.as_mut()),
            Form::Body(_) => None,
        }
    }

    /// Bytes that wait or are kept here.
    pub(super) fn held(&self) -> usize {
        let kept = if let Form::Stream(encoder) = &self.form { encoder.kept() } else { 0 };
        self.serial.held() + self.calls.held() + kept
    }

    /// Why the answer could not be said to its end. A stream has ended with this error; of a body nothing has left.
    pub(super) fn failure(&self) -> Option<&'static str> {
        if let End::Failed(message) = self.end { Some(message) } else { None }
    }

    pub(super) fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }

    /// Takes an event that was decided on.
    pub(super) fn push(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.end != End::Ahead {
            return;
        }
        if let Some(usage) = event.usage() {
            self.usage.update(usage);
        }
        match event {
            // A head behind the content, or a second one, comes too late to be said.
            Event::Start(_) if self.started => {}
            Event::Start(_) | Event::Ping => self.write(event, out),
            // Another choice's end is not told.
            Event::Stop(stop) if stop.choice != 0 => {}
            // Token counts may still come.
            Event::Stop(stop) => {
                if self.stop.as_ref().is_none_or(|said| said.reason.is_none()) {
                    self.stop = Some((**stop).clone());
                }
            }
            Event::End => self.end(out),
            Event::Error(_) => {
                self.end = End::Said;
                self.write(event, out);
            }
            Event::Usage(_) | Event::Opaque | Event::Eof => {}
            Event::Open(id, _) | Event::Name(id, _) | Event::Delta(id, _) | Event::Extra(id, _) | Event::Close(id) => {
                self.block(*id, event, out);
            }
        }
    }

    /// The provider's body is over. Servers that end without a last word have ended all the same, if they said why.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.end == End::Ahead && self.stop.is_some() {
            self.end(out);
        }
    }

    fn block(&mut self, id: BlockId, event: &Event, out: &mut Vec<u8>) {
        if let Event::Open(_, head) = event {
            self.said_anything = true;
            self.refused |= head.choice == 0 && head.kind == BlockKind::Refusal;
            if let Some(what) = unsayable(head) {
                self.dropped.insert(id);
                self.facts.push(Fact::Dropped { what });
            }
        }
        let is_own = matches!(event, Event::Extra(_, Extra::Citation | Extra::Echo | Extra::Repeat | Extra::Other));
        if is_own || self.dropped.contains(&id) {
            return;
        }
        let (mut complete, mut ordered) = (Vec::new(), Vec::new());
        let refuses = matches!(event, Event::Extra(_, Extra::Refuses));
        self.refused |= refuses;
        if refuses && self.to != Dialect::AnthropicMessages {
            // A refusal stands apart from what was said before it.
            let head = BlockHead { kind: BlockKind::Refusal, choice: 0, index: None };
            complete.extend([Event::Close(id), Event::Open(id, head.into())]);
        } else {
            self.calls.take(id, event.clone(), &mut complete);
        }
        if self.calls.is_any_unnamed() {
            return self.fail("a tool call in the provider's answer has no name", out);
        }
        for event in complete {
            self.serial.push(id, event, &mut ordered);
        }
        for event in &ordered {
            self.write(event, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let is_cut = self.stop.as_ref().is_some_and(|stop| stop.reason == Some(StopReason::Unfinished));
        for call in self.calls.open() {
            // Half a call that is closed would be run, unless the end says that it is half of one, and it looks so.
            if !is_cut || self.calls.waits(call) {
                return self.fail("the provider's answer ended within a tool call", out);
            }
            self.block(call, &Event::Close(call), out);
        }
        if self.stop.as_ref().is_some_and(|stop| stop.reason == Some(StopReason::Failed)) {
            return self.fail("the provider's answer ended because the provider failed, or has not ended", out);
        }
        if self.stop.is_none() && !self.said_anything {
            return self.fail("the provider's answer says nothing", out);
        }
        self.end = End::Said;
        let mut events = Vec::new();
        self.serial.finish(&mut events);
        for event in &events {
            self.write(event, out);
        }
        let said = self.stop.take().and_then(|stop| stop.reason);
        // Some servers say that calls are to be run where there are none, or do not say it where there are.
        let reason = match said {
            Some(StopReason::ToolUse) if !self.calls.any() => StopReason::EndTurn,
            Some(StopReason::EndTurn | StopReason::Other(_)) | None if self.calls.any() => StopReason::ToolUse,
            // Where a refusal has no place of its own, the end says that it is one.
            Some(StopReason::EndTurn) | None if self.refused && self.to == Dialect::AnthropicMessages => {
                StopReason::Refused
            }
            None => StopReason::EndTurn,
            Some(reason) => reason,
        };
        let stop = Stop { reason: Some(reason), usage: self.usage, ..Stop::default() };
        self.write(&Event::Stop(stop.into()), out);
        if matches!(&self.form, Form::Body(building) if !building.can_be_said()) {
            return self.fail("the arguments of a tool call in the provider's answer are not a JSON object", out);
        }
        self.write(&Event::End, out);
    }

    /// Ends the answer with an error, because it cannot be said to its end.
    fn fail(&mut self, message: &'static str, out: &mut Vec<u8>) {
        self.end = End::Failed(message);
        if matches!(self.form, Form::Stream(_)) {
            let error = ProviderError { kind: ErrorKind::Server, code: None, message: message.to_owned() };
            self.write(&Event::Error(error.into()), out);
        }
    }

    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        let is_start = matches!(event, Event::Start(_));
        if !is_start && !self.started && !matches!(event, Event::Ping | Event::Error(_)) {
            // Some servers never say what their answer is called.
            self.write(&Event::Start(Start::default().into()), out);
        }
        self.started |= is_start;
        match event {
            Event::Delta(id, text) => {
                let text = self.joined(*id, text);
                if !text.is_empty() {
                    self.say(&Event::Delta(*id, text), out);
                }
            }
            // Half a character that nothing completes is said as it is.
            Event::Close(id) => {
                if let Some((id, half)) = self.half.take_if(|(of, _)| of == id) {
                    self.say(&Event::Delta(id, half), out);
                }
                self.say(event, out);
            }
            Event::Start(_)
            | Event::Open(..)
            | Event::Name(..)
            | Event::Extra(..)
            | Event::Stop(_)
            | Event::Usage(_)
            | Event::Error(_)
            | Event::End
            | Event::Ping
            | Event::Opaque
            | Event::Eof => self.say(event, out),
        }
    }

    /// More text of a block, without a half of a character at its end: what decodes one delta at a time cannot read it.
    fn joined(&mut self, id: BlockId, text: &Text) -> Text {
        let before = self.half.take_if(|(of, _)| *of == id).map(|(_, half)| half);
        let whole = before.map_or_else(|| text.clone(), |half| half.with(text));
        let (whole, half) = whole.without_open_half();
        self.half = half.map(|half| (id, half));
        whole
    }

    fn say(&mut self, event: &Event, out: &mut Vec<u8>) {
        match &mut self.form {
            Form::Stream(encoder) => encoder.write(event, out),
            Form::Body(building) => building.write(event, out),
        }
    }
}

/// What of an answer has no words in another dialect.
fn unsayable(head: &BlockHead) -> Option<&'static str> {
    match &head.kind {
        _ if head.choice != 0 => Some("other_choice"),
        BlockKind::Text | BlockKind::Thinking | BlockKind::Refusal | BlockKind::ToolCall { .. } => None,
        BlockKind::ServerTool { .. } => Some("server_tool"),
        BlockKind::ServerResult { .. } => Some("server_result"),
        BlockKind::Other(_) => Some("other"),
    }
}
