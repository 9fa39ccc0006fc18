//! OpenAI Responses (`POST /v1/responses`).
//!
//! An answer is a list of items, and each item is one block. The same text is said up to five times: in deltas, at the end of
//! the text, of its part and of its item, and in the response object at the end. Policies decide on the deltas, and
//! [`ledger`] remembers what has left, so that every repetition says the same.

mod body;
pub(super) mod conversation;
mod decode;
mod encode;
mod items;
mod ledger;
mod listed;
mod patch;
mod request;
mod said;
mod shape;
mod spoken;
mod write;

use crate::json::Value;

pub(super) use body::{decode_body, patch_body, whole};
pub(super) use decode::StreamDecoder;
pub(super) use encode::StreamEncoder;
pub(super) use request::request;

/// Whether a policy can judge a response object.
pub(super) fn check_body(value: Value<'_>) -> Result<(), super::Undecodable> {
    shape::check_body(value)
}
