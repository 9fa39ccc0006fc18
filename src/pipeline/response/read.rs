//! Frames and bodies, read as events.

use bytes::Bytes;

use crate::{
    dialect::{self, Parsed, Undecodable},
    model::{Event, Failure, FailureKind, Slot},
    pipeline::runner::Stopped,
    wire::Frame,
};

use super::{Reading, Response, Source, bad_answer};

impl Response {
    pub(super) fn frame(&mut self, frame: Frame) -> Result<(), Stopped> {
        let frame = self.renamed(frame);
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let outcome = match self.read(&frame, &mut events) {
            Ok(()) => self.take_events(frame, &mut events),
            Err(error) => self.unreadable(frame, &error),
        };
        self.events = events;
        outcome
    }

    /// A last frame without its blank line passes if it can be read and is withheld if not.
    pub(super) fn last_frame(&mut self, frame: Option<Frame>) -> Result<(), Stopped> {
        let Some(frame) = frame.map(|frame| self.renamed(frame)) else { return Ok(()) };
        let mut events = Vec::new();
        match self.read(&frame, &mut events) {
            Ok(()) => self.take_events(frame, &mut events),
            Err(error) if frame.is_ended() => self.unreadable(frame, &error),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn whole_body(&mut self, body: Bytes) -> Result<(), Stopped> {
        let renamed = self.setup.model.as_ref().and_then(|model| dialect::with_model(self.setup.dialect, &body, model));
        let body = renamed.map_or(body, Bytes::from);
        match &self.reading {
            Reading::Answer => {}
            Reading::Error(status) => {
                let error = dialect::read_error(*status, &body);
                self.is_final = error.code.as_deref() == Some("insufficient_quota");
                return self.take_events(Frame::new(body, true), &mut vec![(Event::Error(error.into()), 0)]);
            }
            Reading::Models(aliases) => {
                let aliases = aliases.iter().map(|(alias, model)| (alias.as_str(), model.as_str()));
                let list = dialect::convert_models(self.setup.client, &body, aliases);
                self.weaver.put(list.map_err(|error| bad_answer(error.to_string()))?);
                return Ok(());
            }
        }
        let checked = if self.is_shared() { dialect::check_body(self.setup.dialect, &body) } else { Ok(()) };
        let decoded = checked.and_then(|()| dialect::decode_body(self.setup.dialect, &body));
        let frame = Frame::new(body, true);
        for (event, _) in decoded.iter().flatten() {
            // With a status that says the opposite, no client would see it.
            if let (Event::Error(error), true) = (event, self.setup.converts()) {
                return Err(bad_answer(format!("the provider answered with an error: {}", error.message)));
            }
        }
        match decoded {
            Ok(mut events) => self.take_events(frame, &mut events),
            Err(error) => self.unreadable(frame, &error),
        }
    }

    /// The frame, in which the model has the client's name.
    fn renamed(&self, frame: Frame) -> Frame {
        let Some(model) = &self.setup.model else { return frame };
        let data = frame.data().unwrap_or_default();
        let renamed = dialect::with_model(self.setup.dialect, &data, model);
        renamed.map(|data| frame.with_data(&data)).unwrap_or(frame)
    }

    /// What a frame says. Where a policy enforces and the client reads the same bytes, it must also say it to every reader
    /// alike.
    fn read(&mut self, frame: &Frame, events: &mut Vec<(Event, Slot)>) -> Result<(), Undecodable> {
        let is_shared = self.is_shared();
        let is_first = std::mem::replace(&mut self.is_first, false);
        let Source::Stream { decoder, .. } = &mut self.source else { return Ok(()) };
        if is_shared && frame.has_stray_mark(is_first) {
            return Err(Undecodable("a line of the stream begins with a byte order mark".to_owned()));
        }
        if is_shared && frame.begins_as_json() {
            return Err(Undecodable("it is said to be an event stream, and begins as JSON".to_owned()));
        }
        let said = frame.said();
        let parsed = Parsed::of(&said);
        if is_shared {
            decoder.check(&parsed)?;
        }
        decoder.decode(&parsed, events)?;
        if is_shared && decoder.is_ambiguous() {
            return Err(Undecodable(
                "a tool call begins twice, or a choice goes on behind its end or has an `index` only at times"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// What cannot be read passes as it is where nobody enforces, and otherwise ends the answer.
    fn unreadable(&mut self, frame: Frame, error: &Undecodable) -> Result<(), Stopped> {
        // What is to be said in other words has to be understood.
        if self.enforces() || self.setup.converts() {
            return Err(bad_answer(format!("the provider's answer cannot be read: {error}")));
        }
        self.take_events(frame, &mut vec![(Event::Opaque, 0)])
    }

    pub(super) fn truncated(&self) -> Option<Failure> {
        let Source::Stream { decoder, .. } = &self.source else { return None };
        let message = "the provider's answer ended before its end";
        (!decoder.is_complete()).then(|| Failure::new(FailureKind::Truncated, message))
    }

    fn take_events(&mut self, frame: Frame, events: &mut Vec<(Event, Slot)>) -> Result<(), Stopped> {
        self.incoming.take(events, &mut self.made);
        for (event, _) in &*events {
            if let Some(usage) = event.usage() {
                self.usage.update(usage);
            }
            self.provider_failed |= matches!(event, Event::Error(_));
            self.answered.take(event);
        }
        let mut pieces = self.queues.take();
        pieces.extend(self.weaver.begin(frame, events));
        self.pass_on(0, pieces)
    }
}
