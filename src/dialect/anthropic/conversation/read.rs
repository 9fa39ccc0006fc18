//! A Messages request as a conversation.

use bytes::Bytes;

use crate::{
    dialect::convert::{
        losses::{LEAVE_OUT, Losses, Step, malformed},
        openai::{callers, count, number, word},
    },
    json::{Kind, Text, Value},
    model::conversation::{
        Conversation, Effort, Field, Format, Mode, Part, Role, Tool, ToolChoice, ToolKind, Ttl, Turn,
    },
};

use super::blocks::Blocks;

/// What the first system block of Claude Code begins with: for Anthropic's billing only.
const ATTRIBUTION: &str = "x-anthropic-billing-header";

/// Reads a request.
pub(in crate::dialect) fn read(body: &Bytes, value: Value<'_>, losses: &mut Losses) -> Step<Conversation> {
    let mut reader = Reader { body, losses, out: Conversation { name: "messages", ..Conversation::default() } };
    for member in value.members().filter(|member| !member.value.is_null()) {
        reader.field(&member.key, member.value)?;
    }
    // What Messages continues, the others answer.
    if reader.out.turns.last().is_some_and(|turn| turn.role == Role::Assistant) {
        let why = "an answer that was begun is not continued there; end with a user message";
        reader.losses.meaning("messages[-1]", why)?;
        reader.out.turns.pop();
    }
    Ok(reader.out)
}

struct Reader<'a> {
    body: &'a Bytes,
    losses: &'a mut Losses,
    out: Conversation,
}

