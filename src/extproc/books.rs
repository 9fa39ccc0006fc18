//! What is known of a call, and its one closing line: on every path, also when the stream is dropped.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    journal::{About, Closed, Fact, Journal, Milestone},
    model::{CallHead, Dialect, FailureKind, Usage},
    pipeline::{Runner, Shadow, Stopped},
};

use super::late::Late;

/// The books of one call.
pub(super) struct Books {
    journal: Arc<Journal>,
    /// The call, and the model that the client asked for.
    pub(super) about: About,
    started: Instant,
    pub(super) dialect: Option<Dialect>,
    pub(super) upstream: String,
    pub(super) path: String,
    pub(super) rules: String,
    pub(super) client: Option<String>,
    session: Option<String>,
    pub(super) status: u16,
    pub(super) usage: Usage,
    /// A policy changed something of the answer.
    changed: bool,
    first_byte: Option<Instant>,
    outcome: Option<&'static str>,
    /// Room among the calls in flight, given back when the call ends.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Books {
    pub(super) fn open(journal: Arc<Journal>) -> Self {
        journal.metrics().in_flight.inc();
        Self {
            journal,
            about: About { call: Uuid::now_v7().simple().to_string().into(), model: Arc::default() },
            started: Instant::now(),
            dialect: None,
            upstream: String::new(),
            path: String::new(),
            rules: String::new(),
            client: None,
            session: None,
            status: 0,
            usage: Usage::default(),
            changed: false,
            first_byte: None,
            outcome: None,
            permit: None,
        }
    }

    /// When the call began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The provider's first byte came.
    pub(super) fn first_byte(&mut self, sent: Instant, now: Instant) {
        if self.first_byte.replace(now).is_none() {
            self.journal.metrics().first_byte.observe(now.duration_since(sent).as_secs_f64());
        }
    }

    /// Notes what happened.
    pub(super) fn note(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            if let Fact::Decided { on, decision, shadow: false, .. } = &fact {
                self.changed |= *on != "request" && *decision != "refuse";
            }
            self.journal.note(&self.about, &fact);
        }
    }

    fn mark(&self, milestone: &Milestone) {
        self.journal.mark(&self.about, milestone);
    }

    /// Notes that the request's headers are here.
    pub(super) fn opened(&self) {
        self.mark(&Milestone::Opened { dialect: self.dialect, path: self.path.clone(), client: self.client.clone() });
    }

    /// Notes that the request is whole, and which policies run.
    pub(super) fn received(&mut self, head: &CallHead, bytes: usize, runners: &[Runner]) {
        self.about.model = head.model.as_str().into();
        self.session.clone_from(&head.session);
        self.mark(&Milestone::Received { session: head.session.clone(), stream: head.stream, bytes });
        for runner in runners {
            self.mark(&Milestone::Began { policy: runner.name(), shadow: runner.is_shadow() });
        }
    }

    /// Notes that the request left for the provider.
    pub(super) fn sent(&self, dialect: Dialect, changed: bool, bytes: usize) {
        self.mark(&Milestone::Sent { upstream: self.upstream.clone(), dialect, changed, bytes });
    }

    /// Notes that the answer's headers are here.
    pub(super) fn answering(&mut self, status: u16) {
        self.status = status;
        self.mark(&Milestone::Answering { status });
    }

    /// Notes that all of the answer was handed on.
    pub(super) fn answered(&self) {
        self.mark(&Milestone::Answered { status: self.status, changed: self.changed });
    }

    /// Leaves policies that have not decided on everything to decide behind the call.
    pub(super) fn leave(&self, shadows: Vec<Shadow>, late: &mpsc::Sender<Late>) {
        for shadow in shadows {
            let policy = shadow.name();
            if late.try_send(Late { about: self.about.clone(), shadow }).is_err() {
                let why = "the most that decide behind their calls";
                self.journal.note(&self.about, &Fact::ShadowLost { policy, why });
            }
        }
    }

    /// Fields of the request were left out, because the provider's dialect does not have them.
    pub(super) fn dropped(&self, fields: &[String]) {
        if !fields.is_empty() {
            self.mark(&Milestone::FieldsDropped { fields: fields.to_vec() });
        }
    }

    /// The provider keeps the answer as it made it, also where a policy changed it.
    pub(super) fn stored(&self) {
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
                self.mark(&Milestone::Refused { policy: refusal.policy.clone() });
                self.outcome("refused");
            }
            Stopped::Failed(failure) => {
                let (error, outcome) = (failure.message.clone(), outcome(failure.kind));
                self.mark(&Milestone::Failed { error, outcome, limit: failure.limit });
                self.outcome(outcome);
            }
        }
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.journal.metrics().in_flight.dec();
        let closed = Closed {
            dialect: self.dialect,
            path: std::mem::take(&mut self.path),
            upstream: std::mem::take(&mut self.upstream),
            client: self.client.take(),
            session: self.session.take(),
            status: self.status,
            // An exchange that nobody ended was ended by the other side: the client left, or the provider's connection
            // broke and Envoy ended the client's with it. Envoy does not say which.
            outcome: self.outcome.unwrap_or("client_gone"),
            duration: self.started.elapsed(),
            usage: self.usage,
            rules: std::mem::take(&mut self.rules),
        };
        self.mark(&Milestone::Closed(Box::new(closed)));
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
        FailureKind::ShuttingDown => "interrupted",
    }
}
