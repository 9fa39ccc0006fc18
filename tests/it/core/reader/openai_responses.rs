//! Responses answers: each item is a block, and the parts of a message or a reasoning are its text.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json, value::RawValue};

use super::{Answer, Head, Item, Kind, sse::Sse};

#[derive(Default)]
pub struct State {
    /// The blocks of items that are one, and of the parts of those that are not.
    open: HashMap<(u64, Option<u64>), usize>,
    /// Texts of which something has been said: the item, the events' name, the part.
    said: HashSet<(u64, String, u64)>,
    phases: HashMap<u64, Value>,
}

/// What a call does, as it was written, where that is JSON.
#[derive(serde::Deserialize, Default)]
struct Raw<'a> {
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    actions: Option<&'a RawValue>,
    #[serde(borrow)]
    operation: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(serde::Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    item: Option<Raw<'a>>,
}

#[derive(serde::Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    output: Vec<Raw<'a>>,
}

impl State {
    pub fn event(&mut self, event: &Sse, out: &mut Answer) {
        if event.data.trim() == "[DONE]" {
            return;
        }
        let text = super::sse::with_halves(&event.data);
        let Ok(data) = serde_json::from_str::<Value>(&text) else {
            out.items.push(Item::Error);
            return;
        };
        let index = data["output_index"].as_u64().unwrap_or(u64::MAX);
        let part = data["content_index"].as_u64().or(data["summary_index"].as_u64()).unwrap_or(0);
        let kind = data["type"].as_str().unwrap_or_default();
        match kind {
            "response.output_item.added" if data["item"].is_object() => self.open_item(index, &data["item"], out),
            "response.output_item.done" => {
                let raw = serde_json::from_str::<Event>(&text).ok().and_then(|event| event.item).unwrap_or_default();
                self.end_item(index, &data["item"], &raw, out);
            }
            "response.content_part.added" => self.open_part(index, part, &data["part"], out),
            "response.content_part.done" => self.end_part(index, part, &data["part"], out),
            "response.output_text.annotation.added" => {
                let extra = json!({"annotation": data["annotation"]});
                out.items.extend(self.block(index, part).map(|block| Item::Extra(block, extra)));
            }
            "response.completed" | "response.incomplete" => end(&data["response"], out),
            "response.failed" | "error" => out.items.push(Item::Error),
            _ => {
                if let Some(name) = kind.strip_suffix(".delta") {
                    self.said.insert((index, name.to_owned(), part));
                    let text = data["delta"].as_str().unwrap_or_default().to_owned();
                    out.items.extend(self.block(index, part).map(|block| Item::Text(block, text)));
                } else if let Some(name) = kind.strip_suffix(".done") {
                    let text =
                        ["text", "refusal", "arguments", "input", "code"].iter().find_map(|key| data[key].as_str());
                    self.repeated(index, name, part, text, out);
                }
            }
        }
    }

    fn block(&self, index: u64, part: u64) -> Option<usize> {
        self.open.get(&(index, Some(part))).or_else(|| self.open.get(&(index, None))).copied()
    }

    /// A text that is only repeated, unless nothing of it was said before.
    fn repeated(&mut self, index: u64, name: &str, part: u64, text: Option<&str>, out: &mut Answer) {
        let (Some(text), Some(block)) = (text.filter(|text| !text.is_empty()), self.block(index, part)) else { return };
        if self.said.insert((index, name.to_owned(), part)) {
            out.items.push(Item::Text(block, text.to_owned()));
        }
    }

    fn open_item(&mut self, index: u64, item: &Value, out: &mut Answer) {
        self.phases.insert(index, item["phase"].clone());
        {
            let kind = kind(item);
            let has_text = match &kind {
                Kind::ServerTool(_) => matches!(item["type"].as_str(), Some("mcp_call" | "code_interpreter_call")),
                Kind::Text | Kind::Tool { .. } | Kind::Thinking => true,
                _ => false,
            };
            let block = out.open(Head { kind, choice: 0, has_text });
            self.open.insert((index, None), block);
        }
    }

    fn open_part(&mut self, index: u64, at: u64, part: &Value, out: &mut Answer) {
        // Parts of a reasoning are its own text.
        if self.open.contains_key(&(index, None)) {
            return;
        }
        let kind = match part["type"].as_str().unwrap_or_default() {
            "output_text" => Kind::Text,
            "refusal" => Kind::Refusal,
            other => Kind::Other(other.to_owned()),
        };
        let block = out.open(Head { kind, choice: 0, has_text: true });
        self.open.insert((index, Some(at)), block);
        let phase = self.phases.get(&index).filter(|phase| !phase.is_null());
        out.items.extend(phase.map(|phase| Item::Extra(block, json!({"phase": phase}))));
    }

    fn end_part(&mut self, index: u64, at: u64, part: &Value, out: &mut Answer) {
        let (name, text) = said_by(part);
        self.repeated(index, name, at, text, out);
        out.items.extend(self.open.get(&(index, Some(at))).map(|block| Item::Close(*block)));
    }

