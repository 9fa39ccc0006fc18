//! How far a call has come.

use std::{sync::Arc, time::Duration};

use crate::model::{Dialect, Usage};

/// A call came to this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Milestone {
    /// Its headers came.
    Opened {
        /// The protocol of the client. `None`: the path has none.
        dialect: Option<Dialect>,
        /// The path, without the query.
        path: String,
        /// The name of the client's key.
        client: Option<String>,
    },
    /// The request is whole and was read.
    Received {
        /// The client's id of the conversation.
        session: Option<String>,
        /// Whether a stream was asked for.
        stream: bool,
        /// The length of the body, in bytes.
        bytes: usize,
    },
    /// A policy runs in it.
    Began {
        /// The policy.
        policy: Arc<str>,
        /// The policy runs in shadow mode.
        shadow: bool,
    },
    /// The request left for the provider.
    Sent {
        /// The provider.
        upstream: String,
        /// The protocol in which it was asked.
        dialect: Dialect,
        /// Whether it is not what the client sent.
        changed: bool,
        /// The length of the body, in bytes.
        bytes: usize,
    },
    /// Fields of the request were left out, because the provider's dialect does not have them.
    FieldsDropped {
        /// Their names.
        fields: Vec<String>,
    },
    /// The provider's answer began.
    Answering {
        /// The HTTP status.
        status: u16,
    },
    /// All of the answer was handed on.
    Answered {
        /// The HTTP status.
        status: u16,
        /// Whether a policy changed something of it.
        changed: bool,
    },
    /// The provider keeps the answer as it made it, and a policy changed it.
    KeptUnchanged,
    /// A policy said no.
    Refused {
        /// The policy.
        policy: String,
    },
    /// It cannot go on.
    Failed {
        /// Why, as the client is told.
        error: String,
        /// How it is counted: `stalled`, `rejected`, ….
        outcome: &'static str,
        /// The limit that ended it.
        limit: Option<&'static str>,
    },
    /// It is over.
    Closed(Box<Closed>),
}

/// What is known of a call when it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The protocol of the client. `None`: the path has none.
    pub dialect: Option<Dialect>,
    /// The path, without the query.
    pub path: String,
    /// The provider.
    pub upstream: String,
    /// The name of the client's key.
    pub client: Option<String>,
    /// The client's id of the conversation.
    pub session: Option<String>,
    /// The HTTP status. 0: there was none.
    pub status: u16,
    /// How it ended: `completed`, `refused`, `stalled`, ….
    pub outcome: &'static str,
    /// How long it took.
    pub duration: Duration,
    /// The tokens that the provider reported.
    pub usage: Usage,
    /// Hash of the rules.
    pub rules: String,
}
