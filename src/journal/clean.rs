//! Facts without the credentials that may stand in their texts, and with names that fit into a line.

use std::borrow::Cow;

use super::{Change, Closed, Fact, Milestone};
use crate::{model::Judgement, redact::Redactor};

/// The longest name that is told, in bytes.
const LONGEST_NAME: usize = 512;

/// The fact without credentials.
pub(super) fn fact<'f>(fact: &'f Fact, redactor: &Redactor, secrets: &[String]) -> Cow<'f, Fact> {
    match fact {
        Fact::Decided { .. } | Fact::ShadowLost { .. } | Fact::Dropped { .. } | Fact::Repaired { .. } => {
            Cow::Borrowed(fact)
        }
        Fact::Emitted { policy, event, fields, shadow } => {
            let mut clean = fields.clone();
            if !redactor.value(&mut clean, secrets) {
                return Cow::Borrowed(fact);
            }
            Cow::Owned(Fact::Emitted { policy: policy.clone(), event, fields: clean, shadow: *shadow })
        }
        Fact::WouldChange { policy, on, before, after } => {
            let clean = |side: &Option<Change>| side.as_ref().map(|change| change.redacted(redactor, secrets));
            let (before, after) = (clean(before), clean(after));
            Cow::Owned(Fact::WouldChange { policy: policy.clone(), on, before, after })
        }
        Fact::Judged { policy, judgement, shadow } => {
            let explanation = redactor.without(&judgement.explanation, secrets).into_owned();
            let tool = judgement.tool.as_deref().map(|tool| name(tool, redactor, secrets));
            Cow::Owned(Fact::Judged {
                policy: policy.clone(),
                judgement: Box::new(Judgement { tool, explanation, ..(**judgement).clone() }),
                shadow: *shadow,
            })
        }
        Fact::Faulted { policy, error, open } => match redactor.without(error, secrets) {
            Cow::Borrowed(_) => Cow::Borrowed(fact),
            Cow::Owned(error) => Cow::Owned(Fact::Faulted { policy: policy.clone(), error, open: *open }),
        },
    }
}

/// The milestone without credentials.
pub(super) fn milestone<'m>(milestone: &'m Milestone, redactor: &Redactor, secrets: &[String]) -> Cow<'m, Milestone> {
    let name = |text: &str| name(text, redactor, secrets);
    let clean = |text: &str| redactor.without(text, secrets).into_owned();
    match milestone {
        Milestone::Opened { dialect, path, client } => {
            Cow::Owned(Milestone::Opened { dialect: *dialect, path: name(path), client: client.clone() })
        }
        Milestone::Received { session: Some(session), stream, bytes } => {
            Cow::Owned(Milestone::Received { session: Some(name(session)), stream: *stream, bytes: *bytes })
        }
        Milestone::Failed { error, outcome, limit } => {
            Cow::Owned(Milestone::Failed { error: clean(error), outcome, limit: *limit })
        }
        Milestone::Closed(closed) => Cow::Owned(Milestone::Closed(Box::new(Closed {
            path: name(&closed.path),
            session: closed.session.as_deref().map(name),
            ..(**closed).clone()
        }))),
        Milestone::Received { session: None, .. }
        | Milestone::Began { .. }
        | Milestone::Sent { .. }
        | Milestone::FieldsDropped { .. }
        | Milestone::Answering { .. }
        | Milestone::Answered { .. }
        | Milestone::KeptUnchanged
        | Milestone::Refused { .. } => Cow::Borrowed(milestone),
    }
}

/// A name that a client or a provider chose: without credentials, and cut.
pub(super) fn name(text: &str, redactor: &Redactor, secrets: &[String]) -> String {
    // A credential at the cut is seen whole.
    let text = text.get(..text.floor_char_boundary(4 * LONGEST_NAME)).unwrap_or_default();
    let clean = redactor.without(text, secrets);
    match clean.get(..clean.floor_char_boundary(LONGEST_NAME)) {
        Some(beginning) if beginning.len() < clean.len() => format!("{beginning}…"),
        _ => clean.into_owned(),
    }
}
