//! Every way in which a call can stop, and the one answer to each.
//!
//! | when | refusal | failure |
//! |---|---|---|
//! | before the answer's headers were released | HTTP 400 in the dialect's words, or a whole polite answer | HTTP 4xx or 5xx in the dialect's words |
//! | while the answer streams | the dialect's error event, or a polite end | the dialect's error event |
//! | while a body passes unread | – | gRPC error: Envoy aborts the client |
//! | Envoy broke the protocol | – | gRPC error: Envoy aborts the client |

use envoy_types::pb::envoy::service::ext_proc::v3::ProcessingResponse;

use crate::{
    dialect::{self, ErrorAnswer, Recipient, RequestView},
    model::{Block, Dialect, RefusalForm},
    pipeline::Stopped,
};

use super::replies::immediate;

/// What is needed to answer in place of the provider.
pub(super) struct Instead<'a> {
    /// The dialect in which the client is answered.
    pub dialect: Dialect,
    /// What it asked for, as far as that is known.
    pub view: &'a RequestView,
    /// Luthien's id of the call.
    pub call: &'a str,
    /// Seconds since 1970.
    pub created: u64,
}

/// A stop, as a whole HTTP answer. Returns its status with it.
pub(super) fn stopped(stopped: &Stopped, instead: &Instead<'_>) -> (u16, ProcessingResponse) {
    let mut details = "luthien_failed";
    let mut answer = match stopped {
        Stopped::Refused(refusal) if refusal.form == RefusalForm::Message => {
            return blocks(&[Block::text(refusal.message.clone())], Some(&refusal.policy), instead);
        }
        Stopped::Refused(refusal) => {
            details = "luthien_refused";
            let mut answer = dialect::refusal_answer(instead.dialect, refusal, instead.call);
            answer.headers.push(("x-luthien-policy", refusal.policy.clone()));
            answer
        }
        Stopped::Failed(failure) => dialect::failure_answer(instead.dialect, failure, instead.call),
    };
    if instead.dialect == Dialect::AnthropicMessages {
        // Where the vendor's SDKs look for the id of a request.
        answer.headers.push(("request-id", instead.call.to_owned()));
    }
    (answer.status, immediate(answer, "application/json", instead.call, details))
}

/// An answer that a policy gave, as a whole HTTP answer in the form that the client asked for.
pub(super) fn blocks(blocks: &[Block], policy: Option<&str>, instead: &Instead<'_>) -> (u16, ProcessingResponse) {
    let recipient = Recipient {
        request: instead.view.clone(),
        call: instead.call.into(),
        created: instead.created,
        converts: false,
        changes: true,
    };
    let body = dialect::answer(instead.dialect, &recipient, blocks);
    let headers = policy.map(|policy| ("x-luthien-policy", policy.to_owned())).into_iter().collect();
    let content_type = if instead.view.stream { "text/event-stream; charset=utf-8" } else { "application/json" };
    let answer = ErrorAnswer { status: 200, headers, body };
    (200, immediate(answer, content_type, instead.call, "luthien_answered"))
}
