//! The messages of a chat request as turns.

use bytes::Bytes;

use crate::{
    dialect::{
        carried::SEAL,
        convert::{
            losses::{Losses, Step, malformed},
            openai::{self, read_cache},
        },
    },
    json::{Kind, Text, Value, build::embedded},
    model::conversation::{Conversation, Input, Part, PartKind, Role, Thinking, ToolCall, ToolResult, Turn},
};

/// Reads messages.
pub(super) struct Messages<'a> {
    pub(super) body: &'a Bytes,
    pub(super) losses: &'a mut Losses,
    pub(super) out: &'a mut Conversation,
}

const CALLS: &str = "messages[].tool_calls[]";
const ARGUMENTS: &str = "messages[].tool_calls[].function.arguments";

impl Messages<'_> {
    pub(super) fn read(&mut self, messages: Value<'_>) -> Step {
        for message in messages.items() {
            self.message(message)?;
        }
        Ok(())
    }

    fn message(&mut self, message: Value<'_>) -> Step {
        let mut parts = Vec::new();
        let role = match message.str_at("role").as_deref() {
            Some("system" | "developer") => {
                self.content(message, &mut parts)?;
                self.rest(message, &[])?;
                if self.out.turns.is_empty() {
                    self.out.system.append(&mut parts);
                    return Ok(());
                }
                Role::System
            }
            Some("user") => {
                self.content(message, &mut parts)?;
                self.rest(message, &[])?;
                Role::User
            }
            Some("assistant") => {
                self.assistant(message, &mut parts)?;
                Role::Assistant
            }
            Some("tool") => return self.tool(message),
            Some("function") => {
                return self.losses.meaning("messages[].function", "use `tool` messages, and `tools`");
            }
            _ => return Err(malformed("messages[].role", "one of the roles")),
        };
        if !parts.is_empty() {
            self.out.turns.push(Turn { role, parts });
        }
        Ok(())
    }

    fn rest(&mut self, message: Value<'_>, known: &[&str]) -> Step {
        let mut all = vec!["role", "content"];
        all.extend_from_slice(known);
        self.losses.rest(message, "messages[]", &all)
    }

    fn content(&mut self, message: Value<'_>, out: &mut Vec<Part>) -> Step {
        let Some(content) = message.some("content") else { return Ok(()) };
        if content.kind() == Kind::String {
            out.extend(self.said(content).map(|text| Part::new(PartKind::Text(text))));
            return Ok(());
        }
        if content.kind() != Kind::Array {
            return Err(malformed("messages[].content", "a string or a list of parts"));
        }
        for part in content.items() {
            if let Some(kind) = self.part(part)? {
                out.push(Part { kind, cache: read_cache(part, "messages[].content[].prompt_cache_breakpoint") });
            }
        }
        Ok(())
    }

    /// A text, unless it says nothing.
    fn said(&self, value: Value<'_>) -> Option<Text> {
        value.text_in(self.body).filter(|text| !text.is_empty())
    }

    fn part(&mut self, part: Value<'_>) -> Step<Option<PartKind>> {
        const PATH: &str = "messages[].content[]";
        let kind = part.str_at("type").unwrap_or_default();
        match &*kind {
            "text" | "refusal" | "image_url" | "file" => {
                self.losses.rest(part, PATH, &["type", &kind, "prompt_cache_breakpoint"])?;
            }
            other => {
                self.losses.meaning(format!("{PATH}.{other}"), "it takes texts, images and files only")?;
                return Ok(None);
            }
        }
        let Some(inner) = part.some(&kind) else { return Err(malformed(&format!("{PATH}.{kind}"), "there")) };
        match &*kind {
            "text" => Ok(self.said(inner).map(PartKind::Text)),
            "refusal" => Ok(self.said(inner).map(PartKind::Refusal)),
            "image_url" => {
                self.losses.rest(inner, "messages[].content[].image_url", &["url", "detail"])?;
                let url = inner.get("url").and_then(|url| url.text_in(self.body));
                let detail = "messages[].content[].image_url.detail";
                openai::image("messages[].content[].image_url", detail, url.as_ref(), inner.get("detail"), self.losses)
            }
            _ => {
                self.losses.rest(inner, "messages[].content[].file", &openai::FILE)?;
                openai::file("messages[].content[].file", inner, self.body, self.losses)
            }
        }
    }

    fn assistant(&mut self, message: Value<'_>, out: &mut Vec<Part>) -> Step {
        // A list of nothing says nothing.
        let empty = |key: &str| {
            message.get(key).is_some_and(|value| value.kind() == Kind::Array && value.items().next().is_none())
        };
        let mut known = vec!["refusal", "tool_calls", "thinking_blocks", "audio", "function_call"];
        known.extend(["annotations"].into_iter().filter(|key| empty(key)));
        self.rest(message, &known)?;
        for block in message.get("thinking_blocks").into_iter().flat_map(Value::items) {
            self.losses.rest(block, "messages[].thinking_blocks[]", &["type", "thinking", "signature", "data"])?;
            let key = if block.str_at("type").as_deref() == Some("redacted_thinking") { "data" } else { "signature" };
            let sealed = block.str_at(key).filter(|text| text.starts_with(SEAL)).map(String::from);
            let text = block.get("thinking").and_then(|text| text.text_in(self.body)).unwrap_or_default();
            let field = "messages[].thinking_blocks";
            out.push(Part::new(PartKind::Thinking(Thinking { field, text, sealed })));
        }
        self.content(message, out)?;
        if let Some(text) = message.some("refusal").and_then(|text| self.said(text)) {
            out.push(Part::new(PartKind::Refusal(text)));
        }
        for call in message.get("tool_calls").into_iter().flat_map(Value::items) {
            out.extend(self.call(call)?.map(|call| Part::new(PartKind::ToolCall(call))));
        }
        for (key, why) in [("audio", "send its transcript as text"), ("function_call", "use `tool_calls`")] {
            if message.some(key).is_some() {
                self.losses.meaning(format!("messages[].{key}"), why)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, call: Value<'_>) -> Step<Option<ToolCall>> {
        let kind = call.str_at("type").unwrap_or_else(|| "function".into());
        let Some(inner) = call.some(&kind).filter(|_| matches!(&*kind, "function" | "custom")) else {
            self.losses.meaning(format!("{CALLS}.{kind}"), "only `function` and `custom` calls can be sent")?;
            return Ok(None);
        };
        self.losses.rest(call, CALLS, &["id", "type", "index", "function", "custom"])?;
        self.losses.rest(inner, CALLS, &["name", "arguments", "input"])?;
        let id = call.str_at("id").ok_or_else(|| malformed("messages[].tool_calls[].id", "a string"))?.into_owned();
        let name = inner.str_at("name").ok_or_else(|| malformed("messages[].tool_calls[].name", "a string"))?;
        let text = |key| inner.get(key).and_then(|text: Value<'_>| text.text_in(self.body));
        let input = if kind == "custom" {
            Input::Free(text("input").unwrap_or_default())
        } else {
            Input::Arguments(embedded(&text("arguments").ok_or_else(|| malformed(ARGUMENTS, "a string"))?))
        };
        Ok(Some(ToolCall { field: ARGUMENTS, id, name: name.into_owned(), input }))
    }

    /// A result joins the turn of the results before it.
    fn tool(&mut self, message: Value<'_>) -> Step {
        self.rest(message, &["tool_call_id"])?;
        let Some(call) = message.str_at("tool_call_id") else {
            return Err(malformed("messages[].tool_call_id", "a string"));
        };
        let mut parts = Vec::new();
        self.content(message, &mut parts)?;
        let result = ToolResult { call: call.into_owned(), is_error: false, parts };
        let part = Part::new(PartKind::ToolResult(result));
        match self.out.turns.last_mut() {
            Some(turn) if turn.parts.first().is_some_and(|part| matches!(part.kind, PartKind::ToolResult(_))) => {
                turn.parts.push(part);
            }
            _ => self.out.turns.push(Turn { role: Role::User, parts: vec![part] }),
        }
        Ok(())
    }
}
