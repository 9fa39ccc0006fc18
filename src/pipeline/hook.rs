//! A hook that runs, as a span in the call's trace.
//!
//! Most hooks answer at once and change nothing; they leave no span. One that waits, decides, fails or takes its time does.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    model::BlockId,
    telemetry::{
        names::{attribute, span::POLICY},
        trace::{Kind, Parent, Span},
    },
};

/// A hook that answers at once is worth a span if it takes this long.
const SLOW: Duration = Duration::from_millis(1);

/// A hook that runs.
pub(super) struct Hook {
    /// What it is called.
    pub(super) name: &'static str,
    /// The block that it is about.
    pub(super) about: Option<BlockId>,
    policy: Arc<str>,
    shadow: bool,
    has_decided: bool,
    below: Parent,
    began: SystemTime,
    span: Option<Span>,
}

impl Hook {
    pub(super) fn begin(
        name: &'static str,
        about: Option<BlockId>,
        policy: Arc<str>,
        shadow: bool,
        below: &Parent,
    ) -> Self {
        Self {
            name,
            about,
            policy,
            shadow,
            has_decided: false,
            below: below.clone(),
            began: SystemTime::now(),
            span: None,
        }
    }

    fn span(&mut self) -> &mut Span {
        self.span.get_or_insert_with(|| {
            let mut span = self.below.child_since(POLICY, Kind::Internal, self.began);
            span.set(attribute::POLICY_NAME, self.policy.to_string());
            span.set(attribute::POLICY_HOOK, self.name);
            span.set(attribute::POLICY_MODE, if self.shadow { "shadow" } else { "enforce" });
            span
        })
    }

    /// It answers later: what it asks others in the meantime lies below this.
    pub(super) fn waits(&mut self) -> Parent {
        self.span().parent().clone()
    }

    /// It answered at once, after this time.
    pub(super) fn took(&mut self, time: Duration) {
        if time >= SLOW {
            self.span();
        }
    }

    /// It decided on something. Its first decision is told with it; the call's span has all of them.
    pub(super) fn decided(&mut self, on: &'static str, decision: &'static str) {
        if std::mem::replace(&mut self.has_decided, true) {
            return;
        }
        let span = self.span();
        span.set(attribute::POLICY_ON, on);
        span.set(attribute::POLICY_DECISION, decision);
    }

    /// It could not do its work. Why is told with the call, where credentials are taken out.
    pub(super) fn failed(&mut self) {
        self.span().failed("policy_fault", String::new());
    }
}
