//! What is recorded of a call, as it stands in the spool.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Body;

/// One line of the spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Line {
    /// The process began: what was open before stays open for ever. Microseconds since 1970.
    Started(i64),
    /// Something of a call.
    Entry(Box<Entry>),
}

/// What became known of a call at one moment. The first entry of a call has its head.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Luthien's id of the call.
    pub call: String,
    /// The number of the entry within its call.
    pub seq: u32,
    /// What is known when it begins.
    pub head: Option<Head>,
    /// The request as the client sent it.
    pub request: Option<Body>,
    /// The request as the provider got it.
    pub sent: Option<Sent>,
    /// The answer.
    pub answer: Option<Answer>,
    /// How it ended.
    pub closing: Option<Closing>,
    /// What happened: an array in the form of the live activity.
    pub events: Body,
}

/// What is known of a call when it begins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// The host.
    pub replica: String,
    /// The client's protocol. `None`: the path has none.
    pub dialect: Option<String>,
    /// The path, without the query.
    pub path: String,
    /// The model that the client asked for.
    pub model: String,
    /// The name of the client's key.
    pub client: Option<String>,
    /// The client's id of the conversation.
    pub session: Option<String>,
    /// What the client tries with it, where it is no part of the conversation.
    pub probe: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Hash of the rules.
    pub rules: String,
    /// How much is recorded: `metadata` or `full`.
    pub level: String,
    /// The request's headers, without credentials.
    pub headers: Vec<(String, String)>,
    /// The trace that it is a part of.
    #[serde(default)]
    pub trace: Option<String>,
}

/// The request as the provider got it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The provider.
    pub upstream: String,
    /// The provider's protocol.
    pub dialect: String,
    /// The model that the provider was asked for.
    pub model: String,
    /// Whether it is not what the client sent.
    pub changed: bool,
    /// The body, where it is not what the client sent.
    pub body: Option<Body>,
    /// Fields that were left out, because the provider's protocol does not have them.
    pub dropped: Vec<String>,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// As the provider gave it.
    pub original: Option<Value>,
    /// As the client got it.
    pub delivered: Option<Value>,
    /// Whether the client got another one.
    pub changed: bool,
    /// The bytes, where they are recorded as well.
    pub raw: Option<Raw>,
}

/// Bytes, in base64.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Raw {
    /// Of the provider.
    pub original: String,
    /// To the client.
    pub delivered: String,
}

/// How a call ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// `completed`, `refused`, `stalled`, ….
    pub outcome: String,
    /// What the client was told, where it failed.
    pub error: Option<String>,
    /// The HTTP status. 0: there was none.
    pub status: u16,
    /// How long it took, in microseconds.
    pub duration: i64,
    /// How long after the request was sent the provider's first byte came, in microseconds.
    pub first_byte: Option<i64>,
    /// The provider. Empty: none was asked.
    pub upstream: String,
    /// The model that the provider was asked for.
    pub model: String,
    /// Tokens read, cached ones included.
    pub input: Option<u64>,
    /// Of these, tokens read from a cache.
    pub cached: Option<u64>,
    /// Of these, tokens written to a cache.
    pub cache_write: Option<u64>,
    /// Tokens written, thinking included.
    pub output: Option<u64>,
    /// Of these, tokens of thinking.
    pub reasoning: Option<u64>,
    /// What the tokens cost, in US dollars. `None`: the price is not known.
    pub cost: Option<f64>,
}
