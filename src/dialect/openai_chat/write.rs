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
    let mut counts =
        json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input.saturating_add(output)});
    if let Some(counts) = counts.as_object_mut() {
        let mut read = serde_json::Map::new();
        read.extend(usage.cached.map(|tokens| ("cached_tokens".to_owned(), tokens.into())));
        read.extend(usage.cache_write.map(|tokens| ("cache_write_tokens".to_owned(), tokens.into())));
        if !read.is_empty() {
            counts.insert("prompt_tokens_details".to_owned(), read.into());
        }
        if let Some(tokens) = usage.reasoning {
            counts.insert("completion_tokens_details".to_owned(), json!({"reasoning_tokens": tokens}));
        }
    }
    counts
}

/// A delta of one string field. The text is escaped already and stays as it is.
pub(super) fn text_delta(key: &str, text: &Text) -> Vec<u8> {
    [b"{\"", key.as_bytes(), b"\":\"", &text.raw()[..], b"\"}"].concat()
}

/// A delta that begins a tool call.
pub(super) fn tool_start(index: u32, id: &str, name: &str, custom: bool) -> Vec<u8> {
    if custom {
        let call = json!({"index": index, "id": id, "type": "custom", "custom": {"name": name, "input": ""}});
        return json!({"tool_calls": [call]}).to_string().into_bytes();
    }
    json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]})
        .to_string()
        .into_bytes()
}

/// A delta with more arguments of a tool call.
pub(super) fn tool_arguments(index: u32, text: &Text, custom: bool) -> Vec<u8> {
    let (form, key) = if custom { ("custom", "input") } else { ("function", "arguments") };
    let begin = format!(r#"{{"tool_calls":[{{"index":{index},"{form}":{{"{key}":""#);
    [begin.as_bytes(), &text.raw()[..], b"\"}}]}"].concat()
}

/// An error object, the same in a stream and in a body.
pub(crate) fn error_json(error: &WireError) -> Vec<u8> {
    let code = (!error.code.is_empty()).then_some(&error.code);
    json!({"error": {"message": error.message, "type": error.kind, "param": null, "code": code}})
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
