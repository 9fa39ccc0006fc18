//! A smaller trait for policies that look at whole texts and whole tool calls.

use std::sync::Arc;

use crate::model::{Block, BlockHead, BlockKind, CallHead, Request, RequestText};

use super::{Context, Factory, Fate, Outcome, Policy, Step, Watch};

/// A policy that sees whole texts and whole tool calls, one value for all calls.
///
/// Each text and each tool call is held until it is complete. For text that is transformed as it streams, see
/// [`Policy::on_delta`].
#[expect(unused_variables, reason = "the defaults ignore what they are given")]
pub trait SimplePolicy: Send + Sync + 'static {
    /// A text of the request; `Some` replaces it. Must be a function of the text alone: the same text comes again on
    /// every later turn of the conversation and has to change in the same way.
    fn on_request_text(&self, cx: &mut Context<'_>, text: &RequestText) -> Outcome<Option<String>> {
        Ok(None)
    }

    /// A whole text of the answer; returns what it becomes.
    fn on_text(&self, cx: &mut Context<'_>, text: String) -> Outcome<String> {
        Ok(text)
    }

    /// A whole tool call of the answer.
    fn on_tool_call(&self, cx: &mut Context<'_>, call: &ToolCall) -> Outcome<Verdict> {
        Ok(Verdict::Keep)
    }
}

/// A tool call as a simple policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The id that the result will carry.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments, as JSON text. May be cut off when the answer hit its token limit.
    pub arguments: String,
}

/// What becomes of a tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves as it came.
    Keep,
    /// It leaves with these arguments (JSON text).
    Edit(String),
    /// It never was.
    Drop,
    /// This text stands in its place.
    ReplaceWithText(String),
}

/// Makes a [`SimplePolicy`] a policy.
pub struct Simple<P>(Arc<P>);

struct Adapter<P>(Arc<P>);

impl<P: SimplePolicy> Simple<P> {
    /// Wraps it.
    pub fn new(policy: P) -> Self {
        Self(Arc::new(policy))
    }
}

impl<P: SimplePolicy> Factory for Simple<P> {
    fn begin(&self, _call: &CallHead) -> Box<dyn Policy> {
        Box::new(Adapter(Arc::clone(&self.0)))
    }
}

impl<P: SimplePolicy> Policy for Adapter<P> {
    fn on_request(&mut self, cx: &mut Context<'_>, mut request: Request) -> Step<Request> {
        for text in request.texts_mut() {
            match self.0.on_request_text(cx, text) {
                Ok(None) => {}
                Ok(Some(new)) => text.set(new),
                Err(halt) => return Step::Ready(Err(halt)),
            }
        }
        Step::ready(request)
    }

    fn on_block_start(&mut self, _cx: &mut Context<'_>, block: &BlockHead) -> Watch {
        match block.kind {
            BlockKind::Text | BlockKind::Refusal | BlockKind::ToolCall { .. } => Watch::Whole,
            BlockKind::Thinking
            | BlockKind::ServerTool { .. }
            | BlockKind::ServerResult { .. }
            | BlockKind::Other(_) => Watch::Ignore,
        }
    }

    fn on_block(&mut self, cx: &mut Context<'_>, block: Block) -> Step<Fate> {
        self.decide(cx, block).into()
    }
}

impl<P: SimplePolicy> Adapter<P> {
    fn decide(&self, cx: &mut Context<'_>, block: Block) -> Outcome<Fate> {
        let BlockKind::ToolCall { id, name } = &block.kind else {
            let text = self.0.on_text(cx, block.text.clone())?;
            return Ok(if text == block.text { Fate::Keep } else { Fate::Replace(vec![Block { text, ..block }]) });
        };
        let call = ToolCall { id: id.clone(), name: name.clone(), arguments: block.text.clone() };
        Ok(match self.0.on_tool_call(cx, &call)? {
            Verdict::Keep => Fate::Keep,
            Verdict::Edit(text) => Fate::Replace(vec![Block { text, ..block }]),
            Verdict::Drop => Fate::Drop,
            Verdict::ReplaceWithText(text) => {
                Fate::Replace(vec![Block { kind: BlockKind::Text, text, choice: block.choice, complete: true }])
            }
        })
    }
}
