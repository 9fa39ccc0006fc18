//! Messages requests.

use bytes::Bytes;

use crate::{
    dialect::{RequestView, Undecodable, request_object, texts::Texts},
    json::{Kind, Object, Value},
    model::{Request, Source},
};

/// Reads a request: every text in it, with its source and its place.
pub(crate) fn request(body: &Bytes) -> Result<(RequestView, Request), Undecodable> {
    let object = Object::of(request_object(body)?);
    let view = RequestView {
        model: object.str_at("model").unwrap_or_default().into_owned(),
        stream: object.bool_at("stream").unwrap_or(false),
        max_tokens: object.get("max_tokens").and_then(Value::as_u64),
        include_usage: true,
        session: object.get("metadata").and_then(session),
        ..RequestView::default()
    };
    let mut texts = Texts::new(body);
    for member in object.members() {
        match &*member.key {
            "system" => read_content(&mut texts, member.value, Source::System, None),
            "messages" => member.value.items().for_each(|message| read_message(&mut texts, message)),
            "tools" => member.value.items().for_each(|tool| texts.description(tool)),
            _ => {}
        }
    }
    let request = Request::new(view.model.clone(), view.stream, texts.found).with_tools(texts.tools);
    Ok((view, request))
}

/// Claude Code puts its session id into `metadata.user_id`, which is JSON in a string.
fn session(metadata: Value<'_>) -> Option<String> {
    let user = metadata.str_at("user_id")?;
    let inner = Value::parse(user.as_bytes()).ok()?;
    inner.str_at("session_id").map(std::borrow::Cow::into_owned)
}

fn read_message(texts: &mut Texts<'_>, message: Value<'_>) {
    let [role, content] = message.pick(["role", "content"]);
    let source = match role.and_then(Value::as_str).as_deref() {
        Some("assistant") => Source::Assistant,
        Some("system") => Source::System,
        _ => Source::User,
    };
    if let Some(content) = content {
        read_content(texts, content, source, None);
    }
}

fn read_content(texts: &mut Texts<'_>, content: Value<'_>, source: Source, tool: Option<&str>) {
    if content.kind() == Kind::String {
        return texts.string(content, source, tool);
    }
    for block in content.items() {
        read_block(texts, block, source, tool);
    }
}

fn read_block(texts: &mut Texts<'_>, block: Value<'_>, source: Source, tool: Option<&str>) {
    let [kind, text] = block.pick(["type", "text"]);
    match kind.and_then(Value::as_str).as_deref() {
        Some("text") => text.into_iter().for_each(|text| texts.string(text, source, tool)),
        Some("tool_use") => {
            let name = block.str_at("name");
            if let Some(input) = block.get("input") {
                texts.value(input, Source::ToolCall, name.as_deref());
            }
        }
        Some("tool_result") => {
            let id = block.str_at("tool_use_id");
            if let Some(content) = block.get("content") {
                read_content(texts, content, Source::ToolResult, id.as_deref());
            }
        }
        Some("document") => {
            texts.member(block, "title", Source::Document, tool);
            texts.member(block, "context", Source::Document, tool);
            if let Some(source) = block.get("source") {
                match source.str_at("type").as_deref() {
                    Some("text") => texts.member(source, "data", Source::Document, tool),
                    Some("content") => {
                        if let Some(content) = source.get("content") {
                            read_content(texts, content, Source::Document, tool);
                        }
                    }
                    _ => {}
                }
            }
        }
        Some("search_result") => {
            texts.member(block, "title", Source::Document, tool);
            if let Some(content) = block.get("content") {
                read_content(texts, content, Source::Document, tool);
            }
        }
        // Thinking is bound to its signature and images are not text; server tool results are replayed as received.
        _ => {}
    }
}
