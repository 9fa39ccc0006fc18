//! Blocks: the parts of an answer that policies decide on.

/// Names one block within one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

impl BlockId {
    /// From here on, blocks are made here.
    pub const FIRST_MADE: u32 = 1 << 31;

    /// Whether the block is one of the provider's.
    pub fn is_providers(self) -> bool {
        self.0 < Self::FIRST_MADE
    }
}

/// What a block is, with what exists only for that kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockKind {
    /// Text for the reader.
    Text,
    /// The model's reasoning, as far as the provider shows it.
    Thinking,
    /// A refusal that the provider marks as such (OpenAI).
    Refusal,
    /// A call of a tool of the client's.
    ToolCall {
        /// The id that the result will carry.
        id: String,
        /// The tool's name. Empty at the start of a block when the provider sends it later.
        name: String,
    },
    /// A call of a tool that the provider runs itself: done already when it is seen here.
    ServerTool {
        /// The id that the result carries.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// The result of a tool that the provider ran.
    ServerResult {
        /// The id of the call that it answers.
        answers: String,
    },
    /// Anything else, by the provider's name for it.
    Other(String),
}

/// What is known of a block when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHead {
    /// What it is.
    pub kind: BlockKind,
    /// Which of the answer's alternatives it belongs to (OpenAI `n`); 0 elsewhere.
    pub choice: u32,
    /// The number that the provider gave it. `None`: a policy made it.
    pub index: Option<u32>,
}

/// A whole block as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Which of the answer's alternatives it belongs to.
    pub choice: u32,
    /// Its text; for a tool call its arguments, as JSON text.
    pub text: String,
    /// Whether it came whole. A block that the provider left unfinished will never be closed towards the client.
    pub complete: bool,
}

impl BlockKind {
    /// The standard word for it in rules, records and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Thinking => "thinking",
            Self::Refusal => "refusal",
            Self::ToolCall { .. } => "tool_call",
            Self::ServerTool { .. } => "server_tool",
            Self::ServerResult { .. } => "server_result",
            Self::Other(_) => "other",
        }
    }

    /// The tool's name, of a call of one of the client's tools.
    pub fn tool_name(&self) -> Option<&str> {
        match self {
            Self::ToolCall { name, .. } => Some(name),
            Self::Text
            | Self::Thinking
            | Self::Refusal
            | Self::ServerTool { .. }
            | Self::ServerResult { .. }
            | Self::Other(_) => None,
        }
    }

    /// Whether its text is prose for the reader.
    pub fn is_prose(&self) -> bool {
        matches!(self, Self::Text | Self::Refusal)
    }
}

impl Block {
    /// A new block of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { kind: BlockKind::Text, choice: 0, text: text.into(), complete: true }
    }

    /// A new tool call; `arguments` is JSON text.
    pub fn tool_call(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        let kind = BlockKind::ToolCall { id: id.into(), name: name.into() };
        Self { kind, choice: 0, text: arguments.into(), complete: true }
    }
}
