//! Chat Completions requests.

use bytes::Bytes;

use crate::{
    dialect::{RequestView, State, Undecodable, request_object, texts::Texts},
    json::{Object, Value},
    model::{Request, Source},
};

use super::parts::tool_body;

/// Reads a request: every text in it, with its source and its place.
pub(crate) fn request(body: &Bytes) -> Result<(RequestView, Request), Undecodable> {
    let object = Object::of(request_object(body)?);
    let include_usage = object.get("stream_options").and_then(|options| options.get("include_usage")?.as_bool());
    let most = object.get("max_completion_tokens").or_else(|| object.get("max_tokens"));
    let view = RequestView {
        model: object.str_at("model").unwrap_or_default().into_owned(),
        stream: object.bool_at("stream").unwrap_or(false),
        max_tokens: most.and_then(Value::as_u64),
        include_usage: include_usage.unwrap_or(false),
        custom_tools: object.get("tools").map(custom_tools).unwrap_or_default(),
        // An answer is kept only where that is asked for.
        state: State { needs: Vec::new(), stores: object.bool_at("store") == Some(true) },
        ..RequestView::default()
    };
    let mut texts = Texts::new(body);
    for member in object.members() {
        match &*member.key {
            "messages" => member.value.items().for_each(|message| read_message(&mut texts, message)),
            "tools" => member.value.items().for_each(|tool| {
                if let Some((tool, _)) = tool_body(tool) {
                    texts.description(tool);
                }
            }),
            "functions" => member.value.items().for_each(|tool| texts.description(tool)),
            _ => {}
        }
    }
    let request = Request::new(view.model.clone(), view.stream, texts.found).with_tools(texts.tools);
    Ok((view, request))
}

/// The tools that take free text.
fn custom_tools(tools: Value<'_>) -> Vec<String> {
    let custom = tools.items().filter(|tool| tool.str_at("type").as_deref() == Some("custom"));
    custom.filter_map(|tool| Some(tool.some("custom")?.str_at("name")?.into_owned())).collect()
}

fn read_message(texts: &mut Texts<'_>, message: Value<'_>) {
    let [role, id, name] = message.pick(["role", "tool_call_id", "name"]).map(|member| member.and_then(Value::as_str));
    let source = match role.as_deref() {
        Some("system" | "developer") => Source::System,
        Some("assistant") => Source::Assistant,
        Some("tool" | "function") => Source::ToolResult,
        _ => Source::User,
    };
    let tool = id.or(name).filter(|_| source == Source::ToolResult);
    for member in message.members() {
        match &*member.key {
            "content" => read_content(texts, member.value, source, tool.as_deref()),
            "refusal" | "reasoning_content" | "reasoning" => texts.string(member.value, source, None),
            "tool_calls" => {
                member.value.items().filter_map(tool_body).for_each(|(call, key)| read_call(texts, call, key));
            }
            "function_call" => read_call(texts, member.value, "arguments"),
            _ => {}
        }
    }
}

fn read_content(texts: &mut Texts<'_>, content: Value<'_>, source: Source, tool: Option<&str>) {
    texts.string(content, source, tool);
    for part in content.items() {
        part.pick(["text", "refusal"]).into_iter().flatten().for_each(|said| texts.string(said, source, tool));
    }
}

fn read_call(texts: &mut Texts<'_>, call: Value<'_>, key: &str) {
    texts.member(call, key, Source::ToolCall, call.str_at("name").as_deref());
}
