//! Facts of a call: what happened, said once, for every reader.
//!
//! The core notes facts in the order in which they happen; the log, the metrics, the traces and the live activity are
//! read from them.
//! Noting never waits and never fails.

pub mod activity;
mod clean;
mod counts;
mod fact;
mod log;
mod milestone;
mod spans;

use std::sync::Arc;

pub use fact::{Change, Fact};
pub use milestone::{Closed, Milestone};

use crate::{
    redact::{Redactor, Secrets},
    telemetry::{
        metrics::Metrics,
        trace::{Ids, Span},
    },
};

use self::activity::{Activity, Event};

/// Where facts are noted.
pub struct Journal {
    metrics: Arc<Metrics>,
    activity: Arc<Activity>,
    redactor: Arc<Redactor>,
}

/// Which call a fact is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Luthien's id of the call.
    pub call: Arc<str>,
    /// The model that the client asked for, once that is known.
    pub model: Arc<str>,
    /// Whether texts of the call may be told.
    pub content: bool,
    /// The ids of its span, for log lines and the record.
    pub trace: Option<Ids>,
    /// What the client showed to prove who it is.
    pub secrets: Secrets,
}

impl Journal {
    /// A journal with these readers. None of them learns a credential.
    pub fn new(metrics: Arc<Metrics>, activity: Arc<Activity>, redactor: Arc<Redactor>) -> Self {
        Self { metrics, activity, redactor }
    }

    /// The metrics, for what is measured and no fact.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// A name that a call gave to something, without credentials, and cut to what fits into a line.
    pub fn name(&self, about: &About, text: &str) -> String {
        clean::name(text, &self.redactor, &about.secrets)
    }

    /// Notes what happened within a call, whose span this is. What is told of it is returned, for the call's own record.
    pub fn note(&self, about: &About, span: &mut Span, fact: &Fact) -> Option<Event> {
        let fact = clean::fact(fact, &self.redactor, &about.secrets);
        log::note(about, &fact);
        spans::note(span, &fact);
        counts::note(&self.metrics, &fact);
        self.activity.note(about, &fact)
    }

    /// Notes how far a call has come, whose span this is. What is told of it is returned, for the call's own record.
    pub fn mark(&self, about: &About, span: &mut Span, milestone: &Milestone) -> Option<Event> {
        let milestone = clean::milestone(milestone, &self.redactor, &about.secrets);
        log::mark(about, &milestone);
        spans::mark(span, about, &milestone);
        counts::mark(&self.metrics, about, &milestone);
        self.activity.mark(about, &milestone)
    }
}
