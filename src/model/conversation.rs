//! A conversation as no dialect writes it: the hub between the dialects' requests.
//!
//! A reader for each dialect fills it, a writer for each dialect sends it. Texts stay as they were escaped and JSON stays
//! text, so that numbers, key order and half surrogate pairs survive. Every part that some dialect cannot say carries the
//! name of the field that it came from, so that a client is told in its own words what was left out.
//!
//! Knows neither providers nor their JSON.

use std::collections::HashSet;

use indexmap::IndexSet;

use crate::json::Text;

/// A JSON text, as it was written.
pub type Json = String;

/// What is done with a field that the other dialect does not have. Nothing said: hints are left out, and a request
/// whose answer would mean something else is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lossy {
    /// Everything that can be left out is left out.
    Drop,
    /// Nothing is left out: the request is refused.
    Refuse,
}

/// A value and what the client calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<T> {
    /// The client's name for it, as `messages[].cache_control`.
    pub name: &'static str,
    /// What it says.
    pub value: T,
}

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// What the client calls the list of turns.
    pub name: &'static str,
    /// The system texts in front of everything.
    pub system: Vec<Part>,
    /// What was said, in order.
    pub turns: Vec<Turn>,
    /// The tools of the client.
    pub tools: Vec<Tool>,
    /// Which tools may or must be called.
    pub tool_choice: Option<Field<ToolChoice>>,
    /// Whether several tools may be called at once.
    pub parallel: Option<Field<bool>>,
    /// The most tokens of an answer.
    pub max_tokens: Option<Field<u64>>,
    /// The temperature, a number.
    pub temperature: Option<Field<Json>>,
    /// The nucleus, a number.
    pub top_p: Option<Field<Json>>,
    /// Texts that end an answer.
    pub stop: Option<Field<Vec<Text>>>,
    /// How much is thought before the answer.
    pub reasoning: Reasoning,
    /// The form of the answer.
    pub format: Option<Field<Format>>,
    /// The service tier, in OpenAI's words.
    pub tier: Option<Field<String>>,
    /// Who the client says its user is, where the dialect has one field for it.
    pub user: Option<Field<Text>>,
    /// What both of OpenAI's dialects have, as JSON.
    pub hints: Vec<(Hint, Field<Json>)>,
    /// Whether the answer is streamed.
    pub stream: bool,
}

/// One side speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said; never empty.
    pub parts: Vec<Part>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator, in mid-conversation.
    System,
    /// The user and the user's tools.
    User,
    /// The model.
    Assistant,
}

/// A part of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// A cache is asked to end here.
    pub cache: Option<Field<Ttl>>,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartKind {
    /// A text; never empty.
    Text(Text),
    /// The model's refusal.
    Refusal(Text),
    /// An image.
    Image(Image),
    /// A document.
    Document(Document),
    /// A tool call of the model's.
    ToolCall(ToolCall),
    /// What a tool call gave.
    ToolResult(ToolResult),
    /// What the model thought.
    Thinking(Thinking),
}

/// How long a cache is asked to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// Not said.
    Default,
    /// Minutes.
    Short,
    /// Hours.
    Long,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What the client calls it.
    pub field: &'static str,
    /// Where it is.
    pub source: Media,
    /// How closely to look, in OpenAI's words.
    pub detail: Option<Field<String>>,
}

/// Where the bytes of an image or a document are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// In the request.
    Base64 {
        /// As `image/png`.
        media_type: String,
        /// The bytes, as base64.
        data: Text,
    },
    /// Elsewhere.
    Url(Text),
    /// They are text.
    Text(Text),
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What the client calls it.
    pub field: &'static str,
    /// Where it is.
    pub source: Media,
    /// Its title or file name.
    pub title: Option<Text>,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// What the client calls its input.
    pub field: &'static str,
    /// Its id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// What the tool gets.
    pub input: Input,
}

/// What a tool gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Arguments: a JSON text, if the model wrote it well.
    Arguments(Json),
    /// The free text of a custom tool.
    Free(Text),
}

/// What a tool call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// The id of the call.
    pub call: String,
    /// Whether the client says that it failed.
    pub is_error: bool,
    /// Texts, images and documents.
    pub parts: Vec<Part>,
}

/// What the model thought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thinking {
    /// What the client calls it.
    pub field: &'static str,
    /// The text that one may read.
    pub text: Text,
    /// What only the provider that thought it can read, sealed. Without it no provider takes the thought back.
    pub sealed: Option<String>,
}

