//! Messages events of our own.

use serde_json::{Value, json};

use crate::{
    dialect::WireError,
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
    json!({
        "id": start.id,
        "type": "message",
        "role": "assistant",
        "model": start.model,
        "content": content,
        "stop_reason": stop.map(stop_word),
        "stop_sequence": null,
        "usage": {
            "input_tokens": start.usage.input.unwrap_or(0),
            "output_tokens": start.usage.output.unwrap_or(0),
        },
    })
}

/// A content block with this text; empty, as at its start, without.
pub(super) fn content_block(kind: &BlockKind, text: &str) -> Value {
    match kind {
        BlockKind::ToolCall { id, name } => {
            let input = serde_json::from_str(text).unwrap_or_else(|_| json!({}));
            json!({"type": "tool_use", "id": id, "name": name, "input": input})
        }
        // A made-up thinking block would have no signature, and the provider would refuse it on the next turn.
        BlockKind::Text
        | BlockKind::Refusal
        | BlockKind::Thinking
        | BlockKind::ServerTool { .. }
        | BlockKind::ServerResult { .. }
        | BlockKind::Other(_) => json!({"type": "text", "text": text}),
    }
}

pub(super) fn message_delta(reason: Option<&StopReason>, usage: &Usage) -> Value {
    json!({
        "type": "message_delta",
        "delta": {"stop_reason": reason.map(stop_word), "stop_sequence": null},
        "usage": {"output_tokens": usage.output.unwrap_or(0)},
    })
}

/// An error object, the same in a stream and in a body.
pub(crate) fn error_json(error: &WireError) -> Vec<u8> {
    json!({
        "type": "error",
        "error": {"type": error.kind, "message": error.message, "details": {"error_code": error.code}},
        "request_id": error.call,
    })
    .to_string()
    .into_bytes()
}
