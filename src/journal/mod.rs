//! Facts of a call: what happened, said once, for every reader.
//!
//! The core notes facts in the order in which they happen; the log, the metrics and the live activity are read from them.
//! Noting never waits and never fails.

pub mod activity;
mod counts;
mod fact;
mod log;
mod milestone;

use std::sync::Arc;

pub use fact::{Change, Fact};
pub use milestone::{Closed, Milestone};

use crate::telemetry::metrics::Metrics;

use self::activity::Activity;

/// Where facts are noted.
pub struct Journal {
    metrics: Arc<Metrics>,
    activity: Arc<Activity>,
}

/// Which call a fact is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Luthien's id of the call.
    pub call: Arc<str>,
    /// The model that the client asked for, once that is known.
    pub model: Arc<str>,
}

impl Journal {
    /// A journal with these readers.
    pub fn new(metrics: Arc<Metrics>, activity: Arc<Activity>) -> Self {
        Self { metrics, activity }
    }

    /// The metrics, for what is measured and no fact.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Notes what happened within a call.
    pub fn note(&self, about: &About, fact: &Fact) {
        log::note(about, fact);
        counts::note(&self.metrics, fact);
        self.activity.note(about, fact);
    }

    /// Notes how far a call has come.
    pub fn mark(&self, about: &About, milestone: &Milestone) {
        log::mark(about, milestone);
        counts::mark(&self.metrics, milestone);
        self.activity.mark(about, milestone);
    }
}
