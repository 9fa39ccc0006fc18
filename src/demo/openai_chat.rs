//! OpenAI Chat Completions, as the API sends it: <https://platform.openai.com/docs/api-reference/chat-streaming>.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::openai::{self, HTTP, content, data, error, error_body, id, is_of, now};
use super::play::Parts;
use super::reply::{Tool, by_chars, tokens};
use super::{Ask, Reply};

/// The API's limit for `n`.
const MOST_CHOICES: u64 = 128;

/// What only this dialect asks for.
struct Wish {
    ask: Ask,
    /// How many choices.
    n: u64,
    /// Whether a stream ends with the usage.
    include_usage: bool,
}

/// `POST /v1/chat/completions`.
pub(super) async fn completions(body: Bytes) -> Response {
    let wish = match read(&body) {
        Ok(wish) => wish,
        Err(message) => return error(StatusCode::BAD_REQUEST, &message),
    };
    let stream = |reply: &Reply| {
        let failure = error_body(StatusCode::INTERNAL_SERVER_ERROR, "the prompt asked for an error");
        // Without the finish chunk, the usage and `[DONE]`.
        let terminal = usize::try_from(wish.n).unwrap_or(1) + 1 + usize::from(wish.include_usage);
        Parts { frames: chunks(&wish, reply), terminal, error: data(&failure) }
    };
    HTTP.answer(&wish.ask, stream, |reply| completion(&wish, reply))
}

fn read(body: &[u8]) -> Result<Wish, String> {
    let (request, model) = openai::read(body)?;
    let messages = request.get("messages").and_then(Value::as_array).filter(|list| !list.is_empty());
    let messages = messages.ok_or("Missing required parameter: 'messages'.")?;
    let n = request.get("n").and_then(Value::as_u64).unwrap_or(1);
    if !(1..=MOST_CHOICES).contains(&n) {
        return Err(format!("Invalid 'n': expected a value from 1 to {MOST_CHOICES}, but got {n}."));
    }
    let user = messages.iter().rfind(|message| is_of(message, "user"));
    let tool = messages.last().filter(|message| is_of(message, "tool"));
    let function = |tool: &Value| {
        let function = tool.get("function")?;
        Tool::of_schema(function, function.get("parameters").unwrap_or(&Value::Null))
    };
    let ask = Ask {
        model,
        stream: request.get("stream").and_then(Value::as_bool).unwrap_or(false),
        prompt: user.map(content).unwrap_or_default(),
        tool_result: tool.map(content),
        tools: request.get("tools").and_then(Value::as_array).into_iter().flatten().filter_map(function).collect(),
        thinking: false,
        tokens: tokens(body.len()),
    };
    let include_usage = request.pointer("/stream_options/include_usage").and_then(Value::as_bool).unwrap_or(false);
    Ok(Wish { ask, n, include_usage })
}

fn usage(wish: &Wish, reply: &Reply) -> Value {
    let input = wish.ask.tokens;
    let output = reply.tokens() * usize::try_from(wish.n).unwrap_or(1);
    json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input + output,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

fn finish_reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "stop" } else { "tool_calls" }
}

/// The body of an answer that is not streamed.
fn completion(wish: &Wish, reply: &Reply) -> Value {
    let choice = |index: u64| {
        let mut message = json!({ "role": "assistant", "content": null, "refusal": null, "annotations": [] });
        let calls: Vec<Value> = reply
            .calls
            .iter()
            .map(|call| {
                let function = json!({ "name": call.name, "arguments": call.input.to_string() });
                json!({ "id": id("call_"), "type": "function", "function": function })
            })
            .collect();
        if let Some(fields) = message.as_object_mut() {
            if calls.is_empty() {
                fields.insert("content".to_owned(), json!(reply.whole_text()));
            } else {
                fields.insert("tool_calls".to_owned(), json!(calls));
            }
        }
        json!({ "index": index, "message": message, "logprobs": null, "finish_reason": finish_reason(reply) })
    };
    json!({
        "id": id("chatcmpl-"),
        "object": "chat.completion",
        "created": now(),
        "model": wish.ask.model,
        "choices": (0..wish.n).map(choice).collect::<Vec<_>>(),
        "usage": usage(wish, reply),
        "service_tier": "default",
        "system_fingerprint": "fp_demo",
    })
}

/// The chunks of a streamed answer, `[DONE]` last. The choices take turns, as those of the API do.
fn chunks(wish: &Wish, reply: &Reply) -> Vec<Bytes> {
    let (id, created) = (id("chatcmpl-"), now());
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": created, "model": wish.ask.model,
            "service_tier": "default", "system_fingerprint": "fp_demo", "choices": choices,
        });
        // Only a request for the usage puts the field into every chunk.
        if wish.include_usage
            && let Some(fields) = chunk.as_object_mut()
        {
            fields.insert("usage".to_owned(), usage.unwrap_or_default());
        }
        data(&chunk)
    };
    let finish = finish_reason(reply);
    let steps = deltas(reply).into_iter().map(|delta| (delta, Value::Null)).chain([(json!({}), json!(finish))]);
    let mut frames: Vec<Bytes> = steps
        .flat_map(|(delta, finish)| (0..wish.n).map(move |index| (index, delta.clone(), finish.clone())))
        .map(|(index, delta, finish)| {
            chunk(json!([{ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish }]), None)
        })
        .collect();
    if wish.include_usage {
        frames.push(chunk(json!([]), Some(usage(wish, reply))));
    }
    frames.push(Bytes::from_static(b"data: [DONE]\n\n"));
    frames
}

/// The deltas of one choice, without the finish.
fn deltas(reply: &Reply) -> Vec<Value> {
    if reply.calls.is_empty() {
        let first = json!({ "role": "assistant", "content": "", "refusal": null });
        return std::iter::once(first).chain(reply.text.iter().map(|text| json!({ "content": text }))).collect();
    }
    let mut deltas = vec![json!({ "role": "assistant", "content": null })];
    for (index, call) in reply.calls.iter().enumerate() {
        let function = json!({ "name": call.name, "arguments": "" });
        let head = json!({ "index": index, "id": id("call_"), "type": "function", "function": function });
        let fragments = by_chars(&call.input.to_string()).into_iter();
        let fragments = fragments.map(|text| json!({ "index": index, "function": { "arguments": text } }));
        deltas.extend(std::iter::once(head).chain(fragments).map(|call| json!({ "tool_calls": [call] })));
    }
    deltas
}
