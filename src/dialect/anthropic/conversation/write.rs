//! A conversation as a Messages request.

use crate::{
    dialect::convert::{
        Writing,
        losses::{Step, answerable},
        models::Claude,
        openai::is_personal,
    },
    json::{
        Kind, Text, Value,
        build::{Object, array, string},
    },
    model::conversation::{Conversation, Effort, Field, Format, Grammar, Hint, Tool, ToolChoice, ToolKind},
};

use super::turns::{Turns, content, lost};

/// The least budget for thinking.
const LEAST_BUDGET: u64 = 1024;

/// Writes a request.
pub(in crate::dialect) fn write(conversation: &Conversation, mut writing: Writing<'_>) -> Step<String> {
    let model = writing.target.model;
    let claude = Claude::of(model);
    let max_tokens = max_tokens(conversation, claude, &mut writing)?;
    let tools = offered(conversation);

    let mut turns = Turns { writing: &mut writing, marks: 0 };
    let system = turns.blocks(&conversation.system)?;
    let messages = turns.messages(conversation)?;
    answerable(&messages.messages, conversation.name)?;
    let mut system = [system, turns.blocks(messages.moved)?].concat();
    if let Some(format) = &conversation.format
        && let Some(wish) = wish(&format.value, claude)
    {
        turns.writing.losses.hint(format.name)?;
        system.push(Object::new().str("type", "text").str("text", &wish).build());
    }
    let tools = tools.iter().map(|tool| write_tool(tool, &mut turns)).collect::<Step<Vec<_>>>()?;

    let mut writer = Writer { conversation, writing, claude };
    let thinking = writer.thinking(max_tokens)?;
    let thinks = thinking.as_ref().is_some_and(|thinking| !thinking.contains("\"disabled\""));
    let forced = thinking.as_ref().is_some_and(|thinking| thinking.contains("\"enabled\""));
    let mut out = Object::new().str("model", model).number("max_tokens", max_tokens);
    if !system.is_empty() {
        out = out.raw("system", content(&system));
    }
    out = out.raw("messages", array(messages.messages));
    if !tools.is_empty() {
        out = out.raw("tools", array(&tools));
    }
    out = out
        .maybe("tool_choice", writer.tool_choice(!tools.is_empty(), forced)?)
        .maybe("thinking", thinking)
        .maybe("output_config", writer.output_config()?);
    out = writer.sampling(out, thinks)?;
    out = out.maybe("stop_sequences", writer.stop()?).maybe("metadata", writer.user()?);
    out = out.maybe("service_tier", writer.tier()?);
    if conversation.stream {
        out = out.bool("stream", true);
    }
    Ok(out.build())
}

/// The most tokens, which have to be said and may not be more than the model can write.
fn max_tokens(conversation: &Conversation, claude: Claude, writing: &mut Writing<'_>) -> Step<u64> {
    let most = claude.most_tokens(writing.target.model);
    match &conversation.max_tokens {
        Some(asked) if claude.is_known() && asked.value > most => {
            writing.losses.hint(asked.name)?;
            Ok(most)
        }
        Some(asked) => Ok(asked.value),
        None => Ok(most),
    }
}

/// A form of the answer that nobody holds the model to, as a wish in the system prompt.
fn wish(format: &Format, claude: Claude) -> Option<String> {
    match format {
        Format::JsonSchema { schema: Some(_), .. } if claude.takes_format() => None,
        Format::JsonSchema { schema: Some(schema), .. } => {
            Some(format!("Answer with JSON that keeps to this schema, and with nothing else:\n{schema}"))
        }
        Format::JsonObject | Format::JsonSchema { schema: None, .. } => {
            Some("Answer with one JSON object and with nothing else.".to_owned())
        }
    }
}

/// The tools that may be called: where only some are allowed, the others are left out.
fn offered(conversation: &Conversation) -> Vec<&Tool> {
    let allowed = |tool: &&Tool| match conversation.tool_choice.as_ref().map(|choice| &choice.value) {
        Some(ToolChoice::Allowed { names, .. }) => names.contains(&tool.name),
        Some(ToolChoice::Auto | ToolChoice::Any | ToolChoice::None | ToolChoice::One(_)) | None => true,
    };
    conversation.tools.iter().filter(allowed).collect()
}

fn write_tool(tool: &Tool, turns: &mut Turns<'_, '_>) -> Step<String> {
    let mut out = Object::new();
    match &tool.kind {
        ToolKind::Function { schema, strict } => {
            out = out.str("name", &turns.writing.names.sent(&tool.name));
            if let Some(description) = &tool.description {
                out = out.text("description", description);
            }
            out = out.raw("input_schema", input_schema(schema.as_deref(), turns)?);
            if *strict == Some(true) {
                out = out.bool("strict", true);
            }
        }
        ToolKind::Custom { grammar } => {
            out = out.str("name", &turns.writing.names.wrapped(&tool.name));
            if let Some(grammar) = grammar {
                turns.writing.losses.hint(grammar.field)?;
            }
            if let Some(description) = described(tool.description.as_ref(), grammar.as_ref()) {
                out = out.text("description", &description);
            }
            let schema = r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#;
            out = out.raw("input_schema", schema);
        }
    }
    Ok(turns.marked(out, tool.cache.as_ref())?.build())
}

