//! A conversation as a Responses request. Nothing of it is kept by the provider.

use crate::{
    dialect::convert::{
        Writing,
        losses::{LEAVE_OUT, Step, answerable},
        models::OpenAi,
        openai::{
            Takes, forced, join, most_tokens, texts, write_allowed, write_choice_word, write_effort, write_grammar,
            write_hints, write_sampling, write_schema_format, write_tool,
        },
    },
    json::build::{Object, array},
    model::conversation::{Conversation, Effort, Format, Part, Tool, ToolChoice, ToolKind},
};

use super::turns::Turns;

/// The API refuses less.
const LEAST_TOKENS: u64 = 16;

/// Writes a request.
pub(in crate::dialect) fn write(conversation: &Conversation, mut writing: Writing<'_>) -> Step<String> {
    let writing = &mut writing;
    let model = OpenAi::of(writing.target.model);
    let mut out = Object::new().str("model", writing.target.model);
    let instructions = instructions(&conversation.system, writing)?;
    let mut turns = Turns::new(writing);
    match instructions {
        Some(parts) => {
            let all = join(&texts(parts), "\n\n");
            out = out.text("instructions", &all);
        }
        None => turns.system(&conversation.system)?,
    }
    let items = turns.items(conversation)?;
    answerable(&items, conversation.name)?;
    out = out.raw("input", array(items));
    if let Some(most) = most_tokens(conversation, writing)? {
        if let Some(asked) = conversation.max_tokens.as_ref().filter(|_| most < LEAST_TOKENS) {
            writing.losses.hint(asked.name)?;
        }
        out = out.number("max_output_tokens", most.max(LEAST_TOKENS));
    }
    out = write_sampling(out, conversation, writing)?;
    if let Some(stop) = &conversation.stop {
        writing.losses.meaning(stop.name, LEAVE_OUT)?;
    }
    out = tools(out, conversation, writing)?;
    out = out.maybe("reasoning", reasoning(conversation, writing)?);
    // Nothing is kept, so that what was thought has to come back with the answer. Models without thoughts refuse this.
    if !model.is_plain() {
        out = out.raw("include", r#"["reasoning.encrypted_content"]"#);
    }
    out = out.bool("store", false);
    let (mut out, verbosity) = write_hints(out, conversation, writing, Takes { user: true, metadata: true })?;
    let format = conversation.format.as_ref().map(|format| text_format(&format.value));
    if format.is_some() || verbosity.is_some() {
        out = out.raw("text", Object::new().maybe("format", format).maybe("verbosity", verbosity).build());
    }
    if conversation.stream {
        out = out.bool("stream", true);
    }
    Ok(out.build())
}

/// What can stand in `instructions`. `None`: nothing, or a cache is to end within, which only a message can say.
fn instructions<'a>(system: &'a [Part], writing: &mut Writing<'_>) -> Step<Option<&'a [Part]>> {
    let mut marked = false;
    for cache in system.iter().filter_map(|part| part.cache.as_ref()) {
        if cache.name.ends_with("prompt_cache_breakpoint") {
            marked = true;
        } else {
            writing.losses.hint(cache.name)?;
        }
    }
    let texts_only = texts(system).len() == system.len();
    Ok((!system.is_empty() && !marked && texts_only).then_some(system))
}

fn tools(mut out: Object, conversation: &Conversation, writing: &mut Writing<'_>) -> Step<Object> {
    if conversation.tools.is_empty() {
        writing.losses.maybe(forced(conversation))?;
        return Ok(out);
    }
    let tools = conversation.tools.iter().map(|tool| function(tool, writing)).collect::<Step<Vec<_>>>()?;
    out = out.raw("tools", array(tools));
    if let Some(choice) = &conversation.tool_choice {
        out = out.raw("tool_choice", tool_choice(conversation, &choice.value, writing));
    }
    Ok(match &conversation.parallel {
        Some(parallel) => out.bool("parallel_tool_calls", parallel.value),
        None => out,
    })
}

fn function(tool: &Tool, writing: &mut Writing<'_>) -> Step<String> {
    Ok(match &tool.kind {
        ToolKind::Function { schema, strict } => {
            let out = write_tool(tool, Object::new().str("type", "function"), writing)?;
            let any = r#"{"type":"object","properties":{}}"#;
            // Not said would be strict.
            out.raw("parameters", schema.as_deref().unwrap_or(any)).bool("strict", strict.unwrap_or(false)).build()
        }
        ToolKind::Custom { grammar } => {
            let out = write_tool(tool, Object::new().str("type", "custom"), writing)?;
            let format = grammar.as_ref().map(|grammar| write_grammar(grammar).str("type", "grammar").build());
            out.maybe("format", format).build()
        }
    })
}

fn tool_choice(conversation: &Conversation, choice: &ToolChoice, writing: &mut Writing<'_>) -> String {
    let custom = conversation.custom_tools();
    let mut named = |name: &str| {
        let kind = if custom.contains(name) { "custom" } else { "function" };
        Object::new().str("type", kind).str("name", &writing.names.sent(name)).build()
    };
    match choice {
        ToolChoice::One(name) => named(name),
        ToolChoice::Allowed { required, names } => {
            let tools: Vec<_> = names.iter().map(|name| named(name)).collect();
            write_allowed(*required, tools).str("type", "allowed_tools").build()
        }
        ToolChoice::Auto | ToolChoice::Any | ToolChoice::None => {
            format!("\"{}\"", write_choice_word(choice).unwrap_or("auto"))
        }
    }
}

fn reasoning(conversation: &Conversation, writing: &mut Writing<'_>) -> Step<Option<String>> {
    let effort = write_effort(conversation, writing)?;
    let shown = conversation.reasoning.shown == Some(true) && effort.is_some_and(|effort| effort != Effort::None);
    let mut out = Object::new();
    if let Some(effort) = effort {
        out = out.str("effort", effort.name());
    }
    if shown {
        out = out.str("summary", "auto");
    }
    let out = out.build();
    Ok((out != "{}").then_some(out))
}

fn text_format(format: &Format) -> String {
    match format {
        Format::JsonObject => Object::new().str("type", "json_object").build(),
        Format::JsonSchema { .. } => write_schema_format(Object::new().str("type", "json_schema"), format).build(),
    }
}
