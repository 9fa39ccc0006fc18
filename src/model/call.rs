//! What is known of a call before its answer comes.

use std::{sync::Arc, time::Instant};

use crate::telemetry::trace::Ids;

/// One of the protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI Chat Completions.
    OpenaiChat,
    /// OpenAI Responses.
    OpenaiResponses,
    /// Anthropic Messages.
    AnthropicMessages,
}

/// What selects policies, and what they may know of the call they run in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallHead {
    /// Luthien's id of the call.
    pub id: Arc<str>,
    /// The protocol that the client speaks.
    pub dialect: Dialect,
    /// The path, without the query.
    pub path: String,
    /// The model that the client asked for.
    pub model: String,
    /// The name of the upstream.
    pub upstream: String,
    /// The name of the client, when it used a key of ours.
    pub client: Option<String>,
    /// The client's id of the conversation, when it sends one.
    pub session: Option<String>,
    /// The request's headers, lower case, without credentials.
    pub headers: Vec<(String, String)>,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// When the whole call has to be over, as far as that is limited.
    pub deadline: Option<Instant>,
    /// The ids of its span, for log lines. `None`: nobody traces.
    pub trace: Option<Ids>,
    /// Which way it took into Envoy.
    pub entrance: Entrance,
}

/// Which way a call took into Envoy, by Envoy's names. Nothing where Envoy does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entrance {
    /// The route.
    pub route: Option<String>,
    /// The virtual host.
    pub virtual_host: Option<String>,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 3] = [Self::OpenaiChat, Self::OpenaiResponses, Self::AnthropicMessages];

    /// Whether both are protocols of one vendor.
    pub fn is_of_same_vendor(self, other: Self) -> bool {
        (self == Self::AnthropicMessages) == (other == Self::AnthropicMessages)
    }

    /// Its name in the configuration, records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenaiChat => "openai_chat",
            Self::OpenaiResponses => "openai_responses",
            Self::AnthropicMessages => "anthropic_messages",
        }
    }
}
