//! Errors that providers report, read from one dialect and told in another.
//!
//! Sources: the providers' tables of errors, and what their SDKs make of each status.

use crate::{
    json::{Kind, Value},
    model::{Dialect, ErrorKind, ProviderError},
};

use super::errors::WireError;

/// How one kind of error is called: its status, and its words in the two families of dialects.
struct Words {
    kind: ErrorKind,
    status: u16,
    anthropic: &'static str,
    openai: (&'static str, &'static str),
}

const WORDS: [Words; 10] = [
    words(ErrorKind::BadRequest, 400, "invalid_request_error", ("invalid_request_error", "")),
    words(ErrorKind::Authentication, 401, "authentication_error", ("invalid_request_error", "invalid_api_key")),
    words(ErrorKind::Billing, 402, "billing_error", ("insufficient_quota", "insufficient_quota")),
    words(ErrorKind::Permission, 403, "permission_error", ("permission_error", "permission_denied")),
    words(ErrorKind::NotFound, 404, "not_found_error", ("invalid_request_error", "model_not_found")),
    words(ErrorKind::TooLarge, 413, "request_too_large", ("invalid_request_error", "request_too_large")),
    words(ErrorKind::RateLimit, 429, "rate_limit_error", ("rate_limit_error", "rate_limit_exceeded")),
    words(ErrorKind::Server, 500, "api_error", ("server_error", "server_error")),
    words(ErrorKind::Timeout, 504, "timeout_error", ("server_error", "timeout")),
    words(ErrorKind::Overloaded, 529, "overloaded_error", ("server_error", "server_is_overloaded")),
];

const fn words(kind: ErrorKind, status: u16, anthropic: &'static str, openai: (&'static str, &'static str)) -> Words {
    Words { kind, status, anthropic, openai }
}

/// The longest piece of an error's text that is no JSON which is passed on, in characters.
const LONGEST_TEXT: usize = 500;

/// Reads an error object: what stands under `error`, or the object itself.
pub(super) fn read(error: Value<'_>) -> ProviderError {
    if error.kind() == Kind::String {
        return ProviderError { kind: ErrorKind::Server, code: None, message: text(error) };
    }
    let word = |key: &str| error.str_at(key).map(std::borrow::Cow::into_owned);
    let details = error.get("details").and_then(|details| details.str_at("error_code"));
    let code = word("code").or(details.map(std::borrow::Cow::into_owned)).filter(|code| !code.is_empty());
    let kind = code.as_deref().and_then(kind_of_word).or_else(|| kind_of_word(&word("type")?));
    let message = word("message").unwrap_or_default();
    ProviderError { kind: kind.unwrap_or_default(), code, message }
}

/// Reads an error of whatever form, from the whole body of an answer with an error `status`. What is no JSON is quoted.
pub(super) fn read_body(status: u16, body: &[u8]) -> ProviderError {
    let mut error = match Value::parse(body) {
        Ok(value) => read(value.some("error").unwrap_or(value)),
        Err(_) => ProviderError { kind: ErrorKind::Server, code: None, message: String::new() },
    };
    // What is no text, such as a compressed body, says nothing to a reader.
    if let Ok(text) = std::str::from_utf8(body)
        && error.message.is_empty()
    {
        error.message = text.trim().chars().take(LONGEST_TEXT).collect();
    }
    if error.message.is_empty() {
        error.message = format!("the provider answered with status {status} and said no more");
    }
    error.kind = kind_of_status(status);
    error
}

/// The error in the words of a client's dialect.
pub(super) fn told(dialect: Dialect, error: &ProviderError, call: &str) -> WireError {
    let Words { anthropic, openai, .. } = WORDS.iter().find(|words| words.kind == error.kind).unwrap_or(&FALLBACK);
    let is_context = error.code.as_deref() == Some("context_length_exceeded");
    let mut message = error.message.clone();
    let (kind, code) = match dialect {
        Dialect::AnthropicMessages => (*anthropic, None),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => (openai.0, Some(openai.1)),
    };
    // Agents look for these words before they make room.
    if is_context && dialect == Dialect::AnthropicMessages && !message.starts_with("prompt is too long") {
        message = format!("prompt is too long: {message}");
    }
    let is_long = message.starts_with("prompt is too long") && error.kind == ErrorKind::BadRequest;
    let code = match code {
        Some(_) if is_long => "context_length_exceeded".to_owned(),
        Some(code) => error.code.clone().unwrap_or_else(|| code.to_owned()),
        None => error.code.clone().unwrap_or_default(),
    };
    WireError { message, kind, code, call: call.to_owned() }
}

const FALLBACK: Words = words(ErrorKind::Server, 500, "api_error", ("server_error", "server_error"));

fn kind_of_word(word: &str) -> Option<ErrorKind> {
    let known = WORDS.iter().find(|words| !word.is_empty() && (words.anthropic == word || words.openai.1 == word));
    known.map(|words| words.kind).or(match word {
        "invalid_request_error" | "context_length_exceeded" | "invalid_prompt" => Some(ErrorKind::BadRequest),
        "rate_limit_error" | "tokens" | "requests" => Some(ErrorKind::RateLimit),
        "server_error" => Some(ErrorKind::Server),
        _ => None,
    })
}

fn kind_of_status(status: u16) -> ErrorKind {
    let known = WORDS.iter().find(|words| words.status == status).map(|words| words.kind);
    known.unwrap_or(match status {
        503 => ErrorKind::Overloaded,
        408 => ErrorKind::Timeout,
        400..500 => ErrorKind::BadRequest,
        _ => ErrorKind::Server,
    })
}

fn text(value: Value<'_>) -> String {
    value.as_str().unwrap_or_default().into_owned()
}
