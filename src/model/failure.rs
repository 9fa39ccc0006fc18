//! Why a call does not go on.

use std::time::Duration;

/// A policy, or the gateway by its rules, says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who says so.
    pub policy: String,
    /// What the client is told.
    pub message: String,
    /// How it is told.
    pub form: RefusalForm,
}

/// How a client is told of a refusal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RefusalForm {
    /// As an error, which a program can act on.
    #[default]
    Error,
    /// As a complete, polite answer, which a person can read.
    Message,
}

/// Why a call fails, with what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub kind: FailureKind,
    /// What the client is told. No secrets, no internals.
    pub message: String,
    /// The limit that was reached, by its name in the configuration.
    pub limit: Option<&'static str>,
}

/// What failed. Decides the status, the error type and the outcome in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The request cannot be understood (400).
    BadRequest,
    /// The client's key is missing or wrong (401).
    Unauthenticated,
    /// No such path, or none that is let through (404).
    NotFound,
    /// The request is larger than the limit (413).
    RequestTooLarge,
    /// The client was too slow in sending its request (408).
    UploadTimeout,
    /// There are no rules for the call, and there have to be (503).
    NoRules,
    /// The gateway has too much to do (503, `retry-after`).
    Overloaded,
    /// The provider cannot be reached (502).
    Unreachable,
    /// The provider's answer cannot be read (502).
    BadAnswer,
    /// The provider's answer ended before its end (502).
    Truncated,
    /// The provider did not begin to answer in time (504).
    FirstByteTimeout,
    /// The provider fell silent (504).
    Stalled,
    /// The whole answer took too long (504).
    TotalTimeout,
    /// A policy failed (500).
    PolicyFault,
    /// A limit on what is held or made here was reached (502).
    LimitReached,
    /// The gateway is shutting down (503).
    ShuttingDown,
}

impl Refusal {
    /// A refusal as an error.
    pub fn new(policy: impl Into<String>, message: impl Into<String>) -> Self {
        Self { policy: policy.into(), message: message.into(), form: RefusalForm::Error }
    }
}

impl Failure {
    /// A failure with its message.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), limit: None }
    }

    /// The same failure, by this limit.
    #[must_use]
    pub fn by_limit(self, limit: &'static str) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The provider fell silent.
    pub fn stalled(silent: Duration, limit: Duration, elapsed: Duration, chunks: u64) -> Self {
        Self::new(
            FailureKind::Stalled,
            format!(
                "the provider sent nothing for {} (limit {}, timeouts.stall); {} since the request, {chunks} chunks received",
                seconds(silent),
                seconds(limit),
                seconds(elapsed),
            ),
        )
        .by_limit("timeouts.stall")
    }
}

/// A duration as error messages write it, as `1.5s`: seconds, to the millisecond.
pub fn seconds(duration: Duration) -> String {
    let text = format!("{:.3}", duration.as_secs_f64());
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}
