//! What a request asks, read in one form for all dialects: what the provider got is held against what the client sent.

use serde_json::Value;

use super::read::{list, word};
use crate::common::streams::Dialect;

/// A request, as far as every dialect can say it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Asked {
    pub(super) stream: bool,
    pub(super) limit: Option<u64>,
    pub(super) system: String,
    pub(super) user: Vec<String>,
    pub(super) assistant: String,
    /// Base64 data, wherever the pictures stand.
    pub(super) images: Vec<String>,
    pub(super) tools: Vec<Tool>,
    pub(super) choice: Option<String>,
    pub(super) thinks: bool,
    /// The schema of the answer.
    pub(super) schema: Option<Value>,
    /// Ids, names, arguments.
    pub(super) calls: Vec<(String, String, Value)>,
    /// Ids and texts.
    pub(super) results: Vec<(String, String)>,
    /// The texts of earlier thinking, with their proofs.
    pub(super) thoughts: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) schema: Value,
    pub(super) strict: bool,
}

pub(super) fn read(dialect: Dialect, body: &Value) -> Asked {
    let mut asked = Asked { stream: body["stream"] == true, ..Asked::default() };
    let choice = &body["tool_choice"];
    let choice = choice.as_str().or(choice["type"].as_str());
    asked.choice = choice.map(|choice| if choice == "any" { "required" } else { choice }.to_owned());
    match dialect {
        Dialect::Anthropic => asked.messages(body),
        Dialect::OpenaiChat => asked.chat(body),
        Dialect::OpenaiResponses => asked.responses(body),
    }
    asked
}

/// Text of a string, or of the parts of a list, each a line.
fn text(content: &Value) -> String {
    let parts = list(content).iter().filter_map(|part| part["text"].as_str());
    content.as_str().map_or_else(|| parts.collect::<Vec<_>>().join("\n"), str::to_owned)
}

impl Asked {
    fn messages(&mut self, body: &Value) {
        self.limit = body["max_tokens"].as_u64();
        self.system = text(&body["system"]);
        self.thinks = body["thinking"]["type"].as_str().is_some_and(|kind| kind != "disabled");
        self.schema = some(&body["output_config"]["format"]["schema"]);
        for tool in list(&body["tools"]) {
            self.tool(tool, &tool["input_schema"]);
        }
        for message in list(&body["messages"]) {
            let is_user = message["role"] == "user";
            if let Some(text) = message["content"].as_str() {
                self.say(is_user, text);
            }
            for block in list(&message["content"]) {
                match word(&block["type"]).as_str() {
                    "text" => self.say(is_user, &word(&block["text"])),
                    "image" => self.images.push(word(&block["source"]["data"])),
                    "thinking" => self.thoughts.push((word(&block["thinking"]), word(&block["signature"]))),
                    "redacted_thinking" => self.thoughts.push((String::new(), word(&block["data"]))),
                    "tool_use" => {
                        self.calls.push((word(&block["id"]), word(&block["name"]), block["input"].clone()));
                    }
                    "tool_result" => self.result(&block["tool_use_id"], &block["content"]),
                    _ => {}
                }
            }
        }
    }

    fn chat(&mut self, body: &Value) {
        self.limit = body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64());
        self.thinks = body["reasoning_effort"].as_str().is_some_and(|effort| effort != "none");
        self.schema = some(&body["response_format"]["json_schema"]["schema"]);
        for tool in list(&body["tools"]) {
            self.tool(&tool["function"], &tool["function"]["parameters"]);
        }
        let mut system = Vec::new();
        for message in list(&body["messages"]) {
            match word(&message["role"]).as_str() {
                "system" | "developer" => system.push(text(&message["content"])),
                "tool" => self.result(&message["tool_call_id"], &message["content"]),
                role => {
                    let content = &message["content"];
                    if let Some(text) = content.as_str() {
                        self.say(role == "user", text);
                    }
                    for part in list(content) {
                        self.image(&part["image_url"]["url"]);
                        if let Some(text) = part["text"].as_str() {
                            self.say(role == "user", text);
                        }
                    }
                    if let Some(thought) = message["reasoning_content"].as_str() {
                        self.thoughts.push((thought.to_owned(), String::new()));
                    }
                    for call in list(&message["tool_calls"]) {
                        let function = &call["function"];
                        self.call(&call["id"], &function["name"], &function["arguments"]);
                    }
                }
            }
        }
        self.system = system.join("\n");
    }

    fn responses(&mut self, body: &Value) {
        self.limit = body["max_output_tokens"].as_u64();
        self.thinks = body["reasoning"]["effort"].as_str().is_some_and(|effort| effort != "none");
        self.schema = some(&body["text"]["format"]["schema"]);
        for tool in list(&body["tools"]) {
            self.tool(tool, &tool["parameters"]);
        }
        let mut system: Vec<String> = body["instructions"].as_str().map(str::to_owned).into_iter().collect();
        if let Some(text) = body["input"].as_str() {
            self.say(true, text);
        }
        for item in list(&body["input"]) {
            match word(&item["type"]).as_str() {
                "function_call" => self.call(&item["call_id"], &item["name"], &item["arguments"]),
                "function_call_output" => self.result(&item["call_id"], &item["output"]),
                "reasoning" => {
                    let parts = list(&item["summary"]).iter().map(|part| word(&part["text"])).collect();
                    self.thoughts.push((parts, word(&item["encrypted_content"])));
                }
                _ => {
                    let (role, content) = (word(&item["role"]), &item["content"]);
                    if role == "system" || role == "developer" {
                        system.push(text(content));
                        continue;
                    }
                    if let Some(text) = content.as_str() {
                        self.say(role == "user", text);
                    }
                    for part in list(content) {
                        self.image(&part["image_url"]);
                        if let Some(text) = part["text"].as_str() {
                            self.say(role == "user", text);
                        }
                    }
                }
            }
        }
        self.system = system.join("\n");
    }

    fn say(&mut self, is_user: bool, text: &str) {
        if is_user {
            self.user.push(text.to_owned());
        } else {
            self.assistant += text;
        }
    }

    fn tool(&mut self, tool: &Value, schema: &Value) {
        self.tools.push(Tool {
            name: word(&tool["name"]),
            description: word(&tool["description"]),
            schema: schema.clone(),
            strict: tool["strict"] == true,
        });
    }

    fn call(&mut self, id: &Value, name: &Value, arguments: &Value) {
        let arguments = serde_json::from_str(&word(arguments)).unwrap_or_else(|_| arguments.clone());
        self.calls.push((word(id), word(name), arguments));
    }

    fn result(&mut self, id: &Value, content: &Value) {
        for part in list(content) {
            self.image(&part["image_url"]);
            if part["type"] == "image" {
                self.images.push(word(&part["source"]["data"]));
            }
        }
        self.results.push((word(id), text(content)));
    }

    fn image(&mut self, url: &Value) {
        if let Some((_, data)) = url.as_str().and_then(|url| url.split_once(";base64,")) {
            self.images.push(data.to_owned());
        }
    }
}

fn some(value: &Value) -> Option<Value> {
    (!value.is_null()).then(|| value.clone())
}
