//! What an answer says, read from its bytes by plain means: what the crate's own reading is held against.

mod anthropic;
mod openai_chat;
pub mod openai_responses;
pub mod sse;

use std::collections::BTreeMap;

use luthien::model::Dialect;
use serde_json::{Value, json};

/// One thing that an answer says, in the order of the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Open(usize),
    Text(usize, String),
    /// Something else of a block, as JSON.
    Extra(usize, Value),
    Close(usize),
    Stop(u32, Option<String>),
    Usage(Value),
    Error,
    End,
}

/// What a block is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Text,
    Thinking,
    Refusal,
    Tool { id: String, name: String },
    ServerTool(String),
    ServerResult(String),
    Other(String),
}

/// A block as far as it is known.
#[derive(Debug, Clone)]
pub struct Head {
    pub kind: Kind,
    pub choice: u32,
    /// Whether its text can be changed at all.
    pub has_text: bool,
}

/// An answer as it was read so far.
#[derive(Debug, Default, Clone)]
pub struct Answer {
    pub heads: Vec<Head>,
    pub items: Vec<Item>,
    /// What stands beside the answer about why it ends.
    pub explanation: Option<String>,
}

/// Reads a stream as it comes.
pub struct Reader {
    sse: sse::Reader,
    dialect: Dialect,
    pub answer: Answer,
    anthropic: anthropic::State,
    chat: openai_chat::State,
    responses: openai_responses::State,
}

impl Reader {
    pub fn new(dialect: Dialect) -> Self {
        Self {
            sse: sse::Reader::default(),
            dialect,
            answer: Answer::default(),
            anthropic: anthropic::State::default(),
            chat: openai_chat::State::default(),
            responses: openai_responses::State::default(),
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        for event in self.sse.push(bytes) {
            match self.dialect {
                Dialect::AnthropicMessages => self.anthropic.event(&event, &mut self.answer),
                Dialect::OpenaiChat => self.chat.event(&event, &mut self.answer),
                Dialect::OpenaiResponses => self.responses.event(&event, &mut self.answer),
            }
        }
    }
}

/// Reads a whole stream.
pub fn stream(dialect: Dialect, body: &[u8]) -> Answer {
    let mut reader = Reader::new(dialect);
    reader.push(body);
    reader.push(b"\n");
    reader.answer
}

/// Reads a body that is not streamed.
pub fn body(dialect: Dialect, body: &[u8]) -> Answer {
    let text = sse::with_halves(std::str::from_utf8(body).unwrap());
    match dialect {
        Dialect::AnthropicMessages => anthropic::body(&text),
        Dialect::OpenaiChat => openai_chat::body(&serde_json::from_str(&text).expect("a body is JSON")),
        Dialect::OpenaiResponses => openai_responses::body(&text),
    }
}

impl Kind {
    /// The word for it, as policies say it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Thinking => "thinking",
            Self::Refusal => "refusal",
            Self::Tool { .. } => "tool_call",
            Self::ServerTool(_) => "server_tool",
            Self::ServerResult(_) => "server_result",
            Self::Other(_) => "other",
        }
    }
}

impl Answer {
    fn open(&mut self, head: Head) -> usize {
        self.heads.push(head);
        self.items.push(Item::Open(self.heads.len() - 1));
        self.heads.len() - 1
    }

    /// The text of a block.
    pub fn text(&self, block: usize) -> String {
        let parts = self.items.iter().filter_map(|item| match item {
            Item::Text(of, text) if *of == block => Some(text.as_str()),
            _ => None,
        });
        sse::joined(&parts.collect::<String>(), false)
    }

    /// Every block's text, with its kind.
    pub fn texts(&self) -> Vec<(Kind, String)> {
        (0..self.heads.len()).map(|block| (self.heads[block].kind.clone(), self.text(block))).collect()
    }

    /// Whether it came to its end without an error.
    pub fn is_whole(&self) -> bool {
        let closed = self.items.iter().filter(|item| matches!(item, Item::Close(_))).count();
        let stopped = self.items.iter().any(|item| matches!(item, Item::Stop(..)));
        closed == self.heads.len() && stopped && !self.items.contains(&Item::Error)
    }

    /// What a client makes of it, in a form to compare.
    pub fn normal(&self, dialect: Dialect) -> Value {
        match dialect {
            Dialect::AnthropicMessages | Dialect::OpenaiResponses => self.in_blocks(),
            Dialect::OpenaiChat => self.in_messages(),
        }
    }

    fn in_blocks(&self) -> Value {
        let opened =
            self.items.iter().filter_map(|item| if let Item::Open(block) = item { Some(*block) } else { None });
        let blocks: Vec<Value> = opened
            .map(|block| {
                let extras: Vec<_> = self
                    .items
                    .iter()
                    .filter_map(|item| if let Item::Extra(of, extra) = item { Some((*of, extra)) } else { None })
                    .filter(|(of, _)| *of == block)
                    .map(|(_, extra)| extra.clone())
                    .collect();
                let closed = self.items.contains(&Item::Close(block));
                json!([format!("{:?}", self.heads[block].kind), self.text(block), extras, closed])
            })
            .collect();
        json!({"blocks": blocks, "end": self.ending()})
    }

    /// One message for each choice: texts of one field are one text.
    fn in_messages(&self) -> Value {
        let mut out: BTreeMap<String, BTreeMap<&str, String>> = BTreeMap::new();
        let mut tools: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for item in &self.items {
            match item {
                Item::Open(block) => {
                    let head = &self.heads[*block];
                    if let Kind::Tool { id, name } = &head.kind {
                        tools.entry(head.choice.to_string()).or_default().push(json!([id, name, self.text(*block)]));
                    }
                }
                Item::Text(block, text) if !matches!(self.heads[*block].kind, Kind::Tool { .. }) => {
                    let head = &self.heads[*block];
                    let message = out.entry(head.choice.to_string()).or_default();
                    message.entry(head.kind.name()).or_default().push_str(text);
                }
                _ => {}
            }
        }
        // The deprecated `function_call`, which has no id, stands beside the list.
        for tools in tools.values_mut() {
            tools.sort_by_key(|tool| tool[0] == "");
        }
        for text in out.values_mut().flat_map(BTreeMap::values_mut) {
            *text = sse::joined(text, false);
        }
        json!({"messages": out, "tools": tools, "end": self.ending()})
    }

    fn ending(&self) -> Vec<Value> {
        let said = self.items.iter().filter_map(|item| match item {
            Item::Stop(choice, reason) => Some(json!([choice, reason])),
            Item::Usage(usage) => Some(usage.clone()),
            Item::Error => Some(json!("error")),
            Item::End => Some(json!("end")),
            _ => None,
        });
        said.collect()
    }
}
