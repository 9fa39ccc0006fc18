//! What belongs together: a call and its result, an answer and what the next request says of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Block, Message, Outcome, Role};

/// Goes through the turns of a conversation in the order of time.
#[derive(Debug, Default)]
pub(in crate::admin::pages) struct Pairing {
    /// What the model has said so far.
    said: BTreeSet<String>,
}

impl Pairing {
    /// Takes out what a client repeats of earlier answers: it stands there already.
    pub(in crate::admin::pages) fn without_echo(&self, messages: &mut Vec<Message>) {
        for message in messages.iter_mut().filter(|message| message.role == Role::Assistant) {
            message.blocks.retain(|block| !name(block).is_some_and(|name| self.said.contains(&name)));
        }
        messages.retain(|message| !message.blocks.is_empty());
    }

    /// Remembers what the model said.
    pub(in crate::admin::pages) fn said(&mut self, messages: &[Message]) {
        let of_model = messages.iter().filter(|message| message.role == Role::Assistant);
        self.said.extend(of_model.flat_map(|message| &message.blocks).filter_map(name));
    }
}

/// What is the same when it is said again.
fn name(block: &Block) -> Option<String> {
    match block {
        Block::Text(text) => Some(format!("text {}", text.shown.trim())),
        Block::Thinking(text) => Some(format!("thinking {}", text.shown.trim())),
        Block::Refusal(text) => Some(format!("refusal {}", text.shown.trim())),
        Block::Call(call) => Some(format!("call {}", call.id)),
        Block::Result(_) | Block::Media(_) | Block::Unknown(_) => None,
    }
}

/// Puts each result to the call before it that it belongs to, and says how many each of these lists of messages has lost.
pub(in crate::admin::pages) fn results(lists: &mut [&mut Vec<Message>]) -> Vec<usize> {
    let mut calls = BTreeSet::new();
    let mut results: BTreeMap<String, Outcome> = BTreeMap::new();
    let mut moved = Vec::new();
    for messages in lists.iter_mut() {
        let before = results.len();
        for message in messages.iter_mut() {
            message.blocks.retain_mut(|block| {
                if let Block::Call(call) = block {
                    calls.insert(call.id.clone());
                }
                let Block::Result(result) = block else { return true };
                let is_new = calls.contains(&result.id) && !results.contains_key(&result.id);
                if is_new {
                    results.insert(result.id.clone(), result.clone());
                }
                !is_new
            });
        }
        messages.retain(|message| !message.blocks.is_empty());
        moved.push(results.len() - before);
    }
    for block in lists.iter_mut().flat_map(|messages| messages.iter_mut()).flat_map(|message| &mut message.blocks) {
        if let Block::Call(call) = block
            && call.result.is_none()
        {
            call.result = results.remove(&call.id);
        }
    }
    moved
}
