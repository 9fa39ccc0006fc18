//! Chat Completions chunks of our own.

use serde_json::{Value, json};

use crate::{
    dialect::WireError,
    json::{Text, quote},
    model::{Start, StopReason, Usage},
    wire::write_event,
};

use super::stop_word;

/// Writes one chunk about one choice. `delta` is JSON text.
pub(super) fn chunk(start: &Start, choice: u32, delta: &[u8], finish: Option<&StopReason>, out: &mut Vec<u8>) {
    let finish = finish.map_or(b"null".to_vec(), |reason| quote(stop_word(reason)));
    let mut data = head(start);
    data.extend_from_slice(format!(r#","choices":[{{"index":{choice},"delta":"#).as_bytes());
    data.extend_from_slice(delta);
    data.extend_from_slice(br#","logprobs":null,"finish_reason":"#);
    data.extend_from_slice(&finish);
    data.extend_from_slice(b"}]}");
    write_event(None, &data, out);
}

/// Writes the chunk that carries the token counts.
pub(super) fn usage_chunk(start: &Start, usage: &Usage, out: &mut Vec<u8>) {
    let mut data = head(start);
    data.extend_from_slice(br#","choices":[],"usage":"#);
    data.extend_from_slice(usage_json(usage).to_string().as_bytes());
    data.push(b'}');
    write_event(None, &data, out);
}

/// Token counts; what is not known is zero, as the dialect has no way to leave it out.
pub(super) fn usage_json(usage: &Usage) -> Value {
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

/// A delta of one string field. The text is escaped already and stays as it is.
pub(super) fn text_delta(key: &str, text: &Text) -> Vec<u8> {
    [b"{\"", key.as_bytes(), b"\":\"", &text.raw()[..], b"\"}"].concat()
}

/// A delta that begins a tool call.
pub(super) fn tool_start(index: u32, id: &str, name: &str) -> Vec<u8> {
    json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]})
        .to_string()
        .into_bytes()
}

/// A delta with more arguments of a tool call.
pub(super) fn tool_arguments(index: u32, text: &Text) -> Vec<u8> {
    [format!(r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":""#).as_bytes(), &text.raw()[..], b"\"}}]}"]
        .concat()
}

/// An error object, the same in a stream and in a body.
pub(crate) fn error_json(error: &WireError) -> Vec<u8> {
    json!({"error": {"message": error.message, "type": error.kind, "param": null, "code": error.code}})
        .to_string()
        .into_bytes()
}

fn head(start: &Start) -> Vec<u8> {
    let mut data = br#"{"id":"#.to_vec();
    data.extend_from_slice(&quote(if start.id.is_empty() { "chatcmpl-luthien" } else { &start.id }));
    data.extend_from_slice(br#","object":"chat.completion.chunk","created":"#);
    data.extend_from_slice(start.created.to_string().as_bytes());
    data.extend_from_slice(br#","model":"#);
    data.extend_from_slice(&quote(&start.model));
    data
}
