//! What OpenAI's two protocols share: HTTP answers, errors, the list of models.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use super::MODELS;
use super::play::Http;
use super::reply::text_of;

/// How both protocols answer.
pub(super) const HTTP: Http = Http { error, response };

/// What a request must have, read by both protocols: the JSON and the model's name.
pub(super) fn read(body: &[u8]) -> Result<(Value, String), String> {
    let request: Value =
        serde_json::from_slice(body).map_err(|_| "We could not parse the JSON body of your request.".to_owned())?;
    let model = request.get("model").and_then(Value::as_str).filter(|m| !m.is_empty());
    let model = model.ok_or("you must provide a model parameter")?.to_owned();
    Ok((request, model))
}

/// Whether a message is of `role`.
pub(super) fn is_of(message: &Value, role: &str) -> bool {
    message.get("role").and_then(Value::as_str) == Some(role)
}

/// The text of a message, empty if it has none.
pub(super) fn content(message: &Value) -> String {
    message.get("content").and_then(text_of).unwrap_or_default().to_owned()
}

/// `GET /v1/models`.
pub(super) fn models() -> Response {
    let data: Vec<Value> = MODELS
        .iter()
        .map(|id| json!({ "id": id, "object": "model", "created": 1_767_225_600, "owned_by": "luthien" }))
        .collect();
    json_response(StatusCode::OK, &json!({ "object": "list", "data": data }))
}

/// An error response.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    let mut response = json_response(status, &error_body(status, message));
    if matches!(status.as_u16(), 429 | 503) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The body of an error; its type follows from the status.
pub(super) fn error_body(status: StatusCode, message: &str) -> Value {
    let (kind, code) = match status.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        404 => ("invalid_request_error", Some("not_found")),
        429 => ("rate_limit_error", Some("rate_limit_exceeded")),
        400..=499 => ("invalid_request_error", None),
        _ => ("server_error", None),
    };
    json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
}

/// An event without a name.
pub(super) fn data(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}

/// A fresh identifier.
pub(super) fn id(prefix: &str) -> String {
    format!("{prefix}demo{}", Uuid::now_v7().simple())
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A JSON answer.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    response(status, "application/json", Body::from(body.to_string()))
}

/// An answer with the headers that the API adds.
fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(&id("req_")) {
        headers.insert("x-request-id", id);
    }
    response
}