/// Stands between a namespace and the name of a tool in it. No name has it.
const WITHIN: char = '\u{1f}';

/// The name of a tool within a namespace, which may be empty.
pub fn within(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}{WITHIN}{name}") }
}

/// The namespace of a tool, if it has one, and its name there.
pub fn namespace_of(name: &str) -> (Option<&str>, &str) {
    name.split_once(WITHIN).map_or((None, name), |(namespace, name)| (Some(namespace), name))
}

/// A tool of the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name, with its namespace ([`within`]).
    pub name: String,
    /// What it does.
    pub description: Option<Text>,
    /// What it takes.
    pub kind: ToolKind,
    /// A cache is asked to end here.
    pub cache: Option<Field<Ttl>>,
}

/// What a tool takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolKind {
    /// Arguments.
    Function {
        /// Their JSON schema.
        schema: Option<Json>,
        /// Whether the schema must be kept to.
        strict: Option<bool>,
    },
    /// Free text.
    Custom {
        /// The grammar that the text keeps to.
        grammar: Option<Grammar>,
    },
}

/// The grammar of a custom tool's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grammar {
    /// What the client calls it.
    pub field: &'static str,
    /// As `lark`.
    pub syntax: Text,
    /// The grammar.
    pub definition: Text,
}

/// Which tools may or must be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// One of them must be called.
    Any,
    /// This one must be called.
    One(String),
    /// None may be called.
    None,
    /// Only these may be called.
    Allowed {
        /// Whether one of them must be.
        required: bool,
        /// Their names.
        names: IndexSet<String>,
    },
}

/// How much is thought before the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// Whether, and how, as Messages says it.
    pub mode: Option<Field<Mode>>,
    /// How much, on the scale that all dialects share.
    pub effort: Option<Field<Effort>>,
    /// Whether the thoughts are to be shown.
    pub shown: Option<bool>,
}

/// Whether there is thinking, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No thinking.
    Off,
    /// As the model sees fit.
    Adaptive,
    /// At most so many tokens.
    Budget(u64),
}

/// How much is thought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// The least.
    Minimal,
    /// Little.
    Low,
    /// As usual.
    Medium,
    /// Much.
    High,
    /// Very much.
    Xhigh,
    /// The most.
    Max,
}

/// The form of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Any JSON object.
    JsonObject,
    /// JSON that keeps to a schema.
    JsonSchema {
        /// What the schema is called.
        name: Option<Text>,
        /// What it is for.
        description: Option<Text>,
        /// The schema.
        schema: Option<Json>,
        /// Whether it must be kept to.
        strict: Option<bool>,
    },
}

/// What both of OpenAI's dialects have under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// `metadata`
    Metadata,
    /// `prompt_cache_key`
    PromptCacheKey,
    /// `prompt_cache_retention`
    PromptCacheRetention,
    /// `verbosity`
    Verbosity,
    /// `safety_identifier`
    SafetyIdentifier,
    /// `user`
    User,
}

impl Conversation {
    /// The names of the tools that take free text.
    pub fn custom_tools(&self) -> HashSet<&str> {
        let custom = self.tools.iter().filter(|tool| matches!(tool.kind, ToolKind::Custom { .. }));
        custom.map(|tool| tool.name.as_str()).collect()
    }
}

impl<T> Field<T> {
    /// A value and what the client calls it.
    pub const fn new(name: &'static str, value: T) -> Self {
        Self { name, value }
    }
}

impl Part {
    /// A part that asks for no cache.
    pub const fn new(kind: PartKind) -> Self {
        Self { kind, cache: None }
    }

    /// What it says, if it is a text or a refusal.
    pub const fn text(&self) -> Option<&Text> {
        match &self.kind {
            PartKind::Text(text) | PartKind::Refusal(text) => Some(text),
            PartKind::Image(_)
            | PartKind::Document(_)
            | PartKind::ToolCall(_)
            | PartKind::ToolResult(_)
            | PartKind::Thinking(_) => None,
        }
    }
}

impl Effort {
    const ALL: [(Self, &str); 7] = [
        (Self::None, "none"),
        (Self::Minimal, "minimal"),
        (Self::Low, "low"),
        (Self::Medium, "medium"),
        (Self::High, "high"),
        (Self::Xhigh, "xhigh"),
        (Self::Max, "max"),
    ];

    /// The effort of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(effort, _)| *effort)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(effort, _)| *effort == self).map_or("medium", |(_, name)| name)
    }
}
