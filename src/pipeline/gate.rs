//! `release: turn`: no tool call of an answer leaves before all of them are decided.

use std::collections::VecDeque;

use crate::{
    model::{Event, Piece},
    policy::Release,
};

/// Holds an answer from its first tool call on until every tool call of it is decided.
pub(super) struct Gate {
    release: Release,
    held: VecDeque<Piece>,
    holding: bool,
}

impl Gate {
    pub(super) fn new(release: Release) -> Self {
        Self { release, held: VecDeque::new(), holding: false }
    }

    /// Takes a piece; what may leave goes to `out`.
    pub(super) fn push(&mut self, piece: Piece, out: &mut VecDeque<Piece>) {
        let event = piece.event();
        // Pieces come in order and only when they are decided: behind the end of a choice none of its calls is left.
        let ends = matches!(event, Some(Event::Stop(_) | Event::End | Event::Eof | Event::Error(_)));
        self.holding |= self.release == Release::Turn
            && matches!(event, Some(Event::Open(_, head)) if head.kind.tool_name().is_some());
        if self.holding && !ends {
            self.held.push_back(piece);
            return;
        }
        self.holding = false;
        out.append(&mut self.held);
        out.push_back(piece);
    }
}
