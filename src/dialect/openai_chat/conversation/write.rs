//! A conversation as a chat request.

use crate::{
    dialect::convert::{
        Writing,
        losses::{Step, answerable},
        models::OpenAi,
        openai::{
            Takes, forced, most_tokens, write_allowed, write_choice_word, write_effort, write_grammar, write_hints,
            write_sampling, write_schema_format, write_tool,
        },
    },
    json::build::{Object, array, string},
    model::conversation::{Conversation, Format, Tool, ToolChoice, ToolKind},
};

use super::turns::Turns;

/// More stop sequences than this are an error to the provider.
const MOST_STOPS: usize = 4;

/// Writes a request.
pub(in crate::dialect) fn write(conversation: &Conversation, mut writing: Writing<'_>) -> Step<String> {
    let writing = &mut writing;
    let model = OpenAi::of(writing.target.model);
    let mut out = Object::new().str("model", writing.target.model);
    let messages = Turns { writing }.messages(conversation)?;
    answerable(&messages, conversation.name)?;
    out = out.raw("messages", array(messages));
    if let Some(most) = most_tokens(conversation, writing)? {
        out = out.number(if model.reasons() { "max_completion_tokens" } else { "max_tokens" }, most);
    }
    out = write_sampling(out, conversation, writing)?;
    out = out.maybe("stop", stop(conversation, writing)?);
    if conversation.tools.is_empty() {
        writing.losses.maybe(forced(conversation))?;
    } else {
        let tools = conversation.tools.iter().map(|tool| function(tool, writing)).collect::<Step<Vec<_>>>()?;
        out = out.raw("tools", array(tools));
        if let Some(choice) = &conversation.tool_choice {
            out = out.raw("tool_choice", tool_choice(conversation, &choice.value, writing));
        }
        if let Some(parallel) = &conversation.parallel {
            out = out.bool("parallel_tool_calls", parallel.value);
        }
    }
    out = out.maybe("response_format", conversation.format.as_ref().map(|format| response_format(&format.value)));
    if let Some(effort) = write_effort(conversation, writing)? {
        out = out.str("reasoning_effort", effort.name());
    }
    // Metadata are for stored answers, and nothing is stored.
    let takes = Takes { user: model != OpenAi::Other, metadata: false };
    let (mut out, verbosity) = write_hints(out, conversation, writing, takes)?;
    out = out.maybe("verbosity", verbosity);
    if conversation.stream {
        // Both other dialects tell the tokens at the end of every stream.
        let options = Object::new().bool("include_usage", true).build();
        out = out.bool("stream", true).raw("stream_options", options);
    }
    Ok(out.build())
}

fn stop(conversation: &Conversation, writing: &mut Writing<'_>) -> Step<Option<String>> {
    let Some(stop) = &conversation.stop else { return Ok(None) };
    if OpenAi::of(writing.target.model).reasons() {
        writing.losses.meaning(stop.name, "this model takes none; leave it out")?;
        return Ok(None);
    }
    if stop.value.len() > MOST_STOPS {
        writing.losses.meaning(stop.name, format!("it takes at most {MOST_STOPS}; leave some out"))?;
    }
    Ok(Some(array(stop.value.iter().take(MOST_STOPS).map(string))))
}

fn function(tool: &Tool, writing: &mut Writing<'_>) -> Step<String> {
    let mut inner = write_tool(tool, Object::new(), writing)?;
    let kind = match &tool.kind {
        ToolKind::Function { schema, strict } => {
            inner = inner.maybe("parameters", schema.as_ref());
            if *strict == Some(true) {
                inner = inner.bool("strict", true);
            }
            "function"
        }
        ToolKind::Custom { grammar } => {
            if let Some(grammar) = grammar {
                let format = Object::new().str("type", "grammar").raw("grammar", write_grammar(grammar).build());
                inner = inner.raw("format", format.build());
            }
            "custom"
        }
    };
    Ok(Object::new().str("type", kind).raw(kind, inner.build()).build())
}

fn tool_choice(conversation: &Conversation, choice: &ToolChoice, writing: &mut Writing<'_>) -> String {
    let custom = conversation.custom_tools();
    let mut named = |name: &str| {
        let kind = if custom.contains(name) { "custom" } else { "function" };
        let inner = Object::new().str("name", &writing.names.sent(name)).build();
        Object::new().str("type", kind).raw(kind, inner).build()
    };
    match choice {
        ToolChoice::One(name) => named(name),
        ToolChoice::Allowed { required, names } => {
            let tools: Vec<_> = names.iter().map(|name| named(name)).collect();
            let inner = write_allowed(*required, tools).build();
            Object::new().str("type", "allowed_tools").raw("allowed_tools", inner).build()
        }
        ToolChoice::Auto | ToolChoice::Any | ToolChoice::None => {
            format!("\"{}\"", write_choice_word(choice).unwrap_or("auto"))
        }
    }
}

fn response_format(format: &Format) -> String {
    match format {
        Format::JsonObject => Object::new().str("type", "json_object").build(),
        Format::JsonSchema { .. } => {
            let inner = write_schema_format(Object::new(), format).build();
            Object::new().str("type", "json_schema").raw("json_schema", inner).build()
        }
    }
}