impl Reader<'_> {
    fn field(&mut self, key: &str, value: Value<'_>) -> Step {
        match key {
            "model" => {}
            "max_tokens" => self.out.max_tokens = Some(Field::new("max_tokens", count(key, value)?)),
            "temperature" => self.out.temperature = Some(Field::new("temperature", number(key, value)?)),
            "top_p" => self.out.top_p = Some(Field::new("top_p", number(key, value)?)),
            "stream" => self.out.stream = value.as_bool().ok_or_else(|| malformed(key, "true or false"))?,
            "system" => self.system(value)?,
            "messages" => {
                for message in list(key, value)?.items() {
                    self.message(message)?;
                }
            }
            "tools" => {
                for tool in list(key, value)?.items() {
                    self.tool(tool)?;
                }
            }
            "tool_choice" => self.tool_choice(value)?,
            "stop_sequences" => {
                let texts: Vec<_> = list(key, value)?.items().filter_map(|text| text.text_in(self.body)).collect();
                self.out.stop = Some(Field::new("stop_sequences", texts)).filter(|stop| !stop.value.is_empty());
            }
            "thinking" => self.thinking(value)?,
            "output_config" => self.output_config(value)?,
            "metadata" => {
                self.losses.rest(value, "metadata", &["user_id"])?;
                let user = value.some("user_id").and_then(|user| user.text_in(self.body));
                self.out.user = user.map(|user| Field::new("metadata.user_id", user));
            }
            "service_tier" => {
                let tier = word(key, value)?;
                let tier = if tier == "standard_only" { "default".to_owned() } else { tier };
                self.out.tier = Some(Field::new("service_tier", tier));
            }
            "thread" | "compaction" | "inference_geo" => self.losses.meaning(key, LEAVE_OUT)?,
            "mcp_servers" | "container" => {
                let why = "servers and containers of the provider's stay there; use tools of your own";
                self.losses.meaning(key, why)?;
            }
            // `top_k`, `cache_control`, `context_management`, `diagnostics`, `speed`, `fallbacks`, and what is not known.
            other => self.losses.hint(other)?,
        }
        Ok(())
    }

    fn system(&mut self, value: Value<'_>) -> Step {
        let mut parts = Vec::new();
        self.blocks("system[]").content(value, &mut parts)?;
        if parts.first().and_then(Part::text).is_some_and(|text| text.decode().starts_with(ATTRIBUTION)) {
            parts.remove(0);
            self.losses.note(&format!("system[].{ATTRIBUTION}"));
        }
        self.out.system = parts;
        Ok(())
    }

    fn message(&mut self, message: Value<'_>) -> Step {
        let role = match message.str_at("role").as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            _ => return Err(malformed("messages[].role", "`user`, `assistant` or `system`")),
        };
        self.losses.rest(message, "messages[]", &["role", "content"])?;
        let mut parts = Vec::new();
        if let Some(content) = message.some("content") {
            self.blocks("messages[].content[]").content(content, &mut parts)?;
        }
        if !parts.is_empty() {
            self.out.turns.push(Turn { role, parts });
        }
        Ok(())
    }

    fn blocks(&mut self, path: &'static str) -> Blocks<'_> {
        Blocks { body: self.body, losses: self.losses, path }
    }

    fn tool(&mut self, tool: Value<'_>) -> Step {
        if let Some(kind) = tool.str_at("type").filter(|kind| kind != "custom") {
            let why = "this tool is defined by the provider; define it yourself, with an `input_schema`";
            return self.losses.meaning(format!("tools[{kind}]"), why);
        }
        let known = ["type", "name", "description", "input_schema", "strict", "cache_control", "allowed_callers"];
        self.losses.rest(tool, "tools[]", &known)?;
        callers(tool, self.losses)?;
        let name = tool.str_at("name").ok_or_else(|| malformed("tools[].name", "a string"))?.into_owned();
        let description = tool.some("description").and_then(|text| text.text_in(self.body));
        let schema = tool.some("input_schema").map(|schema| schema.raw_str().to_owned());
        // Without it Messages holds nobody to the schema, and Responses has to be told so.
        let strict = Some(tool.get("strict").and_then(Value::as_bool).unwrap_or(false));
        self.out.tools.push(Tool {
            name,
            description: description.filter(|text| !text.is_empty()),
            kind: ToolKind::Function { schema, strict },
            cache: cache(tool, "tools[].cache_control"),
        });
        Ok(())
    }

    fn tool_choice(&mut self, value: Value<'_>) -> Step {
        self.losses.rest(value, "tool_choice", &["type", "name", "disable_parallel_tool_use"])?;
        let choice = match value.str_at("type").as_deref() {
            Some("auto") => ToolChoice::Auto,
            Some("any") => ToolChoice::Any,
            Some("none") => ToolChoice::None,
            Some("tool") => ToolChoice::One(value.str_at("name").unwrap_or_default().into_owned()),
            _ => return Err(malformed("tool_choice.type", "`auto`, `any`, `tool` or `none`")),
        };
        self.out.tool_choice = Some(Field::new("tool_choice", choice));
        if let Some(disabled) = value.get("disable_parallel_tool_use").and_then(Value::as_bool) {
            self.out.parallel = Some(Field::new("tool_choice.disable_parallel_tool_use", !disabled));
        }
        Ok(())
    }

    fn thinking(&mut self, value: Value<'_>) -> Step {
        self.losses.rest(value, "thinking", &["type", "budget_tokens", "display"])?;
        let mode = match value.str_at("type").as_deref() {
            Some("disabled") => Mode::Off,
            Some("enabled") => Mode::Budget(
                value.some("budget_tokens").map_or(Ok(0), |tokens| count("thinking.budget_tokens", tokens))?,
            ),
            Some("adaptive") => Mode::Adaptive,
            // `between_tools`: how the thinking is spread cannot be said.
            _ => {
                self.losses.hint("thinking.type")?;
                Mode::Adaptive
            }
        };
        self.out.reasoning.mode = Some(Field::new("thinking", mode));
        self.out.reasoning.shown = Some(mode != Mode::Off && value.str_at("display").as_deref() != Some("omitted"));
        Ok(())
    }

    fn output_config(&mut self, value: Value<'_>) -> Step {
        self.losses.rest(value, "output_config", &["effort", "format"])?;
        if let Some(effort) = value.some("effort") {
            match Effort::parse(&word("output_config.effort", effort)?) {
                Some(effort) => self.out.reasoning.effort = Some(Field::new("output_config.effort", effort)),
                None => self.losses.hint("output_config.effort")?,
            }
        }
        let Some(format) = value.some("format") else { return Ok(()) };
        if format.str_at("type").as_deref() != Some("json_schema") {
            return self.losses.meaning("output_config.format", LEAVE_OUT);
        }
        self.losses.rest(format, "output_config.format", &["type", "schema"])?;
        let schema = format.some("schema").map(|schema| schema.raw_str().to_owned());
        let format = Format::JsonSchema { name: None, description: None, schema, strict: None };
        self.out.format = Some(Field::new("output_config.format", format));
        Ok(())
    }
}

/// The cache mark of a block or a tool.
pub(super) fn cache(value: Value<'_>, name: &'static str) -> Option<Field<Ttl>> {
    let ttl = match value.some("cache_control")?.str_at("ttl").as_deref() {
        Some("1h") => Ttl::Long,
        Some("5m") => Ttl::Short,
        _ => Ttl::Default,
    };
    Some(Field::new(name, ttl))
}

fn list<'a>(key: &str, value: Value<'a>) -> Step<Value<'a>> {
    if value.kind() == Kind::Array { Ok(value) } else { Err(malformed(key, "a list")) }
}

/// A text, unless it says nothing.
pub(super) fn said(text: Option<Text>) -> Option<Text> {
    text.filter(|text| !text.is_empty())
}
