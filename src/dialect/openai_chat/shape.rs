//! What a chunk or a completion must look like for a policy to judge it.

use crate::{
    dialect::{
        Undecodable,
        shape::{fits, member, object, unique},
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
    let [choices, error] = unique(value, ["choices", "error"])?;
    let choices = fits(choices, "choices", &[Kind::Array])?;
    // Some servers say why an answer failed in the chunk that ends it.
    let answers = || parts(value, holder).iter().any(|part| !matches!(part.what, What::Finish { .. }));
    if error.is_some_and(says_error) && answers() {
        return Err(Undecodable("an error and an answer stand in one object".to_owned()));
    }
    for item in choices.into_iter().flat_map(Value::items) {
        choice(item, holder)?;
    }
    Ok(())
}

fn choice(choice: Value<'_>, holder: &str) -> Result<(), Undecodable> {
    object(choice, "a choice")?;
    let [index, delta, message, text, reason] = unique(choice, ["index", "delta", "message", "text", "finish_reason"])?;
    if index.is_some_and(|index| index.as_u64().is_none()) {
        return Err(Undecodable("the `index` of a choice is not a whole number".to_owned()));
    }
    // Some servers repeat in other keys what `delta` says; nobody reads it there, unless it stands alone.
    let (said, other, others) = if holder == "delta" { (delta, message, "message") } else { (message, delta, "delta") };
    let said = fits(said, holder, &[Kind::Object]);
    if matches!(said, Ok(None)) {
        fits(other, others, &[])?;
        fits(text, "text", &[])?;
    }
    fits(reason, "finish_reason", &[Kind::String])?;
    let Some(said) = said? else { return Ok(()) };
    let keys = ["content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call"];
    let [content, refusal, reasoning_content, reasoning, calls, function] = unique(said, keys)?;
    fits(refusal, "refusal", &[Kind::String])?;
    fits(reasoning_content, "reasoning_content", &[Kind::String])?;
    fits(reasoning, "reasoning", &[Kind::String])?;
    for item in fits(content, "content", &[Kind::String, Kind::Array])?.into_iter().flat_map(Value::items) {
        object(item, "an item of `content`")?;
        let [_, text, thinking] = unique(item, ["type", "text", "thinking"])?;
        fits(text, "text", &[Kind::String])?;
        for inner in fits(thinking, "thinking", &[Kind::String, Kind::Array])?.into_iter().flat_map(Value::items) {
            object(inner, "an item of `thinking`")?;
            member(inner, "text", &[Kind::String])?;
        }
    }
    for entry in fits(calls, "tool_calls", &[Kind::Array])?.into_iter().flat_map(Value::items) {
        object(entry, "a tool call")?;
        let [_, _, function, custom] = unique(entry, ["index", "id", "function", "custom"])?;
        let function = fits(function, "function", &[Kind::Object])?;
        let custom = fits(custom, "custom", &[Kind::Object])?;
        if function.is_some() && custom.is_some() {
            return Err(Undecodable("a tool call is of two kinds at once".to_owned()));
        }
        function.or(custom).map_or(Ok(()), call)?;
    }
    fits(function, "function_call", &[Kind::Object])?.map_or(Ok(()), call)
}

fn call(call: Value<'_>) -> Result<(), Undecodable> {
    let keys = ["name", "arguments", "input"];
    let said = unique(call, keys)?;
    keys.into_iter().zip(said).try_for_each(|(key, value)| fits(value, key, &[Kind::String]).map(|_| ()))
}
