//! One answer from its bytes to its bytes: `read` makes events of frames and bodies, `flow` leads them through the policies.

mod flow;
mod read;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::{
    dialect::{self, Decoder, Transcript, WireError},
    journal::Fact,
    model::{Event, Failure, FailureKind, Refusal, RefusalForm, Slot, Usage},
    wire::{Frame, Framer},
};

use self::flow::Queues;
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
}

fn limited(limit: &'static str, bytes: usize) -> Stopped {
    let message = format!("the answer is larger than the gateway handles: {limit} ({bytes} bytes)");
    Stopped::Failed(Failure::new(FailureKind::LimitReached, message).by_limit(limit))
}

fn bad_answer(message: String) -> Stopped {
    Stopped::Failed(Failure::new(FailureKind::BadAnswer, message))
}
