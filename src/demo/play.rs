//! Sends an answer as the script wants it: at once or slowly, whole or broken.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures::stream;
use serde_json::Value;

use super::script::{Ending, Script};
use super::{Ask, Reply};

/// Between two events of a slow answer.
const SLOW: Duration = Duration::from_millis(100);

/// The parts of an answer that differ by dialect.
pub(super) struct Parts {
    /// Events of a stream, or the pieces of a JSON body.
    pub(super) frames: Vec<Bytes>,
    /// How many frames at the end say that the answer is complete.
    pub(super) terminal: usize,
    /// The protocol's error, for [`Ending::Error`].
    pub(super) error: Bytes,
}

/// How a protocol answers over HTTP.
pub(super) struct Http {
    /// An error.
    pub(super) error: fn(StatusCode, &str) -> Response,
    /// An answer with the headers that the API adds: status, content type, body.
    pub(super) response: fn(StatusCode, &'static str, Body) -> Response,
}

impl Http {
    /// What the prompt asks for: an error, a stream, or a whole answer.
    pub(super) fn answer(
        &self,
        ask: &Ask,
        stream: impl FnOnce(&Reply) -> Parts,
        whole: impl FnOnce(&Reply) -> Value,
    ) -> Response {
        let script = ask.script();
        if let Some(status) = script.status {
            return (self.error)(status, "the prompt asked the demo provider for this error");
        }
        if script.ending == Ending::Error && !ask.stream {
            let message = "the prompt asked the demo provider for an error";
            return (self.error)(StatusCode::INTERNAL_SERVER_ERROR, message);
        }
        let reply = Reply::new(ask, script);
        let (content_type, parts) = if ask.stream {
            ("text/event-stream; charset=utf-8", stream(&reply))
        } else {
            ("application/json", json(&whole(&reply)))
        };
        (self.response)(StatusCode::OK, content_type, body(parts, script))
    }
}

/// How many of `frames` are sent before an answer breaks.
pub(super) const fn half(frames: usize) -> usize {
    frames.div_ceil(2)
}

/// A JSON body, in two pieces so that it can break in the middle. Its error is an HTTP status, which comes before it.
fn json(whole: &Value) -> Parts {
    let whole = Bytes::from(whole.to_string());
    let middle = half(whole.len());
    Parts { frames: vec![whole.slice(..middle), whole.slice(middle..)], terminal: 1, error: Bytes::new() }
}

/// The body.
fn body(parts: Parts, script: Script) -> Body {
    Body::from_stream(stream::unfold(Player::new(parts, script), Player::next))
}

struct Player {
    frames: VecDeque<Bytes>,
    then: Then,
    pace: Option<Duration>,
    first: bool,
}

enum Then {
    End,
    Silence,
    Break,
}

impl Player {
    fn new(parts: Parts, script: Script) -> Self {
        let Parts { mut frames, terminal, error } = parts;
        let half = half(frames.len());
        let then = match script.ending {
            Ending::Whole => Then::End,
            Ending::Truncate => {
                frames.truncate(frames.len().saturating_sub(terminal));
                Then::End
            }
            Ending::Error => {
                frames.truncate(half);
                frames.push(error);
                Then::End
            }
            Ending::Stall => {
                frames.truncate(half);
                Then::Silence
            }
            Ending::Reset => {
                frames.truncate(half);
                Then::Break
            }
        };
        Self { frames: frames.into(), then, pace: script.slow.then_some(SLOW), first: true }
    }

    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if let Some(frame) = self.frames.pop_front() {
            match self.pace {
                Some(pace) if !self.first => tokio::time::sleep(pace).await,
                // Events of a real provider come one by one; without this they would leave in one write.
                Some(_) | None => tokio::task::yield_now().await,
            }
            self.first = false;
            return Some((Ok(frame), self));
        }
        match self.then {
            Then::End => None,
            Then::Silence => std::future::pending().await,
            Then::Break => {
                self.then = Then::End;
                // The server drops the connection without the last chunk, which a client sees as a broken transfer. One
                // turn before, so that the frames are on their way.
                tokio::time::sleep(Duration::from_millis(1)).await;
                Some((Err(io::ErrorKind::ConnectionReset.into()), self))
            }
        }
    }
}
