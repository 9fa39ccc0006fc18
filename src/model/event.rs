//! Events: what a stream says, whatever its dialect.

use crate::json::Text;

use super::{BlockHead, BlockId};

/// One thing that a stream says.
///
/// Most events are deltas, and each is handed on several times: what is larger and rare stands in a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The answer begins.
    Start(Box<Start>),
    /// A block begins.
    Open(BlockId, Box<BlockHead>),
    /// A tool call's name, when it comes after its block began.
    Name(BlockId, String),
    /// More of a block's text.
    Delta(BlockId, Text),
    /// Something else of a block: held, kept and dropped with it.
    Extra(BlockId, Extra),
    /// A block is complete.
    Close(BlockId),
    /// One of the answer's alternatives is complete.
    Stop(Box<Stop>),
    /// Token counts, by themselves.
    Usage(Box<Usage>),
    /// The provider reports an error; nothing follows.
    Error(Box<ProviderError>),
    /// The answer is complete; nothing follows.
    End,
    /// The provider only says that it is still there.
    Ping,
    /// Anything else: keeps its place, says nothing to policies.
    Opaque,
    /// The body is over, complete or not; what is still open stays open. Made by the pipeline, never on the wire.
    Eof,
}

/// The head of an answer. Constant over a stream; repeated in what we write ourselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The provider's id of the answer.
    pub id: String,
    /// The model that answers, as the provider names it.
    pub model: String,
    /// When it was made, in seconds since 1970; 0 where the dialect does not say.
    pub created: u64,
    /// Token counts so far.
    pub usage: Usage,
}

/// What belongs to a block beside its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extra {
    /// Places in the block's text that a source backs: wrong once the text is edited.
    Citation,
    /// The block's text again, or a part of it, in another form, before the text itself is decided.
    Echo,
    /// The block's text again, or the last part of it, now that it is complete.
    Repeat,
    /// Another part of the same block begins.
    Break,
    /// What the block says from here on is a refusal.
    Refuses,
    /// The namespace of the tool that is called.
    Namespace(String),
    /// The call's text is no JSON but what the tool takes as it is.
    FreeText,
    /// What the provider needs to see again with this thinking on the next turn, sealed.
    Signature(Text),
    /// Anything else.
    Other,
}

/// The end of one of the answer's alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stop {
    /// Which alternative.
    pub choice: u32,
    /// Why it ended. `None`: not said here.
    pub reason: Option<StopReason>,
    /// What the provider says about its refusal, beside the answer.
    pub explanation: Option<Text>,
    /// Token counts, where they come with the reason.
    pub usage: Usage,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// It was complete.
    EndTurn,
    /// The client is to run tools.
    ToolUse,
    /// It was cut off: by a limit on tokens, or because the provider pauses.
    Unfinished,
    /// The provider would not say it.
    Refused,
    /// It failed, and no error says why.
    Failed,
    /// Anything else, in the provider's word.
    Other(String),
}

/// Token counts. `None`: not reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
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
}

/// An error that a provider reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderError {
    /// What it is about, as far as the provider says it in words that we know.
    pub kind: ErrorKind,
    /// A word for programs.
    pub code: Option<String>,
    /// What it tells people.
    pub message: String,
}

/// What an error of a provider is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong (400).
    BadRequest,
    /// The key is missing or wrong (401).
    Authentication,
    /// The account cannot pay (402).
    Billing,
    /// The key may not do this (403).
    Permission,
    /// No such thing (404).
    NotFound,
    /// The request is too large (413).
    TooLarge,
    /// Too many requests (429).
    RateLimit,
    /// The provider failed (500).
    #[default]
    Server,
    /// The provider took too long (504).
    Timeout,
    /// The provider has too much to do (529, 503).
    Overloaded,
}

/// The position of something that can be patched within a frame; what it counts is the dialect's own business.
pub type Slot = u32;

/// Where an event came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The number of the frame in the stream.
    pub frame: u64,
    /// This is event `part` …
    pub part: u32,
    /// … of so many of that frame.
    pub of: u32,
    /// The place within the frame that says it.
    pub slot: Slot,
}

/// An event on its way through the stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it came from. `None`: a policy made it.
    pub origin: Option<Origin>,
    /// What has become of it.
    pub body: Body,
}

/// What has become of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Untouched.
    Kept(Event),
    /// Changed, or made by a policy.
    Edited(Event),
    /// Taken out. Its frame has to know, because it waits for all its events.
    Gone(Event),
}

impl Piece {
    /// An event that a policy made.
    pub fn new(event: Event) -> Self {
        Self { origin: None, body: Body::Edited(event) }
    }

    /// The event, unless it was taken out.
    pub fn event(&self) -> Option<&Event> {
        match &self.body {
            Body::Kept(event) | Body::Edited(event) => Some(event),
            Body::Gone(_) => None,
        }
    }

    /// The same piece with its event taken out; `None` where nothing waits for it.
    pub fn gone(self) -> Option<Self> {
        let (Body::Kept(event) | Body::Edited(event) | Body::Gone(event)) = self.body;
        self.origin.map(|origin| Self { origin: Some(origin), body: Body::Gone(event) })
    }
}

impl Event {
    /// More of a block's text.
    pub fn text(&self) -> Option<&Text> {
        if let Self::Delta(_, text) = self { Some(text) } else { None }
    }

    /// The token counts that it reports.
    pub fn usage(&self) -> Option<&Usage> {
        match self {
            Self::Start(start) => Some(&start.usage),
            Self::Stop(stop) => Some(&stop.usage),
            Self::Usage(usage) => Some(usage),
            Self::Open(..)
            | Self::Name(..)
            | Self::Delta(..)
            | Self::Extra(..)
            | Self::Close(_)
            | Self::Error(_)
            | Self::End
            | Self::Ping
            | Self::Opaque
            | Self::Eof => None,
        }
    }

    /// The end of one of the answer's alternatives.
    pub fn stop(&self) -> Option<&Stop> {
        if let Self::Stop(stop) = self { Some(stop) } else { None }
    }

    /// The block that it is about.
    pub fn block(&self) -> Option<BlockId> {
        match self {
            Self::Open(id, _) | Self::Name(id, _) | Self::Delta(id, _) | Self::Extra(id, _) | Self::Close(id) => {
                Some(*id)
            }
            Self::Start(_)
            | Self::Stop(_)
            | Self::Usage(_)
            | Self::Error(_)
            | Self::End
            | Self::Ping
            | Self::Opaque
            | Self::Eof => None,
        }
    }
}

impl Usage {
    /// Takes over what `newer` reports; counts are cumulative, so they overwrite.
    pub fn update(&mut self, newer: &Usage) {
        self.input = newer.input.or(self.input);
        self.cached = newer.cached.or(self.cached);
        self.cache_write = newer.cache_write.or(self.cache_write);
        self.output = newer.output.or(self.output);
        self.reasoning = newer.reasoning.or(self.reasoning);
    }

    /// Whether nothing is reported.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_for_each_event_is_small() {
        assert!(size_of::<Event>() <= 48 && size_of::<Piece>() <= 88, "{} {}", size_of::<Event>(), size_of::<Piece>());
    }
}
