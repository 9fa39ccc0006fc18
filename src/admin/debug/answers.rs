//! Answers, and errors that say what to do.

use axum::{
    Json,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{super::reply, diff::Difference};
use crate::store::{Page, Session, StoreError, Turn};

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::admin) struct Problem {
    status: StatusCode,
    message: String,
}

/// An error.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Error {
    /// What is wrong, and what to do.
    error: String,
}

/// What became of a call's bodies.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::admin) struct Differences {
    /// Luthien's id of the call.
    pub(in crate::admin) call_id: String,
    /// How much is recorded: with `metadata` there are no bodies to compare.
    pub(in crate::admin) record: String,
    /// What the provider got in place of what the client sent.
    pub(in crate::admin) request: Vec<Difference>,
    /// What the client got in place of what the provider answered.
    pub(in crate::admin) response: Vec<Difference>,
}

/// A conversation, with some of its turns.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::admin) struct Conversation {
    /// In short.
    #[serde(flatten)]
    pub(in crate::admin) session: Session,
    /// The last turns, in the order of time. `next_cursor` leads to those before them.
    pub(in crate::admin) turns: Page<Turn>,
}

/// What was deleted.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Deleted {
    /// How many calls.
    pub(super) deleted: u64,
}

impl Problem {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.into() }
    }

    pub(in crate::admin) fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, and what to do.
    pub(in crate::admin) fn message(&self) -> &str {
        &self.message
    }

    /// The answer.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response {
        reply::error(asked, self.status, &self.message)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::Database(_) | StoreError::Slow => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::Damaged(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::warn!(%error, "the store did not answer");
        // What the database says of itself is for the log.
        let message = match error {
            StoreError::Database(_) => "the store does not answer; try again, and see the log".to_owned(),
            StoreError::Slow | StoreError::Damaged(_) => error.to_string(),
        };
        Self { status, message }
    }
}

/// JSON, or why not.
pub(super) fn json<T: Serialize>(asked: &HeaderMap, answer: Result<T, Problem>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(problem) => problem.answer(asked),
    }
}
