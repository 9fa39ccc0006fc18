//! Sends an answer as the script wants it: at once or slowly, whole or broken.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use serde_json::Value;

use super::script::{Ending, Script};

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

/// How many of `frames` are sent before an answer breaks.
pub(super) const fn half(frames: usize) -> usize {
    frames.div_ceil(2)
}

/// A JSON body, in two pieces so that it can break in the middle. Its error is an HTTP status, which comes before it.
pub(super) fn json(whole: &Value) -> Parts {
    let whole = Bytes::from(whole.to_string());
    let middle = half(whole.len());
    Parts { frames: vec![whole.slice(..middle), whole.slice(middle..)], terminal: 1, error: Bytes::new() }
}

/// The body.
pub(super) fn body(parts: Parts, script: Script) -> Body {
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
