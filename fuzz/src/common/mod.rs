//! The streams that tests replay.

#[path = "../../../tests/common/streams.rs"]
pub mod streams;
