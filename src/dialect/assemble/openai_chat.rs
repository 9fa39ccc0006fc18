//! A Chat Completions stream as one completion.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::json::Value;

use super::{
    object,
    tree::{Fields, Tree, entry},
};

/// The completion so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Completion {
    fields: Fields,
    choices: BTreeMap<u64, Fields>,
    over: bool,
    size: usize,
}

impl Completion {
    pub(super) fn take(&mut self, chunk: Value<'_>) {
        if self.over {
            return;
        }
        for member in chunk.members() {
            match &*member.key {
                "choices" => {
                    entry(&mut self.fields, "choices");
                    for (position, choice) in (0..).zip(member.value.items()) {
                        self.choice(position, choice);
                    }
                }
                // The last one counts, and none does not take it back.
                "usage" | "system_fingerprint" | "moderation" => {
                    let field = entry(&mut self.fields, &member.key);
                    if !member.value.is_null() {
                        let before = std::mem::replace(field, Tree::of(member.value));
                        self.size = (self.size + field.size()).saturating_sub(before.size());
                    }
                }
                // Random padding.
                "obfuscation" => {}
                key => self.size += fill(&mut self.fields, key, member.value),
            }
        }
    }

    /// Nothing that follows belongs to it.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn finish(self) -> Map<String, Json> {
        let mut completion = object(self.fields);
        // A chunk that is only an error has none.
        if let Some(choices) = completion.get_mut("choices") {
            *choices = self.choices.into_values().map(finish_choice).collect();
            completion.insert("object".to_owned(), "chat.completion".into());
        }
        completion
    }

    fn choice(&mut self, position: u64, choice: Value<'_>) {
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(position);
        let fields = self.choices.entry(index).or_default();
        for member in choice.members() {
            match &*member.key {
                "delta" => self.size += entry(fields, "message").merge(member.value),
                "logprobs" => self.size += entry(fields, "logprobs").merge(member.value),
                "finish_reason" => {
                    let reason = entry(fields, "finish_reason");
                    if !member.value.is_null() {
                        *reason = Tree::of(member.value);
                    }
                }
                key => self.size += fill(fields, key, member.value),
            }
        }
    }
}

/// Some servers say content first as parts and then as text; together it is parts.
fn finish_choice(choice: Fields) -> Json {
    let mut choice = Json::Object(object(choice));
    let parts = choice.pointer_mut("/message/content").and_then(Json::as_array_mut);
    for part in parts.into_iter().flatten().filter(|part| part.is_string()) {
        *part = json!({"type": "text", "text": part.take()});
    }
    choice
}

/// The first word counts, unless it said nothing. Returns how many bytes are kept of this one.
fn fill(fields: &mut Fields, key: &str, value: Value<'_>) -> usize {
    let field = entry(fields, key);
    if !field.is_empty() {
        return 0;
    }
    *field = Tree::of(value);
    key.len() + field.size()
}
