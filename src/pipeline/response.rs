//! One answer from its bytes to its bytes.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context as Wakeup, Poll},
};

use bytes::{Bytes, BytesMut};

use crate::{
    dialect::{self, Decoder, Parsed, Transcript, Undecodable, WireError},
    journal::Fact,
    model::{Event, Failure, FailureKind, Piece, Refusal, RefusalForm, Slot, Usage},
    wire::{Frame, Framer},
};

use super::{
    answered::Answered,
    convert::{Converter, Incoming},
    gate::Gate,
    repair::Repair,
    runner::{Runner, Stopped},
    setup::Setup,
    shadow::Shadow,
    sides::Sides,
    stage::{BlockIds, Stage},
    weave::Weaver,
};

/// One answer.
pub struct Response {
    setup: Setup,
    source: Source,
    places: Vec<Place>,
    gate: Gate,
    /// Gives the client's tools their own form.
    incoming: Incoming,
    repair: Repair,
    weaver: Weaver,
    made: BlockIds,
    facts: Vec<Fact>,
    /// Used again for each chunk and each frame, so that what nobody touches costs no memory of its own.
    frames: Vec<Frame>,
    events: Vec<(Event, Slot)>,
    queues: Queues,
    usage: Usage,
    answered: Answered,
    provider_failed: bool,
    /// What a body is read as.
    reading: Reading,
    /// It says that asking again is of no use.
    is_final: bool,
    /// No frame has come.
    is_first: bool,
    state: State,
    /// What the provider said, and what the client was told.
    record: Option<Sides>,
}

/// One policy over the answer.
enum Place {
    Enforcing(Box<Stage>),
    Shadow(Box<Shadow>),
}

/// Queues of pieces on their way, which are used again.
#[derive(Default)]
struct Queues(Vec<VecDeque<Piece>>);

impl Queues {
    /// An empty one.
    fn take(&mut self) -> VecDeque<Piece> {
        self.0.pop().unwrap_or_default()
    }

    /// Takes one back.
    fn give(&mut self, mut queue: VecDeque<Piece>) {
        queue.clear();
        self.0.push(queue);
    }
}

/// How the body is read.
enum Source {
    Stream { framer: Framer, decoder: Box<dyn Decoder> },
    Body { whole: BytesMut },
}

/// What a body is read as.
enum Reading {
    Answer,
    /// An error with this status.
    Error(u16),
    /// A list of models; aliases with the provider's names.
    Models(Vec<(String, String)>),
}

/// Where the answer stands.
enum State {
    Running,
    /// The body is over; decisions may still be missing. With the failure that the client is to be told of then.
    Ending(Option<Failure>),
    /// Everything that was decided has left.
    Over(Option<Failure>),
    /// The end has been said.
    Done,
}

impl Response {
    /// An answer that streams.
    pub fn stream(setup: Setup, runners: Vec<Runner>) -> Self {
        let framer = Framer::new(setup.limits.event);
        let source = Source::Stream { framer, decoder: dialect::decoder(setup.dialect) };
        let recipient = setup.recipient(&runners);
        let weaver = if setup.converts() {
            Weaver::converted(Converter::new(setup.dialect, setup.client, recipient, true))
        } else {
            Weaver::stream(dialect::encoder(setup.dialect, recipient))
        };
        let record = setup.record.map(|recorded| {
            let side = |dialect| Transcript::stream(dialect, setup.limits.body, recorded.raw);
            setup.sides(side)
        });
        Self { record, ..Self::new(setup, source, weaver, runners) }
    }

    /// An answer that is one JSON body.
    pub fn body(setup: Setup, runners: Vec<Runner>) -> Self {
        let weaver = if setup.converts() {
            Weaver::converted(Converter::new(setup.dialect, setup.client, setup.recipient(&runners), false))
        } else {
            Weaver::body(setup.dialect, Arc::clone(&setup.call))
        };
        let record = setup.record.map(|recorded| setup.sides(|_| Transcript::body(setup.limits.body, recorded.raw)));
        Self { record, ..Self::new(setup, Source::Body { whole: BytesMut::new() }, weaver, runners) }
    }

    /// An error of the provider's with this status, to be told in the client's dialect.
    pub fn error(setup: Setup, status: u16) -> Self {
        Self { reading: Reading::Error(status), ..Self::body(setup, Vec::new()) }
    }

