//! Messages answers.

use std::collections::HashMap;

use serde_json::{Value, value::RawValue};

use super::{Answer, Head, Item, Kind, sse::Sse};

#[derive(Default)]
pub struct State {
    open: HashMap<u64, usize>,
}

/// The input of a tool call as it was written, where it stands at the start of its block.
#[derive(serde::Deserialize)]
struct Start<'a> {
    #[serde(borrow)]
    content_block: Input<'a>,
}

#[derive(serde::Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

impl State {
    pub fn event(&mut self, event: &Sse, out: &mut Answer) {
        let text = super::sse::with_halves(&event.data);
        let Ok(data) = serde_json::from_str::<Value>(&text) else {
            out.items.push(Item::Error);
            return;
        };
        let index = data["index"].as_u64().unwrap_or(u64::MAX);
        match data["type"].as_str().unwrap_or_default() {
            "message_start" => out.items.push(Item::Usage(data["message"]["usage"].clone())),
            "content_block_start" => {
                let input = serde_json::from_str::<Start>(&text).ok().and_then(|start| start.content_block.input);
                let block = open(&data["content_block"], input.map(RawValue::get), out);
                self.open.insert(index, block);
            }
            "content_block_delta" => {
                let block = *self.open.get(&index).expect("a delta of a block that was opened");
                let delta = &data["delta"];
                let text = ["text", "thinking", "partial_json"].iter().find_map(|key| delta[*key].as_str());
                match text.filter(|_| !delta["type"].as_str().unwrap_or_default().starts_with("citations")) {
                    Some(text) => out.items.push(Item::Text(block, text.to_owned())),
                    None => out.items.push(Item::Extra(block, delta.clone())),
                }
            }
            "content_block_stop" => {
                out.items.extend(self.open.get(&index).map(|block| Item::Close(*block)));
            }
            "message_delta" => {
                let reason = data["delta"]["stop_reason"].as_str().map(str::to_owned);
                out.items.push(Item::Stop(0, reason));
                let explanation = data["delta"]["stop_details"]["explanation"].as_str();
                out.explanation = explanation.map(str::to_owned).or(out.explanation.take());
                out.items.push(Item::Usage(data["usage"].clone()));
            }
            "message_stop" => out.items.push(Item::End),
            "error" => out.items.push(Item::Error),
            _ => {}
        }
    }
}

fn open(block: &Value, input: Option<&str>, out: &mut Answer) -> usize {
    let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
    let kind = match block["type"].as_str().unwrap_or_default() {
        "text" => Kind::Text,
        "thinking" | "redacted_thinking" => Kind::Thinking,
        "tool_use" => Kind::Tool { id: text("id"), name: text("name") },
        "server_tool_use" | "mcp_tool_use" => Kind::ServerTool(text("id")),
        _ if block["tool_use_id"].is_string() => Kind::ServerResult(text("tool_use_id")),
        other => Kind::Other(other.to_owned()),
    };
    let has_text = match kind {
        Kind::Text | Kind::Tool { .. } | Kind::ServerTool(_) => true,
        Kind::Thinking => block["thinking"].is_string(),
        Kind::Refusal | Kind::ServerResult(_) | Kind::Other(_) => false,
    };
    let first = match kind {
        Kind::Tool { .. } | Kind::ServerTool(_) => {
            let empty = block["input"].as_object().is_none_or(serde_json::Map::is_empty);
            input.filter(|_| !empty).unwrap_or_default().to_owned()
        }
        Kind::Text => text("text"),
        Kind::Thinking => text("thinking"),
        _ => String::new(),
    };
    let id = out.open(Head { kind, choice: 0, has_text });
    if !first.is_empty() {
        out.items.push(Item::Text(id, first));
    }
    let mut rest = block.as_object().cloned().unwrap_or_default();
    rest.retain(|key, value| {
        !matches!(&**key, "type" | "text" | "thinking" | "input" | "id" | "name") && !value.is_null()
    });
    if !rest.is_empty() {
        out.items.push(Item::Extra(id, Value::Object(rest)));
    }
    id
}

/// The inputs of the tool calls of a whole message.
#[derive(serde::Deserialize)]
struct Inputs<'a> {
    #[serde(borrow)]
    content: Vec<Input<'a>>,
}

/// A whole message.
pub fn body(text: &str) -> Answer {
    let message: Value = serde_json::from_str(text).expect("a body is JSON");
    let inputs: Inputs<'_> = serde_json::from_str(text).expect("a message has content");
    let mut out = Answer::default();
    out.items.push(Item::Usage(message["usage"].clone()));
    for (block, input) in message["content"].as_array().into_iter().flatten().zip(inputs.content) {
        let id = open(block, input.input.map(RawValue::get), &mut out);
        out.items.push(Item::Close(id));
    }
    out.items.push(Item::Stop(0, message["stop_reason"].as_str().map(str::to_owned)));
    out.items.push(Item::End);
    out.explanation = message["stop_details"]["explanation"].as_str().map(str::to_owned);
    out
}
