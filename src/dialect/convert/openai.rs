//! What both of OpenAI's dialects have in common, for their readers and writers.

mod write;

use bytes::Bytes;
use indexmap::IndexSet;

use crate::{
    json::{Kind, Text, Value},
    model::conversation::{
        Conversation, Document, Effort, Field, Format, Grammar, Hint, Image, Json, Media, Part, PartKind, Tool,
        ToolChoice, ToolKind, Ttl,
    },
};

use super::losses::{LEAVE_OUT, Losses, Step, malformed};

pub(in crate::dialect) use write::{
    Takes, forced, is_personal, mark_error, most_tokens, write_allowed, write_choice_word, write_content, write_effort,
    write_grammar, write_hints, write_sampling, write_schema_format, write_tool,
};

/// Reads what stands at the top of a request under the same name in both dialects. `false`: it is something else.
pub(in crate::dialect) fn read_common(
    out: &mut Conversation,
    key: &str,
    value: Value<'_>,
    losses: &mut Losses,
) -> Step<bool> {
    match key {
        "model" => {}
        "temperature" => out.temperature = Some(Field::new("temperature", number(key, value)?)),
        "top_p" => out.top_p = Some(Field::new("top_p", number(key, value)?)),
        "parallel_tool_calls" => {
            let parallel = value.as_bool().ok_or_else(|| malformed(key, "true or false"))?;
            out.parallel = Some(Field::new("parallel_tool_calls", parallel));
        }
        "stream" => out.stream = value.as_bool().ok_or_else(|| malformed(key, "true or false"))?,
        "service_tier" => out.tier = Some(Field::new("service_tier", word(key, value)?)),
        "store" if value.as_bool() == Some(false) => {}
        "metadata" => hint(out, Hint::Metadata, "metadata", value),
        "prompt_cache_key" => hint(out, Hint::PromptCacheKey, "prompt_cache_key", value),
        "prompt_cache_retention" => hint(out, Hint::PromptCacheRetention, "prompt_cache_retention", value),
        "safety_identifier" => hint(out, Hint::SafetyIdentifier, "safety_identifier", value),
        "user" => hint(out, Hint::User, "user", value),
        "top_logprobs" if value.as_u64() == Some(0) => {}
        "top_logprobs" | "moderation" => losses.meaning(key, LEAVE_OUT)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Notes a hint that both dialects have.
pub(in crate::dialect) fn hint(out: &mut Conversation, hint: Hint, name: &'static str, value: Value<'_>) {
    out.hints.push((hint, Field::new(name, value.raw_str().to_owned())));
}

/// A number, as it was written.
pub(in crate::dialect) fn number(field: &str, value: Value<'_>) -> Step<Json> {
    if value.kind() == Kind::Number { Ok(value.raw_str().to_owned()) } else { Err(malformed(field, "a number")) }
}

/// A count.
pub(in crate::dialect) fn count(field: &str, value: Value<'_>) -> Step<u64> {
    value.as_u64().ok_or_else(|| malformed(field, "a whole number"))
}

/// A string.
pub(in crate::dialect) fn word(field: &str, value: Value<'_>) -> Step<String> {
    value.as_str().map(std::borrow::Cow::into_owned).ok_or_else(|| malformed(field, "a string"))
}

/// An effort. One that nobody knows is left out.
pub(in crate::dialect) fn effort(
    name: &'static str,
    value: Value<'_>,
    losses: &mut Losses,
) -> Step<Option<Field<Effort>>> {
    match Effort::parse(&word(name, value)?) {
        Some(effort) => Ok(Some(Field::new(name, effort))),
        None => losses.hint(name).map(|()| None),
    }
}

/// A cache mark of a part. `name` is what the client calls it.
pub(in crate::dialect) fn read_cache(part: Value<'_>, name: &'static str) -> Option<Field<Ttl>> {
    let ttl = match part.some("prompt_cache_breakpoint")?.str_at("ttl").as_deref() {
        Some("12h") => Ttl::Long,
        Some("30m") => Ttl::Short,
        _ => Ttl::Default,
    };
    Some(Field::new(name, ttl))
}

/// What an image or a file is by its URL, `data:` or not. `None`: it is no URL that can be told.
pub(in crate::dialect) fn media(url: &Text) -> Option<Media> {
    let Some(data) = url.raw().strip_prefix(b"data:") else {
        return Some(Media::Url(url.clone()));
    };
    let comma = memchr::memchr(b',', data)?;
    let (head, _) = data.split_at_checked(comma)?;
    // Some JSON writers escape the slash of the media type.
    let head = Text::decode_raw(head).into_owned();
    let media_type = head.strip_suffix(";base64")?.split(';').next()?.to_ascii_lowercase();
    let start = b"data:".len() + comma + 1;
    Some(Media::Base64 { media_type, data: plain(&Text::from_raw(url.raw().slice(start..))) })
}

/// Base64 needs no escapes, but `\/` is one that JSON writers like.
fn plain(data: &Text) -> Text {
    if data.raw().contains(&b'\\') { Text::new(&data.decode()) } else { data.clone() }
}

/// An image or a file as a URL.
pub(in crate::dialect) fn url(media_type: &str, data: &Text) -> Text {
    let mut raw = Vec::new();
    crate::json::escape(&format!("data:{media_type};base64,"), &mut raw);
    raw.extend_from_slice(data.raw());
    Text::from_raw(raw.into())
}

/// Reads an image.
pub(in crate::dialect) fn image(
    field: &'static str,
    detail_field: &'static str,
    url: Option<&Text>,
    detail: Option<Value<'_>>,
    losses: &mut Losses,
) -> Step<Option<PartKind>> {
    let Some(source) = url.and_then(media) else {
        losses.meaning(field, "only http and base64 data URLs can be sent; put the image itself into the request")?;
        return Ok(None);
    };
    let detail = detail.and_then(Value::as_str).filter(|detail| detail != "auto");
    let detail = detail.map(|detail| Field::new(detail_field, detail.into_owned()));
    Ok(Some(PartKind::Image(Image { field, source, detail })))
}

/// What is read of a file.
pub(in crate::dialect) const FILE: [&str; 4] = ["filename", "file_data", "file_url", "file_id"];

/// Reads a file with its `filename` and `file_data` or `file_url`.
pub(in crate::dialect) fn file(
    field: &'static str,
    file: Value<'_>,
    body: &Bytes,
    losses: &mut Losses,
) -> Step<Option<PartKind>> {
    let data = file.some("file_data").or(file.some("file_url")).and_then(|data| data.text_in(body));
    let Some(source) = data.as_ref().and_then(media) else {
        losses.meaning(
            field,
            "a file's id means nothing elsewhere; put the file itself into the request as a data URL",
        )?;
        return Ok(None);
    };
    let title = file.some("filename").and_then(|name| name.text_in(body));
    Ok(Some(PartKind::Document(Document { field, source, title })))
}

/// Reads a function, whose fields stand in `function`, or a custom tool.
pub(in crate::dialect) fn tool(
    custom: bool,
    tool: Value<'_>,
    grammar: Option<Value<'_>>,
    body: &Bytes,
    losses: &mut Losses,
) -> Step<Tool> {
    let name = tool.str_at("name").ok_or_else(|| malformed("tools[].name", "a string"))?.into_owned();
    let description = tool.some("description").and_then(|text| text.text_in(body)).filter(|text| !text.is_empty());
    let kind = if custom {
        losses.rest(tool, "tools[]", &["type", "name", "description", "format", "allowed_callers"])?;
        if let Some(format) = tool.some("format") {
            losses.rest(format, "tools[].format", &["type", "grammar", "syntax", "definition"])?;
        }
        if let Some(grammar) = grammar {
            losses.rest(grammar, "tools[].format", &["type", "syntax", "definition"])?;
        }
        let grammar = grammar.and_then(|grammar| {
            Some(Grammar {
                field: "tools[].format",
                syntax: grammar.get("syntax")?.text_in(body)?,
                definition: grammar.get("definition")?.text_in(body)?,
            })
        });
        ToolKind::Custom { grammar }
    } else {
        let known = ["type", "name", "description", "parameters", "strict", "allowed_callers"];
        losses.rest(tool, "tools[]", &known)?;
        let schema = tool.some("parameters").map(|schema| schema.raw_str().to_owned());
        ToolKind::Function { schema, strict: tool.get("strict").and_then(Value::as_bool) }
    };
    callers(tool, losses)?;
    Ok(Tool { name, description, kind, cache: None })
}

/// Tools that only code may call cannot be offered to a model that runs none.
pub(in crate::dialect) fn callers(tool: Value<'_>, losses: &mut Losses) -> Step {
    let Some(callers) = tool.some("allowed_callers") else { return Ok(()) };
    if callers.items().all(|caller| caller.as_str().as_deref() == Some("direct")) {
        return Ok(());
    }
    losses.meaning("tools[].allowed_callers", "only `direct` calls exist there; leave it out")
}

/// Reads `none`, `auto`, `required`.
pub(in crate::dialect) fn choice_word(value: Value<'_>) -> Option<ToolChoice> {
    match value.as_str()?.as_ref() {
        "none" => Some(ToolChoice::None),
        "auto" => Some(ToolChoice::Auto),
        "required" => Some(ToolChoice::Any),
        _ => None,
    }
}

/// Reads a list of allowed tools; `inner` says that each one's name stands in a member named like its type. `None`: one
/// of them has no name.
pub(in crate::dialect) fn allowed(list: Value<'_>, inner: bool, losses: &mut Losses) -> Step<Option<ToolChoice>> {
    const PATH: &str = "tool_choice.tools[]";
    losses.rest(list, "tool_choice", &["type", "mode", "tools"])?;
    let mut names = IndexSet::new();
    for tool in list.get("tools").into_iter().flat_map(Value::items) {
        let kind = tool.str_at("type").unwrap_or_default();
        let holder = if inner { tool.get(&kind) } else { Some(tool) };
        let Some((holder, name)) = holder.and_then(|holder| Some((holder, holder.str_at("name")?))) else {
            return Ok(None);
        };
        losses.rest(tool, PATH, if inner { &["type", "function", "custom"] } else { &["type", "name"] })?;
        losses.rest(holder, PATH, &["type", "name"])?;
        names.insert(name.into_owned());
    }
    let required = list.str_at("mode").as_deref() == Some("required");
    Ok((!names.is_empty()).then_some(ToolChoice::Allowed { required, names }))
}

/// Reads a JSON schema format, whose fields stand in `schema`.
pub(in crate::dialect) fn schema_format(schema: Value<'_>, body: &Bytes) -> Format {
    let text = |key| schema.some(key).and_then(|text| text.text_in(body));
    Format::JsonSchema {
        name: text("name"),
        description: text("description"),
        schema: schema.some("schema").map(|schema| schema.raw_str().to_owned()),
        strict: schema.get("strict").and_then(Value::as_bool),
    }
}

/// The texts of a system prompt in one.
pub(in crate::dialect) fn join(texts: &[&Text], between: &str) -> Text {
    let mut raw = Vec::new();
    for text in texts {
        if !raw.is_empty() {
            crate::json::escape(between, &mut raw);
        }
        raw.extend_from_slice(text.raw());
    }
    Text::from_raw(raw.into())
}

/// The texts among `parts`.
pub(in crate::dialect) fn texts(parts: &[Part]) -> Vec<&Text> {
    parts.iter().filter_map(Part::text).collect()
}
