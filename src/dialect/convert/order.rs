//! Puts tool results where every provider wants them: directly behind the calls, in the order of the calls.

use std::collections::HashMap;

use crate::model::conversation::{Part, PartKind, Role, Turn};

/// Gathers the results of each assistant turn's calls into one user turn behind it. What else was said in between follows.
pub(super) fn results(turns: &mut Vec<Turn>) {
    let mut out: Vec<Turn> = Vec::with_capacity(turns.len());
    let mut rest = std::mem::take(turns).into_iter().peekable();
    while let Some(turn) = rest.next() {
        let calls = calls(&turn);
        let asks = turn.role == Role::Assistant && !calls.is_empty();
        out.push(turn);
        if !asks {
            continue;
        }
        let mut found = Vec::new();
        let mut between = Vec::new();
        while let Some(mut next) = rest.next_if(|next| next.role != Role::Assistant) {
            let (results, others) = next.parts.into_iter().partition(is_result);
            found.extend::<Vec<Part>>(results);
            next.parts = others;
            if !next.parts.is_empty() {
                between.push(next);
            }
        }
        // Stable: results of calls that nobody made keep their order, behind the others.
        let place: HashMap<&str, usize> = calls.iter().enumerate().map(|(at, call)| (call.as_str(), at)).collect();
        found.sort_by_cached_key(|part| answered(part).and_then(|call| place.get(call)).copied().unwrap_or(usize::MAX));
        if !found.is_empty() {
            out.push(Turn { role: Role::User, parts: found });
        }
        out.extend(between);
    }
    *turns = out;
}

fn calls(turn: &Turn) -> Vec<String> {
    let id = |part: &Part| match &part.kind {
        PartKind::ToolCall(call) => Some(call.id.clone()),
        PartKind::Text(_)
        | PartKind::Refusal(_)
        | PartKind::Image(_)
        | PartKind::Document(_)
        | PartKind::ToolResult(_)
        | PartKind::Thinking(_) => None,
    };
    turn.parts.iter().filter_map(id).collect()
}

fn answered(part: &Part) -> Option<&str> {
    match &part.kind {
        PartKind::ToolResult(result) => Some(&result.call),
        PartKind::Text(_)
        | PartKind::Refusal(_)
        | PartKind::Image(_)
        | PartKind::Document(_)
        | PartKind::ToolCall(_)
        | PartKind::Thinking(_) => None,
    }
}

fn is_result(part: &Part) -> bool {
    answered(part).is_some()
}
