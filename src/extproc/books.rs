//! What is known of a call, and its one closing line: on every path, also when the stream is dropped.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};
use tracing::{debug, info, trace, warn};
use uuid::Uuid;

use crate::{
    journal::{Change, Fact},
    model::{Dialect, FailureKind, Judgement, Usage},
    pipeline::{Shadow, Stopped},
    telemetry::metrics::{
        CallLabels, DecisionLabels, JudgeLabel, JudgeLabels, JudgeTokenLabels, Metrics, PolicyLabels, TokenLabels,
        WhatLabels,
    },
};

use super::late::Late;

/// The books of one call.
pub(super) struct Books {
    metrics: Arc<Metrics>,
    pub(super) id: Arc<str>,
    started: Instant,
    pub(super) dialect: Option<Dialect>,
    pub(super) upstream: String,
    pub(super) model: String,
    pub(super) path: String,
    pub(super) rules: String,
    pub(super) client: Option<String>,
    pub(super) session: Option<String>,
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
    pub(super) fn open(metrics: Arc<Metrics>) -> Self {
        metrics.in_flight.inc();
        Self {
            metrics,
            id: Uuid::now_v7().simple().to_string().into(),
            started: Instant::now(),
            dialect: None,
            upstream: String::new(),
            model: String::new(),
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
            self.metrics.first_byte.observe(now.duration_since(sent).as_secs_f64());
        }
    }

    /// Notes what happened.
    pub(super) fn note(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            if let Fact::Decided { on, decision, shadow: false, .. } = &fact {
                self.changed |= *on != "request" && *decision != "refuse";
            }
            note(&self.metrics, &self.id, fact);
        }
    }

    /// Leaves policies that have not decided on everything to decide behind the call.
    pub(super) fn leave(&self, shadows: Vec<Shadow>, late: &mpsc::Sender<Late>) {
        for shadow in shadows {
            let policy = shadow.name();
            if late.try_send(Late { call: Arc::clone(&self.id), shadow }).is_err() {
                note(
                    &self.metrics,
                    &self.id,
                    Fact::ShadowLost { policy, why: "the most that decide behind their calls" },
                );
            }
        }
    }

    /// Fields of the request were left out, because the provider's dialect does not have them.
    pub(super) fn dropped(&self, fields: &[String]) {
        if !fields.is_empty() {
            info!(call_id = %self.id, fields = fields.join(", "), "left out of the request: the provider's dialect does not have it");
            self.metrics.repairs.get_or_create(&WhatLabels { what: "request_field_dropped" }).inc();
        }
    }

    /// The provider keeps the answer as it made it, also where a policy changed it.
    pub(super) fn stored(&self) {
        if self.changed {
            warn!(
                call_id = %self.id,
                "a policy changed an answer that the provider keeps unchanged; a request that continues from it there \
                 brings the original back. Set `stateful: require_stateless` in the rules to rule this out"
            );
            self.metrics.repairs.get_or_create(&WhatLabels { what: "stored_unchanged" }).inc();
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
                info!(call_id = %self.id, policy = refusal.policy, "call refused");
                self.outcome("refused");
            }
            Stopped::Failed(failure) => {
                // What clients do wrong is no trouble of the operator's.
                let outcome = outcome(failure.kind);
                if outcome == "rejected" {
                    info!(call_id = %self.id, error = failure.message, "call rejected");
                } else {
                    warn!(call_id = %self.id, error = failure.message, "call failed");
                }
                if let Some(limit) = failure.limit {
                    self.metrics.limit_reached(limit);
                }
                self.outcome(outcome);
            }
        }
    }
}

