//! A block that a policy watches as a whole.

use std::collections::VecDeque;

use crate::{
    json::{Decoder, Text},
    model::{Block, BlockHead, BlockId, BlockKind, Event, Extra, Piece},
    policy::Fate,
};

use super::{BlockIds, edited, survives_edit};

/// A block that is held until the policy has decided on it.
pub(super) struct Whole {
    head: BlockHead,
    text: String,
    decoder: Decoder,
    /// The policy is told of its parts.
    is_told: bool,
    over: bool,
    plan: Option<Plan>,
}

/// What becomes of the block's events.
struct Plan {
    /// Blocks of the policy's before it.
    before: Vec<Block>,
    /// The block itself.
    itself: Itself,
    /// Blocks of the policy's behind it.
    behind: Vec<Block>,
}

enum Itself {
    Kept,
    Gone,
    /// It says this instead. `said`: an event of it says so already.
    Edited {
        text: String,
        said: bool,
    },
}

impl Whole {
    pub(super) fn new(head: BlockHead, is_told: bool) -> Self {
        Self { head, text: String::new(), decoder: Decoder::default(), is_told, over: false, plan: None }
    }

    pub(super) fn kind_name(&self) -> &'static str {
        self.head.kind.name()
    }

    pub(super) fn is_open(&self) -> bool {
        !self.over
    }

    pub(super) fn is_decided(&self) -> bool {
        self.plan.is_some()
    }

    pub(super) fn name(&mut self, more: &str) {
        if let BlockKind::ToolCall { name, .. } = &mut self.head.kind {
            name.push_str(more);
        }
    }

    /// Takes more text. Returns it, if the policy is to be told.
    pub(super) fn push(&mut self, text: &Text) -> Option<&str> {
        let before = self.text.len();
        self.decoder.push(text, &mut self.text);
        self.text.get(before..).filter(|part| self.is_told && !part.is_empty())
    }

    /// The block is over; returns it for the policy.
    pub(super) fn finish(&mut self, complete: bool) -> Block {
        self.over = true;
        self.decoder.finish(&mut self.text);
        Block { kind: self.head.kind.clone(), choice: self.head.choice, text: self.text.clone(), complete }
    }

    /// How many bytes a decision adds.
    pub(super) fn growth(&self, fate: &Fate) -> usize {
        match fate {
            Fate::Keep | Fate::Drop => 0,
            Fate::Replace(blocks) => {
                blocks.iter().map(|block| block.text.len()).sum::<usize>().saturating_sub(self.text.len())
            }
        }
    }

    /// Takes the policy's decision. Returns the word for it, unless it changes nothing.
    pub(super) fn decide(&mut self, fate: Fate) -> Option<&'static str> {
        let mut plan = Plan { before: Vec::new(), itself: Itself::Gone, behind: Vec::new() };
        let mut decision = Some("drop");
        match fate {
            Fate::Keep => {
                plan.itself = Itself::Kept;
                decision = None;
            }
            Fate::Drop => {}
            Fate::Replace(blocks) => {
                decision = Some("replace");
                for mut block in blocks {
                    block.choice = self.head.choice;
                    if !matches!(plan.itself, Itself::Gone) {
                        plan.behind.push(block);
                    } else if block.kind != self.head.kind {
                        plan.before.push(block);
                    } else if block.text == self.text {
                        plan.itself = Itself::Kept;
                        decision = (!plan.before.is_empty()).then_some("add");
                    } else {
                        plan.itself = Itself::Edited { text: block.text, said: false };
                        decision = Some("edit");
                    }
                }
            }
        }
        if decision.is_none() && !plan.behind.is_empty() {
            decision = Some("add");
        }
        self.plan = Some(plan);
        decision
    }

    /// What was to stand in the place of the block cannot. The block itself leaves only if it was among it. Returns whether
    /// it is gone.
    pub(super) fn withhold(&mut self, fate: &Fate) -> bool {
        let stays = |block: &Block| block.kind == self.head.kind && block.text == self.text;
        let is_gone = matches!(fate, Fate::Replace(blocks) if !blocks.iter().any(stays));
        self.decide(if is_gone { Fate::Drop } else { Fate::Keep });
        is_gone
    }

    /// The policy failed open: if it has not decided, the block leaves as it came.
    pub(super) fn skip(&mut self) {
        self.plan.get_or_insert(Plan { before: Vec::new(), itself: Itself::Kept, behind: Vec::new() });
    }

    /// Lets one event of the block go, as the decision says.
    pub(super) fn release(&mut self, id: BlockId, piece: Piece, made: &mut BlockIds, out: &mut VecDeque<Piece>) {
        let (Some(plan), Some(event)) = (&mut self.plan, piece.event()) else {
            out.push_back(piece);
            return;
        };
        let is_close = matches!(event, Event::Close(_));
        for block in std::mem::take(&mut plan.before) {
            made.write(&block, out);
        }
        match &mut plan.itself {
            Itself::Kept => out.push_back(piece),
            Itself::Gone => out.extend(piece.gone()),
            Itself::Edited { text, said } => {
                // The first delta says all of the new text; where there is none, it comes by itself before the end.
                let is_text = event.text().is_some();
                let repeats_nothing = self.text.is_empty() && matches!(event, Event::Extra(_, Extra::Repeat));
                let says =
                    (is_text || is_close || repeats_nothing) && !std::mem::replace(said, true) && !text.is_empty();
                let new = says.then(|| Event::Delta(id, Text::new(text)));
                if is_text {
                    out.extend(match new {
                        Some(new) => Some(edited(&piece, new)),
                        None => piece.gone(),
                    });
                } else {
                    out.extend(new.map(Piece::new));
                    let survives = survives_edit(event);
                    out.extend(if survives { Some(piece) } else { piece.gone() });
                }
            }
        }
        if is_close {
            for block in std::mem::take(&mut plan.behind) {
                made.write(&block, out);
            }
        }
    }
}
