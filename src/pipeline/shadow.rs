//! A policy that decides on a copy: what it would have done is told, and nothing changes.
//!
//! A shadow sees the events that an enforcing policy in its place would see. It holds copies, never the stream; one that
//! would hold more than the call may is let go. What it has not decided when the answer is over, it decides behind it.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    task::{Context as Wakeup, Poll},
};

use crate::{
    journal::{Change, Fact},
    json::Text,
    model::{BlockId, Body, Event, Piece},
};

use super::{
    runner::Runner,
    stage::{BlockIds, Stage},
};

/// A policy in shadow mode over one answer.
pub struct Shadow {
    stage: Stage,
    made: BlockIds,
    blocks: HashMap<BlockId, Compared>,
    /// What may be held, in bytes.
    limit: usize,
    /// It has had enough: a halt, or too much to hold.
    over: bool,
    facts: Vec<Fact>,
}

/// A block as it came, and as it would have left.
struct Compared {
    kind: &'static str,
    came: Change,
    left: Change,
    added: bool,
    dropped: bool,
}

impl Shadow {
    pub(super) fn new(runner: Runner, limit: usize) -> Self {
        Self {
            stage: Stage::new(runner),
            made: BlockIds::new(),
            blocks: HashMap::new(),
            limit,
            over: false,
            facts: Vec::new(),
        }
    }

    /// Shows it events that go by.
    pub(super) fn show(&mut self, pieces: &VecDeque<Piece>) {
        for piece in pieces {
            if self.over {
                return;
            }
            if let Some(event) = piece.event() {
                self.came(event);
            }
            let mut out = VecDeque::new();
            self.over |= self.stage.push(piece.clone(), &mut self.made, &mut out).is_err();
            self.left(out);
            if self.stage.held() > self.limit {
                self.over = true;
                self.facts.push(Fact::ShadowLost { policy: self.stage.policy(), why: "limits.held" });
            }
        }
    }

    /// Takes up decisions that have come.
    pub(super) fn poll(&mut self, wakeup: &mut Wakeup<'_>) -> Poll<()> {
        if self.over {
            return Poll::Pending;
        }
        let mut out = VecDeque::new();
        let polled = self.stage.poll(wakeup, &mut self.made, &mut out);
        self.left(out);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(outcome) => {
                self.over |= outcome.is_err();
                Poll::Ready(())
            }
        }
    }

    /// What happened since the last time.
    pub(super) fn take_facts(&mut self) -> Vec<Fact> {
        let mut facts = self.stage.take_facts();
        facts.append(&mut self.facts);
        facts
    }

    /// Whether a hook is running.
    pub(super) fn is_deciding(&self) -> bool {
        !self.over && self.stage.is_deciding()
    }

    /// Decides what is left to decide, now that the answer is over.
    pub async fn finish(mut self) -> Vec<Fact> {
        while self.is_deciding() {
            poll_fn(|wakeup| self.poll(wakeup)).await;
        }
        self.take_facts()
    }

    /// Which policy it is.
    pub fn name(&self) -> std::sync::Arc<str> {
        self.stage.policy()
    }

    fn came(&mut self, event: &Event) {
        match event {
            Event::Open(id, head) => {
                self.blocks.insert(*id, Compared::new(head.kind.name(), false));
            }
            Event::Delta(id, text) => {
                if let Some(block) = self.blocks.get_mut(id) {
                    block.came.push(&Text::decode(text));
                }
            }
            Event::Start(_)
            | Event::Name(..)
            | Event::Extra(..)
            | Event::Close(_)
            | Event::Stop(_)
            | Event::Usage(_)
            | Event::Error(_)
            | Event::End
            | Event::Ping
            | Event::Opaque
            | Event::Eof => {}
        }
    }

    fn left(&mut self, pieces: VecDeque<Piece>) {
        for piece in pieces {
            let (is_gone, event) = match piece.body {
                Body::Gone(event) => (true, event),
                Body::Kept(event) | Body::Edited(event) => (false, event),
            };
            match event {
                Event::Open(id, head) => {
                    let block = self.blocks.entry(id).or_insert_with(|| Compared::new(head.kind.name(), true));
                    block.dropped = is_gone;
                }
                Event::Delta(id, text) if !is_gone => {
                    if let Some(block) = self.blocks.get_mut(&id) {
                        block.left.push(&text.decode());
                    }
                }
                Event::Close(id) => {
                    let block = self.blocks.remove(&id);
                    let policy = self.stage.policy();
                    self.facts.extend(block.and_then(|block| block.told(policy)));
                }
                Event::Start(_)
                | Event::Name(..)
                | Event::Delta(..)
                | Event::Extra(..)
                | Event::Stop(_)
                | Event::Usage(_)
                | Event::Error(_)
                | Event::End
                | Event::Ping
                | Event::Opaque
                | Event::Eof => {}
            }
        }
    }
}

impl Compared {
    fn new(kind: &'static str, added: bool) -> Self {
        Self { kind, came: Change::default(), left: Change::default(), added, dropped: false }
    }

    /// What would have changed.
    fn told(self, policy: std::sync::Arc<str>) -> Option<Fact> {
        let Self { kind: on, came, left, added, dropped } = self;
        let (before, after) = ((!added).then_some(came), (!dropped).then_some(left));
        (before != after).then_some(Fact::WouldChange { policy, on, before, after })
    }
}
