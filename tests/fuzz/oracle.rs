//! What must hold of any answer that leaves, read from its bytes without any state.

use std::collections::BTreeMap;

use luthien::{journal::Fact, model::Dialect};
use serde_json::Value;

pub use crate::core::reader::sse::Sse as Event;
use crate::core::{
    reader::sse::{self, joined},
    support::Run,
};

/// What stands where a policy took everything.
pub const OWN_WORDS: &str = "[removed by policy]";

/// What a body says, as the simplest client would collect it.
#[derive(Debug, Default)]
pub struct Said {
    /// Text for the reader, by the place that it is collected at.
    pub prose: BTreeMap<String, String>,
    /// Names of the client's tools, by the place of their call.
    pub tools: BTreeMap<String, String>,
    /// How often the answer says that it came to its end.
    pub ends: usize,
}

/// Reads a stream.
pub fn stream(dialect: Dialect, body: &[u8]) -> Said {
    let mut said = Said::default();
    for event in events(body) {
        if event.data.trim() == "[DONE]" {
            said.ends += usize::from(dialect == Dialect::OpenaiChat);
        } else if let Some(data) = sse::json(&event.data) {
            match dialect {
                Dialect::AnthropicMessages => said.anthropic(&event, &data),
                Dialect::OpenaiChat => said.chat(&data),
                Dialect::OpenaiResponses => said.responses(&event, &data),
            }
        }
    }
    said
}

/// Every event of a body, one without its blank line included.
pub fn events(body: &[u8]) -> Vec<Event> {
    sse::events(&[body, b"\n\n"].concat())
}

/// Reads a body that is not streamed. `None`: it is no JSON.
pub fn body(dialect: Dialect, body: &[u8]) -> Option<Said> {
    let body = sse::json(std::str::from_utf8(body).ok()?)?;
    let mut said = Said::default();
    match dialect {
        Dialect::AnthropicMessages => {
            for (at, block) in items(&body["content"]) {
                said.block(&at.to_string(), block);
            }
        }
        Dialect::OpenaiChat => {
            for (at, choice) in items(&body["choices"]) {
                said.message(&at.to_string(), &choice["message"]);
            }
        }
        Dialect::OpenaiResponses => {
            for (at, item) in items(&body["output"]) {
                said.item(&at.to_string(), item);
            }
        }
    }
    Some(said)
}

/// What an event is: its data says it, or else its name.
fn kind<'a>(event: &'a Event, data: &'a Value) -> &'a str {
    data["type"].as_str().or(event.name.as_deref()).unwrap_or_default()
}

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

impl Said {
    /// Every text and every name, with halves of surrogate pairs joined.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.prose.values().map(|text| joined(text, false))
    }

    fn prose(&mut self, place: String, text: &Value) {
        self.prose.entry(place).or_default().push_str(text.as_str().unwrap_or_default());
    }

    fn tool(&mut self, place: String, name: &Value) {
        self.tools.entry(place).or_default().push_str(name.as_str().unwrap_or_default());
    }

    fn anthropic(&mut self, event: &Event, data: &Value) {
        let index = data["index"].to_string();
        match kind(event, data) {
            "message_stop" => self.ends += 1,
            "content_block_start" => self.block(&index, &data["content_block"]),
            "content_block_delta" if data["delta"]["type"] == "text_delta" => {
                self.prose(index, &data["delta"]["text"]);
            }
            _ => {}
        }
    }

    fn block(&mut self, place: &str, block: &Value) {
        match block["type"].as_str().unwrap_or_default() {
            "text" => self.prose(place.to_owned(), &block["text"]),
            "tool_use" => self.tool(place.to_owned(), &block["name"]),
            _ => {}
        }
    }

    fn chat(&mut self, data: &Value) {
        for (_, choice) in items(&data["choices"]) {
            self.message(&choice["index"].to_string(), &choice["delta"]);
        }
    }

    fn message(&mut self, place: &str, message: &Value) {
        self.prose(format!("{place} content"), &message["content"]);
        self.prose(format!("{place} refusal"), &message["refusal"]);
        for (_, part) in items(&message["content"]) {
            self.prose(format!("{place} content"), &part["text"]);
        }
        for (at, call) in items(&message["tool_calls"]) {
            let at = call["index"].as_u64().map_or_else(|| at.to_string(), |index| index.to_string());
            for key in ["function", "custom"] {
                self.tool(format!("{place} {at} {key}"), &call[key]["name"]);
            }
        }
        self.tool(format!("{place} function_call"), &message["function_call"]["name"]);
    }

    fn responses(&mut self, event: &Event, data: &Value) {
        let kind = kind(event, data);
        let part = data["content_index"].as_u64().unwrap_or_default();
        let place = format!("{} {part}", data["output_index"]);
        let of = |text: &str| format!("{kind} {place} {text}");
        match kind {
            "response.completed" | "response.incomplete" => {
                self.ends += 1;
                for (at, item) in items(&data["response"]["output"]) {
                    self.item(&format!("end {at}"), item);
                }
                self.prose("output_text".to_owned(), &data["response"]["output_text"]);
            }
            "response.output_text.delta" | "response.refusal.delta" => self.prose(of("delta"), &data["delta"]),
            "response.output_text.done" => self.prose(of("text"), &data["text"]),
            "response.refusal.done" => self.prose(of("refusal"), &data["refusal"]),
            "response.content_part.added" | "response.content_part.done" => {
                self.part(format!("{kind} {place}"), &data["part"]);
            }
            "response.output_item.added" | "response.output_item.done" => {
                self.item(&format!("{kind} {}", data["output_index"]), &data["item"]);
            }
            _ => {}
        }
    }

    fn part(&mut self, place: String, part: &Value) {
        match part["type"].as_str().unwrap_or_default() {
            "output_text" => self.prose(place, &part["text"]),
            "refusal" => self.prose(place, &part["refusal"]),
            _ => {}
        }
    }

    fn item(&mut self, place: &str, item: &Value) {
        match item["type"].as_str().unwrap_or_default() {
            "message" => {
                for (at, part) in items(&item["content"]) {
                    self.part(format!("{place} {at}"), part);
                }
            }
            "function_call" | "custom_tool_call" => self.tool(place.to_owned(), &item["name"]),
            _ => {}
        }
    }
}

/// No hook panicked. The pipeline makes a fault of that.
pub fn assert_no_panic(run: &Run) {
    for fact in &run.facts {
        if let Fact::Faulted { error, .. } = fact {
            assert!(!error.contains("panicked"), "{error}");
        }
    }
}
