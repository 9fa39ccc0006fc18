//! Messages of all dialects in one form, as pages show them.
//!
//! What stands in a body is told by its shape and not by the call's dialect: a converted call has two, and what a client sends
//! may be neither. Whatever is not known is shown as JSON; nothing is left out without a word.

mod blocks;
mod pair;
mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use askama::{Template, filters::HtmlSafe};

pub(super) use self::{
    pair::{Pairing, results},
    read::Reader,
};

/// One message, or several that one side said in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) role: Role,
    pub(super) blocks: Vec<Block>,
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Instructions.
    System,
    /// The person, or the program in its place.
    User,
    /// The model.
    Assistant,
    /// A tool of the client.
    Tool,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "block.html")]
pub(super) enum Block {
    Text(Text),
    /// Empty: only the provider can read it.
    Thinking(Text),
    Refusal(Text),
    Call(Call),
    /// Of a call that is not there.
    Result(Outcome),
    Media(Media),
    /// What has no form of its own here.
    Unknown(Unknown),
}

// The template escapes what it shows.
impl HtmlSafe for Block {}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON that is easy to read; what is no JSON as it is.
    pub(super) arguments: Text,
    /// The provider runs it itself.
    pub(super) by_provider: bool,
    pub(super) result: Option<Outcome>,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Of the call.
    pub(super) id: String,
    pub(super) is_error: bool,
    pub(super) blocks: Vec<Block>,
}

/// Something that is no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Media {
    /// `image`, `document`, `audio` or `video`.
    pub(super) kind: &'static str,
    /// Its type and size, or where it is.
    pub(super) about: String,
}

/// JSON of a kind that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown {
    pub(super) kind: String,
    pub(super) json: Text,
}

/// A text, or its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) shown: String,
    pub(super) rest: Option<Rest>,
}

/// What is not shown of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rest {
    /// How many bytes.
    pub(super) bytes: String,
    /// Where all of it is.
    pub(super) href: Arc<str>,
}

impl Role {
    /// As pages say it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}
