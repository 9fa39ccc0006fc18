//! What a chunk or a completion must look like for a policy to judge it.

use crate::{
    dialect::{
        Undecodable,
        shape::{absent, member, object, unique},
    },
    json::{Kind, Value},
};

use super::{
    decode::says_error,
    parts::{What, parts},
};

/// Checks a chunk (`holder` is `delta`) or a completion (`holder` is `message`).
pub(super) fn check(value: Value<'_>, holder: &str) -> Result<(), Undecodable> {
    object(value, "an event of the stream")?;
    unique(value, &["choices", "error"])?;
    let choices = member(value, "choices", &[Kind::Array])?;
    // Some servers say why an answer failed in the chunk that ends it.
    let answers = || parts(value, holder).iter().any(|part| !matches!(part.what, What::Finish { .. }));
    if says_error(value) && answers() {
        return Err(Undecodable("an error and an answer stand in one object".to_owned()));
    }
    for item in choices.into_iter().flat_map(Value::items) {
        choice(item, holder)?;
    }
    Ok(())
}

fn choice(choice: Value<'_>, holder: &str) -> Result<(), Undecodable> {
    object(choice, "a choice")?;
    unique(choice, &["index", "delta", "message", "text", "finish_reason"])?;
    if choice.get("index").is_some_and(|index| index.as_u64().is_none()) {
        return Err(Undecodable("the `index` of a choice is not a whole number".to_owned()));
    }
    // Some servers repeat in other keys what `delta` says; nobody reads it there, unless it stands alone.
    let others = if holder == "delta" { ["message", "text"] } else { ["delta", "text"] };
    if choice.some(holder).is_none() {
        others.iter().try_for_each(|key| absent(choice, key))?;
    }
    member(choice, "finish_reason", &[Kind::String])?;
    let Some(said) = member(choice, holder, &[Kind::Object])? else { return Ok(()) };
    unique(said, &["content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call"])?;
    for key in ["refusal", "reasoning_content", "reasoning"] {
        member(said, key, &[Kind::String])?;
    }
    for item in member(said, "content", &[Kind::String, Kind::Array])?.into_iter().flat_map(Value::items) {
        object(item, "an item of `content`")?;
        unique(item, &["type", "text", "thinking"])?;
        member(item, "text", &[Kind::String])?;
        for inner in member(item, "thinking", &[Kind::String, Kind::Array])?.into_iter().flat_map(Value::items) {
            object(inner, "an item of `thinking`")?;
            member(inner, "text", &[Kind::String])?;
        }
    }
    for entry in member(said, "tool_calls", &[Kind::Array])?.into_iter().flat_map(Value::items) {
        object(entry, "a tool call")?;
        unique(entry, &["index", "id", "function", "custom"])?;
        let function = member(entry, "function", &[Kind::Object])?;
        let custom = member(entry, "custom", &[Kind::Object])?;
        if function.is_some() && custom.is_some() {
            return Err(Undecodable("a tool call is of two kinds at once".to_owned()));
        }
        function.or(custom).map_or(Ok(()), call)?;
    }
    member(said, "function_call", &[Kind::Object])?.map_or(Ok(()), call)
}

fn call(call: Value<'_>) -> Result<(), Undecodable> {
    unique(call, &["name", "arguments", "input"])?;
    for key in ["name", "arguments", "input"] {
        member(call, key, &[Kind::String])?;
    }
    Ok(())
}
