//! Messages: blocks dense from 0, one open at a time; nothing behind the end.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    super::reader::sse::{self, Sse},
    Arguments, arguments,
};

#[derive(Default)]
struct Checker {
    problems: Vec<String>,
    started: bool,
    ended: bool,
    next: u64,
    open: Option<Block>,
    reason: Option<String>,
    /// Whether a client's tool is to be run.
    tools: usize,
    /// The last block, when its arguments are cut.
    cut: bool,
    /// Server tools by id, with the number of their block.
    servers: HashMap<String, u64>,
    /// The kinds of the blocks so far.
    kinds: Vec<String>,
}

struct Block {
    index: u64,
    kind: String,
    text: String,
    signed: bool,
}

pub fn problems(events: &[Sse]) -> Vec<String> {
    let mut checker = Checker::default();
    for event in events {
        checker.event(event);
    }
    if !checker.ended {
        checker.problem("the stream has no end");
    }
    checker.problems
}

impl Checker {
    fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    fn expect(&mut self, holds: bool, problem: &str) {
        if !holds {
            self.problem(problem);
        }
    }

    fn event(&mut self, event: &Sse) {
        self.expect(!self.ended, "something stands behind the end");
        let name = event.name.clone().unwrap_or_default();
        let Some(data) = sse::json(&event.data) else {
            self.expect(name == "error", "data is not JSON");
            self.end(false);
            return;
        };
        let kind = data["type"].as_str().unwrap_or_default();
        self.expect(kind == name, "the name of the event is not its type");
        if !self.started && matches!(kind, "content_block_start" | "content_block_delta" | "message_delta") {
            self.problem("the first event is not message_start");
        }
        let index = data["index"].as_u64().unwrap_or(u64::MAX);
        match kind {
            "message_start" => {
                self.expect(!self.started, "a second message_start");
                self.expect(data["message"]["content"] == Value::Array(Vec::new()), "message_start has content");
                self.started = true;
            }
            "content_block_start" => self.start(index, &data["content_block"]),
            "content_block_delta" => self.delta(index, &data["delta"]),
            "content_block_stop" => self.stop(index),
            "message_delta" => {
                self.expect(self.open.is_none(), "message_delta while a block is open");
                let reason = data["delta"]["stop_reason"].as_str().map(str::to_owned);
                self.expect(self.reason.is_none() || reason.is_some(), "stop_reason is taken back");
                self.expect(data["usage"]["output_tokens"].is_number(), "message_delta without output_tokens");
                self.reason = reason;
            }
            "message_stop" => self.end(true),
            "error" => {
                self.expect(data["error"]["message"].is_string(), "an error without a message");
                self.end(false);
            }
            _ => {}
        }
    }

    fn start(&mut self, index: u64, block: &Value) {
        self.expect(self.open.is_none(), "a block starts while another is open");
        self.expect(index == self.next, "a gap in the indices of blocks");
        self.expect(self.reason.is_none(), "a block starts behind the stop reason");
        self.next = index.saturating_add(1);
        let kind = block["type"].as_str().unwrap_or_default().to_owned();
        let text = match &*kind {
            "tool_use" | "server_tool_use" | "mcp_tool_use" => {
                let id = block["id"].as_str().unwrap_or_default();
                let named = !id.is_empty() && block["name"].as_str().is_some_and(|name| !name.is_empty());
                self.expect(named, "a tool call without id or name");
                self.tools += usize::from(kind == "tool_use");
                if kind != "tool_use" {
                    self.servers.insert(id.to_owned(), index);
                }
                let input = &block["input"];
                if input.as_object().is_some_and(|input| !input.is_empty()) { input.to_string() } else { String::new() }
            }
            "text" => {
                self.expect(block["text"].is_string(), "a text block without text");
                String::new()
            }
            _ => String::new(),
        };
        if let Some(id) = block["tool_use_id"].as_str() {
            let call = self.servers.get(id).and_then(|at| usize::try_from(*at).ok());
            let between = call.map(|call| self.kinds.get(call + 1..).unwrap_or_default().to_vec());
            let stands = between.is_some_and(|kinds| kinds.iter().all(|kind| !matches!(&**kind, "text" | "tool_use")));
            self.expect(stands, "a result does not follow its server tool call");
        }
        self.kinds.push(kind.clone());
        self.open = Some(Block { index, kind, text, signed: false });
    }

    fn delta(&mut self, index: u64, delta: &Value) {
        let Some(block) = self.open.as_mut().filter(|block| block.index == index) else {
            return self.problem("a delta of a block that is not open");
        };
        let kind = delta["type"].as_str().unwrap_or_default();
        let fits = match kind {
            "text_delta" | "citations_delta" => block.kind == "text",
            "thinking_delta" | "signature_delta" => block.kind == "thinking",
            "input_json_delta" => matches!(&*block.kind, "tool_use" | "server_tool_use" | "mcp_tool_use"),
            "compaction_delta" => block.kind == "compaction",
            _ => true,
        };
        let key = match kind {
            "text_delta" => Some("text"),
            "thinking_delta" => Some("thinking"),
            "input_json_delta" => Some("partial_json"),
            _ => None,
        };
        let signed = kind == "signature_delta" && std::mem::replace(&mut block.signed, true);
        let says = key.is_none_or(|key| delta[key].is_string());
        block.text.push_str(key.and_then(|key| delta[key].as_str()).unwrap_or_default());
        let what = format!("a {kind} in a {} block", block.kind);
        self.expect(fits, &what);
        self.expect(says, "a delta without its text");
        self.expect(!signed, "a second signature in one block");
    }

    fn stop(&mut self, index: u64) {
        let Some(block) = self.open.take_if(|block| block.index == index) else {
            return self.problem("a stop of a block that is not open");
        };
        if matches!(&*block.kind, "tool_use" | "server_tool_use" | "mcp_tool_use") {
            match arguments(&block.text) {
                Arguments::Whole => {}
                Arguments::Cut => self.cut = true,
                Arguments::Malformed => self.problem("the input of a tool call is not JSON"),
            }
        }
    }

    fn end(&mut self, politely: bool) {
        self.ended = true;
        let reason = self.reason.take();
        let limit = matches!(reason.as_deref(), Some("max_tokens" | "model_context_window_exceeded" | "refusal"));
        self.expect(!self.cut || limit, "half of a tool call was closed");
        if politely {
            self.expect(self.started, "message_stop without message_start");
            self.expect(self.open.is_none(), "message_stop while a block is open");
            self.expect(reason.is_some(), "message_stop without a stop reason");
            let fits = match reason.as_deref() {
                Some("tool_use") => self.tools > 0,
                Some("end_turn") => self.tools == 0,
                _ => true,
            };
            self.expect(fits, "the stop reason does not fit the tool calls");
        }
    }
}
