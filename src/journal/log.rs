//! What the log says.

use std::time::Duration;

use tracing::{debug, info, trace, warn};

use crate::model::{Dialect, Judgement};

use super::{About, Change, Closed, Fact, Milestone};

/// What happened within a call.
pub(super) fn note(about: &About, fact: &Fact) {
    let id = &*about.call;
    match fact {
        Fact::Decided { policy, on, decision, shadow, .. } => {
            debug!(call_id = id, %policy, on, decision, shadow, "policy decided");
        }
        Fact::WouldChange { policy, on, before, after } => {
            let len = |side: Option<&Change>| side.map(Change::len);
            let (before, after) = (before.as_ref(), after.as_ref());
            info!(call_id = id, %policy, on, bytes_before = len(before), bytes_after = len(after), "policy would change");
            let text = |side: Option<&Change>| side.map(|side| side.text().to_owned());
            trace!(call_id = id, %policy, on, before = text(before), after = text(after), "policy would change");
        }
        Fact::ShadowLost { policy, why } => warn!(call_id = id, %policy, why, "policy in shadow mode was let go"),
        Fact::Emitted { policy, event, fields, shadow } => {
            info!(call_id = id, %policy, event, %fields, shadow, "policy event");
        }
        Fact::Judged { policy, judgement, shadow } => judged(id, policy, judgement, *shadow),
        Fact::Faulted { policy, error, open } => {
            warn!(call_id = id, %policy, error, on_fault = if *open { "open" } else { "closed" }, "policy failed");
        }
        Fact::Dropped { what } => info!(call_id = id, what, "left out: the client's dialect has no words for it"),
        Fact::Repaired { what } => debug!(call_id = id, what, "answer repaired"),
    }
}

/// How far a call has come.
pub(super) fn mark(about: &About, milestone: &Milestone) {
    let id = &*about.call;
    match milestone {
        Milestone::Opened { .. }
        | Milestone::Received { .. }
        | Milestone::Began { .. }
        | Milestone::Sent { .. }
        | Milestone::Answering { .. }
        | Milestone::Answered { .. } => {}
        Milestone::FieldsDropped { fields } => {
            let fields = fields.join(", ");
            info!(call_id = id, fields, "left out of the request: the provider's dialect does not have it");
        }
        Milestone::KeptUnchanged => warn!(
            call_id = id,
            "a policy changed an answer that the provider keeps unchanged; a request that continues from it there \
             brings the original back. Set `stateful: require_stateless` in the rules to rule this out"
        ),
        Milestone::Refused { policy } => info!(call_id = id, policy, "call refused"),
        // What clients do wrong is no trouble of the operator's.
        Milestone::Failed { error, outcome: "rejected", .. } => info!(call_id = id, error, "call rejected"),
        Milestone::Failed { error, .. } => warn!(call_id = id, error, "call failed"),
        Milestone::Closed(closed) => over(about, closed),
    }
}

fn judged(id: &str, policy: &str, judgement: &Judgement, shadow: bool) {
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
        took_ms = milliseconds(*took),
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
}

fn over(about: &About, closed: &Closed) {
    let Closed { dialect, path, upstream, client, session, status, outcome, duration, usage, rules } = closed;
    info!(
        call_id = %about.call,
        dialect = dialect.map_or("none", Dialect::name),
        path,
        model = %about.model,
        upstream,
        client,
        session_id = session,
        status,
        outcome,
        duration_ms = milliseconds(*duration),
        input_tokens = usage.input,
        output_tokens = usage.output,
        rules,
        "call"
    );
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
