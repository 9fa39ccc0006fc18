//! What policies change must leave an answer that clients accept.
//!
//! Owns the grammar that dialects share: a reason of the end that fits the tool calls that are left, no answer without
//! content, no emptied text, no result of a server's tool whose call was taken out, no thinking that is bound to text
//! which changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::{
    journal::Fact,
    json::Text,
    model::{Block, BlockHead, BlockId, BlockKind, Body, Dialect, Event, Piece, Stop, StopReason},
};

use super::stage::BlockIds;

/// Stands where nothing else of an answer is left. Constant, because it comes back as history on the next turn.
const REMOVED: &str = "[removed by policy]";

/// Keeps an answer legal.
pub(super) struct Repair {
    /// The dialect of the provider, and that of the client.
    dialects: [Dialect; 2],
    choices: HashMap<u32, Left>,
    dropped_servers: HashSet<String>,
    dropped_blocks: BTreeSet<BlockId>,
    /// Open texts of which nothing has left so far, and whether a policy is why.
    bare: BTreeMap<BlockId, bool>,
    changed: bool,
    facts: Vec<Fact>,
}

/// What is left of one of the answer's alternatives.
#[derive(Default)]
struct Left {
    content: u32,
    tools: u32,
    /// Its last block is a thought, …
    is_thinking: bool,
    /// … and what followed it was taken out.
    is_orphan: bool,
}

impl Repair {
    pub(super) fn new(provider: Dialect, client: Dialect) -> Self {
        Self {
            dialects: [provider, client],
            choices: HashMap::new(),
            dropped_servers: HashSet::new(),
            dropped_blocks: BTreeSet::new(),
            bare: BTreeMap::new(),
            changed: false,
            facts: Vec::new(),
        }
    }

    pub(super) fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }

    /// Takes a decided piece; what leaves goes to `out`.
    pub(super) fn push(&mut self, piece: Piece, made: &mut BlockIds, out: &mut VecDeque<Piece>) {
        match &piece.body {
            Body::Gone(Event::Open(_, head)) => {
                if let BlockKind::ServerTool { id, .. } | BlockKind::ToolCall { id, .. } = &head.kind {
                    self.dropped_servers.insert(id.clone());
                }
                let left = self.choices.entry(head.choice).or_default();
                left.is_orphan |= left.is_thinking;
            }
            Body::Kept(Event::Open(id, head)) if self.must_go(head) => {
                self.dropped_blocks.insert(*id);
            }
            Body::Kept(Event::Open(_, head)) | Body::Edited(Event::Open(_, head)) => {
                let left = self.choices.entry(head.choice).or_default();
                left.is_thinking = head.kind == BlockKind::Thinking;
                left.is_orphan = false;
                left.content += u32::from(!left.is_thinking);
                left.tools += u32::from(head.kind.tool_name().is_some());
            }
            Body::Kept(Event::Stop(stop)) if self.changed => {
                let stop = (**stop).clone();
                return self.stop(piece, stop, made, out);
            }
            Body::Kept(_) | Body::Edited(_) | Body::Gone(_) => {}
        }
        if let Some(id) = self.emptied(&piece) {
            self.facts.push(Fact::Repaired { what: "content_added" });
            out.push_back(Piece::new(Event::Delta(id, Text::new(REMOVED))));
        }
        self.changed |= !matches!(piece.body, Body::Kept(_));
        if piece.event().and_then(Event::block).is_some_and(|id| self.dropped_blocks.contains(&id)) {
            out.extend(piece.gone());
        } else {
            out.push_back(piece);
        }
    }

    /// The text that ends here with nothing left of it. Anthropic refuses an empty text on the next turn.
    fn emptied(&mut self, piece: &Piece) -> Option<BlockId> {
        let is_kept = matches!(piece.body, Body::Kept(_));
        match &piece.body {
            Body::Kept(Event::Open(id, head)) | Body::Edited(Event::Open(id, head))
                if head.kind == BlockKind::Text && self.dialects.contains(&Dialect::AnthropicMessages) =>
            {
                self.bare.insert(*id, !is_kept);
            }
            Body::Kept(Event::Delta(id, text)) | Body::Edited(Event::Delta(id, text)) if !text.is_empty() => {
                self.bare.remove(id);
            }
            Body::Gone(Event::Delta(id, _)) | Body::Edited(Event::Delta(id, _)) => {
                self.bare.entry(*id).and_modify(|by_policy| *by_policy = true);
            }
            Body::Kept(Event::Close(id)) | Body::Edited(Event::Close(id)) => {
                return self.bare.remove(id).filter(|by_policy| *by_policy).map(|_| *id);
            }
            Body::Kept(_) | Body::Edited(_) | Body::Gone(_) => {}
        }
        None
    }

    /// Whether a block cannot stay after what was changed before it.
    fn must_go(&mut self, head: &BlockHead) -> bool {
        let what = match &head.kind {
            BlockKind::ServerResult { answers } if self.dropped_servers.contains(answers) => "server_result_dropped",
            // Anthropic binds thinking to everything before it; on the next turn the provider would refuse the mismatch.
            BlockKind::Thinking if self.changed && self.dialects.first() == Some(&Dialect::AnthropicMessages) => {
                "thinking_dropped"
            }
            BlockKind::Text
            | BlockKind::Thinking
            | BlockKind::Refusal
            | BlockKind::ToolCall { .. }
            | BlockKind::ServerTool { .. }
            | BlockKind::ServerResult { .. }
            | BlockKind::Other(_) => return false,
        };
        self.facts.push(Fact::Repaired { what });
        true
    }

    fn stop(&mut self, piece: Piece, mut stop: Stop, made: &mut BlockIds, out: &mut VecDeque<Piece>) {
        let left = self.choices.entry(stop.choice).or_default();
        // OpenAI refuses a reasoning that nothing follows.
        if left.content == 0 || (left.is_orphan && self.dialects.contains(&Dialect::OpenaiResponses)) {
            left.content += 1;
            self.facts.push(Fact::Repaired { what: "content_added" });
            made.write(&Block { choice: stop.choice, ..Block::text(REMOVED) }, out);
        }
        let fitting = match (&stop.reason, left.tools) {
            (Some(StopReason::ToolUse), 0) => StopReason::EndTurn,
            (Some(StopReason::EndTurn), 1..) => StopReason::ToolUse,
            _ => return out.push_back(piece),
        };
        self.facts.push(Fact::Repaired { what: "stop_reason" });
        stop.reason = Some(fitting);
        out.push_back(Piece { origin: piece.origin, body: Body::Edited(Event::Stop(stop.into())) });
    }
}
