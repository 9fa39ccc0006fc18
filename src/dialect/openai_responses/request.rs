//! Responses requests.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    dialect::{RequestView, State, Undecodable, request_object, texts::Texts},
    json::{Kind, Object, Value},
    model::{Request, Source},
};

use super::{
    items::{block_kind, is_value, places},
    write::echo,
};

/// Reads a request: every text in it, with its source and its place.
pub(crate) fn request(body: &Bytes) -> Result<(RequestView, Request), Undecodable> {
    let object = Object::of(request_object(body)?);
    let view = RequestView {
        model: object.str_at("model").unwrap_or_default().into_owned(),
        stream: object.bool_at("stream").unwrap_or(false),
        max_tokens: object.get("max_output_tokens").and_then(Value::as_u64),
        include_usage: true,
        custom_tools: custom_tools(&object),
        state: state(&object),
        echo: echo(&object),
        ..RequestView::default()
    };
    let mut texts = Texts::new(body);
    for member in object.members() {
        match &*member.key {
            "instructions" => read_content(&mut texts, member.value, Source::System, None),
            "input" => {
                texts.string(member.value, Source::User, None);
                member.value.items().for_each(|item| read_item(&mut texts, item));
            }
            "tools" => member.value.items().for_each(|tool| read_tool(&mut texts, tool)),
            "text" => {
                if let Some(format) = member.value.get("format") {
                    texts.member(format, "description", Source::System, None);
                }
            }
            "prompt" => {
                let variables = member.value.get("variables").into_iter().flat_map(Value::members);
                variables.for_each(|variable| read_content(&mut texts, variable.value, Source::User, None));
            }
            _ => {}
        }
    }
    let request = Request::new(view.model.clone(), view.stream, texts.found).with_tools(texts.tools);
    Ok((view, request))
}

/// The tools that take free text, wherever they are offered.
fn custom_tools(request: &Object<'_>) -> Vec<String> {
    fn collect(tools: Value<'_>, out: &mut Vec<String>) {
        for tool in tools.items() {
            let [kind, name, tools] = tool.pick(["type", "name", "tools"]);
            if kind.and_then(Value::as_str).as_deref() == Some("custom") {
                out.extend(name.and_then(Value::as_str).map(Cow::into_owned));
            } else if let Some(tools) = tools {
                collect(tools, out);
            }
        }
    }
    let mut out = Vec::new();
    let items = request.get("input").into_iter().flat_map(Value::items);
    let later = items.filter_map(|item| item.get("tools"));
    request.get("tools").into_iter().chain(later).for_each(|tools| collect(tools, &mut out));
    out
}

/// What rests on what the provider keeps. It keeps an answer unless it is told not to.
fn state(request: &Object<'_>) -> State {
    let mut needs: Vec<&'static str> =
        ["previous_response_id", "conversation"].into_iter().filter(|key| request.some(key).is_some()).collect();
    if request.bool_at("background") == Some(true) {
        needs.push("background");
    }
    let mut items = request.get("input").into_iter().flat_map(Value::items);
    // An item that is neither said to be anything nor said by anybody is a reference too.
    let refers = |item: Value<'_>| {
        let [kind, role] = item.pick(["type", "role"]).map(|member| member.filter(|value| !value.is_null()));
        match kind.and_then(Value::as_str) {
            Some(kind) => kind == "item_reference",
            None => role.is_none(),
        }
    };
    if items.any(refers) {
        needs.push("input[].item_reference");
    }
    State { needs, stores: request.bool_at("store") != Some(false) }
}

fn read_item(texts: &mut Texts<'_>, item: Value<'_>) {
    let [kind, call, role, content] = item.pick(["type", "call_id", "role", "content"]);
    let kind = kind.and_then(Value::as_str).unwrap_or(Cow::Borrowed("message"));
    let call = call.and_then(Value::as_str);
    match &*kind {
        "message" => {
            let source = match role.and_then(Value::as_str).as_deref() {
                Some("system" | "developer") => Source::System,
                Some("assistant") => Source::Assistant,
                _ => Source::User,
            };
            if let Some(content) = content {
                read_content(texts, content, source, None);
            }
        }
        // Reasoning is bound to what only the provider can read.
        "reasoning" => {}
        "additional_tools" => {
            item.get("tools").into_iter().flat_map(Value::items).for_each(|tool| read_tool(texts, tool));
        }
        kind if kind.ends_with("_output") => {
            for said in ["output", "result"].into_iter().filter_map(|key| item.get(key)) {
                read_content(texts, said, Source::ToolResult, call.as_deref());
            }
            item.get("tools").into_iter().flat_map(Value::items).for_each(|tool| read_tool(texts, tool));
        }
        _ => {
            let name =
                block_kind(item).tool_name().map(str::to_owned).or_else(|| Some(item.str_at("name")?.into_owned()));
            for place in places(item) {
                match place.text {
                    Some(text) if is_value(text) => texts.value(text, Source::ToolCall, name.as_deref()),
                    Some(text) => texts.string(text, Source::ToolCall, name.as_deref()),
                    None => {}
                }
            }
            // What a server's tool was asked and came back with, and what the user said to a call.
            for key in ["output", "outputs", "result", "results", "error", "queries", "reason"] {
                if let Some(said) = item.get(key) {
                    read_content(texts, said, Source::ToolResult, name.as_deref());
                }
            }
            if kind == "web_search_call"
                && let Some(action) = item.some("action")
            {
                texts.value(action, Source::ToolCall, name.as_deref());
            }
            item.get("tools").into_iter().flat_map(Value::items).for_each(|tool| read_tool(texts, tool));
        }
    }
}

/// A text, a part with one, or a list of such. `instructions` of a stored prompt are items, which have content themselves.
fn read_content(texts: &mut Texts<'_>, content: Value<'_>, source: Source, tool: Option<&str>) {
    texts.string(content, source, tool);
    content.items().for_each(|part| read_content(texts, part, source, tool));
    if content.kind() == Kind::Object {
        let [inner, said @ ..] = content.pick(["content", "text", "refusal", "stdout", "stderr", "logs", "message"]);
        said.into_iter().flatten().for_each(|said| texts.string(said, source, tool));
        if let Some(inner) = inner {
            read_content(texts, inner, source, tool);
        }
    }
}

fn read_tool(texts: &mut Texts<'_>, tool: Value<'_>) {
    texts.description(tool);
    texts.member(tool, "server_description", Source::ToolDescription, None);
    if let Some(format) = tool.get("format") {
        texts.member(format, "definition", Source::ToolDescription, None);
    }
    // A namespace has tools of its own.
    tool.get("tools").into_iter().flat_map(Value::items).for_each(|tool| read_tool(texts, tool));
}
