//! Frames of a Responses stream, written.
//!
//! Until something changes, frames leave as they came. From then on every frame is patched: its numbers, and each repetition
//! of a text that was changed.

use crate::{
    dialect::{Encoder, Recipient, WireError, carried::Carried, provider_error},
    json::{Text, Value, quote},
    model::{BlockHead, BlockId, BlockKind, Body, Event, Extra, Piece, Start, StopReason, Usage},
    wire::{Frame, write_event},
};

use super::{
    ledger::{Ledger, State},
    patch,
    spoken::Spoken,
    write::{self, Ending, Own, OwnKind},
};

/// Writes one Responses stream.
pub(crate) struct StreamEncoder {
    recipient: Recipient,
    /// The response object of the first event.
    head: Option<Vec<u8>>,
    last: Last,
    pub(super) ledger: Ledger,
    /// Something differs from what came, so that every frame is patched.
    changed: bool,
    made: u32,
    usage: Usage,
    reason: Option<StopReason>,
    over: bool,
}

/// The last event that left.
enum Last {
    None,
    /// It left as it came.
    Raw(Frame),
    /// Its number.
    Number(u64),
}

impl Encoder for StreamEncoder {
    fn in_step(&self, _event: &Event) -> bool {
        !self.changed
    }

    fn passed(&mut self, frame: &Frame, pieces: &[Piece]) {
        for piece in pieces {
            self.note(&piece.body);
        }
        self.note_place(frame, pieces);
        self.last = Last::Raw(frame.clone());
    }

    fn patch(&mut self, frame: &Frame, pieces: &[Piece], out: &mut Vec<u8>) {
        self.changed = true;
        let mut left = pieces.iter().filter(|piece| piece.origin.is_some() && piece.event().is_some()).count();
        let any = left > 0 && !self.cites_edited(pieces);
        let mut written = false;
        for piece in pieces {
            match (piece.origin, piece.event()) {
                (Some(_), Some(_)) => left -= 1,
                (Some(_), None) => {}
                (None, Some(event)) => {
                    self.write(event, out);
                    continue;
                }
                (None, None) => continue,
            }
            self.note(&piece.body);
            if let Body::Gone(Event::Open(id, _)) = &piece.body {
                self.ledger.began(*id, frame);
            }
            if any && left == 0 && !written {
                written = true;
                if let Some(Event::Close(id)) = piece.event()
                    && self.ledger.get(*id).is_some_and(|sent| sent.part_is_ours)
                {
                    self.end_text(*id, out);
                }
                self.note_place(frame, pieces);
                self.patch_frame(frame, pieces, out);
            }
        }
    }

    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.begin(start, out),
            Event::Open(id, head) => self.open(*id, head),
            Event::Delta(id, text) => self.write_delta(*id, text, out),
            Event::Extra(id, Extra::Signature(sealed)) => {
                if let Some(own) = self.ledger.get_mut(*id).and_then(|sent| sent.own.as_mut()) {
                    own.encrypted = Some(unsealed(&sealed.decode()));
                }
            }
            Event::Extra(id, Extra::Namespace(namespace)) => {
                if let Some(own) = self.ledger.get_mut(*id).and_then(|sent| sent.own.as_mut()) {
                    own.namespace = Some(namespace.clone());
                }
            }
            Event::Extra(id, Extra::Break) => {
                let own = self.ledger.get(*id).and_then(|sent| sent.own.as_ref());
                if own.is_some_and(|own| own.kind == OwnKind::Reasoning) {
                    self.write_delta(*id, &Text::new("\n\n"), out);
                }
            }
            Event::Close(id) => self.close(*id, out),
            Event::Stop(stop) => {
                self.usage.update(&stop.usage);
                self.reason.clone_from(&stop.reason);
            }
            Event::Usage(usage) => self.usage.update(usage),
            Event::End => self.end(out),
            Event::Ping => self.keepalive(out),
            Event::Error(error) => {
                let error = provider_error::told(crate::model::Dialect::OpenaiResponses, error, &self.recipient.call);
                self.error(&error, out);
            }
            Event::Name(..) | Event::Extra(..) | Event::Opaque | Event::Eof => {}
        }
    }

    fn error(&mut self, error: &WireError, out: &mut Vec<u8>) {
        if self.head.is_none() {
            // There is no response yet that could have failed.
            self.event("error", &[("error", &write::error(error))], out);
            self.over = true;
            return;
        }
        self.finish("response.failed", "failed", b"[]", None, Some(error), out);
    }

    fn conclude(&mut self, text: &str, out: &mut Vec<u8>) -> bool {
        let half = self.ledger.items().any(|sent| sent.state == State::Open && !sent.can_end());
        // What nobody could change was not kept account of.
        let unknown = !self.recipient.changes && self.head.is_some();
        if half || unknown || self.over {
            return false;
        }
        self.begin_if_needed(out);
        let open: Vec<BlockId> =
            self.ledger.items().filter(|sent| sent.state == State::Open).map(|sent| sent.block).collect();
        for id in open {
            self.close(id, out);
        }
        let note = BlockId(u32::MAX);
        self.open(note, &BlockHead { kind: BlockKind::Text, choice: 0, index: None });
        self.write_delta(note, &Text::new(text), out);
        self.close(note, out);
        self.reason = Some(StopReason::EndTurn);
        self.end(out);
        true
    }

    /// Agents take no comment for a sign of life, only an event that they know.
    fn keepalive(&mut self, out: &mut Vec<u8>) {
        match self.head.clone() {
            Some(head) if !self.over => {
                self.changed = true;
                self.event("response.in_progress", &[("response", &head)], out);
            }
            Some(_) | None => out.extend_from_slice(b": keepalive\n\n"),
        }
    }

    fn kept(&self) -> usize {
        self.head.as_ref().map_or(0, Vec::len) + self.ledger.kept()
    }
}

