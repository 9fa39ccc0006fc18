//! What an event or a message must look like for a policy to judge it.

use crate::{
    dialect::{
        Undecodable,
        shape::{fits, object, unique},
    },
    json::{Kind, Value},
};

/// Checks an event of a stream. `name` is what its `event:` line says.
pub(super) fn check_event(event: Value<'_>, name: Option<&[u8]>) -> Result<(), Undecodable> {
    object(event, "an event of the stream")?;
    let [kind, _, message, content, delta] = unique(event, ["type", "index", "message", "content_block", "delta"])?;
    let kind = fits(kind, "type", &[Kind::String])?.and_then(Value::as_str);
    if let (Some(kind), Some(name)) = (&kind, name)
        && kind.as_bytes() != name
    {
        return Err(Undecodable("an event's name is not its type".to_owned()));
    }
    if let Some(message) = fits(message, "message", &[Kind::Object])? {
        let [content] = unique(message, ["content"])?;
        let content = fits(content, "content", &[Kind::Array])?;
        if content.is_some_and(|content| content.items().next().is_some()) {
            return Err(Undecodable("message_start has content, which belongs into blocks".to_owned()));
        }
    }
    if let Some(content) = fits(content, "content_block", &[Kind::Object])? {
        block(content)?;
    }
    if let Some(delta) = fits(delta, "delta", &[Kind::Object])? {
        unique(delta, ["type", "text", "thinking", "partial_json", "stop_reason"])?;
    }
    Ok(())
}

/// Checks a whole message.
pub(super) fn check_message(message: Value<'_>) -> Result<(), Undecodable> {
    object(message, "the answer")?;
    let [_, content, _] = unique(message, ["type", "content", "stop_reason"])?;
    fits(content, "content", &[Kind::Array])?.into_iter().flat_map(Value::items).try_for_each(block)
}

fn block(block: Value<'_>) -> Result<(), Undecodable> {
    object(block, "a content block")?;
    let [kind, text, thinking, id, name, ..] =
        unique(block, ["type", "text", "thinking", "id", "name", "input", "tool_use_id"])?;
    let Some(kind) = fits(kind, "type", &[Kind::String])?.and_then(Value::as_str) else {
        return Err(Undecodable("a content block has no type".to_owned()));
    };
    // Some readers look at the type without its case, or not at all.
    if kind.chars().any(|char| !(char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')) {
        return Err(Undecodable("the type of a content block is not a lower-case name".to_owned()));
    }
    for (key, value) in [("text", text), ("thinking", thinking), ("id", id), ("name", name)] {
        fits(value, key, &[Kind::String])?;
    }
    Ok(())
}
