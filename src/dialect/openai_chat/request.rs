//! Chat Completions requests.

use bytes::Bytes;

use crate::{
    dialect::{RequestView, Undecodable, request_object},
    json::Value,
    model::{Place, Request, RequestText, Source},
};

use super::parts::tool_body;

/// Reads a request: every text in it, with its source and its place.
pub(crate) fn request(body: &Bytes) -> Result<(RequestView, Request), Undecodable> {
    let value = request_object(body)?;
    let include_usage = value.get("stream_options").and_then(|options| options.get("include_usage")?.as_bool());
    let view = RequestView {
        model: value.str_at("model").unwrap_or_default().into_owned(),
        stream: value.get("stream").and_then(Value::as_bool).unwrap_or(false),
        include_usage: include_usage.unwrap_or(false),
        session: None,
    };
    let mut texts = Texts { body, found: Vec::new() };
    for member in value.members() {
        match &*member.key {
            "messages" => member.value.items().for_each(|message| texts.message(message)),
            "tools" => member.value.items().for_each(|tool| {
                if let Some((tool, _)) = tool_body(tool) {
                    texts.description(tool);
                }
            }),
            "functions" => member.value.items().for_each(|tool| texts.description(tool)),
            _ => {}
        }
    }
    let request = Request::new(view.model.clone(), view.stream, texts.found);
    Ok((view, request))
}

struct Texts<'a> {
    body: &'a Bytes,
    found: Vec<RequestText>,
}

impl Texts<'_> {
    fn message(&mut self, message: Value<'_>) {
        let source = match message.str_at("role").as_deref() {
            Some("system" | "developer") => Source::System,
            Some("assistant") => Source::Assistant,
            Some("tool" | "function") => Source::ToolResult,
            _ => Source::User,
        };
        let tool = message.str_at("tool_call_id").or(message.str_at("name")).filter(|_| source == Source::ToolResult);
        for member in message.members() {
            match &*member.key {
                "content" => self.content(member.value, source, tool.as_deref()),
                "refusal" | "reasoning_content" | "reasoning" => self.string(member.value, source, None),
                "tool_calls" => member.value.items().filter_map(tool_body).for_each(|(call, key)| self.call(call, key)),
                "function_call" => self.call(member.value, "arguments"),
                _ => {}
            }
        }
    }

    fn content(&mut self, content: Value<'_>, source: Source, tool: Option<&str>) {
        self.string(content, source, tool);
        for part in content.items() {
            for key in ["text", "refusal"] {
                if let Some(text) = part.get(key) {
                    self.string(text, source, tool);
                }
            }
        }
    }

    fn call(&mut self, call: Value<'_>, key: &str) {
        let name = call.str_at("name");
        if let Some(arguments) = call.get(key) {
            self.string(arguments, Source::ToolCall, name.as_deref());
        }
    }

    fn description(&mut self, tool: Value<'_>) {
        let name = tool.str_at("name");
        if let Some(description) = tool.get("description") {
            self.string(description, Source::ToolDescription, name.as_deref());
        }
    }

    fn string(&mut self, value: Value<'_>, source: Source, tool: Option<&str>) {
        if let (Some(span), Some(text)) = (value.string_span(), value.text_in(self.body)) {
            self.found.push(RequestText::new(source, tool.map(str::to_owned), text, Place::String(span)));
        }
    }
}
