//! A request as policies see it: the model, the texts in it with their sources, and what they change.

use std::borrow::Cow;

use crate::json::{Span, Text};

use super::Block;

/// A request on its way to the provider.
///
/// What nobody sets leaves byte for byte as it came.
#[derive(Debug, Clone, Default)]
pub struct Request {
    model: String,
    new_model: Option<String>,
    stream: bool,
    texts: Vec<RequestText>,
    tools: Vec<ToolDefinition>,
    answer: Option<Vec<Block>>,
}

/// A tool that the client offers.
#[derive(Debug, Clone)]
pub struct ToolDefinition {
    /// Its name.
    pub name: String,
    /// All that is said of it, as the JSON that the client sent.
    pub json: Text,
}

/// One text of a request.
#[derive(Debug, Clone)]
pub struct RequestText {
    source: Source,
    tool: Option<String>,
    text: Text,
    place: Place,
    edited: Option<String>,
}

/// Whose text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The system prompt, or a system or developer message.
    System,
    /// The user.
    User,
    /// An earlier answer of the model.
    Assistant,
    /// The description of a tool.
    ToolDescription,
    /// The arguments of an earlier tool call, as JSON text.
    ToolCall,
    /// The result of a tool call: the main way in for injected instructions.
    ToolResult,
    /// A document that the user attached as text.
    Document,
}

/// Where a text stands in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The content of a JSON string, without its quotes.
    String(Span),
    /// A JSON value whose own text it is.
    Value(Span),
}

impl Request {
    /// A request with its texts in the order of the body.
    pub fn new(model: String, stream: bool, texts: Vec<RequestText>) -> Self {
        Self { model, new_model: None, stream, texts, tools: Vec::new(), answer: None }
    }

    /// The same with the tools that the client offers.
    #[must_use]
    pub fn with_tools(self, tools: Vec<ToolDefinition>) -> Self {
        Self { tools, ..self }
    }

    /// The tools that the client offers.
    pub fn tools(&self) -> &[ToolDefinition] {
        &self.tools
    }

    /// What the client says of a tool, as JSON.
    pub fn tool(&self, name: &str) -> Option<&Text> {
        self.tools.iter().find(|tool| tool.name == name).map(|tool| &tool.json)
    }

    /// The model asked for.
    pub fn model(&self) -> &str {
        self.new_model.as_deref().unwrap_or(&self.model)
    }

    /// Asks for another model. The call is routed anew; which policies run does not change.
    pub fn set_model(&mut self, model: impl Into<String>) {
        self.new_model = Some(model.into()).filter(|model| *model != self.model);
    }

    /// The other model, if one was set.
    pub fn new_model(&self) -> Option<&str> {
        self.new_model.as_deref()
    }

    /// Whether the client asked for a stream.
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// Every text, in the order of the body.
    pub fn texts(&self) -> &[RequestText] {
        &self.texts
    }

    /// Every text, to change.
    pub fn texts_mut(&mut self) -> &mut [RequestText] {
        &mut self.texts
    }

    /// Answers with these blocks in place of the provider, which is not asked.
    pub fn answer(&mut self, blocks: Vec<Block>) {
        self.answer = Some(blocks);
    }

    /// The answer that a policy gave.
    pub fn given_answer(&self) -> Option<&[Block]> {
        self.answer.as_deref()
    }

    /// Whether anything of the body changed.
    pub fn is_changed(&self) -> bool {
        self.new_model.is_some() || self.texts.iter().any(|text| text.edited.is_some())
    }
}

impl RequestText {
    /// A text, where it stands, and the tool that it is about.
    pub fn new(source: Source, tool: Option<String>, text: Text, place: Place) -> Self {
        Self { source, tool, text, place, edited: None }
    }

    /// Whose text it is.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The tool's name (descriptions, calls) or the id of the call (results).
    pub fn tool(&self) -> Option<&str> {
        self.tool.as_deref()
    }

    /// What it says.
    pub fn get(&self) -> Cow<'_, str> {
        match (&self.edited, self.place) {
            (Some(edited), _) => Cow::Borrowed(edited),
            (None, Place::String(_)) => self.text.decode(),
            (None, Place::Value(_)) => String::from_utf8_lossy(self.text.raw()),
        }
    }

    /// Makes it say something else. The same text again changes nothing.
    pub fn set(&mut self, text: impl Into<String>) {
        let text = text.into();
        if text != self.get() {
            self.edited = Some(text);
        }
    }

    /// What it was made to say.
    pub fn edited(&self) -> Option<&str> {
        self.edited.as_deref()
    }

    /// Where it stands in the body.
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Source {
    /// The standard word for it in rules and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::ToolDescription => "tool_description",
            Self::ToolCall => "tool_call",
            Self::ToolResult => "tool_result",
            Self::Document => "document",
        }
    }
}
