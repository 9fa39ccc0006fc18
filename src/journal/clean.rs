//! Facts without the credentials that may stand in their texts.

use std::borrow::Cow;

use super::{Change, Closed, Fact, Milestone};
use crate::{model::Judgement, redact::Redactor};

/// The fact without credentials.
pub(super) fn fact<'f>(fact: &'f Fact, redactor: &Redactor) -> Cow<'f, Fact> {
    match fact {
        Fact::Decided { .. } | Fact::ShadowLost { .. } | Fact::Dropped { .. } | Fact::Repaired { .. } => {
            Cow::Borrowed(fact)
        }
        Fact::Emitted { policy, event, fields, shadow } => {
            let mut clean = fields.clone();
            if !redactor.value(&mut clean, &[]) {
                return Cow::Borrowed(fact);
            }
            Cow::Owned(Fact::Emitted { policy: policy.clone(), event, fields: clean, shadow: *shadow })
        }
        Fact::WouldChange { policy, on, before, after } => {
            let clean = |side: &Option<Change>| side.as_ref().map(|change| change.redacted(redactor));
            let (before, after) = (clean(before), clean(after));
            Cow::Owned(Fact::WouldChange { policy: policy.clone(), on, before, after })
        }
        Fact::Judged { policy, judgement, shadow } => match redactor.text(&judgement.explanation) {
            Cow::Borrowed(_) => Cow::Borrowed(fact),
            Cow::Owned(explanation) => Cow::Owned(Fact::Judged {
                policy: policy.clone(),
                judgement: Box::new(Judgement { explanation, ..(**judgement).clone() }),
                shadow: *shadow,
            }),
        },
        Fact::Faulted { policy, error, open } => match redactor.text(error) {
            Cow::Borrowed(_) => Cow::Borrowed(fact),
            Cow::Owned(error) => Cow::Owned(Fact::Faulted { policy: policy.clone(), error, open: *open }),
        },
    }
}

/// The milestone without credentials.
pub(super) fn milestone<'m>(milestone: &'m Milestone, redactor: &Redactor) -> Cow<'m, Milestone> {
    let is_clean = |text: &str| matches!(redactor.text(text), Cow::Borrowed(_));
    let clean = |text: &str| redactor.text(text).into_owned();
    match milestone {
        Milestone::Opened { dialect, path, client } if !is_clean(path) => {
            Cow::Owned(Milestone::Opened { dialect: *dialect, path: clean(path), client: client.clone() })
        }
        Milestone::Received { session: Some(session), stream, bytes } if !is_clean(session) => {
            Cow::Owned(Milestone::Received { session: Some(clean(session)), stream: *stream, bytes: *bytes })
        }
        Milestone::Failed { error, outcome, limit } if !is_clean(error) => {
            Cow::Owned(Milestone::Failed { error: clean(error), outcome, limit: *limit })
        }
        Milestone::Closed(closed)
            if !is_clean(&closed.path) || closed.session.as_deref().is_some_and(|session| !is_clean(session)) =>
        {
            Cow::Owned(Milestone::Closed(Box::new(Closed {
                path: clean(&closed.path),
                session: closed.session.as_deref().map(clean),
                ..(**closed).clone()
            })))
        }
        Milestone::Opened { .. }
        | Milestone::Received { .. }
        | Milestone::Began { .. }
        | Milestone::Sent { .. }
        | Milestone::FieldsDropped { .. }
        | Milestone::Answering { .. }
        | Milestone::Answered { .. }
        | Milestone::KeptUnchanged
        | Milestone::Refused { .. }
        | Milestone::Failed { .. }
        | Milestone::Closed(_) => Cow::Borrowed(milestone),
    }
}
