//! Chat Completions answers.

use std::collections::HashMap;

use serde_json::Value;

use super::{Answer, Head, Item, Kind, sse::Sse};

#[derive(Default)]
pub struct State {
    open: HashMap<(u64, Key), usize>,
    order: Vec<((u64, Key), usize)>,
    done: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Field(&'static str),
    Tool(u64),
    Function,
}

impl State {
    pub fn event(&mut self, event: &Sse, out: &mut Answer) {
        // Everything behind the first `[DONE]` is ignored.
        if self.done {
            return;
        }
        if event.data.trim() == "[DONE]" {
            self.done = true;
            for choice in self.order.iter().map(|((choice, _), _)| *choice).collect::<Vec<_>>() {
                self.close(choice, out);
            }
            out.items.push(Item::End);
            return;
        }
        let Some(data) = super::sse::json(&event.data) else {
            out.items.push(Item::Error);
            return;
        };
        if !data["error"].is_null() {
            out.items.push(Item::Error);
            return;
        }
        for choice in data["choices"].as_array().into_iter().flatten() {
            let index = choice["index"].as_u64().unwrap_or(0);
            self.says(index, &choice["delta"], &mut false, out);
            if let Some(reason) = choice["finish_reason"].as_str() {
                self.close(index, out);
                out.items.push(Item::Stop(u32::try_from(index).unwrap(), Some(reason.to_owned())));
            }
        }
        if !data["usage"].is_null() {
            out.items.push(Item::Usage(data["usage"].clone()));
        }
    }

    /// What a delta, or a whole message, says, in the order in which it says it. Servers repeat the `thought` under
    /// other keys.
    fn says(&mut self, choice: u64, delta: &Value, thought: &mut bool, out: &mut Answer) {
        for (key, value) in delta.as_object().into_iter().flatten() {
            match key.as_str() {
                "content" if value.is_array() => self.content(choice, value, out),
                "content" => self.field(choice, "content", Kind::Text, value, out),
                "refusal" => self.field(choice, "refusal", Kind::Refusal, value, out),
                "reasoning_content" | "reasoning" if !*thought => {
                    *thought = value.is_string();
                    self.field(choice, "thinking", Kind::Thinking, value, out);
                }
                "tool_calls" => {
                    for (position, entry) in value.as_array().into_iter().flatten().enumerate() {
                        let index = entry["index"].as_u64().unwrap_or(position as u64);
                        let body = if entry["custom"].is_null() { &entry["function"] } else { &entry["custom"] };
                        self.tool(choice, Key::Tool(index), entry["id"].as_str(), body, out);
                    }
                }
                "function_call" if !value.is_null() => self.tool(choice, Key::Function, None, value, out),
                _ => {}
            }
        }
    }

    fn content(&mut self, choice: u64, items: &Value, out: &mut Answer) {
        for item in items.as_array().into_iter().flatten() {
            match item.get("thinking") {
                Some(nested) => {
                    let text = nested.as_array().and_then(|items| items.iter().find(|item| item["text"].is_string()));
                    let text = text.map_or(nested, |item| &item["text"]);
                    self.field(choice, "thinking", Kind::Thinking, text, out);
                }
                None => self.field(choice, "content", Kind::Text, &item["text"], out),
            }
        }
    }

    fn field(&mut self, choice: u64, key: &'static str, kind: Kind, value: &Value, out: &mut Answer) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            let block = self.block(choice, Key::Field(key), || kind, out);
            out.items.push(Item::Text(block, text.to_owned()));
        }
    }

    fn tool(&mut self, choice: u64, key: Key, id: Option<&str>, body: &Value, out: &mut Answer) {
        let block = self.block(choice, key, || Kind::Tool { id: String::new(), name: String::new() }, out);
        if let Kind::Tool { id: said, name } = &mut out.heads[block].kind {
            said.push_str(id.filter(|_| said.is_empty()).unwrap_or_default());
            let more = body["name"].as_str().unwrap_or_default();
            if name != more {
                name.push_str(more);
            }
        }
        let text = body["arguments"].as_str().or(body["input"].as_str()).unwrap_or_default();
        if !text.is_empty() {
            out.items.push(Item::Text(block, text.to_owned()));
        }
    }

    fn block(&mut self, choice: u64, key: Key, kind: impl FnOnce() -> Kind, out: &mut Answer) -> usize {
        let key = (choice, key);
        *self.open.entry(key.clone()).or_insert_with(|| {
            let choice = u32::try_from(choice).unwrap();
            let block = out.open(Head { kind: kind(), choice, has_text: true });
            self.order.push((key, block));
            block
        })
    }

    fn close(&mut self, choice: u64, out: &mut Answer) {
        self.open.retain(|(of, _), _| *of != choice);
        self.order.retain(|((of, _), block)| {
            if *of == choice {
                out.items.push(Item::Close(*block));
            }
            *of != choice
        });
    }
}

/// A whole completion. Each part of a message is a block of its own, closed at once.
pub fn body(completion: &Value) -> Answer {
    let mut out = Answer::default();
    for choice in completion["choices"].as_array().expect("choices") {
        let index = choice["index"].as_u64().unwrap_or(0);
        let mut state = State::default();
        let mut thought = false;
        for (key, value) in choice["message"].as_object().into_iter().flatten() {
            let parts: Vec<Value> = match value {
                Value::Array(items) => items.iter().map(|item| Value::Array(vec![item.clone()])).collect(),
                other => vec![other.clone()],
            };
            for part in parts {
                let message = serde_json::json!({ key: part });
                state.says(index, &message, &mut thought, &mut out);
                state.close(index, &mut out);
            }
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            out.items.push(Item::Stop(u32::try_from(index).unwrap(), Some(reason.to_owned())));
        }
    }
    out.items.push(Item::Usage(completion["usage"].clone()));
    out.items.push(Item::End);
    out
}
