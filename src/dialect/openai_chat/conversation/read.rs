//! A chat request as a conversation.

use bytes::Bytes;

use crate::{
    dialect::convert::{
        losses::{LEAVE_OUT, Losses, Step, malformed},
        openai::{self, allowed, choice_word, count, effort, hint, read_common, schema_format},
    },
    json::{Kind, Value},
    model::conversation::{Conversation, Field, Format, Hint, ToolChoice},
};

use super::messages::Messages;

/// Reads a request.
pub(in crate::dialect) fn read(body: &Bytes, value: Value<'_>, losses: &mut Losses) -> Step<Conversation> {
    let mut reader = Reader { body, losses, out: Conversation { name: "messages", ..Conversation::default() } };
    for member in value.members().filter(|member| !member.value.is_null()) {
        reader.field(&member.key, member.value)?;
    }
    // Where both stand, the newer one counts, as it does to the provider.
    if let Some(most) = value.some("max_completion_tokens") {
        let name = "max_completion_tokens";
        reader.out.max_tokens = Some(Field::new(name, count(name, most)?));
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
        if read_common(&mut self.out, key, value, self.losses)? {
            return Ok(());
        }
        match key {
            "messages" => {
                if value.kind() != Kind::Array {
                    return Err(malformed(key, "a list"));
                }
                Messages { body: self.body, losses: self.losses, out: &mut self.out }.read(value)?;
            }
            "max_completion_tokens" => {}
            "max_tokens" => self.out.max_tokens = Some(Field::new("max_tokens", count(key, value)?)),
            "stop" => {
                let one = value.text_in(self.body);
                let many = value.items().filter_map(|text| text.text_in(self.body));
                let texts: Vec<_> = one.into_iter().chain(many).filter(|text| !text.is_empty()).collect();
                self.out.stop = Some(Field::new("stop", texts)).filter(|stop| !stop.value.is_empty());
            }
            "stream_options" => self.losses.rest(value, "stream_options", &["include_usage"])?,
            "tools" => {
                for tool in value.items() {
                    self.tool(tool)?;
                }
            }
            "tool_choice" => match self.tool_choice(value)? {
                Some(choice) => self.out.tool_choice = Some(Field::new("tool_choice", choice)),
                None => self.losses.meaning("tool_choice", LEAVE_OUT)?,
            },
            "response_format" => self.format(value)?,
            "reasoning_effort" => self.out.reasoning.effort = effort("reasoning_effort", value, self.losses)?,
            "verbosity" => hint(&mut self.out, Hint::Verbosity, "verbosity", value),
            "n" if value.as_u64() == Some(1) => {}
            "n" => self.losses.meaning(key, "it gives one answer at a time; leave it out and ask again")?,
            "logprobs" if value.as_bool() == Some(false) => {}
            "presence_penalty" | "frequency_penalty" if value.raw_str().parse() == Ok(0.0_f64) => {}
            "modalities" if value.items().all(|item| item.as_str().as_deref() == Some("text")) => {}
            "logit_bias" if value.members().next().is_none() => {}
            "functions" | "function_call" => self.losses.meaning(key, "use `tools` and `tool_choice`")?,
            "logprobs" | "modalities" | "logit_bias" | "audio" | "prediction" | "web_search_options" => {
                self.losses.meaning(key, LEAVE_OUT)?;
            }
            // `seed`, `top_k`, penalties, `store`, `prompt_cache_options`, and what is not known.
            other => self.losses.hint(other)?,
        }
        Ok(())
    }

    fn tool(&mut self, tool: Value<'_>) -> Step {
        let kind = tool.str_at("type").unwrap_or_default();
        let custom = kind == "custom";
        let Some(inner) = tool.some(&kind).filter(|_| custom || kind == "function") else {
            return self.losses.meaning(format!("tools[{kind}]"), "only `function` and `custom` tools can be sent");
        };
        self.losses.rest(tool, "tools[]", &["type", "function", "custom"])?;
        let grammar = inner.get("format").and_then(|format| format.get("grammar"));
        self.out.tools.push(openai::tool(custom, inner, grammar, self.body, self.losses)?);
        Ok(())
    }

    fn format(&mut self, value: Value<'_>) -> Step {
        self.losses.rest(value, "response_format", &["type", "json_schema"])?;
        let (name, format) = match value.str_at("type").as_deref() {
            Some("text") => return Ok(()),
            Some("json_object") => ("response_format", Format::JsonObject),
            Some("json_schema") => {
                let Some(schema) = value.some("json_schema") else {
                    return Err(malformed("response_format.json_schema", "an object"));
                };
                let known = ["name", "description", "schema", "strict"];
                self.losses.rest(schema, "response_format.json_schema", &known)?;
                ("response_format.json_schema", schema_format(schema, self.body))
            }
            _ => return self.losses.meaning("response_format", LEAVE_OUT),
        };
        self.out.format = Some(Field::new(name, format));
        Ok(())
    }

    fn tool_choice(&mut self, value: Value<'_>) -> Step<Option<ToolChoice>> {
        if value.kind() == Kind::String {
            return Ok(choice_word(value));
        }
        let kind = value.str_at("type").unwrap_or_default();
        self.losses.rest(value, "tool_choice", &["type", &kind])?;
        let Some(inner) = value.some(&kind) else { return Ok(None) };
        match &*kind {
            "function" | "custom" => {
                self.losses.rest(inner, "tool_choice", &["name"])?;
                Ok(inner.str_at("name").map(|name| ToolChoice::One(name.into_owned())))
            }
            "allowed_tools" => allowed(inner, true, self.losses),
            _ => Ok(None),
        }
    }
}
