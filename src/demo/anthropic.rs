//! Anthropic Messages, as the API sends it: <https://platform.claude.com/docs/en/build-with-claude/streaming>.

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use super::play::{Http, Parts};
use super::reply::{Tool, by_chars, by_word, text_of, tokens};
use super::{Ask, MODELS, Reply};

const HTTP: Http = Http { error, response };

/// `POST /v1/messages`.
pub(super) async fn messages(body: Bytes) -> Response {
    let ask = match read(&body, true) {
        Ok(ask) => ask,
        Err(message) => return error(StatusCode::BAD_REQUEST, &message),
    };
    let stream = |reply: &Reply| {
        let error = event(&error_body(StatusCode::INTERNAL_SERVER_ERROR, "the prompt asked for an error", ""));
        Parts { frames: events(&ask, reply), terminal: 1, error }
    };
    HTTP.answer(&ask, stream, |reply| message(&ask, reply))
}

/// `POST /v1/messages/count_tokens`.
pub(super) async fn count_tokens(body: Bytes) -> Response {
    match read(&body, false) {
        Ok(ask) => json_response(StatusCode::OK, &json!({ "input_tokens": ask.tokens })),
        Err(message) => error(StatusCode::BAD_REQUEST, &message),
    }
}

/// `GET /v1/models`.
pub(super) fn models() -> Response {
    let data: Vec<Value> = MODELS
        .iter()
        .map(|id| json!({ "type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z" }))
        .collect();
    let (first, last) = (MODELS.first(), MODELS.last());
    json_response(StatusCode::OK, &json!({ "data": data, "has_more": false, "first_id": first, "last_id": last }))
}

/// An error response.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    let id = request_id();
    let mut response = json_response(status, &error_body(status, message, &id));
    if matches!(status.as_u16(), 429 | 503 | 529) {
        response.headers_mut().insert(header::RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
    }
    response
}

/// The type of an error follows from its status; the table is Anthropic's.
fn error_body(status: StatusCode, message: &str, request_id: &str) -> Value {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    let mut body = json!({ "type": "error", "error": { "type": kind, "message": message } });
    if !request_id.is_empty()
        && let Some(fields) = body.as_object_mut()
    {
        fields.insert("request_id".to_owned(), json!(request_id));
    }
    body
}

fn read(body: &[u8], to_answer: bool) -> Result<Ask, String> {
    let request: Value = serde_json::from_slice(body).map_err(|_| "The request body is not valid JSON".to_owned())?;
    let model =
        request.get("model").and_then(Value::as_str).filter(|m| !m.is_empty()).ok_or("model: Field required")?;
    let messages = request.get("messages").and_then(Value::as_array).ok_or("messages: Field required")?;
    if messages.is_empty() {
        return Err("messages: at least one message is required".to_owned());
    }
    if to_answer && request.get("max_tokens").and_then(Value::as_u64).is_none() {
        return Err("max_tokens: Field required".to_owned());
    }
    let last = messages.iter().rfind(|m| m.get("role").and_then(Value::as_str) == Some("user"));
    let content = last.and_then(|message| message.get("content")).unwrap_or(&Value::Null);
    let parts = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let result = parts.iter().rfind(|part| part.get("type").and_then(Value::as_str) == Some("tool_result"));
    let tool = |tool: &Value| Tool::of_schema(tool, tool.get("input_schema")?);
    let thinking = request.pointer("/thinking/type").and_then(Value::as_str);
    Ok(Ask {
        model: model.to_owned(),
        stream: request.get("stream").and_then(Value::as_bool).unwrap_or(false),
        prompt: text_of(content).unwrap_or_default().to_owned(),
        tool_result: result.map(|part| part.get("content").and_then(text_of).unwrap_or_default().to_owned()),
        tools: request.get("tools").and_then(Value::as_array).into_iter().flatten().filter_map(tool).collect(),
        thinking: matches!(thinking, Some("enabled" | "adaptive")),
        tokens: tokens(body.len()),
    })
}