/// The description of a custom tool. Nobody holds the model to the grammar there, so it is told of it.
fn described(description: Option<&Text>, grammar: Option<&Grammar>) -> Option<Text> {
    let Some(grammar) = grammar else { return description.cloned() };
    let mut raw = description.map(|text| text.raw().to_vec()).unwrap_or_default();
    if !raw.is_empty() {
        raw.extend_from_slice(b"\\n\\n");
    }
    raw.extend_from_slice(b"The input keeps to this ");
    raw.extend_from_slice(grammar.syntax.raw());
    raw.extend_from_slice(b" grammar:\\n");
    raw.extend_from_slice(grammar.definition.raw());
    Some(Text::from_raw(raw.into()))
}

/// The schema of the arguments, which has to be one of an object.
fn input_schema(schema: Option<&str>, turns: &mut Turns<'_, '_>) -> Step<String> {
    const ANY: &str = r#"{"type":"object","properties":{}}"#;
    let Some(schema) = schema else { return Ok(ANY.to_owned()) };
    let Some(value) = Value::parse(schema.as_bytes()).ok().filter(|value| value.kind() == Kind::Object) else {
        lost(turns.writing, "tools[].parameters")?;
        return Ok(ANY.to_owned());
    };
    if value.str_at("type").as_deref() == Some("object") {
        return Ok(schema.to_owned());
    }
    if value.some("type").is_some() {
        lost(turns.writing, "tools[].parameters.type")?;
        return Ok(ANY.to_owned());
    }
    let members = value.members().filter(|member| member.key != "type");
    Ok(members
        .fold(Object::new().str("type", "object"), |out, member| out.raw(&member.key, member.value.raw()))
        .build())
}

struct Writer<'a, 'b> {
    conversation: &'a Conversation,
    writing: Writing<'b>,
    claude: Claude,
}

impl Writer<'_, '_> {
    fn thinking(&mut self, max_tokens: u64) -> Step<Option<String>> {
        let reasoning = &self.conversation.reasoning;
        let shown = reasoning.shown == Some(true);
        let adaptive = || {
            let out = Object::new().str("type", "adaptive");
            if shown { out.str("display", "summarized") } else { out }.build()
        };
        let Some(effort) = &reasoning.effort else {
            return Ok((self.claude.is_adaptive() && shown).then(adaptive));
        };
        if effort.value == Effort::None {
            return Ok(Some(Object::new().str("type", "disabled").build()));
        }
        if self.claude.is_adaptive() {
            return Ok(Some(adaptive()));
        }
        // Earlier models want the thought that led to a call in front of it, and nobody has it.
        if max_tokens <= LEAST_BUDGET || self.in_thoughtless_loop() {
            self.writing.losses.hint(effort.name)?;
            return Ok(None);
        }
        let budget = match effort.value {
            Effort::None | Effort::Minimal | Effort::Low => 1024,
            Effort::Medium => 2048,
            Effort::High => 4096,
            Effort::Xhigh => 8192,
            Effort::Max => 16_384,
        };
        // Half of the tokens are left for the answer.
        let budget = u64::min(budget, max_tokens / 2).max(LEAST_BUDGET);
        Ok(Some(Object::new().str("type", "enabled").number("budget_tokens", budget).build()))
    }

    /// Whether the model is to go on behind calls that no thought stands in front of.
    fn in_thoughtless_loop(&self) -> bool {
        use crate::{
            dialect::carried::Carried,
            model::conversation::{PartKind, Role},
        };
        let last = self.conversation.turns.iter().rev().find(|turn| turn.role == Role::Assistant);
        last.is_some_and(|turn| {
            let calls = turn.parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
            let thought = turn.parts.iter().any(|part| match &part.kind {
                PartKind::Thinking(thinking) => matches!(
                    thinking.sealed.as_deref().and_then(Carried::open),
                    Some(Carried::Signature(_) | Carried::Redacted(_))
                ),
                PartKind::Text(_)
                | PartKind::Refusal(_)
                | PartKind::Image(_)
                | PartKind::Document(_)
                | PartKind::ToolCall(_)
                | PartKind::ToolResult(_) => false,
            });
            calls && !thought
        })
    }

    fn output_config(&mut self) -> Step<Option<String>> {
        let mut out = Object::new();
        let effort = self.conversation.reasoning.effort.as_ref().map(|effort| effort.value);
        if let Some(effort) = effort.filter(|effort| *effort != Effort::None && self.claude.is_adaptive()) {
            out = out.str("effort", effort.max(Effort::Low).name());
        }
        if let Some(format) = &self.conversation.format {
            out = out.maybe("format", self.format(format)?);
        }
        let out = out.build();
        Ok((out != "{}").then_some(out))
    }

