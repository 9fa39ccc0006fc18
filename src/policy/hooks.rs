//! The policy trait with every hook, and what the hooks say.

use std::{fmt, ops::Range};

use futures::future::BoxFuture;

use crate::{
    json::Edit,
    model::{Block, BlockHead, BlockId, CallHead, Refusal, Request, Start, StopReason},
};

use super::Context;

/// Makes one policy value per call.
pub trait Factory: Send + Sync {
    /// Whether it can change or stop anything. What cannot be read is refused only where it could.
    fn enforces(&self) -> bool {
        true
    }

    /// The value that runs in this call.
    fn begin(&self, call: &CallHead) -> Box<dyn Policy>;
}

/// A policy in one call. Its state is `self`; nothing is shared, nothing is locked.
///
/// Hooks are called in this order: request, response start, then for each block its start, its deltas or the whole block,
/// then the response end. Every hook has a default that changes nothing.
///
/// A hook that panics, fails or takes longer than its limit is a fault; `on_fault` in the rules says what that does.
#[expect(unused_variables, reason = "the defaults ignore what they are given")]
pub trait Policy: Send {
    /// The whole request is here.
    fn on_request(&mut self, cx: &mut Context<'_>, request: Request) -> Step<Request> {
        Step::ready(request)
    }

    /// The provider begins to answer.
    fn on_response_start(&mut self, cx: &mut Context<'_>, start: &Start) -> Outcome<()> {
        Ok(())
    }

    /// A block begins: how closely does the policy want to watch it?
    fn on_block_start(&mut self, cx: &mut Context<'_>, block: &BlockHead) -> Watch {
        Watch::Ignore
    }

    /// A block that is watched in deltas has more text.
    ///
    /// Returns up to where (in bytes of [`BlockText::text`]) the text is decided: what lies before leaves, with the edits
    /// made. At the end of the block everything is decided.
    fn on_delta(&mut self, cx: &mut Context<'_>, block: &BlockText<'_>, edits: &mut Edits) -> Outcome<usize> {
        Ok(block.text.len())
    }

    /// A block that is watched in parts has more text. Nothing of it leaves before [`Policy::on_block`] has decided.
    fn on_part(&mut self, cx: &mut Context<'_>, text: &str) -> Outcome<()> {
        Ok(())
    }

    /// A block that is watched whole, or in parts, is here. Nothing of it has left.
    fn on_block(&mut self, cx: &mut Context<'_>, block: Block) -> Step<Fate> {
        Step::ready(Fate::Keep)
    }

    /// Every block is decided and the answer is about to end. Blocks can be added.
    fn on_response_end(&mut self, cx: &mut Context<'_>, ending: Ending) -> Step<Ending> {
        Step::ready(ending)
    }
}

/// What a hook comes to.
pub type Outcome<T> = Result<T, Halt>;

/// The call does not go on.
#[derive(Debug)]
pub enum Halt {
    /// The policy says no.
    Refuse(Refusal),
    /// The policy could not do its work.
    Fault(Box<dyn std::error::Error + Send + Sync>),
}

/// A hook's answer: now or later.
pub enum Step<T> {
    /// Now.
    Ready(Outcome<T>),
    /// Later. The future owns what it needs; it is dropped with the call.
    Later(BoxFuture<'static, Outcome<T>>),
}

/// How closely a policy watches a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Not at all: the block passes.
    Ignore,
    /// As its text comes: see [`Policy::on_delta`].
    Deltas,
    /// As a whole: it is held until [`Policy::on_block`] has decided.
    Whole,
    /// As a whole, and told of each part when it comes: see [`Policy::on_part`].
    Parts,
}

/// What becomes of a whole block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It leaves as it came.
    Keep,
    /// It never was.
    Drop,
    /// These stand in its place. A first one of the same kind (for a tool call: with the same id and name) is an edit.
    Replace(Vec<Block>),
}

/// The text of a block so far.
#[derive(Debug)]
pub struct BlockText<'a> {
    /// Names the block within this answer.
    pub id: BlockId,
    /// What the block is.
    pub head: &'a BlockHead,
    /// The text up to now, as the provider (or the policy before) wrote it: all of it, or, of a long one, at least the last
    /// 4 KiB of what is decided and everything behind.
    pub text: &'a str,
    /// Up to here in `text` it has left, or is decided: edits begin here or later.
    pub decided: usize,
    /// Whether this is all.
    pub complete: bool,
}

/// Edits of a block's text.
#[derive(Debug)]
pub struct Edits {
    asked: Vec<Edit>,
    budget: usize,
    grown: usize,
}

/// The end of an answer.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    reason: Option<StopReason>,
    added: Vec<Block>,
}

impl<T> Step<T> {
    /// This, now.
    pub fn ready(value: T) -> Self {
        Self::Ready(Ok(value))
    }

    /// No, now.
    pub fn refuse(refusal: Refusal) -> Self {
        Self::Ready(Err(Halt::Refuse(refusal)))
    }

    /// What the future comes to.
    pub fn later(future: impl Future<Output = Outcome<T>> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }
}

impl<T> From<Outcome<T>> for Step<T> {
    fn from(outcome: Outcome<T>) -> Self {
        Self::Ready(outcome)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Fault(Box::new(error))
    }
}

/// A fault that is only a sentence.
pub fn fault(message: impl Into<String>) -> Halt {
    Halt::Fault(message.into().into())
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(refusal) => write!(f, "refused: {}", refusal.message),
            Self::Fault(error) => write!(f, "{error}"),
        }
    }
}

impl Edits {
    /// No edits yet; all together may add `budget` bytes to the text.
    pub fn within(budget: usize) -> Self {
        Self { asked: Vec::new(), budget, grown: 0 }
    }

    /// Replaces a range of the block's text; an empty range inserts. In ascending order, without overlap.
    pub fn replace(&mut self, range: Range<usize>, with: impl Into<String>) {
        let with = with.into();
        self.grown = self.grown.saturating_add(with.len().saturating_sub(range.len()));
        // What is beyond the budget is not kept: the framework ends the answer.
        if self.grown <= self.budget {
            self.asked.push(Edit { range, with });
        }
    }

    /// How many bytes they add to the text.
    pub fn grown(&self) -> usize {
        self.grown
    }

    /// What was asked for.
    pub fn into_inner(self) -> Vec<Edit> {
        self.asked
    }
}

impl Ending {
    /// An ending for this reason.
    pub fn new(reason: Option<StopReason>) -> Self {
        Self { reason, added: Vec::new() }
    }

    /// Why the answer ends. `None`: the provider does not say.
    pub fn reason(&self) -> Option<&StopReason> {
        self.reason.as_ref()
    }

    /// Adds a block behind all others.
    pub fn push(&mut self, block: Block) {
        self.added.push(block);
    }

    /// The blocks that were added.
    pub fn into_added(self) -> Vec<Block> {
        self.added
    }
}
