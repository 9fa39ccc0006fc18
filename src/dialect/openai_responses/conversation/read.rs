//! A Responses request as a conversation.

use bytes::Bytes;

use crate::{
    dialect::convert::{
        losses::{LEAVE_OUT, Losses, Step, malformed},
        openai::{self, allowed, choice_word, count, effort, hint, read_common, schema_format},
    },
    json::{Kind, Value},
    model::conversation::{Conversation, Field, Format, Hint, Part, PartKind, ToolChoice, within},
};

use super::items::Items;

/// What a client is told that relies on what the provider keeps.
const STATELESS: &str = "nothing is kept of earlier answers there; send the whole conversation in `input`";

/// Reads a request.
pub(in crate::dialect) fn read(body: &Bytes, value: Value<'_>, losses: &mut Losses) -> Step<Conversation> {
    let mut reader = Reader { body, losses, out: Conversation { name: "input", ..Conversation::default() } };
    for member in value.members().filter(|member| !member.value.is_null()) {
        reader.field(&member.key, member.value)?;
    }
    if let Some(text) = value.some("instructions").and_then(|text| text.text_in(body)).filter(|text| !text.is_empty()) {
        reader.out.system.insert(0, Part::new(PartKind::Text(text)));
    }
    Ok(reader.out)
}

/// Reads the fields of a request.
pub(super) struct Reader<'a> {
    pub(super) body: &'a Bytes,
    pub(super) losses: &'a mut Losses,
    pub(super) out: Conversation,
}

impl Reader<'_> {
    fn field(&mut self, key: &str, value: Value<'_>) -> Step {
        if read_common(&mut self.out, key, value, self.losses)? {
            return Ok(());
        }
        match key {
            "instructions" if value.kind() == Kind::String => {}
            "instructions" => return Err(malformed(key, "a string")),
            "input" => Items { reader: self }.read(value)?,
            "max_output_tokens" => self.out.max_tokens = Some(Field::new("max_output_tokens", count(key, value)?)),
            "tools" => {
                for tool in value.items() {
                    self.tool(tool)?;
                }
            }
            "tool_choice" => match self.tool_choice(value)? {
                Some(choice) => self.out.tool_choice = Some(Field::new("tool_choice", choice)),
                None => self.losses.meaning("tool_choice", "only `function` and `custom` tools can be chosen")?,
            },
            "text" => self.text(value)?,
            "reasoning" => self.reasoning(value, "reasoning")?,
            "include" => {
                for item in value.items().filter_map(Value::as_str) {
                    match &*item {
                        "reasoning.encrypted_content" => {}
                        "message.output_text.logprobs" => self.losses.meaning(format!("include[{item}]"), LEAVE_OUT)?,
                        _ => self.losses.hint(format!("include[{item}]"))?,
                    }
                }
            }
            "background" if value.as_bool() == Some(false) => {}
            "truncation" if value.as_str().as_deref() == Some("disabled") => {}
            "previous_response_id" | "conversation" | "background" => self.losses.meaning(key, STATELESS)?,
            "prompt" => self.losses.meaning(key, "the template lies at OpenAI; send its text")?,
            "stop" => self.losses.meaning(key, LEAVE_OUT)?,
            // `store`, `top_k`, `truncation`, `stream_options`, `client_metadata`, and what is not known.
            other => self.losses.hint(other)?,
        }
        Ok(())
    }

    /// Reads a tool.
    pub(super) fn tool(&mut self, tool: Value<'_>) -> Step {
        self.tool_in("", tool)
    }

    /// Reads a tool of that namespace, or of none.
    fn tool_in(&mut self, namespace: &str, tool: Value<'_>) -> Step {
        let kind = tool.str_at("type").unwrap_or_default();
        if kind == "namespace" {
            self.losses.rest(tool, "tools[namespace]", &["type", "name", "description", "tools"])?;
            // What a namespace is for is said of no tool.
            if tool.str_at("description").is_some_and(|text| !text.is_empty()) {
                self.losses.note("tools[namespace].description");
            }
            let name = tool.str_at("name").unwrap_or_default();
            return tool.get("tools").into_iter().flat_map(Value::items).try_for_each(|tool| self.tool_in(&name, tool));
        }
        if !matches!(&*kind, "function" | "custom") {
            // A tool of OpenAI's own is not offered: the answer can do without, unless it is asked for by name.
            return self.losses.hint(format!("tools[{kind}]"));
        }
        let grammar = tool.some("format").filter(|format| format.str_at("type").as_deref() == Some("grammar"));
        let mut tool = openai::tool(kind == "custom", tool, grammar, self.body, self.losses)?;
        tool.name = within(namespace, &tool.name);
        self.out.tools.push(tool);
        Ok(())
    }

    fn text(&mut self, value: Value<'_>) -> Step {
        self.losses.rest(value, "text", &["format", "verbosity"])?;
        if let Some(verbosity) = value.some("verbosity") {
            hint(&mut self.out, Hint::Verbosity, "text.verbosity", verbosity);
        }
        let Some(format) = value.some("format") else { return Ok(()) };
        self.losses.rest(format, "text.format", &["type", "name", "description", "schema", "strict"])?;
        let format = match format.str_at("type").as_deref() {
            Some("text") => return Ok(()),
            Some("json_object") => Format::JsonObject,
            Some("json_schema") => schema_format(format, self.body),
            _ => return self.losses.meaning("text.format", LEAVE_OUT),
        };
        self.out.format = Some(Field::new("text.format", format));
        Ok(())
    }

    /// Reads how much to think. A later word counts.
    pub(super) fn reasoning(&mut self, value: Value<'_>, path: &str) -> Step {
        let mut known = vec!["effort", "summary", "mode"];
        if value.str_at("context").as_deref() == Some("auto") {
            known.push("context");
        }
        self.losses.rest(value, path, &known)?;
        if let Some(asked) = value.some("effort") {
            self.out.reasoning.effort = effort("reasoning.effort", asked, self.losses)?;
        }
        if value.some("summary").is_some() {
            self.out.reasoning.shown = Some(true);
        }
        match value.some("mode").filter(|mode| mode.as_str().as_deref() != Some("standard")) {
            Some(_) => self.losses.meaning(format!("{path}.mode"), LEAVE_OUT),
            None => Ok(()),
        }
    }

    fn tool_choice(&mut self, value: Value<'_>) -> Step<Option<ToolChoice>> {
        if value.kind() == Kind::String {
            return Ok(choice_word(value));
        }
        match value.str_at("type").as_deref() {
            Some("function" | "custom") => {
                self.losses.rest(value, "tool_choice", &["type", "name"])?;
                Ok(value.str_at("name").map(|name| ToolChoice::One(name.into_owned())))
            }
            Some("allowed_tools") => allowed(value, false, self.losses),
            _ => Ok(None),
        }
    }
}
