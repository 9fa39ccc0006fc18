//! What the log says.

use std::time::Duration;

use crate::{
    model::{Dialect, Judgement},
    telemetry::log::ids,
};

use super::{About, Change, Closed, Fact, Milestone};

/// Writes a line about a call: its ids, and what else there is to say.
macro_rules! line {
    ($level:ident, $about:expr, $($rest:tt)*) => {{
        let About { call, trace, .. } = $about;
        let (trace_id, span_id) = ids(*trace);
        tracing::$level!(call_id = %call, trace_id, span_id, $($rest)*);
    }};
}

/// What happened within a call.
pub(super) fn note(about: &About, fact: &Fact) {
    match fact {
        Fact::Decided { policy, on, decision, shadow, .. } => {
            line!(debug, about, %policy, on, decision, shadow, "policy decided");
        }
        Fact::WouldChange { policy, on, before, after } => {
            let len = |side: Option<&Change>| side.map(Change::len);
            let (before, after) = (before.as_ref(), after.as_ref());
            line!(info, about, %policy, on, bytes_before = len(before), bytes_after = len(after), "policy would change");
            let text = |side: Option<&Change>| side.map(|side| side.text().to_owned());
            line!(trace, about, %policy, on, before = text(before), after = text(after), "policy would change");
        }
        Fact::ShadowLost { policy, why } => line!(warn, about, %policy, why, "policy in shadow mode was let go"),
        Fact::Emitted { policy, event, fields, shadow } => {
            line!(info, about, %policy, event, %fields, shadow, "policy event");
        }
        Fact::Judged { policy, judgement, shadow } => judged(about, policy, judgement, *shadow),
        Fact::Faulted { policy, error, open } => {
            line!(warn, about, %policy, error, on_fault = if *open { "open" } else { "closed" }, "policy failed");
        }
        Fact::Dropped { what } => line!(info, about, what, "left out: the client's dialect has no words for it"),
        Fact::Repaired { what } => line!(debug, about, what, "answer repaired"),
    }
}

/// How far a call has come.
pub(super) fn mark(about: &About, milestone: &Milestone) {
    match milestone {
        Milestone::Opened { .. }
        | Milestone::Received { .. }
        | Milestone::Began { .. }
        | Milestone::Sent { .. }
        | Milestone::Answering { .. }
        | Milestone::Answered { .. } => {}
        Milestone::FieldsDropped { fields } => {
            let fields = fields.join(", ");
            line!(info, about, fields, "left out of the request: the provider's dialect does not have it");
        }
        Milestone::KeptUnchanged => line!(
            warn,
            about,
            "a policy changed an answer that the provider keeps unchanged; a request that continues from it there \
             brings the original back. Set `stateful: require_stateless` in the rules to rule this out"
        ),
        Milestone::Refused { policy } => line!(info, about, policy, "call refused"),
        // What clients do wrong is no trouble of the operator's.
        Milestone::Failed { error, outcome: "rejected", .. } => line!(info, about, error, "call rejected"),
        Milestone::Failed { error, .. } => line!(warn, about, error, "call failed"),
        Milestone::Closed(closed) => over(about, closed),
    }
}

fn judged(about: &About, policy: &str, judgement: &Judgement, shadow: bool) {
    let Judgement { judge, on, tool, verdict, probability, explanation, took, cached, usage, cost } = judgement;
    line!(
        info,
        about,
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
        line!(warn, about, policy, judge, error = explanation, "not judged");
    } else {
        // Its words may quote what it judged.
        line!(debug, about, policy, judge, explanation, "judged");
    }
}

fn over(about: &About, closed: &Closed) {
    let Closed { dialect, path, upstream, client, session, status, outcome, duration, usage, rules } = closed;
    line!(
        info,
        about,
        dialect = dialect.map_or("none", Dialect::name),
        path,
        model = &*about.model,
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
