//! What the matrix asks and what the provider answers: each scenario in the words of each client dialect.

use serde_json::{Value, json};

use super::answers::{Part, Said, Tokens};
use crate::common::streams::Dialect;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    Text,
    Tools,
    Parallel,
    Thinking,
    Image,
    Schema,
    Error,
    /// An error in mid-stream.
    Broken,
}

/// A picture of one pixel.
pub(super) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
/// What the provider says when it fails.
pub(super) const SLOW_DOWN: &str = "You have sent too much: try again in 7 s.";
pub(super) const OVERLOADED: &str = "The servers have too much to do.";
pub(super) const HALF: &str = "Half of it";
pub(super) const SYSTEM: &str = "Be brief, and say \"please\".";
pub(super) const LIMIT: u64 = 3000;
/// The arguments of the calls. Keys in the order of the alphabet, so that every way of writing them is the same text.
pub(super) const PARIS: &str = r#"{"city":"Paris \"Ville Lumière\"","days":2}"#;
pub(super) const TOKYO: &str = r#"{"city":"東京","days":1}"#;

impl Scenario {
    pub(super) const ALL: [Self; 8] =
        [Self::Text, Self::Tools, Self::Parallel, Self::Thinking, Self::Image, Self::Schema, Self::Error, Self::Broken];

    /// Its name in the table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Tools => "tools",
            Self::Parallel => "parallel tools",
            Self::Thinking => "thinking",
            Self::Image => "image input",
            Self::Schema => "structured output",
            Self::Error => "error",
            Self::Broken => "error in mid-stream",
        }
    }

    /// What the provider answers, unless it fails.
    pub(super) fn said(self) -> Said {
        let text = |pieces: &[&'static str]| Part::Text(pieces.to_vec());
        let parts = match self {
            Self::Text => vec![text(&["Hello", " wörld, ", "👋 \"quoted\"\n"])],
            Self::Tools => vec![text(&["Let me ", "look."]), Part::Call("toolu_01A", "weather", PARIS)],
            Self::Parallel => {
                vec![Part::Call("toolu_01A", "weather", PARIS), Part::Call("toolu_01B", "weather", TOKYO)]
            }
            Self::Thinking => {
                vec![Part::Thinking(vec!["First ", "the sum, ", "then the rest."]), text(&["It is ", "42."])]
            }
            Self::Image => vec![text(&["One ", "red pixel."])],
            Self::Schema => vec![text(&["{\"answer\":", "42}"])],
            Self::Error | Self::Broken => vec![text(&[HALF])],
        };
        let reasoning = if self == Self::Thinking { 25 } else { 0 };
        let tokens = Tokens { fresh: 120, cached: 1000, written: 30, output: 40, reasoning };
        Said { parts, tokens, interleaved: true }
    }

    /// Fields of the client's request.
    pub(super) fn request(self, client: Dialect) -> Value {
        let mut request = frame(client, &self.content(client));
        match self {
            Self::Tools => tools(client, &mut request, true),
            Self::Parallel => tools(client, &mut request, false),
            Self::Thinking => think(client, &mut request),
            Self::Schema => format(client, &mut request),
            Self::Text | Self::Image | Self::Error | Self::Broken => {}
        }
        request
    }

    fn content(self, client: Dialect) -> Value {
        if self != Self::Image {
            return "What is it?".into();
        }
        let url = format!("data:image/png;base64,{PNG}");
        match client {
            Dialect::Anthropic => json!([
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": PNG } },
                { "type": "text", "text": "What is it?" },
            ]),
            Dialect::OpenaiChat => json!([
                { "type": "image_url", "image_url": { "url": url, "detail": "low" } },
                { "type": "text", "text": "What is it?" },
            ]),
            Dialect::OpenaiResponses => json!([
                { "type": "input_image", "image_url": url, "detail": "low" },
                { "type": "input_text", "text": "What is it?" },
            ]),
        }
    }
}

/// A request with a system prompt, a limit, and this content of a user.
fn frame(client: Dialect, content: &Value) -> Value {
    let user = json!({ "role": "user", "content": content });
    match client {
        Dialect::Anthropic => json!({ "system": SYSTEM, "max_tokens": LIMIT, "messages": [user] }),
        Dialect::OpenaiChat => {
            let system = json!({ "role": "system", "content": SYSTEM });
            json!({ "max_completion_tokens": LIMIT, "messages": [system, user] })
        }
        Dialect::OpenaiResponses => {
            // What a gateway without storage can serve.
            json!({ "instructions": SYSTEM, "max_output_tokens": LIMIT, "input": [user], "store": false })
        }
    }
}

/// Adds two tools, one of which must be called.
pub(super) fn tools(client: Dialect, request: &mut Value, required: bool) {
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["city", "days"],
        "properties": {
            "city": { "type": "string", "description": "Where, as \"Paris\"" },
            "days": { "type": "integer", "enum": [1, 2, 3] },
        },
    });
    let empty = json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": false });
    let tool = |name: &str, description: &str, schema: &Value| match client {
        Dialect::Anthropic => {
            json!({ "name": name, "description": description, "input_schema": schema, "strict": true })
        }
        Dialect::OpenaiChat => json!({
            "type": "function",
            "function": { "name": name, "description": description, "parameters": schema, "strict": true },
        }),
        Dialect::OpenaiResponses => {
            let mut tool = json!({ "name": name, "description": description, "parameters": schema, "strict": true });
            tool["type"] = "function".into();
            tool
        }
    };
    request["tools"] =
        json!([tool("weather", "The weather, as it will be.", &schema), tool("clock", "The time.", &empty)]);
    request["tool_choice"] = match (client, required) {
        (Dialect::Anthropic, true) => json!({ "type": "any" }),
        (Dialect::Anthropic, false) => json!({ "type": "auto" }),
        (_, true) => "required".into(),
        (_, false) => "auto".into(),
    };
}

/// Asks for thinking that can be carried on.
pub(super) fn think(client: Dialect, request: &mut Value) {
    match client {
        Dialect::Anthropic => request["thinking"] = json!({ "type": "enabled", "budget_tokens": 2048 }),
        Dialect::OpenaiChat => request["reasoning_effort"] = "medium".into(),
        Dialect::OpenaiResponses => {
            request["reasoning"] = json!({ "effort": "medium", "summary": "auto" });
            request["include"] = json!(["reasoning.encrypted_content"]);
        }
    }
}

fn format(client: Dialect, request: &mut Value) {
    let schema = json!({
        "type": "object", "properties": { "answer": { "type": "integer" } }, "required": ["answer"],
        "additionalProperties": false,
    });
    match client {
        Dialect::Anthropic => {
            request["output_config"] = json!({ "format": { "type": "json_schema", "schema": schema } });
        }
        Dialect::OpenaiChat => {
            let format = json!({ "name": "the_answer", "schema": schema, "strict": true });
            request["response_format"] = json!({ "type": "json_schema", "json_schema": format });
        }
        Dialect::OpenaiResponses => {
            let format = json!({ "type": "json_schema", "name": "the_answer", "schema": schema, "strict": true });
            request["text"] = json!({ "format": format });
        }
    }
}
