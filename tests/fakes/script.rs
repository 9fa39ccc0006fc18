//! What a fake provider answers: the head, then steps, then an end.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

/// An answer, told step by step.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// What comes before the status line.
    pub(crate) before_head: Vec<Step>,
    pub(crate) steps: Vec<Step>,
    pub(crate) framing: Framing,
    pub(crate) end: End,
}

/// One thing that the provider does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends these bytes, as one chunk.
    Write(Bytes),
    /// Says nothing for that long.
    Pause(Duration),
    /// Says nothing until the test opens the gate.
    Wait(Gate),
    /// Opens the gate, so that the test knows that the answer has come so far.
    Reach(Gate),
    /// Says nothing ever again.
    Hang,
}

/// How the body's length is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Chunked,
    ContentLength,
}

/// How the answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As the protocol wants; the connection can be used again.
    Clean,
    /// The connection closes before the body is complete.
    Cut,
    /// The connection is reset (a TCP RST) before the body is complete.
    Reset,
}

/// Holds a provider at a step until the test lets it go on. Clones are the same gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Script {
    /// A stream of these bytes, as one chunk.
    pub(crate) fn sse(body: impl Into<Bytes>) -> Self {
        Self::empty("text/event-stream; charset=utf-8", Framing::Chunked).then(body)
    }

    /// A stream in pieces of at most `size` bytes. Each is a chunk of its own; the gateway may read several at once.
    pub(crate) fn sse_in_pieces(body: &[u8], size: usize) -> Self {
        let start = Self::empty("text/event-stream; charset=utf-8", Framing::Chunked);
        body.chunks(size).fold(start, |script, piece| script.then(piece.to_vec()))
    }

    /// A stream that has said nothing yet.
    pub(crate) fn stream() -> Self {
        Self::empty("text/event-stream; charset=utf-8", Framing::Chunked)
    }

    /// A JSON answer with a content length.
    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        Self::empty("application/json", Framing::ContentLength).then(body)
    }

    /// No answer at all, not even a status line.
    pub(crate) fn silence() -> Self {
        let mut script = Self::stream();
        script.before_head.push(Step::Hang);
        script
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(present, _)| present != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends these bytes next.
    pub(crate) fn then(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Write(bytes.into()))
    }

    /// Says nothing for that long.
    pub(crate) fn pause(self, pause: Duration) -> Self {
        self.step(Step::Pause(pause))
    }

    /// Says nothing until the gate opens.
    pub(crate) fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// Opens the gate as soon as everything before has been sent.
    pub(crate) fn reach(self, gate: &Gate) -> Self {
        self.step(Step::Reach(gate.clone()))
    }

    /// Says that the request has come, and not even a status line until the other gate is open.
    pub(crate) fn wait_at_first(mut self, reached: &Gate, open: &Gate) -> Self {
        self.before_head.extend([Step::Reach(reached.clone()), Step::Wait(open.clone())]);
        self
    }

    /// Says nothing ever again, and keeps the connection.
    pub(crate) fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// Closes the connection in the middle of the body.
    pub(crate) fn cut(mut self) -> Self {
        self.end = End::Cut;
        self
    }

    /// Resets the connection in the middle of the body.
    ///
    /// A reset may overtake bytes that the peer has not read: put a gate before it and open that when they have arrived.
    pub(crate) fn reset(mut self) -> Self {
        self.end = End::Reset;
        self
    }

    fn empty(content_type: &str, framing: Framing) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            before_head: Vec::new(),
            steps: Vec::new(),
            framing,
            end: End::Clean,
        }
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl Gate {
    /// A closed gate.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything pass from now on.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is open.
    pub(crate) fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// How many wait for it.
    pub(crate) fn waiting(&self) -> usize {
        self.0.receiver_count()
    }

    /// Returns once the gate is open.
    pub(crate) async fn passed(&self) {
        let mut open = self.0.subscribe();
        open.wait_for(|open| *open).await.expect("the gate itself keeps its sender");
    }
}