impl StreamEncoder {
    pub(crate) fn new(recipient: Recipient) -> Self {
        Self {
            recipient,
            head: None,
            last: Last::None,
            ledger: Ledger::default(),
            changed: false,
            made: 0,
            usage: Usage::default(),
            reason: None,
            over: false,
        }
    }

    /// Keeps what later frames are written from: the response object, and each item's beginning.
    fn note_place(&mut self, frame: &Frame, pieces: &[Piece]) {
        for event in pieces.iter().filter(|piece| piece.origin.is_some()).filter_map(Piece::event) {
            if let Event::Start(_) = event
                && let Some(data) = frame.data()
                && let Ok(value) = Value::parse(&data)
            {
                self.head = value.get("response").map(|response| response.raw().to_vec());
            }
            let Some(id) = event.block() else { continue };
            if let Event::Open(..) = event {
                self.ledger.began(id, frame);
            }
            let Some(sent) = self.ledger.get_mut(id) else { continue };
            sent.note_event(frame);
            if let Event::Close(_) = event {
                let data = frame.data().unwrap_or_default();
                let item = Value::parse(&data).ok().and_then(|value| value.get("item"));
                if let Some(item) = item.map(|item| sent.again(item)) {
                    self.ledger.ended(id, item);
                }
            }
        }
    }

    fn note(&mut self, body: &Body) {
        if let Body::Kept(Event::End | Event::Error(_)) = body {
            self.over = true;
        }
        if !self.recipient.changes {
            return;
        }
        let (event, edited) = match body {
            Body::Kept(event) => (event, false),
            Body::Edited(event) => (event, true),
            Body::Gone(Event::Open(id, head)) => return self.ledger.drop_item(*id, head),
            Body::Gone(Event::Delta(id, _)) => return self.ledger.leave_out(*id),
            Body::Gone(_) => return,
        };
        match event {
            Event::Start(start) => self.usage.update(&start.usage),
            Event::Open(id, head) => {
                self.ledger.open(*id, head, None);
            }
            Event::Delta(id, text) => self.ledger.say(*id, text, edited),
            Event::Extra(id, Extra::Break) => self.ledger.next_part(*id),
            Event::Close(id) => self.ledger.close(*id),
            Event::Stop(stop) => self.usage.update(&stop.usage),
            Event::End
            | Event::Error(_)
            | Event::Name(..)
            | Event::Extra(..)
            | Event::Usage(_)
            | Event::Opaque
            | Event::Ping
            | Event::Eof => {}
        }
    }

    /// Whether a frame names places in a text that is no more.
    fn cites_edited(&self, pieces: &[Piece]) -> bool {
        pieces.iter().filter_map(Piece::event).any(|event| {
            matches!(event, Event::Extra(id, Extra::Citation) if self.ledger.get(*id).is_some_and(|sent| sent.edited))
        })
    }

    fn patch_frame(&mut self, frame: &Frame, pieces: &[Piece], out: &mut Vec<u8>) {
        let data = frame.data().unwrap_or_default();
        let patched = match Value::parse(&data) {
            Ok(value) => {
                let number = value.get("sequence_number").is_some().then(|| self.next_number());
                frame.with_data(&patch::frame(value, &data, pieces, &self.ledger, number))
            }
            // A comment, or the end of an older protocol.
            Err(_) => frame.clone(),
        };
        out.extend_from_slice(patched.raw());
        out.extend_from_slice(patched.missing_end());
    }

