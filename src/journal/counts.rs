//! What the metrics count.

use std::sync::Arc;

use crate::{
    model::{Dialect, Judgement},
    telemetry::metrics::{
        CallLabels, DecisionLabels, JudgeLabel, JudgeLabels, JudgeTokenLabels, Metrics, PolicyLabels, TokenLabels,
        WhatLabels,
    },
};

use super::{About, Closed, Fact, Milestone};

/// What happened within a call.
pub(super) fn note(metrics: &Metrics, fact: &Fact) {
    match fact {
        Fact::WouldChange { .. } | Fact::Emitted { .. } => {}
        Fact::Decided { policy, on, decision, shadow, .. } => {
            let mode = if *shadow { "shadow" } else { "enforce" };
            metrics.decisions.get_or_create(&DecisionLabels { policy: Arc::clone(policy), on, decision, mode }).inc();
        }
        Fact::ShadowLost { policy, .. } => {
            metrics.shadows_lost.get_or_create(&PolicyLabels { policy: Arc::clone(policy) }).inc();
        }
        Fact::Judged { judgement, .. } => judged(metrics, judgement),
        Fact::Faulted { policy, .. } => {
            metrics.faults.get_or_create(&PolicyLabels { policy: Arc::clone(policy) }).inc();
        }
        Fact::Dropped { .. } => repaired(metrics, "answer_part_dropped"),
        Fact::Repaired { what } => repaired(metrics, what),
    }
}

/// How far a call has come.
pub(super) fn mark(metrics: &Metrics, about: &About, milestone: &Milestone) {
    match milestone {
        Milestone::Opened { .. }
        | Milestone::Received { .. }
        | Milestone::Began { .. }
        | Milestone::Sent { .. }
        | Milestone::Answered { .. }
        | Milestone::Refused { .. } => {}
        // What a provider answers for exists; clients may ask for anything.
        Milestone::Answering { status } => {
            if (200..300).contains(status) {
                metrics.models.admit(&about.model);
            }
        }
        Milestone::FieldsDropped { .. } => repaired(metrics, "request_field_dropped"),
        Milestone::KeptUnchanged => repaired(metrics, "stored_unchanged"),
        Milestone::Failed { limit, .. } => {
            if let Some(limit) = limit {
                metrics.limit_reached(limit);
            }
        }
        Milestone::Closed(closed) => over(metrics, about, closed),
    }
}

fn repaired(metrics: &Metrics, what: &'static str) {
    metrics.repairs.get_or_create(&WhatLabels { what }).inc();
}

fn judged(metrics: &Metrics, judgement: &Judgement) {
    let Judgement { judge, verdict, took, cached, usage, cost, .. } = judgement;
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

fn over(metrics: &Metrics, about: &About, closed: &Closed) {
    let Closed { dialect, upstream, outcome, usage, .. } = closed;
    let (dialect, model) = (dialect.map_or("none", Dialect::name), metrics.models.label(&about.model));
    let labels = CallLabels { dialect, upstream: upstream.clone(), model: Arc::clone(&model), outcome };
    metrics.calls.get_or_create(&labels).inc();
    for (direction, tokens) in [("input", usage.input), ("cached", usage.cached), ("output", usage.output)] {
        if let Some(tokens) = tokens {
            let labels = TokenLabels { upstream: upstream.clone(), model: Arc::clone(&model), direction };
            metrics.tokens.get_or_create(&labels).inc_by(tokens);
        }
    }
}
