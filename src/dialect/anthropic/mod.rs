//! Anthropic Messages (`POST /v1/messages`).
//!
//! Block indices are dense from 0 and one block is open at a time; a client stops reading at a gap. `stop_reason` says
//! `tool_use` exactly when a tool is to be run.

mod body;
pub(super) mod conversation;
mod decode;
mod encode;
mod request;
mod shape;
mod write;

use bytes::Bytes;

use crate::{
    json::{Text, Value},
    model::{BlockKind, StopReason},
};

pub(super) use body::{can_be_whole, decode_body, patch_body, whole};
pub(super) use decode::StreamDecoder;
pub(super) use encode::StreamEncoder;
pub(super) use request::request;
pub(super) use write::error_json;

/// Whether a policy can judge a message.
pub(super) fn check_body(value: Value<'_>) -> Result<(), super::Undecodable> {
    shape::check_message(value)
}

/// What a content block is.
fn block_kind(block: Value<'_>) -> BlockKind {
    let text = |key: &str| block.str_at(key).unwrap_or_default().into_owned();
    match block.str_at("type").as_deref() {
        Some("text") => BlockKind::Text,
        Some("thinking" | "redacted_thinking") => BlockKind::Thinking,
        Some("tool_use") => BlockKind::ToolCall { id: text("id"), name: text("name") },
        Some("server_tool_use" | "mcp_tool_use") => BlockKind::ServerTool { id: text("id"), name: text("name") },
        _ if block.some("tool_use_id").is_some() => BlockKind::ServerResult { answers: text("tool_use_id") },
        other => BlockKind::Other(other.unwrap_or_default().to_owned()),
    }
}

/// The member of a content block that holds its text, when it came whole.
fn text_key(kind: &BlockKind) -> Option<&'static str> {
    match kind {
        // A kind that nobody here knows may have text as well, which readers show.
        BlockKind::Text | BlockKind::Other(_) => Some("text"),
        BlockKind::Thinking => Some("thinking"),
        BlockKind::ToolCall { .. } | BlockKind::ServerTool { .. } => Some("input"),
        BlockKind::Refusal | BlockKind::ServerResult { .. } => None,
    }
}

fn stop_reason(value: Value<'_>) -> Option<StopReason> {
    value.as_str().map(|reason| match &*reason {
        "end_turn" => StopReason::EndTurn,
        "tool_use" => StopReason::ToolUse,
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" | "compaction" => StopReason::Unfinished,
        "refusal" => StopReason::Refused,
        other => StopReason::Other(other.to_owned()),
    })
}

/// What the provider says about its refusal. `holder` has the reason of the end.
fn explanation(holder: Value<'_>, data: &Bytes) -> Option<Text> {
    holder.some("stop_details")?.some("explanation")?.text_in(data).filter(|text| !text.is_empty())
}

fn stop_word(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::ToolUse => "tool_use",
        StopReason::Unfinished => "max_tokens",
        StopReason::Refused => "refusal",
        // Another dialect's word says nothing here.
        StopReason::EndTurn | StopReason::Failed | StopReason::Other(_) => "end_turn",
    }
}