    fn next_number(&mut self) -> u64 {
        let last = match &self.last {
            Last::None => None,
            Last::Number(number) => Some(*number),
            Last::Raw(frame) => frame
                .data()
                .and_then(|data| Value::parse(&data).ok().and_then(|value| value.get("sequence_number")?.as_u64())),
        };
        let next = last.map_or(0, |last| last.saturating_add(1));
        self.last = Last::Number(next);
        next
    }

    /// Writes an event of our own. The values are JSON.
    fn event(&mut self, kind: &str, members: &[(&str, &[u8])], out: &mut Vec<u8>) {
        self.changed = true;
        let mut data = format!(r#"{{"type":"{kind}","sequence_number":{}"#, self.next_number()).into_bytes();
        for (key, value) in members {
            data.extend_from_slice(format!(r#","{key}":"#).as_bytes());
            data.extend_from_slice(value);
        }
        data.push(b'}');
        write_event(Some(kind), &data, out);
    }

    /// Begins an answer of our own.
    fn begin(&mut self, start: &Start, out: &mut Vec<u8>) {
        self.usage.update(&start.usage);
        let start = self.recipient.start("resp_", start);
        let head = write::response(&start, &self.recipient.request);
        for kind in ["response.created", "response.in_progress"] {
            self.event(kind, &[("response", &head)], out);
        }
        self.head = Some(head);
    }

    fn begin_if_needed(&mut self, out: &mut Vec<u8>) {
        if self.head.is_none() {
            self.begin(&Start::default(), out);
        }
    }

    /// An item of our own begins. It is announced with its first text, so that none is empty; a call at once.
    fn open(&mut self, id: BlockId, head: &BlockHead) {
        self.made += 1;
        let custom = head
            .kind
            .tool_name()
            .is_some_and(|name| self.recipient.request.custom_tools.iter().any(|custom| custom == name));
        let own = Own::of(&head.kind, &self.recipient.call, self.made, custom);
        self.ledger.open(id, &BlockHead { index: None, ..head.clone() }, Some(own));
    }

    fn announce(&mut self, id: BlockId, out: &mut Vec<u8>) {
        let Some(sent) = self.ledger.get_mut(id) else { return };
        let index = sent.index.to_string().into_bytes();
        let Some(own) = sent.own.as_mut().filter(|own| !own.announced) else { return };
        own.announced = true;
        let (own, item) = (own.clone(), own.item(None));
        self.event("response.output_item.added", &[("output_index", &index), ("item", &item)], out);
        let (kind, number, part) = match own.kind {
            OwnKind::Message => ("response.content_part.added", "content_index", write::text_part(b"")),
            OwnKind::Refusal => ("response.content_part.added", "content_index", write::refusal_part(b"")),
            OwnKind::Reasoning => ("response.reasoning_summary_part.added", "summary_index", write::summary_part(b"")),
            OwnKind::Function { .. } | OwnKind::Custom { .. } => return,
        };
        let id = quote(&own.id);
        self.event(kind, &[("item_id", &id), ("output_index", &index), (number, b"0"), ("part", &part)], out);
    }

    fn write_delta(&mut self, id: BlockId, text: &Text, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.ledger.get(id).is_some_and(|sent| sent.own.is_some()) {
            self.announce(id, out);
        }
        self.ledger.say(id, text, true);
        let Some((sent, place)) = self.ledger.get(id).and_then(|sent| Some((sent, Spoken::of(sent)?))) else { return };
        let (index, delta) = (sent.index.to_string(), [b"\"", &text.raw()[..], b"\""].concat());
        let begins = sent.needs_part();
        let part = sent.part_number().to_string();
        if let (Some(number), Some((added, _))) = (place.number.filter(|_| begins), place.part_events) {
            let new = (place.part)(b"");
            let members = [
                ("item_id", &*place.id),
                ("output_index", index.as_bytes()),
                (number, part.as_bytes()),
                ("part", &new),
            ];
            self.event(added, &members, out);
            if let Some(sent) = self.ledger.get_mut(id) {
                sent.part_is_ours = true;
            }
        }
        let mut members = vec![("item_id", &*place.id), ("output_index", index.as_bytes())];
        members.extend(place.number.map(|number| (number, part.as_bytes())));
        members.push(("delta", &delta));
        if place.has_logprobs() {
            members.push(("logprobs", b"[]"));
        }
        self.event(place.delta, &members, out);
        if let Some(sent) = self.ledger.get_mut(id) {
            sent.last = place.delta.as_bytes().to_vec();
        }
    }

    /// Ends an item of our own, or one of the provider's that it will not end itself.
    fn close(&mut self, id: BlockId, out: &mut Vec<u8>) {
        let custom = self.ledger.get(id).and_then(|sent| sent.own.clone());
        let is_said = custom.as_ref().is_some_and(|own| {
            own.announced
                || own.encrypted.is_some()
                || !matches!(own.kind, OwnKind::Message | OwnKind::Refusal | OwnKind::Reasoning)
        });
        if custom.is_some() && !is_said {
            // Nothing of it was ever said.
            self.ledger.forget(id);
            return;
        }
        if custom.as_ref().is_some_and(|own| own.kind != OwnKind::Reasoning) {
            self.announce(id, out);
        }
        let is_function = custom.as_ref().is_some_and(|own| matches!(own.kind, OwnKind::Function { .. }));
        if is_function && self.ledger.get(id).is_some_and(|sent| sent.parts.concat().is_empty()) {
            // No arguments are an empty object.
            self.write_delta(id, &Text::new("{}"), out);
        }
        self.end_text(id, out);
        let Some(sent) = self.ledger.get(id) else { return };
        let item = match &sent.own {
            Some(own) => own.item(Some(&sent.parts.concat())),
            None => sent.ended(),
        };
        let announced = sent.own.as_ref().is_none_or(|own| own.announced);
        let index = sent.index.to_string();
        if !announced && let Some(own) = self.ledger.get_mut(id).and_then(|sent| sent.own.as_mut()) {
            own.announced = true;
            let begun = own.item(None);
            self.event("response.output_item.added", &[("output_index", index.as_bytes()), ("item", &begun)], out);
        }
        self.event("response.output_item.done", &[("output_index", index.as_bytes()), ("item", &item)], out);
        self.ledger.ended(id, item);
        self.ledger.close(id);
    }

    /// Says the whole text of the part that is open.
    fn end_text(&mut self, id: BlockId, out: &mut Vec<u8>) {
        let Some((sent, place)) = self.ledger.get(id).and_then(|sent| Some((sent, Spoken::of(sent)?))) else { return };
        if !sent.is_speaking() {
            return;
        }
        let index = sent.index.to_string();
        let number = sent.part_number().to_string();
        let text = sent.parts.last().map(Vec::as_slice).unwrap_or_default();
        let (whole, part) = ([b"\"", text, b"\""].concat(), (place.part)(text));
        let at = |mut more: Vec<(&'static str, Vec<u8>)>| {
            let mut members = vec![("item_id", place.id.clone()), ("output_index", index.clone().into_bytes())];
            members.extend(place.number.map(|key| (key, number.clone().into_bytes())));
            members.append(&mut more);
            members
        };
        let mut done = at(vec![(place.key, whole)]);
        if place.has_logprobs() {
            done.push(("logprobs", b"[]".to_vec()));
        }
        let said = sent.has_said_all();
        if !said {
            done.extend(place.name.clone().map(|name| ("name", name)));
            self.event_owned(place.done, &done, out);
        }
        if let Some((_, kind)) = place.part_events {
            self.event_owned(kind, &at(vec![("part", part)]), out);
        }
    }

    fn event_owned(&mut self, kind: &str, members: &[(&'static str, Vec<u8>)], out: &mut Vec<u8>) {
        let members: Vec<(&str, &[u8])> = members.iter().map(|(key, value)| (*key, value.as_slice())).collect();
        self.event(kind, &members, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin_if_needed(out);
        let refuses = self.ledger.items().any(|sent| sent.own.as_ref().is_some_and(|own| own.kind == OwnKind::Refusal));
        let (kind, status, incomplete) = write::ending(self.reason.as_ref(), refuses);
        let output = self.ledger.own_output();
        self.finish(kind, status, &output, incomplete, None, out);
    }

    fn finish(
        &mut self,
        kind: &str,
        status: &'static str,
        output: &[u8],
        incomplete: Option<&'static str>,
        error: Option<&WireError>,
        out: &mut Vec<u8>,
    ) {
        let head = self.head.clone().unwrap_or_default();
        let mut usage = self.usage;
        if self.recipient.converts && error.is_none() {
            // Agents expect counts at the end, also where the provider gave none.
            usage.update(&Usage { input: usage.input.or(Some(0)), output: usage.output.or(Some(0)), ..usage });
        }
        let ending = Ending { status, output, usage: &usage, incomplete, error };
        let response = write::ended(&head, &ending);
        self.event(kind, &[("response", &response)], out);
        self.over = true;
    }
}

/// What stands in `encrypted_content`: this provider's own, or the seal of another.
pub(super) fn unsealed(sealed: &str) -> String {
    match Carried::open(sealed) {
        Some(Carried::Reasoning { encrypted, .. }) => encrypted,
        Some(Carried::Signature(_) | Carried::Redacted(_)) | None => sealed.to_owned(),
    }
}
