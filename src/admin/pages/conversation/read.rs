//! Messages of a request, of a turn, of an answer.

use std::sync::Arc;

use bytesize::ByteSize;
use serde_json::Value;

use super::{
    Block, Message, Outcome, Rest, Role, Text,
    blocks::{media, text},
};
use crate::admin::pages::text::call_json;

/// The most of one text that is shown, in bytes.
const MOST: usize = 20_000;
/// The most of all texts on a page. What comes then is shown by its beginning.
const ALL: usize = 1_500_000;
/// That beginning.
const LEAST: usize = 400;

/// Reads messages for one page, as long as it has room.
#[derive(Debug)]
pub(in crate::admin::pages) struct Reader {
    left: usize,
    json: Arc<str>,
}

impl Reader {
    /// Of what belongs to this call.
    pub(in crate::admin::pages) fn new(call: &str) -> Self {
        Self { left: ALL, json: call_json(call).into() }
    }

    /// From here on, of what belongs to this call.
    pub(in crate::admin::pages) fn next(&mut self, call: &str) {
        self.json = call_json(call).into();
    }

    /// The instructions of a request.
    pub(in crate::admin::pages) fn system(&mut self, body: &Value) -> Option<Message> {
        let blocks: Vec<_> = ["system", "instructions"]
            .iter()
            .filter_map(|key| body.get(*key))
            .flat_map(|said| self.blocks(said))
            .collect();
        (!blocks.is_empty()).then_some(Message { role: Role::System, blocks })
    }

    /// Messages of a client, as they stand in a request.
    pub(in crate::admin::pages) fn messages<'v>(&mut self, items: impl IntoIterator<Item = &'v Value>) -> Vec<Message> {
        joined(items.into_iter().map(|item| self.message(item, Role::User)))
    }

    /// An answer. One that is none of any dialect is shown as it is.
    pub(in crate::admin::pages) fn answer(&mut self, body: &Value) -> Vec<Message> {
        let list = |key: &str| body.get(key).and_then(Value::as_array);
        if let Some(choices) = list("choices") {
            let said = choices.iter().filter_map(|choice| choice.get("message"));
            // They are alternatives, and stay apart.
            return said.map(|message| self.message(message, Role::Assistant)).collect();
        }
        if let Some(output) = list("output") {
            return joined(output.iter().map(|item| self.message(item, Role::Assistant)));
        }
        let blocks = match (list("content"), body) {
            (Some(content), _) => content.iter().map(|part| self.block(part)).collect(),
            (None, Value::String(text)) => vec![Block::Text(self.text(text))],
            (None, body) => vec![self.unknown(if body.get("error").is_some() { "error" } else { "answer" }, body)],
        };
        vec![Message { role: Role::Assistant, blocks }]
    }

    fn message(&mut self, item: &Value, otherwise: Role) -> Message {
        let Some(role) = item.get("role").and_then(Value::as_str) else {
            let block = self.block(item);
            let role = match &block {
                Block::Text(_) => otherwise,
                Block::Result(_) => Role::Tool,
                Block::Thinking(_) | Block::Refusal(_) | Block::Call(_) | Block::Media(_) | Block::Unknown(_) => {
                    Role::Assistant
                }
            };
            return Message { role, blocks: vec![block] };
        };
        let content = item.get("content").unwrap_or(&Value::Null);
        let role = match role {
            "tool" | "function" => {
                let id = if role == "tool" { "tool_call_id" } else { "name" };
                let id = text(item, id).to_owned();
                let result = Outcome { id, is_error: false, blocks: self.blocks(content) };
                return Message { role: Role::Tool, blocks: vec![Block::Result(result)] };
            }
            "assistant" => Role::Assistant,
            "system" | "developer" => Role::System,
            _ => Role::User,
        };
        let mut blocks = Vec::new();
        let thought = ["reasoning_content", "reasoning"].into_iter().map(|key| text(item, key));
        blocks.extend(thought.filter(|text| !text.is_empty()).take(1).map(|text| Block::Thinking(self.text(text))));
        blocks.extend(self.blocks(content));
        let refusal = text(item, "refusal");
        if !refusal.is_empty() {
            blocks.push(Block::Refusal(self.text(refusal)));
        }
        blocks.extend(item.get("audio").filter(|audio| audio.is_object()).map(|audio| media("audio", audio)));
        if let Some(call) = item.get("function_call").filter(|call| call.is_object()) {
            // Its result names it by the function.
            blocks.push(self.call(call, "name", call, "arguments"));
        }
        let calls = item.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
        for call in calls {
            blocks.push(match call.get("type").is_none().then(|| call.get("function")).flatten() {
                Some(function) => self.call(call, "id", function, "arguments"),
                None => self.block(call),
            });
        }
        let only_results = !blocks.is_empty() && blocks.iter().all(|block| matches!(block, Block::Result(_)));
        Message { role: if role == Role::User && only_results { Role::Tool } else { role }, blocks }
    }

    /// A text, or as much of it as there is room for.
    pub(in crate::admin::pages) fn text(&mut self, text: &str) -> Text {
        let most = MOST.min(self.left.max(LEAST));
        let end = if text.len() <= most { text.len() } else { text.floor_char_boundary(most) };
        let (shown, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        self.left = self.left.saturating_sub(shown.len());
        let bytes = u64::try_from(rest.len()).unwrap_or_default();
        let more = || Rest { bytes: ByteSize::b(bytes).display().iec().to_string(), href: Arc::clone(&self.json) };
        Text { shown: shown.to_owned(), rest: (!rest.is_empty()).then(more) }
    }

    /// JSON that is easy to read.
    pub(in crate::admin::pages) fn json(&mut self, value: &Value) -> Text {
        let pretty = serde_json::to_string_pretty(value).unwrap_or_default();
        self.text(&pretty)
    }
}

/// What one side said in a row is one message.
fn joined(messages: impl Iterator<Item = Message>) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    for message in messages {
        match all.last_mut().filter(|last| last.role == message.role && message.role != Role::User) {
            Some(last) => last.blocks.extend(message.blocks),
            None => all.push(message),
        }
    }
    all
}
