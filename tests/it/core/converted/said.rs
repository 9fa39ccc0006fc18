//! What an answer says in words that all dialects share, from what the plain reader reads.

use bytes::Bytes;
use luthien::model::Dialect;
use serde_json::{Value, json};

use super::super::reader::{self, Answer, Item, Kind, sse};

/// What an answer says.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// What it says, in order. Nothing is empty but the arguments of calls.
    pub parts: Vec<Part>,
    pub end: End,
    pub tokens: [u64; 5],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Thinking(String),
    Call { id: String, name: String, arguments: String },
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Turn,
    Tools,
    Cut,
    Refused,
    /// With an error, or not at all.
    Failed,
}

/// What a stream says.
pub fn stream(dialect: Dialect, body: &[u8]) -> Said {
    of(dialect, &reader::stream(dialect, body), refuses(dialect, body))
}

/// What a body says.
pub fn body(dialect: Dialect, body: &Bytes) -> Said {
    of(dialect, &reader::body(dialect, body), refuses(dialect, body))
}

/// Whether a part of a Responses message refuses.
fn refuses(dialect: Dialect, body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).replace(' ', "");
    dialect == Dialect::OpenaiResponses && text.contains(r#""type":"refusal""#)
}

fn of(dialect: Dialect, answer: &Answer, marked: bool) -> Said {
    let refused = marked || answer.heads.iter().any(|head| head.choice == 0 && head.kind == Kind::Refusal);
    // The fields of a chat message have no order among each other; what a client of blocks is sent has that of the stream.
    let mut parts = if dialect == Dialect::OpenaiChat { in_order(answer) } else { blocks(answer) };
    // What stands beside the answer stands in it elsewhere.
    parts.extend(answer.explanation.clone().map(Part::Text));
    let calls = parts.iter().any(|part| matches!(part, Part::Call { .. }));
    let end = match (end(dialect, answer), calls) {
        (End::Tools, false) => End::Turn,
        (End::Turn, true) => End::Tools,
        (End::Turn, false) if refused => End::Refused,
        (end, _) => end,
    };
    Said { parts, end, tokens: tokens(dialect, answer) }
}

fn blocks(answer: &Answer) -> Vec<Part> {
    let heads = answer.heads.iter().enumerate().filter(|(_, head)| head.choice == 0);
    let parts = heads.filter_map(|(block, head)| part(&head.kind, answer.text(block)));
    parts.collect()
}

fn part(kind: &Kind, text: String) -> Option<Part> {
    match kind {
        Kind::Tool { id, name } => Some(Part::Call { id: id.clone(), name: name.clone(), arguments: text }),
        Kind::Text | Kind::Refusal if !text.is_empty() => Some(Part::Text(text)),
        Kind::Thinking if !text.is_empty() => Some(Part::Thinking(text)),
        _ => None,
    }
}

fn in_order(answer: &Answer) -> Vec<Part> {
    let mut runs: Vec<(usize, String)> = Vec::new();
    for item in &answer.items {
        match item {
            Item::Open(block) if answer.heads[*block].choice == 0 => runs.push((*block, String::new())),
            Item::Text(block, text) if answer.heads[*block].choice == 0 => {
                let is_call = matches!(answer.heads[*block].kind, Kind::Tool { .. });
                // A text ends where something else begins; a call does not.
                let last = runs.len().saturating_sub(1);
                let run = runs.iter_mut().enumerate().rfind(|(at, (of, _))| of == block && (is_call || *at == last));
                match run {
                    Some((_, (_, run))) => run.push_str(text),
                    None => runs.push((*block, text.clone())),
                }
            }
            _ => {}
        }
    }
    runs.into_iter().filter_map(|(block, text)| part(&answer.heads[block].kind, sse::joined(&text, false))).collect()
}

fn end(dialect: Dialect, answer: &Answer) -> End {
    if answer.items.contains(&Item::Error) {
        return End::Failed;
    }
    let mut reasons = answer.items.iter().filter_map(|item| match item {
        Item::Stop(0, Some(reason)) => Some(reason.as_str()),
        _ => None,
    });
    let ended = answer.items.contains(&Item::End);
    let Some(reason) = reasons.next_back() else {
        // Some compatible servers end without a reason.
        return if ended && dialect != Dialect::AnthropicMessages { End::Turn } else { End::Failed };
    };
    match (dialect, reason) {
        // Messages say more behind the reason; in chat, nothing has to come.
        (Dialect::AnthropicMessages | Dialect::OpenaiResponses, _) if !ended => End::Failed,
        (Dialect::AnthropicMessages, "tool_use") | (Dialect::OpenaiChat, "tool_calls" | "function_call") => End::Tools,
        (Dialect::AnthropicMessages, "max_tokens" | "model_context_window_exceeded" | "pause_turn" | "compaction")
        | (Dialect::OpenaiChat, "length")
        | (Dialect::OpenaiResponses, "max_output_tokens" | "incomplete") => End::Cut,
        (Dialect::AnthropicMessages, "refusal")
        | (Dialect::OpenaiChat | Dialect::OpenaiResponses, "content_filter") => End::Refused,
        _ => End::Turn,
    }
}

