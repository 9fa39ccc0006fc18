//! Streams that converters are known to get wrong, one small stream for each mistake.

mod chat;
mod messages;
mod responses;

use crate::common::streams::Dialect;

/// A stream and what every client must make of it.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) upstream: Dialect,
    pub(super) stream: String,
    pub(super) wanted: Wanted,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) thinking: Vec<&'static str>,
    pub(super) text: &'static str,
    /// Names and arguments.
    pub(super) calls: Vec<(&'static str, &'static str)>,
    pub(super) end: End,
    /// Fresh, cached, output.
    pub(super) tokens: Option<[u64; 3]>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    Turn,
    Tools,
    Length,
    Refused,
    /// An error that says this.
    Fails(&'static str),
}

pub(super) fn all() -> Vec<Case> {
    [chat::cases(), messages::cases(), responses::cases()].into_iter().flatten().collect()
}

fn says(text: &'static str) -> Wanted {
    Wanted { text, ..Wanted::default() }
}

fn calls(text: &'static str, calls: &[(&'static str, &'static str)]) -> Wanted {
    Wanted { text, calls: calls.to_vec(), end: End::Tools, ..Wanted::default() }
}

fn ends(text: &'static str, end: End) -> Wanted {
    Wanted { text, end, ..Wanted::default() }
}
