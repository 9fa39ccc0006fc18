//! What can happen within a call.

use std::sync::Arc;

use serde_json::Value;

use crate::{model::Judgement, redact::Redactor};

/// Something that happened in a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A policy decided on a block, or on the request.
    Decided {
        /// The policy.
        policy: Arc<str>,
        /// What it decided on: the kind of the block, or `request`.
        on: &'static str,
        /// The number of the block in the provider's answer, from 0 in the order in which they begin. `None`: no block of the
        /// provider's.
        block: Option<u32>,
        /// `edit`, `drop`, `replace`, `add`, `answer` or `refuse`. Keeping is no fact.
        decision: &'static str,
        /// It has no effect: the policy runs in shadow mode.
        shadow: bool,
    },
    /// What a policy in shadow mode would have changed.
    WouldChange {
        /// The policy.
        policy: Arc<str>,
        /// The kind of the block, or `request`.
        on: &'static str,
        /// The text as it came. `None`: the policy would have added it.
        before: Option<Change>,
        /// The text as it would have left. `None`: it would have been dropped.
        after: Option<Change>,
    },
    /// A policy in shadow mode did not decide on everything.
    ShadowLost {
        /// The policy.
        policy: Arc<str>,
        /// What it would have gone beyond.
        why: &'static str,
    },
    /// A policy told the operator something.
    Emitted {
        /// The policy.
        policy: Arc<str>,
        /// The policy's word for it.
        event: &'static str,
        /// The details, a JSON object.
        fields: Value,
        /// The policy runs in shadow mode.
        shadow: bool,
    },
    /// A judge said something, or could not.
    Judged {
        /// The policy that asked.
        policy: Arc<str>,
        /// What it said.
        judgement: Box<Judgement>,
        /// The policy runs in shadow mode.
        shadow: bool,
    },
    /// A policy failed.
    Faulted {
        /// The policy.
        policy: Arc<str>,
        /// What went wrong.
        error: String,
        /// Whether the call went on without it.
        open: bool,
    },
    /// Part of an answer was left out, because the client's dialect has no words for it.
    Dropped {
        /// The kind of the block.
        what: &'static str,
    },
    /// The framework changed something so that the answer stays legal.
    Repaired {
        /// What was changed.
        what: &'static str,
    },
}

/// A text on one side of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// As much of it as is kept.
    text: String,
    /// The length of all of it, in bytes.
    len: usize,
    /// Tells long texts apart that begin alike.
    digest: u64,
}

impl Change {
    /// How much of a text is kept, in bytes.
    const KEPT: usize = 16 * 1024;

    /// More of the text.
    pub fn push(&mut self, text: &str) {
        self.len += text.len();
        // FNV-1a; it only has to see that something is different.
        let mix = |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.digest = text.as_bytes().iter().fold(self.digest, mix);
        let room = Self::KEPT.saturating_sub(self.text.len());
        self.text.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or_default());
    }

    /// The same without credentials.
    pub(super) fn redacted(&self, redactor: &Redactor, secrets: &[String]) -> Self {
        Self { text: redactor.without(&self.text, secrets).into_owned(), ..self.clone() }
    }

    /// The text, or its beginning.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The length of all of it, in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl From<&str> for Change {
    fn from(text: &str) -> Self {
        let mut change = Self::default();
        change.push(text);
        change
    }
}
