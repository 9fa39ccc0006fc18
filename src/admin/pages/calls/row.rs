//! A call, or what it took, on one line.

use crate::{
    admin::pages::text::{self, count, dollars, fragment, moment, short, span, tone},
    store::{Summary, Tokens},
};

/// So much of an id or of an error stands in a list.
const SHORT: usize = 13;
const LINE: usize = 160;

/// A call in a list.
pub(in crate::admin::pages) struct Row {
    pub(in crate::admin::pages) href: String,
    pub(in crate::admin::pages) at: String,
    pub(in crate::admin::pages) moment: String,
    pub(in crate::admin::pages) model: String,
    /// The model that the provider was asked for, where it is another.
    pub(in crate::admin::pages) upstream: Option<String>,
    pub(in crate::admin::pages) client: Option<String>,
    pub(in crate::admin::pages) probe: Option<String>,
    pub(in crate::admin::pages) outcome: String,
    pub(in crate::admin::pages) tone: &'static str,
    pub(in crate::admin::pages) status: Option<u16>,
    pub(in crate::admin::pages) error: Option<String>,
    pub(in crate::admin::pages) duration: Option<String>,
    pub(in crate::admin::pages) first_byte: Option<String>,
    pub(in crate::admin::pages) tokens: Used,
    pub(in crate::admin::pages) cost: Option<String>,
    pub(in crate::admin::pages) request_changed: bool,
    pub(in crate::admin::pages) response_changed: bool,
    pub(in crate::admin::pages) session: Option<Session>,
}

/// A conversation in a list.
pub(in crate::admin::pages) struct Session {
    pub(in crate::admin::pages) href: String,
    pub(in crate::admin::pages) id: String,
    pub(in crate::admin::pages) short: String,
}

/// Tokens.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::admin::pages) struct Used {
    pub(in crate::admin::pages) input: Option<String>,
    pub(in crate::admin::pages) output: Option<String>,
    /// What is known beyond these, as `12 cached`.
    pub(in crate::admin::pages) more: String,
}

impl Row {
    /// `words`: what was searched for, which the page of the call marks.
    pub(in crate::admin::pages) fn of(call: &Summary, words: &str) -> Self {
        let asked = call.upstream_model.as_ref().filter(|model| **model != call.model);
        Self {
            href: text::call(&call.call_id) + &fragment(words),
            at: call.started_at.clone(),
            moment: moment(&call.started_at),
            model: call.model.clone(),
            upstream: asked.cloned(),
            client: call.client.clone(),
            probe: call.probe.clone(),
            outcome: call.outcome.clone().unwrap_or_else(|| "open".to_owned()),
            tone: call.outcome.as_deref().map_or("info", tone),
            status: call.status,
            error: call.error.as_deref().map(|error| short(error, LINE)),
            duration: call.duration_ms.map(span),
            first_byte: call.time_to_first_byte_ms.map(span),
            tokens: Used::of(call.usage),
            cost: call.cost_usd.map(dollars),
            request_changed: call.changed.request,
            response_changed: call.changed.response,
            session: call.session_id.as_ref().map(|id| Session {
                href: text::session(id),
                id: id.clone(),
                short: short(id, SHORT),
            }),
        }
    }
}

impl Used {
    pub(in crate::admin::pages) fn of(tokens: Tokens) -> Self {
        let more =
            [(tokens.cached, "cached"), (tokens.cache_write, "written to the cache"), (tokens.reasoning, "thinking")];
        let more =
            more.into_iter().filter_map(|(number, of)| Some(format!("{} {of}", count(number.filter(|n| *n > 0)?))));
        Self {
            input: tokens.input.map(count),
            output: tokens.output.map(count),
            more: more.collect::<Vec<_>>().join(", "),
        }
    }

    pub(in crate::admin::pages) fn is_known(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }
}
