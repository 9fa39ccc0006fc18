//! Refusals and failures in each dialect's words.
//!
//! A refusal is HTTP 400 with `x-should-retry: false`: the SDKs repeat 408, 409, 429 and 5xx, agents repeat 403 or take it
//! for a credential problem, and all of them show the message of a 400. In a stream the error type says the same.

use crate::model::{Dialect, Failure, FailureKind, Refusal, RefusalForm};

use super::{anthropic, openai_chat};

/// An error as it is told in a stream or a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    /// What the client is told.
    pub message: String,
    /// The dialect's type of the error.
    pub kind: &'static str,
    /// A word for programs.
    pub code: String,
    /// Luthien's id of the call.
    pub call: String,
}

/// A whole HTTP answer that says an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Vec<u8>,
}

/// How the dialects name one failure.
struct Words {
    status: u16,
    anthropic: &'static str,
    openai: &'static str,
    code: &'static str,
}

impl WireError {
    /// A failure in `dialect`'s words.
    pub fn failure(dialect: Dialect, failure: &Failure, call: &str) -> Self {
        let words = words(failure.kind);
        let kind = match dialect {
            Dialect::AnthropicMessages => words.anthropic,
            Dialect::OpenaiChat | Dialect::OpenaiResponses => words.openai,
        };
        Self { message: failure.message.clone(), kind, code: words.code.to_owned(), call: call.to_owned() }
    }

    /// A refusal in `dialect`'s words, for the middle of a stream: types that no client takes for an upstream failure
    /// worth a retry.
    pub fn refusal(dialect: Dialect, refusal: &Refusal, call: &str) -> Self {
        let (kind, code) = match dialect {
            Dialect::AnthropicMessages => ("permission_error", "gateway_policy"),
            Dialect::OpenaiChat => ("invalid_request_error", "content_policy_violation"),
            // The one code that agents show without asking again.
            Dialect::OpenaiResponses => ("invalid_request_error", "invalid_prompt"),
        };
        Self { message: refusal_text(refusal), kind, code: code.to_owned(), call: call.to_owned() }
    }

    /// The JSON object that says it.
    pub fn json(&self, dialect: Dialect) -> Vec<u8> {
        match dialect {
            Dialect::AnthropicMessages => anthropic::error_json(self),
            Dialect::OpenaiChat | Dialect::OpenaiResponses => openai_chat::error_json(self),
        }
    }
}

/// The sentence that a refused client reads.
pub(super) fn refusal_text(refusal: &Refusal) -> String {
    match refusal.form {
        RefusalForm::Error => format!("Blocked by policy {}: {}", refusal.policy, refusal.message),
        RefusalForm::Message => refusal.message.clone(),
    }
}

pub(super) fn failure(dialect: Dialect, failure: &Failure, call: &str) -> ErrorAnswer {
    let mut headers = Vec::new();
    match failure.kind {
        FailureKind::Overloaded | FailureKind::ShuttingDown => headers.push(("retry-after", "1".to_owned())),
        // The same request would meet the same end.
        FailureKind::PolicyFault | FailureKind::LimitReached | FailureKind::NoRules => {
            headers.push(("x-should-retry", "false".to_owned()));
        }
        FailureKind::BadRequest
        | FailureKind::Unauthenticated
        | FailureKind::NotFound
        | FailureKind::RequestTooLarge
        | FailureKind::UploadTimeout
        | FailureKind::Unreachable
        | FailureKind::BadAnswer
        | FailureKind::Truncated
        | FailureKind::FirstByteTimeout
        | FailureKind::Stalled
        | FailureKind::TotalTimeout => {}
    }
    let body = WireError::failure(dialect, failure, call).json(dialect);
    ErrorAnswer { status: words(failure.kind).status, headers, body }
}

pub(super) fn refusal(dialect: Dialect, refusal: &Refusal, call: &str) -> ErrorAnswer {
    let mut error = WireError::refusal(dialect, refusal, call);
    match dialect {
        Dialect::AnthropicMessages => error.kind = "invalid_request_error",
        Dialect::OpenaiResponses => "content_policy_violation".clone_into(&mut error.code),
        Dialect::OpenaiChat => {}
    }
    ErrorAnswer { status: 400, headers: vec![("x-should-retry", "false".to_owned())], body: error.json(dialect) }
}

fn words(kind: FailureKind) -> Words {
    let (status, anthropic, openai, code) = match kind {
        FailureKind::BadRequest => (400, "invalid_request_error", "invalid_request_error", "bad_request"),
        FailureKind::Unauthenticated => (401, "authentication_error", "invalid_request_error", "invalid_api_key"),
        FailureKind::NotFound => (404, "not_found_error", "invalid_request_error", "not_found"),
        FailureKind::UploadTimeout => (408, "timeout_error", "invalid_request_error", "upload_timeout"),
        FailureKind::RequestTooLarge => (413, "request_too_large", "invalid_request_error", "request_too_large"),
        FailureKind::PolicyFault => (500, "api_error", "server_error", "policy_fault"),
        FailureKind::Unreachable => (502, "api_error", "server_error", "upstream_unreachable"),
        FailureKind::BadAnswer => (502, "api_error", "server_error", "upstream_unreadable"),
        FailureKind::Truncated => (502, "api_error", "server_error", "upstream_truncated"),
        FailureKind::LimitReached => (502, "api_error", "server_error", "gateway_limit"),
        FailureKind::NoRules => (503, "api_error", "server_error", "gateway_no_rules"),
        FailureKind::Overloaded => (503, "overloaded_error", "server_error", "gateway_overloaded"),
        FailureKind::ShuttingDown => (503, "overloaded_error", "server_error", "gateway_shutting_down"),
        FailureKind::FirstByteTimeout => (504, "timeout_error", "server_error", "first_byte_timeout"),
        FailureKind::Stalled => (504, "timeout_error", "server_error", "upstream_stalled"),
        FailureKind::TotalTimeout => (504, "timeout_error", "server_error", "total_timeout"),
    };
    Words { status, anthropic, openai, code }
}