    /// A list of models, to be told in the form of the client's vendor; with aliases and the provider's names for them.
    pub fn models(setup: Setup, aliases: Vec<(String, String)>) -> Self {
        Self { reading: Reading::Models(aliases), ..Self::body(setup, Vec::new()) }
    }

    fn new(setup: Setup, source: Source, weaver: Weaver, runners: Vec<Runner>) -> Self {
        Self {
            source,
            places: runners
                .into_iter()
                .filter(|runner| !runner.is_skipped())
                .map(|mut runner| {
                    runner.set_budget(setup.limits.synthetic);
                    runner.set_below(setup.below.clone());
                    if runner.is_shadow() {
                        Place::Shadow(Box::new(Shadow::new(runner, setup.limits.held)))
                    } else {
                        Place::Enforcing(Box::new(Stage::new(runner)))
                    }
                })
                .collect(),
            gate: Gate::new(setup.release),
            incoming: Incoming::new(setup.tools.clone(), setup.converts()),
            repair: Repair::new(setup.dialect, setup.client),
            weaver,
            made: BlockIds::new(),
            facts: Vec::new(),
            frames: Vec::new(),
            events: Vec::new(),
            queues: Queues::default(),
            usage: Usage::default(),
            answered: Answered::default(),
            provider_failed: false,
            reading: Reading::Answer,
            is_final: false,
            is_first: true,
            state: State::Running,
            record: None,
            setup,
        }
    }

    /// Takes a chunk of the provider's body.
    pub fn push(&mut self, chunk: &Bytes) -> Result<(), Stopped> {
        if let Some(sides) = &mut self.record {
            sides.said(chunk);
        }
        let mut frames = std::mem::take(&mut self.frames);
        let mut outcome = Ok(());
        match &mut self.source {
            Source::Stream { framer, .. } => outcome = framer.push(chunk, &mut frames),
            Source::Body { whole } => {
                if whole.len() + chunk.len() > self.setup.limits.body {
                    let limit = self.setup.limits.body;
                    return Err(limited("limits.response_body", limit));
                }
                whole.extend_from_slice(chunk);
            }
        }
        // What was whole before a limit was reached still counts.
        for frame in frames.drain(..) {
            self.frame(frame)?;
            self.check_synthetic()?;
        }
        self.frames = frames;
        outcome.map_err(|error| limited("limits.event", error.limit))?;
        self.check_limits()
    }

    /// The provider's body came to a clean end.
    pub fn finish(&mut self) -> Result<(), Stopped> {
        let failure = match &mut self.source {
            Source::Stream { framer, .. } => {
                let rest = framer.finish();
                self.last_frame(rest)?;
                self.truncated()
            }
            Source::Body { whole } => {
                let body = std::mem::take(whole).freeze();
                self.whole_body(body)?;
                None
            }
        };
        self.end(failure)?;
        self.check_limits()
    }

    /// The provider's body ends here, because of `failure`: what is decided still leaves, then the client is told.
    pub fn cut(&mut self, failure: Failure) -> Result<(), Stopped> {
        self.end(Some(failure))
    }

    /// Ends the answer with an error right here. Nothing that is held leaves.
    pub fn fail(&mut self, failure: &Failure) {
        let error = WireError::failure(self.setup.client, failure, &self.setup.call);
        self.end_with(None, &error);
    }

    /// Ends the answer with a refusal right here, in the form that it asks for. Nothing that is held leaves.
    pub fn refuse(&mut self, refusal: &Refusal) {
        let error = WireError::refusal(self.setup.client, refusal, &self.setup.call);
        let polite = (refusal.form == RefusalForm::Message).then_some(refusal.message.as_str());
        self.end_with(polite, &error);
    }

    /// Writes a keepalive.
    pub fn keepalive(&mut self) {
        if !self.is_done() {
            self.weaver.keepalive();
        }
    }

