//! What an answer is made after.

use std::sync::Arc;

use crate::{
    dialect::{ConvertedTools, Recipient, RequestView, Transcript},
    model::{Dialect, Recorded},
    policy::Release,
    telemetry::trace::Parent,
};

use super::{runner::Runner, sides::Sides};

/// The limits of one answer, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct ResponseLimits {
    /// One event of a stream.
    pub event: usize,
    /// A body that is seen whole.
    pub body: usize,
    /// What is held back.
    pub held: usize,
    /// Output of our own making.
    pub synthetic: usize,
}

/// What an answer is made after.
#[derive(Clone)]
pub struct Setup {
    /// The protocol of the provider's stream or body.
    pub dialect: Dialect,
    /// The protocol of the client.
    pub client: Dialect,
    /// What the client asked for.
    pub request: RequestView,
    /// Luthien's id of the call, for errors.
    pub call: Arc<str>,
    /// When the answer is made, in seconds since 1970, for dialects that say it.
    pub created: u64,
    /// The client's name of the model, where the provider has another.
    pub model: Option<String>,
    /// The tools as the provider knows them.
    pub tools: ConvertedTools,
    /// When tool calls are released.
    pub release: Release,
    /// The limits.
    pub limits: ResponseLimits,
    /// What is recorded of its texts. `None`: nothing.
    pub record: Option<Recorded>,
    /// What the spans of hooks lie below.
    pub below: Parent,
}

impl Setup {
    /// An answer to a client that speaks the provider's own dialect.
    pub fn native(dialect: Dialect, call: Arc<str>, release: Release, limits: ResponseLimits) -> Self {
        let request = RequestView::default();
        Self {
            dialect,
            client: dialect,
            request,
            call,
            created: 0,
            model: None,
            tools: ConvertedTools::default(),
            release,
            limits,
            record: None,
            below: Parent::default(),
        }
    }

    /// Whether the client speaks another protocol than the provider.
    pub(super) fn converts(&self) -> bool {
        self.dialect != self.client
    }

    /// Both sides of the answer, from what writes one down in a dialect.
    pub(super) fn sides(&self, side: impl Fn(Dialect) -> Transcript) -> Sides {
        if self.converts() {
            Sides::different(side(self.dialect), side(self.client))
        } else {
            Sides::same(side(self.dialect))
        }
    }

    pub(super) fn recipient(&self, runners: &[Runner]) -> Recipient {
        Recipient {
            request: self.request.clone(),
            call: Arc::clone(&self.call),
            created: self.created,
            converts: self.converts(),
            changes: runners.iter().any(Runner::enforces),
        }
    }
}