    fn end_item(&mut self, index: u64, item: &Value, raw: &Raw<'_>, out: &mut Answer) {
        if !self.phases.contains_key(&index) {
            self.open_item(index, item, out);
        }
        let Some(block) = self.open.get(&(index, None)).copied() else {
            for (at, part) in (0..).zip(item["content"].as_array().into_iter().flatten()) {
                if !self.open.contains_key(&(index, Some(at))) {
                    self.open_part(index, at, part, out);
                    self.end_part(index, at, part, out);
                }
            }
            return;
        };
        for key in ["summary", "content"] {
            for (at, part) in (0..).zip(item[key].as_array().into_iter().flatten()) {
                let (name, text) = said_by(part);
                self.repeated(index, name, at, text, out);
            }
        }
        let name = match item["type"].as_str().unwrap_or_default() {
            "function_call" => "response.function_call_arguments",
            "custom_tool_call" => "response.custom_tool_call_input",
            "mcp_call" => "response.mcp_call_arguments",
            "code_interpreter_call" => "response.code_interpreter_call_code",
            _ => "",
        };
        let is_call = matches!(out.heads[block].kind, Kind::Tool { .. });
        let text = match name {
            "" if is_call => [raw.action, raw.actions, raw.operation, raw.arguments].into_iter().flatten().next(),
            _ => None,
        };
        let text = text.map(RawValue::get).or_else(|| key_of(name).and_then(|key| item[key].as_str()));
        self.repeated(index, name, 0, text, out);
        let rest = rest(item, key_of(name), is_call && name.is_empty());
        out.items.extend((!rest.is_empty()).then(|| Item::Extra(block, Value::Object(rest))));
        out.items.push(Item::Close(block));
    }
}

/// What an item is.
fn kind(item: &Value) -> Kind {
    let text = |key: &str| item[key].as_str().map(str::to_owned);
    let call = |name: &str| Kind::Tool { id: text("call_id").unwrap_or_default(), name: name.to_owned() };
    match item["type"].as_str().unwrap_or_default() {
        "message" => Kind::Text,
        "reasoning" => Kind::Thinking,
        "function_call" | "custom_tool_call" => call(item["name"].as_str().unwrap_or_default()),
        own @ ("local_shell_call" | "shell_call" | "computer_call" | "apply_patch_call") => {
            call(own.trim_end_matches("_call"))
        }
        "tool_search_call" if item["execution"] == "client" => call("tool_search"),
        other if other == "mcp_list_tools" || other.ends_with("_call") => {
            Kind::ServerTool(text("call_id").or(text("id")).unwrap_or_default())
        }
        other if other.ends_with("_output") => Kind::ServerResult(text("call_id").unwrap_or_default()),
        other => Kind::Other(other.to_owned()),
    }
}

/// The name of the events that say a part, and its text.
fn said_by(part: &Value) -> (&'static str, Option<&str>) {
    match part["type"].as_str().unwrap_or_default() {
        "refusal" => ("response.refusal", part["refusal"].as_str()),
        "reasoning_text" => ("response.reasoning_text", part["text"].as_str()),
        "summary_text" => ("response.reasoning_summary_text", part["text"].as_str()),
        _ => ("response.output_text", part["text"].as_str()),
    }
}

fn key_of(name: &str) -> Option<&'static str> {
    let word = name.rsplit('_').next()?;
    ["arguments", "input", "code"].into_iter().find(|key| *key == word)
}

/// What else an item says.
fn rest(item: &Value, text: Option<&str>, acts: bool) -> Map<String, Value> {
    let mut rest = item.as_object().cloned().unwrap_or_default();
    rest.retain(|key, value| {
        let known = matches!(&**key, "type" | "id" | "call_id" | "name" | "status" | "summary" | "content" | "role");
        let acted = acts && matches!(&**key, "action" | "actions" | "operation" | "arguments");
        !known && !acted && Some(key.as_str()) != text && !value.is_null()
    });
    rest
}

fn end(response: &Value, out: &mut Answer) {
    let reason = response["incomplete_details"]["reason"].as_str().or(response["status"].as_str());
    out.items.push(Item::Stop(0, reason.map(str::to_owned)));
    out.items.push(Item::Usage(response["usage"].clone()));
    out.items.push(Item::End);
}

/// A whole response.
pub fn body(text: &str) -> Answer {
    let response: Value = serde_json::from_str(text).expect("a body is JSON");
    let raw: Body<'_> = serde_json::from_str(text).expect("a response has output");
    let mut out = Answer::default();
    for (index, (item, raw)) in (0..).zip(response["output"].as_array().into_iter().flatten().zip(raw.output)) {
        let mut state = State::default();
        state.end_item(index, item, &raw, &mut out);
        let parts = item["content"].as_array().filter(|_| item["type"] == "message");
        for (at, part) in (0..).zip(parts.into_iter().flatten()) {
            let close = state.block(index, at).map(Item::Close);
            let place =
                close.and_then(|close| out.items.iter().rposition(|item| *item == close)).expect("a closed part");
            let annotations = part["annotations"].as_array().into_iter().flatten();
            let block = state.block(index, at).expect("an opened part");
            let extras: Vec<Item> =
                annotations.map(|annotation| Item::Extra(block, json!({"annotation": annotation}))).collect();
            out.items.splice(place..place, extras);
        }
    }
    end(&response, &mut out);
    out
}

/// The terminal response of a stream, as it was written.
pub fn terminal(events: &[Sse]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Terminal<'a> {
        #[serde(borrow)]
        response: &'a RawValue,
    }
    let is_end = |event: &&Sse| {
        let kind = super::sse::json(&event.data).map(|data| data["type"].clone()).unwrap_or_default();
        kind == "response.completed" || kind == "response.incomplete"
    };
    let event = events.iter().rev().find(is_end)?;
    Some(
        serde_json::from_str::<Terminal>(&event.data)
            .expect("a terminal event has a response")
            .response
            .get()
            .to_owned(),
    )
}
