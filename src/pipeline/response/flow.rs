//! Pieces on their way through the policies to the client.

use std::{
    collections::VecDeque,
    task::{Context as Wakeup, Poll},
};

use crate::{
    model::{Event, Failure, Piece},
    pipeline::{runner::Stopped, stage::Stage},
};

use super::{Place, Response, Source, State, bad_answer, limited};

/// Queues of pieces on their way, which are used again.
#[derive(Default)]
pub(super) struct Queues(Vec<VecDeque<Piece>>);

impl Queues {
    /// An empty one.
    pub(super) fn take(&mut self) -> VecDeque<Piece> {
        self.0.pop().unwrap_or_default()
    }

    /// Takes one back.
    pub(super) fn give(&mut self, mut queue: VecDeque<Piece>) {
        queue.clear();
        self.0.push(queue);
    }
}

impl Response {
    /// Takes up decisions that came later. Ready: something may have left.
    pub fn poll_decisions(&mut self, wakeup: &mut Wakeup<'_>) -> Poll<Result<(), Stopped>> {
        let mut any = false;
        for number in 0..self.places.len() {
            let stage = match self.places.get_mut(number) {
                Some(Place::Enforcing(stage)) => stage,
                Some(Place::Shadow(shadow)) => {
                    any |= shadow.poll(wakeup).is_ready();
                    self.facts.extend(shadow.take_facts());
                    continue;
                }
                None => break,
            };
            if !stage.is_deciding() {
                continue;
            }
            let mut out = self.queues.take();
            let outcome = stage.poll(wakeup, &mut self.made, &mut out);
            self.facts.extend(stage.take_facts());
            match outcome {
                Poll::Pending => self.queues.give(out),
                Poll::Ready(outcome) => {
                    any = true;
                    outcome?;
                    self.pass_on(number + 1, out)?;
                }
            }
        }
        if any { Poll::Ready(self.check_limits()) } else { Poll::Pending }
    }

    pub(super) fn end(&mut self, failure: Option<Failure>) -> Result<(), Stopped> {
        if !matches!(self.state, State::Running) {
            return Ok(());
        }
        self.state = State::Ending(failure);
        self.pass_on(0, VecDeque::from([Piece::new(Event::Eof)]))
    }

    /// Sends pieces through the stages from `first` on, and what comes out to the client.
    pub(super) fn pass_on(&mut self, first: usize, mut pieces: VecDeque<Piece>) -> Result<(), Stopped> {
        for place in self.places.iter_mut().skip(first) {
            let stage = match place {
                Place::Enforcing(stage) => stage,
                Place::Shadow(shadow) => {
                    shadow.show(&pieces);
                    self.facts.extend(shadow.take_facts());
                    continue;
                }
            };
            let mut out = self.queues.take();
            for piece in pieces.drain(..) {
                let outcome = stage.push(piece, &mut self.made, &mut out);
                self.facts.extend(stage.take_facts());
                outcome?;
            }
            self.queues.give(std::mem::replace(&mut pieces, out));
        }
        let mut released = self.queues.take();
        for piece in pieces.drain(..) {
            self.gate.push(piece, &mut released);
        }
        for piece in released.drain(..) {
            self.repair.push(piece, &mut self.made, &mut pieces);
        }
        self.queues.give(released);
        let outcome = self.weave(&mut pieces);
        self.queues.give(pieces);
        outcome
    }

    /// What is decided, for the client.
    fn weave(&mut self, pieces: &mut VecDeque<Piece>) -> Result<(), Stopped> {
        for piece in pieces.drain(..) {
            match piece.event() {
                Some(Event::Eof) => {
                    if let State::Ending(failure) = &mut self.state {
                        let failure = failure.take();
                        if failure.is_none() {
                            self.weaver.finish();
                        }
                        self.state = State::Over(failure);
                    }
                }
                event => {
                    if matches!(event, Some(Event::End)) {
                        self.check_synthetic()?;
                    }
                    self.weaver.push(piece);
                }
            }
        }
        match self.weaver.failure() {
            Some(message) if matches!(self.source, Source::Body { .. }) => Err(bad_answer(message.to_owned())),
            _ => Ok(()),
        }
    }

    pub(super) fn check_limits(&self) -> Result<(), Stopped> {
        if matches!(self.source, Source::Stream { .. }) && self.held() > self.setup.limits.held {
            return Err(limited("limits.held", self.setup.limits.held));
        }
        self.check_synthetic()
    }

    pub(super) fn check_synthetic(&self) -> Result<(), Stopped> {
        // An answer whose end has left cannot be taken back.
        let is_open = matches!(self.state, State::Running) && !self.weaver.has_ended();
        if (is_open || matches!(self.source, Source::Body { .. }))
            && self.weaver.synthetic() > self.setup.limits.synthetic
        {
            return Err(limited("limits.synthetic", self.setup.limits.synthetic));
        }
        Ok(())
    }

    /// Whether what a policy judges is what a reader of the client's makes of the provider's own bytes.
    pub(super) fn is_shared(&self) -> bool {
        self.enforces() && !self.setup.converts()
    }

    pub(super) fn enforces(&self) -> bool {
        self.stages().any(Stage::enforces)
    }
}
