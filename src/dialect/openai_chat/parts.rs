//! What a chunk, or a whole completion, says: its parts in a fixed order.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{
    json::{Kind, Span, Text, Value},
    model::{BlockKind, Slot},
};

/// Slot of everything that is not a part: role, token counts, fields that nobody here knows.
pub(super) const CARRIER: Slot = 0;

/// One thing that a chunk says of one choice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// The choice's `index`, or its position where it has none.
    pub choice: u32,
    /// Whether the choice has an `index`.
    pub is_numbered: bool,
    /// The choice's position in `choices`.
    pub position: usize,
    /// What it says.
    pub what: What<'a>,
}

/// What a part says.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    /// Text of a field that is a string; the key says which block.
    Text { field: Field, value: Value<'a> },
    /// Text of one item of a `content` array (Mistral).
    Item { field: Field, position: usize, value: Value<'a> },
    /// One entry of `tool_calls`.
    Tool { position: usize, entry: Value<'a> },
    /// The deprecated `function_call`.
    Function { call: Value<'a> },
    /// `finish_reason`.
    Finish { value: Value<'a> },
}

/// A text that belongs to one block of its choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Field {
    Content,
    Refusal,
    Thinking,
}

impl Field {
    pub(super) fn kind(self) -> BlockKind {
        match self {
            Self::Content => BlockKind::Text,
            Self::Refusal => BlockKind::Refusal,
            Self::Thinking => BlockKind::Thinking,
        }
    }

    /// The key under which text of our own goes.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Refusal => "refusal",
            Self::Thinking => "reasoning_content",
        }
    }
}

/// The keys under which compatible servers repeat the thinking that another key says.
pub(super) const THINKING_KEYS: [&str; 3] = ["reasoning_content", "reasoning", "reasoning_details"];

/// The keys of `holder` that repeat the thinking that `said` says.
pub(super) fn repeats(holder: Value<'_>, said: Value<'_>) -> impl Iterator<Item = &'static str> {
    let span = said.span();
    THINKING_KEYS.into_iter().filter(move |key| holder.get(key).is_some_and(|value| value.span() != span))
}

/// The parts of a chunk (`holder` is `delta`) or of a completion (`holder` is `message`). The slot of `parts[n]` is n + 1.
pub(super) fn parts<'a>(value: Value<'a>, holder: &str) -> SmallVec<[Part<'a>; 2]> {
    let mut out = SmallVec::new();
    for (position, choice) in value.get("choices").into_iter().flat_map(Value::items).enumerate() {
        let [index, said, reason] = choice.pick(["index", holder, "finish_reason"]);
        let (is_numbered, index) = (index.is_some(), numbered(index, position));
        let mut push = |what| out.push(Part { choice: index, is_numbered, position, what });
        let mut thinking_said = false;
        for member in said.into_iter().flat_map(Value::members) {
            match &*member.key {
                "content" => content(member.value, &mut push),
                "refusal" => text(Field::Refusal, member.value, &mut push),
                "reasoning_content" | "reasoning" if !thinking_said => {
                    thinking_said = member.value.string_span().is_some_and(|span| !span.is_empty());
                    text(Field::Thinking, member.value, &mut push);
                }
                "tool_calls" => {
                    for (position, entry) in member.value.items().enumerate() {
                        push(What::Tool { position, entry });
                    }
                }
                "function_call" if !member.value.is_null() => push(What::Function { call: member.value }),
                _ => {}
            }
        }
        // Some servers write an empty reason into every chunk.
        let is_empty = |value: &Value<'_>| value.is_null() || value.string_span().is_some_and(Span::is_empty);
        if let Some(value) = reason.filter(|value| !is_empty(value)) {
            push(What::Finish { value });
        }
    }
    out
}

/// The number of a choice: its `index`, or its place where a server leaves that out.
pub(super) fn choice_number(choice: Value<'_>, position: usize) -> u32 {
    numbered(choice.get("index"), position)
}

fn numbered(index: Option<Value<'_>>, position: usize) -> u32 {
    let index = index.and_then(Value::as_u64).and_then(|index| u32::try_from(index).ok());
    index.unwrap_or_else(|| u32::try_from(position).unwrap_or(u32::MAX))
}

fn text<'a>(field: Field, value: Value<'a>, push: &mut impl FnMut(What<'a>)) {
    if value.string_span().is_some_and(|span| !span.is_empty()) {
        push(What::Text { field, value });
    }
}

fn content<'a>(value: Value<'a>, push: &mut impl FnMut(What<'a>)) {
    text(Field::Content, value, push);
    for (position, item) in value.items().enumerate() {
        let mut said = |field, value: Option<Value<'a>>| {
            if let Some(value) = value.filter(|value| value.string_span().is_some_and(|span| !span.is_empty())) {
                push(What::Item { field, position, value });
            }
        };
        if let Some(thinking) = item.some("thinking") {
            said(Field::Thinking, Some(thinking));
            thinking.items().for_each(|inner| said(Field::Thinking, inner.get("text")));
        }
        said(Field::Content, item.get("text"));
    }
}

/// The text of a call's arguments. Some servers write the object itself where the protocol has a string.
pub(super) fn arguments(value: Value<'_>, data: &Bytes) -> Option<Text> {
    if value.kind() == Kind::Object {
        return Some(Text::new(&String::from_utf8_lossy(value.raw())));
    }
    value.text_in(data)
}

/// Where a tool call entry keeps its name and its arguments: `function`, or `custom` for free text.
pub(super) fn tool_body(entry: Value<'_>) -> Option<(Value<'_>, &'static str)> {
    if let Some(function) = entry.some("function") {
        return Some((function, "arguments"));
    }
    entry.some("custom").map(|custom| (custom, "input"))
}
