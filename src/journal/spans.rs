//! What the span of a call says.

use crate::{
    model::{Dialect, Judgement},
    telemetry::{
        names::{attribute, event},
        trace::{Span, Value, gen_ai},
    },
};

use super::{About, Closed, Fact, Milestone};

/// What happened within a call.
pub(super) fn note(span: &mut Span, fact: &Fact) {
    if !span.is_recording() {
        return;
    }
    match fact {
        Fact::Decided { policy, on, decision, shadow, .. } => span.event(
            event::DECISION,
            [
                (attribute::POLICY_NAME, policy.to_string().into()),
                (attribute::POLICY_DECISION, (*decision).into()),
                (attribute::POLICY_ON, (*on).into()),
                (attribute::POLICY_MODE, mode(*shadow)),
            ],
        ),
        Fact::Emitted { policy, event: word, fields, shadow } => span.event(
            event::POLICY,
            [
                (attribute::POLICY_NAME, policy.to_string().into()),
                (attribute::POLICY_EVENT, (*word).into()),
                (attribute::POLICY_FIELDS, fields.to_string().into()),
                (attribute::POLICY_MODE, mode(*shadow)),
            ],
        ),
        Fact::Judged { policy, judgement, shadow } => judged(span, policy, judgement, *shadow),
        Fact::Faulted { policy, error, open } => span.event(
            event::FAULT,
            [
                (attribute::POLICY_NAME, policy.to_string().into()),
                (attribute::POLICY_ERROR, error.clone().into()),
                (attribute::POLICY_ON_FAULT, if *open { "open" } else { "closed" }.into()),
            ],
        ),
        Fact::Repaired { what } | Fact::Dropped { what } => {
            span.event(event::REPAIR, [(attribute::REPAIR, (*what).into())]);
        }
        // What a policy in shadow mode would have decided is told as a decision of its.
        Fact::WouldChange { .. } | Fact::ShadowLost { .. } => {}
    }
}

/// How far a call has come.
pub(super) fn mark(span: &mut Span, about: &About, milestone: &Milestone) {
    if !span.is_recording() {
        return;
    }
    match milestone {
        Milestone::Received { stream, .. } => span.set(attribute::STREAM, *stream),
        Milestone::Failed { error, outcome, .. } => {
            // What clients do wrong is no trouble of the operator's.
            if *outcome != "rejected" {
                span.failed(*outcome, error.clone());
            }
        }
        Milestone::Closed(closed) => {
            let Closed { dialect, path, upstream, client, session, status, outcome, rules, .. } = &**closed;
            span.set(attribute::CALL_ID, about.call.to_string());
            span.set(attribute::DIALECT, dialect.map_or("none", Dialect::name));
            span.set(attribute::MODEL, about.model.to_string());
            span.set(attribute::UPSTREAM, upstream.clone());
            span.set(gen_ai::URL_PATH, path.clone());
            span.set_some(attribute::CLIENT, client.clone());
            span.set_some(attribute::SESSION_ID, session.clone());
            span.set(attribute::OUTCOME, *outcome);
            span.set(attribute::RULES, rules.clone());
            span.set_some(gen_ai::HTTP_STATUS, (*status > 0).then(|| i64::from(*status)));
            if *outcome == "upstream_error" {
                span.failed(*outcome, String::new());
            }
        }
        Milestone::Opened { .. }
        | Milestone::Began { .. }
        | Milestone::Sent { .. }
        | Milestone::FieldsDropped { .. }
        | Milestone::Answering { .. }
        | Milestone::Answered { .. }
        | Milestone::KeptUnchanged
        | Milestone::Refused { .. } => {}
    }
}

fn judged(span: &mut Span, policy: &str, judgement: &Judgement, shadow: bool) {
    let Judgement { judge, tool, verdict, cached, .. } = judgement;
    let tool = tool.clone().map(|tool| (gen_ai::TOOL_NAME, Value::from(tool)));
    let common = [
        (attribute::POLICY_NAME, policy.to_owned().into()),
        (attribute::JUDGE_NAME, judge.clone().into()),
        (attribute::JUDGE_VERDICT, (*verdict).into()),
        (attribute::JUDGE_CACHED, (*cached).into()),
        (attribute::POLICY_MODE, mode(shadow)),
    ];
    span.event(event::JUDGED, common.into_iter().chain(tool));
}

fn mode(shadow: bool) -> Value {
    if shadow { "shadow" } else { "enforce" }.into()
}