/// Tokens read, of them from a cache and into one, and tokens written, of them thoughts. What is not said is none.
fn tokens(dialect: Dialect, answer: &Answer) -> [u64; 5] {
    let mut all = json!({});
    for item in &answer.items {
        let Item::Usage(usage) = item else { continue };
        for (key, value) in usage.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            all[key] = value.clone();
        }
    }
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let [reads, details, writes, thoughts] = match dialect {
        Dialect::AnthropicMessages => {
            let [cached, write] = [&all["cache_read_input_tokens"], &all["cache_creation_input_tokens"]].map(count);
            let input = count(&all["input_tokens"]) + cached + write;
            let thoughts = count(&all["output_tokens_details"]["thinking_tokens"]);
            return [input, cached, write, count(&all["output_tokens"]), thoughts];
        }
        Dialect::OpenaiChat => {
            ["prompt_tokens", "prompt_tokens_details", "completion_tokens", "completion_tokens_details"]
        }
        Dialect::OpenaiResponses => ["input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details"],
    };
    let cached = count(&all[details]["cached_tokens"]);
    let write = count(&all[details]["cache_write_tokens"]);
    [count(&all[reads]), cached, write, count(&all[writes]), count(&all[thoughts]["reasoning_tokens"])]
}

impl Said {
    /// All text, joined.
    pub fn text(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None })
            .collect()
    }

    /// All thinking.
    pub fn thinking(&self) -> Vec<&str> {
        let thinking = self
            .parts
            .iter()
            .filter_map(|part| if let Part::Thinking(text) = part { Some(text.as_str()) } else { None });
        thinking.collect()
    }

    /// All calls: id, name, arguments.
    pub fn calls(&self) -> Vec<(&str, &str, &str)> {
        let calls = self.parts.iter().filter_map(|part| match part {
            Part::Call { id, name, arguments } => Some((id.as_str(), name.as_str(), arguments.as_str())),
            Part::Text(_) | Part::Thinking(_) => None,
        });
        calls.collect()
    }
}

/// Whether a call of one dialect has the arguments of another: no arguments are the empty object, and free text may be the
/// one argument of a function.
pub fn same_arguments(came: &str, sent: &str) -> bool {
    let nothing = |text: &str| text.is_empty() || text == "{}";
    let wrapped = || sse::json(sent).is_some_and(|sent| sent == json!({"input": came}));
    came == sent || (nothing(came) && nothing(sent)) || wrapped()
}

/// What is different between what a provider says and what a client is sent, as far as the client's dialect can say it.
pub fn differences(from: Dialect, to: Dialect, came: &Said, sent: &Said) -> Vec<String> {
    let mut out = Vec::new();
    let mut expect = |holds: bool, what: &str, came: String, sent: String| {
        if !holds {
            out.push(format!("{what}\n  came: {came}\n  sent: {sent}"));
        }
    };
    let [one, two] = [came.text(), sent.text()];
    expect(one == two, "text", one.clone(), two.clone());
    // A message of chat has one thinking; which of its paragraphs are blocks elsewhere is not told.
    let [one, two] = [came, sent].map(|said| match (from, to) {
        (Dialect::AnthropicMessages, Dialect::OpenaiChat) => said.thinking().join("\n\n"),
        _ => said.thinking().concat().replace('\n', ""),
    });
    expect(one == two, "thinking", one.clone(), two.clone());
    let (one, two) = (came.calls(), sent.calls());
    let same = one.len() == two.len()
        && one.iter().zip(&two).all(|(one, two)| {
            let id = one.0 == two.0 || (one.0.is_empty() && !two.0.is_empty());
            id && one.1 == two.1 && same_arguments(one.2, two.2)
        });
    expect(same, "calls", format!("{one:?}"), format!("{two:?}"));
    expect(came.end == sent.end, "end", format!("{:?}", came.end), format!("{:?}", sent.end));
    expect(came.tokens == sent.tokens, "tokens", format!("{:?}", came.tokens), format!("{:?}", sent.tokens));
    if from != Dialect::OpenaiChat && to != Dialect::OpenaiChat {
        let [one, two] = [came, sent].map(|said| said.parts.iter().map(shape).collect::<Vec<_>>().join(" "));
        expect(one == two, "order", one.clone(), two.clone());
    }
    out
}

fn shape(part: &Part) -> String {
    match part {
        Part::Text(text) => format!("text {text:?}"),
        Part::Thinking(text) => format!("thinking {:?}", text.replace('\n', "")),
        Part::Call { name, .. } => format!("call {name}"),
    }
}