/// Tells the log and the metrics what happened in a call.
pub(super) fn note(metrics: &Metrics, id: &str, fact: Fact) {
    match fact {
        Fact::Decided { policy, on, decision, shadow } => {
            debug!(call_id = id, %policy, on, decision, shadow, "policy decided");
            let labels = DecisionLabels { policy: policy.to_string(), on, decision, mode: mode(shadow) };
            metrics.decisions.get_or_create(&labels).inc();
        }
        Fact::WouldChange { policy, on, before, after } => {
            let len = |side: Option<&Change>| side.map(Change::len);
            let (before, after) = (before.as_ref(), after.as_ref());
            info!(call_id = id, %policy, on, bytes_before = len(before), bytes_after = len(after), "policy would change");
            let text = |side: Option<&Change>| side.map(|side| side.text().to_owned());
            trace!(call_id = id, %policy, on, before = text(before), after = text(after), "policy would change");
        }
        Fact::ShadowLost { policy, why } => {
            warn!(call_id = id, %policy, why, "policy in shadow mode was let go");
            metrics.shadows_lost.get_or_create(&PolicyLabels { policy: policy.to_string() }).inc();
        }
        Fact::Emitted { policy, event, fields, shadow } => {
            info!(call_id = id, %policy, event, %fields, shadow, "policy event");
        }
        Fact::Judged { policy, judgement, shadow } => judged(metrics, id, &policy, &judgement, shadow),
        Fact::Faulted { policy, error, open } => {
            warn!(call_id = id, %policy, error, on_fault = if open { "open" } else { "closed" }, "policy failed");
            metrics.faults.get_or_create(&PolicyLabels { policy: policy.to_string() }).inc();
        }
        Fact::Dropped { what } => {
            metrics.repairs.get_or_create(&WhatLabels { what: "answer_part_dropped" }).inc();
            info!(call_id = id, what, "left out: the client's dialect has no words for it");
        }
        Fact::Repaired { what } => {
            debug!(call_id = id, what, "answer repaired");
            metrics.repairs.get_or_create(&WhatLabels { what }).inc();
        }
    }
}

fn judged(metrics: &Metrics, id: &str, policy: &str, judgement: &Judgement, shadow: bool) {
    let Judgement { judge, on, tool, verdict, probability, explanation, took, cached, usage, cost } = judgement;
    info!(
        call_id = id,
        policy,
        judge,
        on,
        tool,
        verdict,
        probability,
        cached,
        shadow,
        cost,
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        input_tokens = usage.input,
        output_tokens = usage.output,
        "judged"
    );
    if *verdict == "fault" {
        warn!(call_id = id, policy, judge, error = explanation, "not judged");
    } else {
        // Its words may quote what it judged.
        debug!(call_id = id, policy, judge, explanation, "judged");
    }
    let labels = JudgeLabels { judge: judge.clone(), verdict, cached: if *cached { "true" } else { "false" } };
    metrics.judgements.get_or_create(&labels).inc();
    if *cached {
        return;
    }
    metrics.judge_duration.get_or_create(&JudgeLabel { judge: judge.clone() }).observe(took.as_secs_f64());
    for (direction, tokens) in [("input", usage.input), ("output", usage.output)] {
        let labels = JudgeTokenLabels { judge: judge.clone(), direction };
        metrics.judge_tokens.get_or_create(&labels).inc_by(tokens.unwrap_or(0));
    }
    if let Some(cost) = cost {
        metrics.judge_cost.get_or_create(&JudgeLabel { judge: judge.clone() }).inc_by(*cost);
    }
}

const fn mode(shadow: bool) -> &'static str {
    if shadow { "shadow" } else { "enforce" }
}

impl Drop for Books {
    fn drop(&mut self) {
        // An exchange that nobody ended was ended by the other side: the client left, or the provider's connection broke
        // and Envoy ended the client's with it. Envoy does not say which.
        let outcome = self.outcome.unwrap_or("client_gone");
        let dialect = self.dialect.map_or("none", Dialect::name);
        let duration = self.started.elapsed();
        self.metrics.in_flight.dec();
        self.metrics.duration.observe(duration.as_secs_f64());
        let upstream = self.upstream.clone();
        self.metrics.calls.get_or_create(&CallLabels { dialect, upstream, outcome }).inc();
        let counts = [("input", self.usage.input), ("cached", self.usage.cached), ("output", self.usage.output)];
        for (direction, tokens) in counts {
            if let Some(tokens) = tokens {
                let labels = TokenLabels { upstream: self.upstream.clone(), direction };
                self.metrics.tokens.get_or_create(&labels).inc_by(tokens);
            }
        }
        info!(
            call_id = %self.id,
            dialect,
            path = self.path,
            model = self.model,
            upstream = self.upstream,
            client = self.client,
            session_id = self.session,
            status = self.status,
            outcome,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            input_tokens = self.usage.input,
            output_tokens = self.usage.output,
            rules = self.rules,
            "call"
        );
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
