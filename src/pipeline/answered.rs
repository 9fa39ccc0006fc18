//! What a provider says of its answer beside the content.

use std::collections::BTreeMap;

use crate::model::{Event, StopReason};

/// What a provider said of its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// Its id.
    pub id: String,
    /// The model that answered, as the client knows it.
    pub model: String,
    /// Why each alternative ended, as far as they did.
    reasons: BTreeMap<u32, Option<StopReason>>,
}

impl Answered {
    /// Takes what an event says of it.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Start(start) => {
                self.id.clone_from(&start.id);
                self.model.clone_from(&start.model);
            }
            Event::Open(_, head) => {
                self.reasons.entry(head.choice).or_default();
            }
            Event::Stop(stop) => {
                let reason = self.reasons.entry(stop.choice).or_default();
                if stop.reason.is_some() {
                    reason.clone_from(&stop.reason);
                }
            }
            Event::Name(..)
            | Event::Delta(..)
            | Event::Extra(..)
            | Event::Close(_)
            | Event::Usage(_)
            | Event::Error(_)
            | Event::End
            | Event::Ping
            | Event::Opaque
            | Event::Eof => {}
        }
    }

    /// Why each alternative ended, in the words of OpenTelemetry's conventions. One that did not end says `error`, and so do all
    /// of an answer that is not whole.
    pub fn finish_reasons(&self, is_whole: bool) -> Vec<String> {
        let word = |reason: &Option<StopReason>| match reason.as_ref().filter(|_| is_whole) {
            Some(StopReason::EndTurn) => "stop".to_owned(),
            Some(StopReason::ToolUse) => "tool_call".to_owned(),
            Some(StopReason::Unfinished) => "length".to_owned(),
            Some(StopReason::Refused) => "content_filter".to_owned(),
            Some(StopReason::Failed) | None => "error".to_owned(),
            Some(StopReason::Other(word)) => word.clone(),
        };
        self.reasons.values().map(word).collect()
    }
}