    /// Takes up decisions that came later. Ready: something may have left.
    pub fn poll_decisions(&mut self, wakeup: &mut Wakeup<'_>) -> Poll<Result<(), Stopped>> {
        let mut any = false;
        for number in 0..self.places.len() {
            let stage = match self.places.get_mut(number) {
                Some(Place::Enforcing(stage)) => stage,
                Some(Place::Shadow(shadow)) => {
                    any |= shadow.poll(wakeup).is_ready();
                    self.facts.extend(shadow.take_facts());
                    continue;
                }
                None => break,
            };
            if !stage.is_deciding() {
                continue;
            }
            let mut out = self.queues.take();
            let outcome = stage.poll(wakeup, &mut self.made, &mut out);
            self.facts.extend(stage.take_facts());
            match outcome {
                Poll::Pending => self.queues.give(out),
                Poll::Ready(outcome) => {
                    any = true;
                    outcome?;
                    self.pass_on(number + 1, out)?;
                }
            }
        }
        if any { Poll::Ready(self.check_limits()) } else { Poll::Pending }
    }

    /// What may leave, in order.
    pub fn take_output(&mut self) -> impl Iterator<Item = Bytes> {
        let Self { weaver, record, .. } = self;
        weaver.take().inspect(move |bytes| {
            if let Some(sides) = record {
                sides.told(bytes);
            }
        })
    }

    /// What the provider said, and what the client was told unless that is the same: once, at the end.
    pub fn take_record(&mut self) -> (Option<Transcript>, Option<Transcript>) {
        let Some((said, told)) = self.record.take().map(Sides::finish) else { return (None, None) };
        (Some(said), told)
    }

