//! What a client got, read from an SDK's final message or from the items of its iteration, in one form for all dialects.

use std::collections::BTreeMap;

use serde_json::Value;

use super::answers::Tokens;
use crate::common::streams::Dialect;

/// An answer as a client saw it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) thinking: Vec<Thought>,
    pub(super) text: String,
    pub(super) refusal: String,
    pub(super) calls: Vec<Call>,
    /// What kinds of parts came, in order; neighbours of one kind are told once.
    pub(super) order: Vec<&'static str>,
    /// In the dialect's word; in Responses the status, with the reason behind a colon.
    pub(super) stop: String,
    pub(super) tokens: Option<Tokens>,
    pub(super) model: String,
}

/// A piece of thinking, with what proves it to its provider.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Thought {
    pub(super) text: String,
    pub(super) proof: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: Value,
    /// The arguments as text, where the dialect shows it.
    pub(super) exact: Option<String>,
}

/// Reads an SDK's final message.
pub(super) fn message(dialect: Dialect, message: &Value) -> Seen {
    match dialect {
        Dialect::Anthropic => {
            let mut seen = Seen { stop: word(&message["stop_reason"]), ..Seen::head(dialect, message) };
            for block in list(&message["content"]) {
                seen.block(block, None);
            }
            seen
        }
        Dialect::OpenaiChat => {
            let choice = &message["choices"][0];
            let mut seen = Seen { stop: word(&choice["finish_reason"]), ..Seen::head(dialect, message) };
            let message = &choice["message"];
            seen.thought(&word(&message["reasoning_content"]), "");
            seen.say(&word(&message["content"]));
            seen.refusal = word(&message["refusal"]);
            for call in list(&message["tool_calls"]) {
                seen.call(&word(&call["id"]), &word(&call["function"]["name"]), &word(&call["function"]["arguments"]));
            }
            seen
        }
        Dialect::OpenaiResponses => {
            let reason = word(&message["incomplete_details"]["reason"]);
            let stop = [word(&message["status"]), reason].join(":");
            let mut seen = Seen { stop: stop.trim_end_matches(':').to_owned(), ..Seen::head(dialect, message) };
            for item in list(&message["output"]) {
                seen.item(item);
            }
            seen
        }
    }
}

/// Reads the items of an iteration, whether or not they are complete.
pub(super) fn items(dialect: Dialect, items: &[Value]) -> Seen {
    match dialect {
        Dialect::Anthropic => messages_items(items),
        Dialect::OpenaiChat => chat_items(items),
        Dialect::OpenaiResponses => responses_items(items),
    }
}

fn messages_items(items: &[Value]) -> Seen {
    let mut seen = Seen::default();
    let mut blocks: BTreeMap<u64, (Value, String)> = BTreeMap::new();
    let mut usage = Value::Null;
    for item in items {
        let index = item["index"].as_u64().unwrap_or_default();
        match item["type"].as_str().unwrap_or_default() {
            "message_start" => {
                seen.model = word(&item["message"]["model"]);
                usage = item["message"]["usage"].clone();
            }
            "content_block_start" => {
                blocks.insert(index, (item["content_block"].clone(), String::new()));
            }
            "content_block_delta" => {
                let Some((block, input)) = blocks.get_mut(&index) else { continue };
                let delta = &item["delta"];
                for field in ["text", "thinking", "signature"] {
                    if let Some(more) = delta[field].as_str() {
                        block[field] = (word(&block[field]) + more).into();
                    }
                }
                *input += &word(&delta["partial_json"]);
            }
            "message_delta" => {
                seen.stop = word(&item["delta"]["stop_reason"]);
                for (name, count) in item["usage"].as_object().into_iter().flatten() {
                    if !count.is_null() {
                        usage[name] = count.clone();
                    }
                }
            }
            _ => {}
        }
    }
    for (block, input) in blocks.values() {
        seen.block(block, Some(input));
    }
    seen.tokens = tokens(Dialect::Anthropic, &usage);
    seen
}

fn chat_items(items: &[Value]) -> Seen {
    let mut seen = Seen::default();
    let mut calls: BTreeMap<u64, [String; 3]> = BTreeMap::new();
    for item in items {
        if seen.model.is_empty() {
            seen.model = word(&item["model"]);
        }
        seen.tokens = tokens(Dialect::OpenaiChat, &item["usage"]).or(seen.tokens);
        let choice = &item["choices"][0];
        let delta = &choice["delta"];
        seen.thought(&word(&delta["reasoning_content"]), "");
        seen.say(&word(&delta["content"]));
        seen.refusal += &word(&delta["refusal"]);
        for call in list(&delta["tool_calls"]) {
            let parts = calls.entry(call["index"].as_u64().unwrap_or(u64::MAX)).or_default();
            parts[0] += &word(&call["id"]);
            parts[1] += &word(&call["function"]["name"]);
            parts[2] += &word(&call["function"]["arguments"]);
        }
        if choice["finish_reason"].is_string() {
            seen.stop = word(&choice["finish_reason"]);
        }
    }
    for [id, name, arguments] in calls.values() {
        seen.call(id, name, arguments);
    }
    seen
}

