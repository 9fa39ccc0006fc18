//! Facts of a call: what happened, said once, for every reader.
//!
//! The core notes facts in the order in which they happen; logs and metrics are read from them.

use std::sync::Arc;

use serde_json::Value;

/// Something that happened in a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A policy decided on a block, or on the request.
    Decided {
        /// The policy.
        policy: Arc<str>,
        /// What it decided on: the kind of the block, or `request`.
        on: &'static str,
        /// `edit`, `drop`, `replace`, `add`, `answer` or `refuse`. Keeping is no fact.
        decision: &'static str,
    },
    /// A policy told the operator something.
    Emitted {
        /// The policy.
        policy: Arc<str>,
        /// The policy's word for it.
        event: &'static str,
        /// The details, a JSON object.
        fields: Value,
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