    /// What happened since the last time.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        self.facts.extend(self.repair.take_facts());
        self.facts.extend(self.weaver.take_facts());
        std::mem::take(&mut self.facts)
    }

    /// Whether everything that will ever leave has left.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the body is over and everything decided has left. `Err`: the client is to be told of this failure.
    pub fn over(&mut self) -> Option<Result<(), Failure>> {
        let State::Over(failure) = &mut self.state else { return None };
        let failure = failure.take();
        self.state = if failure.is_some() { State::Running } else { State::Done };
        Some(failure.map_or(Ok(()), Err))
    }

    /// Whether it is an error that stays one however often it is asked.
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// Whether the provider itself reported an error.
    pub fn provider_failed(&self) -> bool {
        self.provider_failed || self.weaver.failure().is_some()
    }

    /// Whether the end of the answer, as its dialect says it, is among what has been taken to leave.
    pub fn has_ended(&self) -> bool {
        self.weaver.has_ended()
    }

    /// Whether a hook is running.
    pub fn is_deciding(&self) -> bool {
        self.stages().any(Stage::is_deciding)
    }

    /// The policies in shadow mode that have not decided on everything.
    pub fn take_shadows(&mut self) -> Vec<Shadow> {
        let places = std::mem::take(&mut self.places).into_iter();
        let shadows = places.filter_map(|place| if let Place::Shadow(shadow) = place { Some(*shadow) } else { None });
        shadows.filter(Shadow::is_deciding).collect()
    }

    /// The policies whose decisions count.
    fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.places.iter().filter_map(|place| if let Place::Enforcing(stage) = place { Some(&**stage) } else { None })
    }

    /// Whether content waits here, as opposed to: at the provider.
    pub fn is_holding(&self) -> bool {
        self.weaver.held() > 0
    }

    /// Bytes that wait here.
    pub fn held(&self) -> usize {
        let pending = match &self.source {
            Source::Stream { framer, decoder } => framer.pending() + decoder.kept(),
            Source::Body { whole } => whole.len(),
        };
        self.weaver.held() + self.weaver.kept() + self.incoming.held() + pending
    }

    /// Token counts as far as they were reported.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// What the provider said of it beside the content.
    pub fn answered(&self) -> &Answered {
        &self.answered
    }

    /// Ends as a complete answer that says `polite`, where that can be, and otherwise with the error.
    fn end_with(&mut self, polite: Option<&str>, error: &WireError) {
        if self.is_done() {
            return;
        }
        if !polite.is_some_and(|text| self.weaver.conclude(text)) {
            self.weaver.error(error);
        }
        self.state = State::Done;
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Stopped> {
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
    fn last_frame(&mut self, frame: Option<Frame>) -> Result<(), Stopped> {
        let Some(frame) = frame.map(|frame| self.renamed(frame)) else { return Ok(()) };
        let mut events = Vec::new();
        match self.read(&frame, &mut events) {
            Ok(()) => self.take_events(frame, &mut events),
            Err(error) if frame.is_ended() => self.unreadable(frame, &error),
            Err(_) => Ok(()),
        }
    }

    fn whole_body(&mut self, body: Bytes) -> Result<(), Stopped> {
        let renamed = self.setup.model.as_ref().and_then(|model| dialect::with_model(self.setup.dialect, &body, model));
        let body = renamed.map_or(body, Bytes::from);
        match &self.reading {
            Reading::Answer => {}
            Reading::Error(status) => {
                let error = dialect::read_error(*status, &body);
                self.is_final = error.code.as_deref() == Some("insufficient_quota");
                return self.take_events(Frame::new(body, true), &mut vec![(Event::Error(error), 0)]);
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
            return Err(Undecodable("a tool call begins twice, or a choice goes on behind its end".to_owned()));
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

    fn truncated(&self) -> Option<Failure> {
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

    fn end(&mut self, failure: Option<Failure>) -> Result<(), Stopped> {
        if !matches!(self.state, State::Running) {
            return Ok(());
        }
        self.state = State::Ending(failure);
        self.pass_on(0, VecDeque::from([Piece::new(Event::Eof)]))
    }

    /// Sends pieces through the stages from `first` on, and what comes out to the client.
    fn pass_on(&mut self, first: usize, mut pieces: VecDeque<Piece>) -> Result<(), Stopped> {
        for place in self.places.iter_mut().skip(first) {
            let stage = match place {
                Place::Enforcing(stage) => stage,
                Place::Shadow(shadow) => {
                    shadow.show(&pieces);
                    self.facts.extend(shadow.take_facts());
                    continue;
                }
            };
            let mut out = self.queues.take();
            for piece in pieces.drain(..) {
                let outcome = stage.push(piece, &mut self.made, &mut out);
                self.facts.extend(stage.take_facts());
                outcome?;
            }
            self.queues.give(std::mem::replace(&mut pieces, out));
        }
        let mut released = self.queues.take();
        for piece in pieces.drain(..) {
            self.gate.push(piece, &mut released);
        }
        for piece in released.drain(..) {
            self.repair.push(piece, &mut self.made, &mut pieces);
        }
        self.queues.give(released);
        let outcome = self.weave(&mut pieces);
        self.queues.give(pieces);
        outcome
    }

    /// What is decided, for the client.
    fn weave(&mut self, pieces: &mut VecDeque<Piece>) -> Result<(), Stopped> {
        for piece in pieces.drain(..) {
            match piece.event() {
                Some(Event::Eof) => {
                    if let State::Ending(failure) = &mut self.state {
                        let failure = failure.take();
                        if failure.is_none() {
                            self.weaver.finish();
                        }
                        self.state = State::Over(failure);
                    }
                }
                event => {
                    if matches!(event, Some(Event::End)) {
                        self.check_synthetic()?;
                    }
                    self.weaver.push(piece);
                }
            }
        }
        match self.weaver.failure() {
            Some(message) if matches!(self.source, Source::Body { .. }) => Err(bad_answer(message.to_owned())),
            _ => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), Stopped> {
        if matches!(self.source, Source::Stream { .. }) && self.held() > self.setup.limits.held {
            return Err(limited("limits.held", self.setup.limits.held));
        }
        self.check_synthetic()
    }

    fn check_synthetic(&self) -> Result<(), Stopped> {
        // An answer whose end has left cannot be taken back.
        let is_open = matches!(self.state, State::Running) && !self.weaver.has_ended();
        if (is_open || matches!(self.source, Source::Body { .. }))
            && self.weaver.synthetic() > self.setup.limits.synthetic
        {
            return Err(limited("limits.synthetic", self.setup.limits.synthetic));
        }
        Ok(())
    }

    /// Whether what a policy judges is what a reader of the client's makes of the provider's own bytes.
    fn is_shared(&self) -> bool {
        self.enforces() && !self.setup.converts()
    }

    fn enforces(&self) -> bool {
        self.stages().any(Stage::enforces)
    }
}

fn limited(limit: &'static str, bytes: usize) -> Stopped {
    let message = format!("the answer is larger than the gateway handles: {limit} ({bytes} bytes)");
    Stopped::Failed(Failure::new(FailureKind::LimitReached, message).by_limit(limit))
}

fn bad_answer(message: String) -> Stopped {
    Stopped::Failed(Failure::new(FailureKind::BadAnswer, message))
}
