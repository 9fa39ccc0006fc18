//! The rules as they run: compiled policies with their selection, pinned by each call as one snapshot.

use std::{sync::Arc, time::Duration};

use globset::GlobSet;
use regex::Regex;

use super::Factory;

/// A compiled rules document.
pub struct Rules {
    /// Content hash of the document: the first 12 hexadecimal digits of its SHA-256.
    pub hash: String,
    /// When tool calls are released.
    pub release: Release,
    /// The policies, in the order in which they run.
    pub entries: Vec<Entry>,
}

/// When the tool calls of one answer are released.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Release {
    /// Each as soon as it is decided.
    #[default]
    Block,
    /// All together, when all of them are decided.
    Turn,
}

/// One policy of the rules.
pub struct Entry {
    /// Its name, unique in the document.
    pub name: Arc<str>,
    /// The policy type.
    pub kind: &'static str,
    /// Makes the value that one call runs.
    pub factory: Arc<dyn Factory>,
    /// Which calls it runs on.
    pub selects: Selector,
    /// Enforce, or decide and record only.
    pub mode: Mode,
    /// What a fault of it does.
    pub on_fault: OnFault,
    /// Limit of one hook.
    pub timeout: Duration,
}

/// Whether a policy's decisions take effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are recorded only.
    Shadow,
}

/// What happens when a policy fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFault {
    /// The call ends with an error.
    #[default]
    Closed,
    /// The policy is skipped for the rest of the call.
    Open,
}

/// Which calls, and which blocks, a policy runs on. An absent condition is always true.
#[derive(Debug, Default)]
pub struct Selector {
    /// Dialect names, as `anthropic_messages`.
    pub dialects: Option<Vec<String>>,
    /// Model name globs.
    pub models: Option<GlobSet>,
    /// Upstream names.
    pub upstreams: Option<Vec<String>>,
    /// Path globs, without the query.
    pub paths: Option<GlobSet>,
    /// Client names.
    pub clients: Option<GlobSet>,
    /// Header name (lower case) and a pattern of its value; all must fit.
    pub headers: Vec<(String, Regex)>,
    /// Tool name globs: filters tool call blocks, not calls.
    pub tools: Option<GlobSet>,
}

/// What a [`Selector`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'a> {
    /// Dialect name.
    pub dialect: &'a str,
    /// The model asked for.
    pub model: &'a str,
    /// The upstream chosen.
    pub upstream: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The client's name.
    pub client: Option<&'a str>,
    /// Header names (lower case) and values.
    pub headers: &'a [(String, String)],
}

impl Selector {
    /// stub
    pub fn selects(&self, _: &CallFacts<'_>) -> bool {
        true
    }
}