/// Reads the deltas, not what the end repeats of them.
fn responses_items(items: &[Value]) -> Seen {
    let mut last = Seen::default();
    let mut parts: BTreeMap<u64, Value> = BTreeMap::new();
    for item in items {
        let kind = item["type"].as_str().unwrap_or_default();
        let place = item["output_index"].as_u64().unwrap_or_default();
        let part = parts.entry(place).or_insert(Value::Null);
        let mut add = |field: &str| part[field] = (word(&part[field]) + &word(&item["delta"])).into();
        match kind {
            "response.output_item.added" => *part = item["item"].clone(),
            "response.output_text.delta" => add("said"),
            "response.refusal.delta" => add("refused"),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => add("thought"),
            "response.function_call_arguments.delta" => add("arguments"),
            "response.custom_tool_call_input.delta" => add("input"),
            "response.output_item.done" => {
                part["encrypted_content"] = item["item"]["encrypted_content"].clone();
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                last = message(Dialect::OpenaiResponses, &item["response"]);
            }
            _ => {}
        }
    }
    let mut seen = Seen { stop: last.stop, tokens: last.tokens, model: last.model, ..Seen::default() };
    for part in parts.values() {
        match part["type"].as_str().unwrap_or_default() {
            "message" => {
                seen.say(&word(&part["said"]));
                seen.refusal += &word(&part["refused"]);
            }
            "reasoning" => seen.thoughts(&word(&part["thought"]), &word(&part["encrypted_content"])),
            _ => seen.item(part),
        }
    }
    seen
}

impl Seen {
    fn head(dialect: Dialect, message: &Value) -> Self {
        Self { model: word(&message["model"]), tokens: tokens(dialect, &message["usage"]), ..Self::default() }
    }

    /// A block of Messages; a call's input is `input`, where it was streamed.
    fn block(&mut self, block: &Value, input: Option<&String>) {
        match block["type"].as_str().unwrap_or_default() {
            "text" => self.say(&word(&block["text"])),
            "thinking" => self.thoughts(&word(&block["thinking"]), &word(&block["signature"])),
            "redacted_thinking" => self.thoughts("", &word(&block["data"])),
            "tool_use" => {
                let (id, name) = (word(&block["id"]), word(&block["name"]));
                match input {
                    Some(input) if !input.is_empty() => self.call(&id, &name, input),
                    _ => {
                        self.kind("call");
                        self.calls.push(Call { id, name, arguments: block["input"].clone(), exact: None });
                    }
                }
            }
            _ => {}
        }
    }

    /// An item of Responses.
    fn item(&mut self, item: &Value) {
        match item["type"].as_str().unwrap_or_default() {
            "message" => {
                for part in list(&item["content"]) {
                    self.say(&word(&part["text"]));
                    self.refusal += &word(&part["refusal"]);
                }
            }
            "reasoning" => {
                let parts = [list(&item["summary"]), list(&item["content"])].concat();
                let text: String = parts.iter().map(|part| word(&part["text"])).collect();
                self.thoughts(&text, &word(&item["encrypted_content"]));
            }
            "function_call" => self.call(&word(&item["call_id"]), &word(&item["name"]), &word(&item["arguments"])),
            "custom_tool_call" => {
                self.kind("call");
                let exact = word(&item["input"]);
                let (id, name) = (word(&item["call_id"]), word(&item["name"]));
                self.calls.push(Call { id, name, arguments: exact.clone().into(), exact: Some(exact) });
            }
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        if !text.is_empty() {
            self.kind("text");
            self.text += text;
        }
    }

    /// More of one thought, where the dialect does not say where a thought ends.
    fn thought(&mut self, text: &str, proof: &str) {
        if text.is_empty() {
            return;
        }
        if self.order.last() == Some(&"thinking") {
            self.thinking.last_mut().expect("there is one").text += text;
        } else {
            self.thoughts(text, proof);
        }
    }

    fn thoughts(&mut self, text: &str, proof: &str) {
        self.kind("thinking");
        self.thinking.push(Thought { text: text.to_owned(), proof: proof.to_owned() });
    }

    fn call(&mut self, id: &str, name: &str, arguments: &str) {
        self.kind("call");
        self.calls.push(Call {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: serde_json::from_str(arguments).unwrap_or_else(|_| arguments.into()),
            exact: Some(arguments.to_owned()),
        });
    }

    fn kind(&mut self, kind: &'static str) {
        if self.order.last() != Some(&kind) {
            self.order.push(kind);
        }
    }
}

/// The counts, taken apart so that they do not overlap.
fn tokens(dialect: Dialect, usage: &Value) -> Option<Tokens> {
    usage.as_object().filter(|usage| !usage.is_empty())?;
    let count = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    Some(match dialect {
        Dialect::Anthropic => Tokens {
            fresh: count("/input_tokens"),
            cached: count("/cache_read_input_tokens"),
            written: count("/cache_creation_input_tokens"),
            output: count("/output_tokens"),
            reasoning: count("/output_tokens_details/thinking_tokens"),
        },
        Dialect::OpenaiChat | Dialect::OpenaiResponses => {
            let is_chat = dialect == Dialect::OpenaiChat;
            let (input, output) =
                if is_chat { ("prompt_tokens", "completion_tokens") } else { ("input_tokens", "output_tokens") };
            let cached = count(&format!("/{input}_details/cached_tokens"));
            let written = count(&format!("/{input}_details/cache_write_tokens"));
            let all = count(&format!("/{input}"));
            Tokens {
                // Stopping at zero would hide that something was counted twice.
                fresh: all.checked_sub(cached + written).unwrap_or(u64::MAX),
                cached,
                written,
                output: count(&format!("/{output}")),
                reasoning: count(&format!("/{output}_details/reasoning_tokens")),
            }
        }
    })
}

pub(super) fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
