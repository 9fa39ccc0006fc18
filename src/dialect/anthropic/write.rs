//! Messages events of our own.

use serde_json::{Value, json};

use crate::{
    dialect::WireError,
    json::{self, Patch},
    model::{BlockKind, Start, StopReason, Usage},
    wire::write_event,
};

use super::stop_word;

/// Writes an event with its name.
pub(super) fn event(data: &Value, out: &mut Vec<u8>) {
    let name = data.get("type").and_then(Value::as_str);
    write_event(name, data.to_string().as_bytes(), out);
}

pub(super) fn message_start(start: &Start) -> Value {
    json!({"type": "message_start", "message": message(start, &json!([]), None)})
}

/// A message object; also the whole body of an answer that is not streamed.
pub(super) fn message(start: &Start, content: &Value, stop: Option<&StopReason>) -> Value {
    let mut message = json!({
        "id": start.id,
        "type": "message",
        "role": "assistant",
        "model": start.model,
        "content": content,
        "stop_reason": stop.map(stop_word),
        "stop_sequence": null,
        "usage": usage(&Usage { input: start.usage.input.or(Some(0)), ..start.usage }),
    });
    add_details(&mut message, stop);
    message
}

/// A refusal comes with details; why, the content says.
fn add_details(holder: &mut Value, stop: Option<&StopReason>) {
    if let (Some(StopReason::Refused), Some(holder)) = (stop, holder.as_object_mut()) {
        let details = json!({"type": "refusal", "category": null, "explanation": null});
        holder.insert("stop_details".to_owned(), details);
    }
}

/// A whole content block with this text. The input of a call stays as it was written; what is no object is none.
pub(super) fn whole_block(kind: &BlockKind, text: &str) -> Vec<u8> {
    let mut block = content_block(kind, text).to_string().into_bytes();
    if kind.tool_name().is_some()
        && is_input(text)
        && let Ok(value) = json::Value::parse(&block.clone())
        && let Some(input) = value.get("input")
    {
        let mut patch = Patch::default();
        patch.replace(input.span(), text);
        block = patch.apply(&block);
    }
    block
}

/// Whether the arguments of a call can be an input.
pub(super) fn is_input(arguments: &str) -> bool {
    json::Value::parse(arguments.as_bytes()).is_ok_and(|value| value.kind() == json::Kind::Object)
}

/// A content block as at its start: with this text, and without a call's input.
pub(super) fn content_block(kind: &BlockKind, text: &str) -> Value {
    match kind {
        BlockKind::ToolCall { id, name } => json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
        // A made-up thinking block would have no signature, and the provider would refuse it on the next turn.
        BlockKind::Text
        | BlockKind::Refusal
        | BlockKind::Thinking
        | BlockKind::ServerTool { .. }
        | BlockKind::ServerResult { .. }
        | BlockKind::Other(_) => json!({"type": "text", "text": text}),
    }
}

/// Token counts. Those of a cache are no part of `input_tokens` here.
fn usage(usage: &Usage) -> Value {
    let mut counts = json!({"output_tokens": usage.output.unwrap_or(0)});
    let mut put = |key: &str, value: Option<Value>| {
        if let (Some(counts), Some(value)) = (counts.as_object_mut(), value) {
            counts.insert(key.to_owned(), value);
        }
    };
    let of_cache = usage.cached.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
    put("input_tokens", usage.input.map(|input| json!(input.saturating_sub(of_cache))));
    put("cache_read_input_tokens", usage.cached.map(Value::from));
    put("cache_creation_input_tokens", usage.cache_write.map(Value::from));
    put("output_tokens_details", usage.reasoning.map(|tokens| json!({"thinking_tokens": tokens})));
    counts
}

pub(super) fn message_delta(reason: Option<&StopReason>, usage: &Usage) -> Value {
    let mut delta = json!({"stop_reason": reason.map(stop_word), "stop_sequence": null});
    add_details(&mut delta, reason);
    json!({
        "type": "message_delta",
        "delta": delta,
        "usage": self::usage(usage),
    })
}

/// An error object, the same in a stream and in a body.
pub(crate) fn error_json(error: &WireError) -> Vec<u8> {
    let details = if error.code.is_empty() { Value::Null } else { json!({"error_code": error.code}) };
    json!({
        "type": "error",
        "error": {"type": error.kind, "message": error.message, "details": details},
        "request_id": error.call,
    })
    .to_string()
    .into_bytes()
}