    fn format(&mut self, format: &Field<Format>) -> Step<Option<String>> {
        let losses = &mut *self.writing.losses;
        let Format::JsonSchema { name, description, schema: Some(schema), strict } = &format.value else {
            return Ok(None);
        };
        if !self.claude.takes_format() {
            return Ok(None);
        }
        for (key, there) in [("name", name.is_some()), ("description", description.is_some())] {
            if there {
                losses.hint(format!("{}.{key}", format.name))?;
            }
        }
        // Messages holds every answer to its schema, so that only leave to stray from it is lost.
        if *strict == Some(false) {
            losses.hint(format!("{}.strict", format.name))?;
        }
        Ok(Some(Object::new().str("type", "json_schema").raw("schema", schema).build()))
    }

    /// `manual`: the thinking has a budget.
    fn tool_choice(&mut self, tools: bool, manual: bool) -> Step<Option<String>> {
        let choice = self.conversation.tool_choice.as_ref();
        let mut kind = match choice.map(|choice| &choice.value) {
            _ if !tools => {
                let forced = choice.filter(|choice| matches!(choice.value, ToolChoice::Any | ToolChoice::One(_)));
                self.writing.losses.maybe(forced)?;
                return Ok(None);
            }
            None => None,
            Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => Some(("auto", None)),
            Some(ToolChoice::Any | ToolChoice::Allowed { required: true, .. }) => Some(("any", None)),
            Some(ToolChoice::One(name)) => Some(("tool", Some(self.writing.names.sent(name)))),
            Some(ToolChoice::None) => return Ok(Some(Object::new().str("type", "none").build())),
        };
        let model = self.writing.target.model;
        let unforced = manual || ["fable", "mythos"].iter().any(|family| model.contains(family));
        if unforced && matches!(kind, Some(("any" | "tool", _))) {
            self.writing.losses.maybe(choice)?;
            kind = Some(("auto", None));
        }
        let single = self.conversation.parallel.as_ref().is_some_and(|parallel| !parallel.value);
        if single && kind.is_none() {
            kind = Some(("auto", None));
        }
        Ok(kind.map(|(kind, name)| {
            let mut out = Object::new().str("type", kind);
            if let Some(name) = name {
                out = out.str("name", &name);
            }
            if single { out.bool("disable_parallel_tool_use", true) } else { out }.build()
        }))
    }

    /// Temperature and nucleus: none beside thinking, none for models that take none, and one of both for most.
    fn sampling(&mut self, mut out: Object, thinks: bool) -> Step<Object> {
        let takes = self.claude.takes_sampling() && !thinks;
        let losses = &mut *self.writing.losses;
        let temperature = self.conversation.temperature.as_ref();
        match temperature {
            Some(field) if !takes => losses.hint(field.name)?,
            Some(field) if field.value.parse::<f64>().is_ok_and(|value| value > 1.0) => {
                losses.hint(field.name)?;
                out = out.raw("temperature", "1");
            }
            Some(field) => out = out.raw("temperature", &field.value),
            None => {}
        }
        match &self.conversation.top_p {
            Some(field) if !takes || (temperature.is_some() && self.claude.takes_one_sampling()) => {
                losses.hint(field.name)?;
            }
            Some(field) => out = out.raw("top_p", &field.value),
            None => {}
        }
        Ok(out)
    }

    fn stop(&mut self) -> Step<Option<String>> {
        let Some(stop) = &self.conversation.stop else { return Ok(None) };
        let kept: Vec<_> = stop.value.iter().filter(|text| !text.decode().trim().is_empty()).map(string).collect();
        if kept.len() < stop.value.len() {
            // The provider refuses what is white space only.
            self.writing.losses.hint(stop.name)?;
        }
        Ok((!kept.is_empty()).then(|| array(kept)))
    }

    /// Who the user is, unless it tells a person.
    fn user(&mut self) -> Step<Option<String>> {
        let mut sent = None;
        for wanted in [Hint::SafetyIdentifier, Hint::User] {
            for (_, field) in self.conversation.hints.iter().filter(|(hint, _)| *hint == wanted) {
                let value = Value::parse(field.value.as_bytes()).ok().and_then(|user| user.as_str().map(String::from));
                match value.filter(|user| sent.is_none() && !is_personal(user)) {
                    Some(user) => sent = Some(Object::new().str("user_id", &user).build()),
                    None => self.writing.losses.hint(field.name)?,
                }
            }
        }
        for (hint, field) in &self.conversation.hints {
            if !matches!(hint, Hint::SafetyIdentifier | Hint::User) {
                self.writing.losses.hint(field.name)?;
            }
        }
        Ok(sent)
    }

    fn tier(&mut self) -> Step<Option<&'static str>> {
        let Some(tier) = &self.conversation.tier else { return Ok(None) };
        match tier.value.as_str() {
            "auto" => Ok(Some("\"auto\"")),
            "default" => Ok(Some("\"standard_only\"")),
            _ => self.writing.losses.hint(tier.name).map(|()| None),
        }
    }
}
