//! The demo provider: an LLM provider without a model, to try Luthien without a key and to test it without a network.
//!
//! It speaks the OpenAI and Anthropic protocols as the real ones do on the wire (streams, tools, thinking, errors) and
//! misbehaves on demand. Words in the last user message choose what happens; case does not matter, and only whole words
//! count:
//!
//! | word | what happens |
//! |---|---|
//! | `think` | thinking before the answer (not in Chat Completions; also when an Anthropic request enables it) |
//! | `tool`, `tools` | a call of the tool of the request that runs shell commands, or of its first |
//! | `parallel` | a call of every tool, or two of the only one |
//! | `secret` | the text holds `sk-live-ABCDEF0123`, cut over several deltas |
//! | `long` | some hundred lines |
//! | `slow` | 100 ms between two events |
//! | `stall` | half of the answer, then silence |
//! | `truncate` | the answer ends cleanly, without its terminal event |
//! | `reset` | half of the answer, then the connection is dropped |
//! | `error` | half of the answer, then the protocol's error event (not streaming: HTTP 500) |
//! | `error 429` | an HTTP error with that status, 400 to 599, with `retry-after` where it belongs |
//!
//! Anything else is answered with a friendly echo. Nothing here knows Luthien: no header of ours, no policy.
//!
//! A dialect is one file, which reads the request into an `Ask` and writes a `Reply`: `anthropic`, `openai_chat`,
//! `openai_responses`.

mod anthropic;
mod openai;
mod openai_chat;
mod openai_responses;
mod play;
mod reply;
mod schema;
mod script;

use std::io;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use reply::{Ask, Reply};

/// As large as Anthropic's own limit for a request. Luthien's is smaller, so that it is Luthien's that is met.
const BODY_LIMIT: usize = 64 << 20;

/// Model names for `/v1/models`. Any other name is answered as well.
const MODELS: [&str; 3] = ["demo", "claude-demo", "gpt-demo"];

/// Serves until the future is dropped; see `axum::serve` for when it returns.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    axum::serve(listener, router()).await
}

/// What to type to make something happen, as a table for a terminal.
pub fn words_table() -> String {
    script::WORDS
        .iter()
        .map(|(word, effect)| ["  ", word, &" ".repeat(12_usize.saturating_sub(word.len())), effect, "\n"].concat())
        .collect()
}

fn router() -> Router {
    Router::new()
        .route("/v1/messages", post(anthropic::messages))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route("/v1/chat/completions", post(openai_chat::completions))
        .route("/v1/responses", post(openai_responses::responses))
        .route("/v1/models", get(models))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// The list of models. Both vendors have it at the same path; Anthropic's SDKs always send their version.
async fn models(headers: HeaderMap) -> Response {
    if is_anthropic(&headers, "") { anthropic::models() } else { openai::models() }
}

async fn unknown(uri: Uri, headers: HeaderMap, _: Bytes) -> Response {
    let message = format!("the demo provider does not know {}", uri.path());
    refuse(uri.path(), &headers, StatusCode::NOT_FOUND, &message)
}

async fn wrong_method(uri: Uri, headers: HeaderMap, _: Bytes) -> Response {
    refuse(uri.path(), &headers, StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
}

fn refuse(path: &str, headers: &HeaderMap, status: StatusCode, message: &str) -> Response {
    if is_anthropic(headers, path) { anthropic::error(status, message) } else { openai::error(status, message) }
}

fn is_anthropic(headers: &HeaderMap, path: &str) -> bool {
    path.starts_with("/v1/messages") || headers.contains_key("anthropic-version")
}

#[cfg(test)]
mod tests;
