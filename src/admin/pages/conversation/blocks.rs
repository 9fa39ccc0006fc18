//! The parts of a message, by the `type` that each dialect gives them.

use bytesize::ByteSize;
use serde_json::{Map, Value};

use super::{Block, Call, Media, Outcome, Reader, Unknown};

/// The text of a field.
pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Reader {
    /// A string, a list of parts, or one part.
    pub(super) fn blocks(&mut self, content: &Value) -> Vec<Block> {
        match content {
            Value::Null => Vec::new(),
            Value::String(text) if text.is_empty() => Vec::new(),
            Value::Array(parts) => parts.iter().map(|part| self.block(part)).collect(),
            part @ (Value::String(_) | Value::Object(_) | Value::Bool(_) | Value::Number(_)) => vec![self.block(part)],
        }
    }

    /// One part.
    pub(super) fn block(&mut self, part: &Value) -> Block {
        if let Some(text) = part.as_str() {
            return Block::Text(self.text(text));
        }
        match text(part, "type") {
            kind @ ("text" | "input_text" | "output_text" | "summary_text" | "reasoning_text") => {
                match part.get("text").and_then(Value::as_str) {
                    Some(text) => Block::Text(self.text(text)),
                    None => self.unknown(kind, part),
                }
            }
            "thinking" => Block::Thinking(self.text(text(part, "thinking"))),
            "redacted_thinking" => Block::Thinking(self.text("")),
            "reasoning" => self.reasoning(part),
            "refusal" => Block::Refusal(self.text(text(part, "refusal"))),
            "tool_use" => self.call(part, "id", part, "input"),
            "server_tool_use" | "mcp_tool_use" => {
                Block::Call(Call { by_provider: true, ..self.called(part, "id", part, "input") })
            }
            "function_call" => self.call(part, "call_id", part, "arguments"),
            "custom_tool_call" => self.call(part, "call_id", part, "input"),
            kind @ ("function" | "custom") => match part.get(kind) {
                Some(inner) => self.call(part, "id", inner, if kind == "function" { "arguments" } else { "input" }),
                None => self.unknown(kind, part),
            },
            "image" | "image_url" | "input_image" | "computer_screenshot" => media("image", part),
            "document" | "file" | "input_file" | "container_upload" => media("document", part),
            "input_audio" | "audio" => media("audio", part),
            "video" | "video_url" | "input_video" => media("video", part),
            kind if kind.ends_with("tool_result") => self.result(part, "tool_use_id", "content"),
            kind if kind.ends_with("_call_output") => self.result(part, "call_id", "output"),
            kind if kind.ends_with("_call") => self.hosted(kind, part),
            kind => self.unknown(kind, part),
        }
    }

    /// A call whose name and arguments stand in `inner`.
    pub(super) fn call(&mut self, part: &Value, id: &str, inner: &Value, arguments: &str) -> Block {
        Block::Call(self.called(part, id, inner, arguments))
    }

    fn called(&mut self, part: &Value, id: &str, inner: &Value, arguments: &str) -> Call {
        let arguments = match inner.get(arguments) {
            Some(Value::String(text)) => match serde_json::from_str::<Value>(text) {
                Ok(value @ (Value::Object(_) | Value::Array(_))) => self.json(&value),
                Ok(_) | Err(_) => self.text(text),
            },
            Some(value) => self.json(value),
            None => self.text(""),
        };
        let name = text(inner, "name").to_owned();
        Call { id: text(part, id).to_owned(), name, arguments, by_provider: false, result: None }
    }

    /// What a tool answered.
    pub(super) fn result(&mut self, part: &Value, id: &str, content: &str) -> Block {
        let blocks = part.get(content).map(|content| self.blocks(content)).unwrap_or_default();
        // Providers say it of their own tools within.
        let inner = part.get(content).map(|content| text(content, "type")).unwrap_or_default();
        let is_error = part.get("is_error") == Some(&Value::Bool(true)) || inner.ends_with("_error");
        Block::Result(Outcome { id: text(part, id).to_owned(), is_error, blocks })
    }

    /// A tool of the provider: call and result in one.
    fn hosted(&mut self, kind: &str, part: &Value) -> Block {
        let id = if text(part, "call_id").is_empty() { text(part, "id") } else { text(part, "call_id") };
        let name = if text(part, "name").is_empty() { kind.trim_end_matches("_call") } else { text(part, "name") };
        let arguments = match part.get("arguments") {
            Some(Value::String(arguments)) => self.text(arguments),
            Some(arguments) => self.json(arguments),
            None => {
                let own = ["type", "id", "call_id", "status", "name", "output", "outputs", "results", "result"];
                let rest = part.as_object().into_iter().flatten().filter(|(key, _)| !own.contains(&key.as_str()));
                let rest: Map<String, Value> = rest.map(|(key, value)| (key.clone(), value.clone())).collect();
                self.json(&Value::Object(rest))
            }
        };
        let said = ["output", "outputs", "results", "result"].iter().find_map(|key| part.get(*key));
        let result = said.filter(|said| !said.is_null()).map(|said| {
            let is_error = part.get("error").is_some_and(|error| !error.is_null());
            Outcome { id: id.to_owned(), is_error, blocks: self.blocks(said) }
        });
        Block::Call(Call { id: id.to_owned(), name: name.to_owned(), arguments, by_provider: true, result })
    }

    /// A summary and what it sums up, as far as they can be read.
    fn reasoning(&mut self, part: &Value) -> Block {
        let texts = ["summary", "content"].into_iter().filter_map(|key| part.get(key)?.as_array());
        let texts: Vec<&str> = texts.flatten().map(|item| text(item, "text")).collect();
        Block::Thinking(self.text(&texts.join("\n\n")))
    }

    pub(super) fn unknown(&mut self, kind: &str, value: &Value) -> Block {
        let kind = if kind.is_empty() { "of no known kind" } else { kind };
        Block::Unknown(Unknown { kind: kind.to_owned(), json: self.json(value) })
    }
}

/// What is known of something without its bytes. It stands in the part, in its `source`, or below the part's own name.
pub(super) fn media(kind: &'static str, part: &Value) -> Block {
    let places = [Some(part), part.get("source"), part.get(text(part, "type"))];
    let find = |keys: &[&str]| {
        let found = |place: &Value| keys.iter().map(|key| text(place, key).to_owned()).find(|text| !text.is_empty());
        places.into_iter().flatten().find_map(found)
    };
    let url = find(&["url", "image_url", "file_url"]);
    let data = find(&["data", "file_data"]).or_else(|| url.clone().filter(|url| url.starts_with("data:")));
    let mut about: Vec<String> =
        [find(&["title", "filename"]), find(&["media_type", "format"])].into_iter().flatten().collect();
    match (data, url) {
        (Some(data), _) => {
            let (head, bytes) = data.split_once(";base64,").unwrap_or(("", &data));
            about.extend(head.strip_prefix("data:").map(str::to_owned));
            let bytes = u64::try_from(bytes.len() / 4 * 3).unwrap_or_default();
            about.push(ByteSize::b(bytes).display().iec().to_string());
        }
        (None, Some(url)) => about.push(url),
        (None, None) => about.extend(find(&["file_id", "id"])),
    }
    Block::Media(Media { kind, about: about.join(", ") })
}
