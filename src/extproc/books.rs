//! What is known of a call, its record, and its one closing line: on every path, also when the stream is dropped.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    dialect::Transcript,
    journal::{About, Closed, Fact, Journal, Milestone, activity::Event},
    model::{CallHead, Dialect, FailureKind, Recorded, Usage},
    pipeline::{Answered, Runner, Shadow, Stopped},
    record::{Closing, Head, Recorder, Recording, Said, Sent, Unwritten, Written, micros},
    telemetry::{
        metrics::{DirectionLabels, Histogram, ModelLabels, UpstreamLabels},
        names::attribute,
        stopwatch::Times,
        trace::{Parent, Tracing, count},
    },
};

use super::{
    late::Late,
    replies::{Metadata, Told},
    spans::{Question, Said as Outcome, Spans},
};

/// The books of one call.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Books {
    journal: Arc<Journal>,
    /// The call, and the model that the client asked for.
    pub(super) about: About,
    /// Its spans.
    pub(super) spans: Spans,
    /// Pieces of the answer's body that came, and that left.
    chunks: (u64, u64),
    began: SystemTime,
    started: Instant,
    pub(super) dialect: Option<Dialect>,
    pub(super) upstream: String,
    pub(super) path: String,
    pub(super) rules: String,
    pub(super) client: Option<String>,
    session: Option<String>,
    stream: bool,
    /// What the client tries with it.
    pub(super) probe: Option<&'static str>,
    /// The request's headers, without credentials.
    pub(super) headers: Vec<(String, String)>,
    pub(super) status: u16,
    pub(super) usage: Usage,
    /// The model that the provider was asked for.
    asked_model: String,
    /// What the client was told when it failed.
    error: Option<String>,
    /// A policy changed something of the answer.
    changed: bool,
    /// The policies that changed or refused something.
    policies: Vec<String>,
    /// The provider's first byte, and how long it took.
    first_byte: Option<Duration>,
    /// The provider's last chunk, and where the time between two of them is counted.
    last_chunk: Option<(Instant, Histogram)>,
    /// Where its work for chunks is counted, by their direction.
    work: Vec<(&'static str, Histogram)>,
    outcome: Option<&'static str>,
    /// Its record. `None`: there is no room, or nothing is recorded.
    recording: Option<Recording>,
    /// There is no room, and there has to be.
    pub(super) is_unrecordable: bool,
    head_is_written: bool,
    written: Option<Written>,
    closed: bool,
    /// Room among the calls in flight, given back when the call ends.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Books {
    /// Opens the books of a call, of which `asked` is recorded as long as no policy that runs says otherwise.
    pub(super) fn open(journal: Arc<Journal>, recorder: Option<&Recorder>, asked: Recorded) -> Self {
        journal.metrics().in_flight.inc();
        let call: Arc<str> = Uuid::now_v7().simple().to_string().into();
        let recording = recorder.map(|recorder| recorder.begin(&call));
        let is_unrecordable = matches!(recording, Some(Err(_))) && recorder.is_some_and(Recorder::is_required);
        let recording = recording.and_then(Result::ok).map(|mut recording| {
            recording.set(asked);
            recording
        });
        Self {
            journal,
            about: About { call, ..About::default() },
            spans: Spans::default(),
            chunks: (0, 0),
            began: SystemTime::now(),
            started: Instant::now(),
            dialect: None,
            upstream: String::new(),
            path: String::new(),
            rules: String::new(),
            client: None,
            session: None,
            stream: false,
            probe: None,
            headers: Vec::new(),
            status: 0,
            usage: Usage::default(),
            asked_model: String::new(),
            error: None,
            changed: false,
            policies: Vec::new(),
            first_byte: None,
            last_chunk: None,
            work: Vec::new(),
            outcome: None,
            recording,
            is_unrecordable,
            head_is_written: false,
            written: None,
            closed: false,
            permit: None,
        }
    }

    /// Begins its spans, below what somebody else does.
    pub(super) fn trace(&mut self, tracing: &Tracing, above: &Parent) {
        self.spans = Spans::open(tracing, above, self.began);
        self.about.trace = self.spans.call.parent().ids();
    }

    /// When the call began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The provider's first byte came.
    pub(super) fn first_byte(&mut self, sent: Instant, now: Instant) {
        if self.first_byte.is_none() {
            let took = now.duration_since(sent);
            self.first_byte = Some(took);
            let labels = ModelLabels { upstream: self.upstream.clone(), model: self.metrics_model() };
            self.journal.metrics().first_byte.get_or_create(&labels).observe(took.as_secs_f64());
        }
    }

    /// A chunk of the provider's stream came.
    pub(super) fn chunk(&mut self, now: Instant) {
        if let Some((last, gaps)) = &mut self.last_chunk {
            gaps.observe(now.duration_since(*last).as_secs_f64());
            *last = now;
            return;
        }
        let labels = UpstreamLabels { upstream: self.upstream.clone() };
        self.last_chunk = Some((now, self.journal.metrics().chunk_gap.get_or_create_owned(&labels)));
    }

    /// So much work was done for a message that carries a chunk.
    pub(super) fn chunk_work(&mut self, direction: &'static str, work: Duration) {
        let Self { journal, work: known, .. } = self;
        if !known.iter().any(|(name, _)| *name == direction) {
            known.push((
                direction,
                journal.metrics().chunk_overhead.get_or_create_owned(&DirectionLabels { direction }),
            ));
        }
        if let Some((_, histogram)) = known.iter().find(|(name, _)| *name == direction) {
            histogram.observe(work.as_secs_f64());
        }
    }

    /// The call is over, and this is where its time went.
    pub(super) fn timed(&mut self, times: &Times) {
        self.spans.call.set(attribute::OVERHEAD, times.own.as_secs_f64());
        self.journal.metrics().timed(&self.upstream, self.metrics_model(), times);
    }

    fn metrics_model(&self) -> Arc<str> {
        self.journal.metrics().models.label(&self.about.model)
    }

    /// A credential that the client sent. It stands nowhere in the record.
    pub(super) fn hide(&mut self, secret: &str) {
        self.about.secrets.add(secret);
        if let Some(recording) = &mut self.recording {
            recording.hide(secret);
        }
    }

    /// What is recorded of the answer: `None` where none of its texts is.
    pub(super) fn records(&self) -> Option<Recorded> {
        self.recording.as_ref().map(Recording::recorded).filter(|_| self.about.content)
    }

    /// Notes what happened.
    pub(super) fn note(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            if let Fact::Decided { policy, on, decision, shadow: false, .. } = &fact {
                self.changed |= *on != "request" && *decision != "refuse";
                if !self.policies.iter().any(|known| **known == **policy) {
                    self.policies.push(policy.to_string());
                }
            }
            let event = self.journal.note(&self.about, &mut self.spans.call, &fact);
            self.record(event);
        }
    }

    fn mark(&mut self, milestone: &Milestone) {
        let event = self.journal.mark(&self.about, &mut self.spans.call, milestone);
        self.record(event);
    }

    fn record(&mut self, event: Option<Event>) {
        if let (Some(recording), Some(event)) = (&mut self.recording, event) {
            recording.event(event);
        }
    }

    /// Notes that the request's headers are here.
    pub(super) fn opened(&mut self) {
        let (path, client) = (self.path.clone(), self.client.clone());
        self.mark(&Milestone::Opened { dialect: self.dialect, path, client });
    }

    /// Notes that the request is whole, what is recorded of the call, and which policies run.
    pub(super) fn received(&mut self, head: &CallHead, body: &Bytes, recorded: Recorded, runners: &[Runner]) {
        self.about.model = self.journal.name(&self.about, &head.model).into();
        self.session.clone_from(&head.session);
        self.stream = head.stream;
        if let Some(recording) = &mut self.recording {
            recording.set(recorded);
            self.about.content = recording.has_content();
        }
        self.mark(&Milestone::Received { session: head.session.clone(), stream: head.stream, bytes: body.len() });
        for runner in runners {
            self.mark(&Milestone::Began { policy: runner.name(), shadow: runner.is_shadow() });
        }
        self.write_head();
        if let Some(recording) = &mut self.recording {
            recording.request(body.clone());
        }
    }

    /// Policies are waited for: what is known of the call is written now.
    pub(super) fn flush(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.flush();
        }
    }

    /// Notes that the request left for the provider.
    pub(super) fn sent(&mut self, sent: Sent, dialect: Dialect, body: &Bytes) {
        self.asked_model.clone_from(&sent.model);
        let (upstream, changed) = (self.upstream.clone(), sent.changed);
        self.mark(&Milestone::Sent { upstream, dialect, changed, bytes: body.len() });
        if !sent.dropped.is_empty() {
            self.mark(&Milestone::FieldsDropped { fields: sent.dropped.clone() });
        }
        if let Some(recording) = &mut self.recording {
            recording.sent(sent, body.clone());
        }
    }

    /// What Envoy's access log is told of it, as far as it is known.
    pub(super) fn metadata(&self) -> Metadata {
        let About { call, model, .. } = &self.about;
        let policies = self.policies.join(",");
        let texts =
            [("call_id", &**call), ("model", model), ("policy", &policies), ("outcome", self.outcome.unwrap_or(""))];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.into()));
        let tokens = [("input_tokens", self.usage.input), ("output_tokens", self.usage.output)];
        let tokens = tokens.into_iter().filter_map(|(name, count)| Some((name, Told::Count(count?))));
        texts.chain(tokens).collect()
    }

    /// A piece of the answer's body came.
    pub(super) fn chunk_came(&mut self) {
        self.chunks.0 += 1;
    }

    /// A piece of the answer's body left.
    pub(super) fn chunk_left(&mut self) {
        self.chunks.1 += 1;
    }

    /// Asks the provider. Returns what that one is told of the trace.
    pub(super) fn ask(&mut self, question: Question<'_>) -> Parent {
        let Self { spans, journal, about, .. } = self;
        spans.ask(question, |text| journal.name(about, text))
    }

    /// It is known what came of the question to the provider. `failed`: it said so itself.
    pub(super) fn provider_is_done(&mut self, answered: Option<&Answered>, failed: bool) {
        // What a policy made of it is no fault of the provider's.
        let ended = self.outcome.filter(|outcome| !["completed", "refused", "policy_fault"].contains(outcome));
        let told = Outcome {
            answered,
            usage: self.usage,
            first_byte: self.first_byte.filter(|_| self.stream),
            error: if failed { Some("upstream_error") } else { ended },
        };
        let Self { spans, journal, about, .. } = self;
        spans.answered(&told, |text| journal.name(about, text));
    }

    /// Notes that the answer's headers are here.
    pub(super) fn answering(&mut self, status: u16) {
        self.status = status;
        self.spans.answering(status);
        self.mark(&Milestone::Answering { status });
    }

    /// Notes that all of the answer was handed on.
    pub(super) fn answered(&mut self) {
        self.mark(&Milestone::Answered { status: self.status, changed: self.changed });
    }

    /// Leaves policies that have not decided on everything to decide behind the call.
    pub(super) fn leave(&mut self, shadows: Vec<Shadow>, late: &mpsc::Sender<Late>) {
        for shadow in shadows {
            let policy = shadow.name();
            let record = self.recording.as_mut().and_then(Recording::afterwards);
            if late.try_send(Late { about: self.about.clone(), shadow, record }).is_err() {
                self.note(vec![Fact::ShadowLost { policy, why: "the most that decide behind their calls" }]);
            }
        }
    }

    /// The provider keeps the answer as it made it, also where a policy changed it.
    pub(super) fn stored(&mut self) {
        if self.changed {
            self.mark(&Milestone::KeptUnchanged);
        }
    }

    /// Says how the call ends. The first word counts.
    pub(super) fn outcome(&mut self, outcome: &'static str) {
        self.outcome.get_or_insert(outcome);
    }

    /// Says why the call ends early.
    pub(super) fn stopped(&mut self, stopped: &Stopped) {
        match stopped {
            Stopped::Refused(refusal) => {
                self.error.get_or_insert_with(|| refusal.message.clone());
                self.mark(&Milestone::Refused { policy: refusal.policy.clone() });
                self.outcome("refused");
            }
            Stopped::Failed(failure) => {
                let (error, outcome) = (failure.message.clone(), outcome(failure.kind));
                // It may name what stands in the request.
                let quotes = failure.kind == FailureKind::BadRequest && !self.tells_texts();
                let told = if quotes { "the request is wrong".to_owned() } else { error.clone() };
                self.error.get_or_insert(told);
                self.mark(&Milestone::Failed { error, outcome, limit: failure.limit });
                self.outcome(outcome);
            }
        }
    }

    /// Whether the books are closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Records what was noted since the books were closed.
    pub(super) fn append(&mut self) {
        if let Some(recording) = self.recording.as_mut().filter(|_| self.closed) {
            recording.append();
        }
    }

    /// Whether texts of the call are recorded, as far as that is known.
    fn tells_texts(&self) -> bool {
        self.recording.as_ref().is_some_and(Recording::has_content)
    }

    /// Closes the books, once. What was said is recorded.
    pub(super) fn close(&mut self, original: Option<Transcript>, delivered: Option<Transcript>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        // An exchange that nobody ended was ended by the other side: the client left, or the provider's connection broke
        // and Envoy ended the client's with it. Envoy does not say which.
        let outcome = self.outcome.unwrap_or("client_gone");
        self.provider_is_done(None, false);
        let duration = self.started.elapsed();
        let closed = Closed {
            dialect: self.dialect,
            path: self.path.clone(),
            upstream: self.upstream.clone(),
            client: self.client.clone(),
            session: self.session.clone(),
            status: self.status,
            outcome,
            duration,
            usage: self.usage,
            rules: self.rules.clone(),
        };
        self.mark(&Milestone::Closed(Box::new(closed)));
        self.spans.end();
        self.write_head();
        let micros_of = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let closing = Closing {
            at: micros(SystemTime::now()),
            outcome: outcome.to_owned(),
            error: self.error.take(),
            status: self.status,
            duration: micros_of(duration),
            first_byte: self.first_byte.map(micros_of),
            upstream: self.upstream.clone(),
            model: std::mem::take(&mut self.asked_model),
            input: self.usage.input,
            cached: self.usage.cached,
            cache_write: self.usage.cache_write,
            output: self.usage.output,
            reasoning: self.usage.reasoning,
            cost: None,
        };
        let said = (original.is_some() || delivered.is_some()).then_some(Said { original, delivered });
        let untold = self.spans.untold();
        self.written = self.recording.as_mut().and_then(|recording| recording.close(closing, said, untold));
    }

    /// Waits until the record of a call that is closed stands on the disk. `Err`: it does not, and has to.
    pub(super) async fn written(&mut self) -> Result<(), Unwritten> {
        let Some(written) = &mut self.written else { return Ok(()) };
        let result = written.wait().await;
        self.written = None;
        result
    }

    /// The first entry of the record says what was known of the call when it began.
    fn write_head(&mut self) {
        let Some(recording) = &mut self.recording else { return };
        if std::mem::replace(&mut self.head_is_written, true) {
            return;
        }
        recording.begin(Head {
            at: micros(self.began),
            dialect: self.dialect.map(|dialect| dialect.name().to_owned()),
            path: self.path.clone(),
            model: self.about.model.to_string(),
            client: self.client.clone(),
            session: self.session.clone(),
            probe: self.probe.map(str::to_owned),
            stream: self.stream,
            rules: self.rules.clone(),
            headers: std::mem::take(&mut self.headers),
            trace: self.about.trace.map(|ids| ids.trace.to_string()),
            ..Head::default()
        });
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.journal.metrics().in_flight.dec();
        self.close(None, None);
        self.append();
        let (came, left) = self.chunks;
        self.spans.call.set(attribute::CHUNKS_IN, count(came));
        self.spans.call.set(attribute::CHUNKS_OUT, count(left));
    }
}

/// How a call that failed is recorded.
fn outcome(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::BadRequest
        | FailureKind::Unauthenticated
        | FailureKind::NotFound
        | FailureKind::RequestTooLarge
        | FailureKind::Overloaded => "rejected",
        FailureKind::UploadTimeout | FailureKind::FirstByteTimeout | FailureKind::TotalTimeout => "timed_out",
        FailureKind::Unreachable | FailureKind::BadAnswer => "upstream_error",
        FailureKind::LimitReached => "limited",
        FailureKind::Truncated => "truncated",
        FailureKind::Stalled => "stalled",
        FailureKind::PolicyFault => "policy_fault",
        FailureKind::NoRules => "no_rules",
        FailureKind::ShuttingDown => "interrupted",
    }
}