/// A signature is opaque to everybody but the API.
const SIGNATURE: &str = "ZGVtbyBzaWduYXR1cmUsIG5vdCB2YWxpZCBhbnl3aGVyZSBlbHNl";

fn usage(ask: &Ask, output: usize) -> Value {
    json!({
        "input_tokens": ask.tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output,
        "service_tier": "standard",
    })
}

fn stop_reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "end_turn" } else { "tool_use" }
}

/// The body of an answer that is not streamed.
fn message(ask: &Ask, reply: &Reply) -> Value {
    let thinking =
        reply.thinking.iter().map(|text| json!({ "type": "thinking", "thinking": text, "signature": SIGNATURE }));
    let text = std::iter::once(json!({ "type": "text", "text": reply.whole_text() }));
    let calls = reply
        .calls
        .iter()
        .map(|call| json!({ "type": "tool_use", "id": id("toolu"), "name": call.name, "input": call.input }));
    json!({
        "id": id("msg"),
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": thinking.chain(text).chain(calls).collect::<Vec<_>>(),
        "stop_reason": stop_reason(reply),
        "stop_sequence": null,
        "usage": usage(ask, reply.tokens()),
    })
}

/// The events of a streamed answer; the last is the terminal one.
fn events(ask: &Ask, reply: &Reply) -> Vec<Bytes> {
    let mut events = Events { frames: Vec::new(), index: 0 };
    events.push(&json!({ "type": "message_start", "message": {
        "id": id("msg"), "type": "message", "role": "assistant", "model": ask.model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage(ask, 1),
    } }));
    events.push(&json!({ "type": "ping" }));
    if let Some(thinking) = &reply.thinking {
        let head = json!({ "type": "thinking", "thinking": "", "signature": "" });
        let deltas = by_word(thinking).into_iter().map(|text| json!({ "type": "thinking_delta", "thinking": text }));
        let signature = json!({ "type": "signature_delta", "signature": SIGNATURE });
        events.block(&head, deltas.chain([signature]));
    }
    let deltas = reply.text.iter().map(|text| json!({ "type": "text_delta", "text": text }));
    events.block(&json!({ "type": "text", "text": "" }), deltas);
    for call in &reply.calls {
        let head = json!({ "type": "tool_use", "id": id("toolu"), "name": call.name, "input": {} });
        // The API begins the arguments with an empty fragment.
        let fragments = std::iter::once(String::new()).chain(by_chars(&call.input.to_string()));
        events.block(&head, fragments.map(|json| json!({ "type": "input_json_delta", "partial_json": json })));
    }
    events.push(&json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(reply), "stop_sequence": null },
        "usage": { "output_tokens": reply.tokens() },
    }));
    events.push(&json!({ "type": "message_stop" }));
    events.frames
}

struct Events {
    frames: Vec<Bytes>,
    index: usize,
}

impl Events {
    fn push(&mut self, data: &Value) {
        self.frames.push(event(data));
    }

    fn block(&mut self, head: &Value, deltas: impl Iterator<Item = Value>) {
        let index = self.index;
        self.push(&json!({ "type": "content_block_start", "index": index, "content_block": head }));
        for delta in deltas {
            self.push(&json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        }
        self.push(&json!({ "type": "content_block_stop", "index": index }));
        self.index += 1;
    }
}

/// One server-sent event, named as its data's `type`.
fn event(data: &Value) -> Bytes {
    let name = data.get("type").and_then(Value::as_str).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

fn id(prefix: &str) -> String {
    format!("{prefix}_demo{}", Uuid::now_v7().simple())
}

fn request_id() -> String {
    id("req")
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    response(status, "application/json", Body::from(body.to_string()))
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, axum::http::HeaderValue::from_static(content_type));
    if let Ok(id) = axum::http::HeaderValue::from_str(&request_id()) {
        headers.insert("request-id", id);
    }
    response
}
