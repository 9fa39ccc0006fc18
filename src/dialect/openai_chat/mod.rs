//! OpenAI Chat Completions (`POST /v1/chat/completions`), and what compatible servers make of it.
//!
//! One chunk can say several things: a role, text, fragments of several tool calls, the reason of the end. [`parts`] lists
//! them in a fixed order, and a part's position is its slot, so that reading and patching agree on what is where.
//! `tool_calls[].index` is dense from 0 in each choice; id, name and role are said once.

mod body;
pub(super) mod conversation;
mod decode;
mod encode;
mod parts;
mod request;
mod shape;
mod write;

use crate::{json::Value, model::StopReason};

pub(super) use body::{decode_body, patch_body, whole};
pub(super) use decode::StreamDecoder;
pub(super) use encode::StreamEncoder;
pub(super) use request::request;
pub(super) use write::error_json;

/// Whether a policy can judge a completion.
pub(super) fn check_body(value: Value<'_>) -> Result<(), super::Undecodable> {
    shape::check(value, "message")
}

/// The number of the block of the deprecated `function_call`, which has none on the wire.
const FUNCTION: u32 = u32::MAX;

fn stop_reason(value: Value<'_>) -> Option<StopReason> {
    value.as_str().map(|reason| match &*reason {
        "stop" => StopReason::EndTurn,
        "tool_calls" | "function_call" => StopReason::ToolUse,
        "length" => StopReason::Unfinished,
        "content_filter" => StopReason::Refused,
        // Routers say it where they lost the server behind them.
        "error" => StopReason::Failed,
        other => StopReason::Other(other.to_owned()),
    })
}

fn stop_word(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::ToolUse => "tool_calls",
        StopReason::Unfinished => "length",
        StopReason::Refused => "content_filter",
        // Another dialect's word says nothing here.
        StopReason::EndTurn | StopReason::Failed | StopReason::Other(_) => "stop",
    }
}
