//! The events that say the text of an item, whether it is the provider's or our own.

use crate::{
    json::{Value, quote},
    wire::Frame,
};

use super::{
    ledger::Sent,
    write::{OwnKind, array, reasoning_part, refusal_part, summary_part, text_part, with_members},
};

/// How the text of one item is said.
pub(super) struct Spoken {
    /// The item's id, as JSON.
    pub(super) id: Vec<u8>,
    /// The member that numbers the part, where there are parts.
    pub(super) number: Option<&'static str>,
    /// The member that holds the whole text.
    pub(super) key: &'static str,
    pub(super) delta: &'static str,
    pub(super) done: &'static str,
    /// The events that begin and end a part, where there are parts.
    pub(super) part_events: Option<(&'static str, &'static str)>,
    /// A part with this text.
    pub(super) part: fn(&[u8]) -> Vec<u8>,
    /// The tool's name, as JSON, which stands at the end of the arguments of a function.
    pub(super) name: Option<Vec<u8>>,
}

impl Spoken {
    /// `None`: the item came whole, or nobody here knows how its text is said.
    pub(super) fn of(sent: &Sent) -> Option<Self> {
        if let Some(own) = &sent.own {
            let name = if let OwnKind::Function { name, .. } = &own.kind { Some(quote(name)) } else { None };
            let wire = match &own.kind {
                OwnKind::Message => "message",
                OwnKind::Refusal => "refusal",
                OwnKind::Reasoning => "reasoning",
                OwnKind::Function { .. } => "function_call",
                OwnKind::Custom { .. } => "custom_tool_call",
            };
            return Self::named(wire, quote(&own.id), name);
        }
        let frame = sent.frame.as_ref().filter(|frame| frame.event() == Some(b"response.output_item.added"))?;
        let data = frame.data()?;
        let item = Value::parse(&data).ok()?.get("item")?;
        let wire = item.str_at("type")?;
        let wire = match &*wire {
            _ if sent.refuses() => "refusal",
            "reasoning" if sent.content_from.is_some() => "reasoning_text",
            wire => wire,
        };
        Self::named(wire, quote(&item.str_at("id")?), item.str_at("name").map(|name| quote(&name)))
    }

    /// Whether its events carry log probabilities.
    pub(super) fn has_logprobs(&self) -> bool {
        self.delta == "response.output_text.delta"
    }

    fn named(wire: &str, id: Vec<u8>, name: Option<Vec<u8>>) -> Option<Self> {
        let spoken = |key, delta, done| Self {
            id,
            number: None,
            key,
            delta,
            done,
            part_events: None,
            part: text_part,
            name: name.filter(|_| wire == "function_call"),
        };
        let content = Some(("response.content_part.added", "response.content_part.done"));
        Some(match wire {
            "message" => Self {
                number: Some("content_index"),
                part_events: content,
                ..spoken("text", "response.output_text.delta", "response.output_text.done")
            },
            "refusal" => Self {
                number: Some("content_index"),
                part_events: content,
                part: refusal_part,
                ..spoken("refusal", "response.refusal.delta", "response.refusal.done")
            },
            "reasoning" => Self {
                number: Some("summary_index"),
                part_events: Some(("response.reasoning_summary_part.added", "response.reasoning_summary_part.done")),
                part: summary_part,
                ..spoken("text", "response.reasoning_summary_text.delta", "response.reasoning_summary_text.done")
            },
            "reasoning_text" => Self {
                number: Some("content_index"),
                part_events: content,
                part: reasoning_part,
                ..spoken("text", "response.reasoning_text.delta", "response.reasoning_text.done")
            },
            "function_call" => {
                spoken("arguments", "response.function_call_arguments.delta", "response.function_call_arguments.done")
            }
            "custom_tool_call" => {
                spoken("input", "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done")
            }
            _ => return None,
        })
    }
}

impl Sent {
    /// Takes note of an event about it.
    pub(super) fn note_event(&mut self, frame: &Frame) {
        let said = frame.said();
        self.last.clear();
        self.last.extend_from_slice(said.event.unwrap_or_default());
        if self.last != b"response.content_part.added" {
            return;
        }
        let number = self.parts.len().saturating_sub(1);
        let part = said.data.as_ref().and_then(|data| Value::parse(data).ok()?.get("part"));
        if part.is_some_and(|part| part.str_at("type").as_deref() == Some("refusal")) {
            self.refusals.push(number);
        }
        self.content_from.get_or_insert(number);
    }

    /// Whether the part that is said is a refusal.
    fn refuses(&self) -> bool {
        self.refusals.last().is_some_and(|last| last + 1 == self.parts.len())
    }

    /// The number of the part that is said, as its events count.
    pub(super) fn part_number(&self) -> usize {
        self.parts.len().saturating_sub(1).saturating_sub(self.content_from.unwrap_or(0))
    }

    /// Whether a part has to be announced before more text of it.
    pub(super) fn needs_part(&self) -> bool {
        self.own.is_none() && self.last == b"response.output_item.added"
    }

    /// Whether its text is still to be ended.
    pub(super) fn is_speaking(&self) -> bool {
        match &self.own {
            Some(own) => own.announced,
            None => !self.last.ends_with(b"_part.done") && !self.needs_part(),
        }
    }

    /// Whether the whole text of the part that is open has been said.
    pub(super) fn has_said_all(&self) -> bool {
        [&b"_text.done"[..], b"refusal.done", b"arguments.done", b"input.done"]
            .iter()
            .any(|end| self.last.ends_with(end))
    }

    /// Whether it can be ended right here and still be what it is: a text, but no half of a call.
    pub(super) fn can_end(&self) -> bool {
        match &self.own {
            Some(own) => own.kind == OwnKind::Message,
            None => self.item(|item| item.str_at("type").as_deref() == Some("message")).unwrap_or(false),
        }
    }

    /// The provider's item, ended here.
    pub(super) fn ended(&self) -> Vec<u8> {
        // Where nothing has announced a part, there is none.
        let parts = if self.needs_part() { &[] } else { &*self.parts };
        let part = |(number, text): (usize, &Vec<u8>)| {
            if self.refusals.contains(&number) { refusal_part(text) } else { text_part(text) }
        };
        let content = array(parts.iter().enumerate().map(part));
        let new = [("status", b"\"completed\"".to_vec()), ("content", content)];
        self.item(|item| with_members(item, &new)).unwrap_or_default()
    }

    /// The item as it began.
    pub(super) fn item<T>(&self, read: impl FnOnce(Value<'_>) -> T) -> Option<T> {
        let data = self.frame.as_ref()?.data()?;
        Value::parse(&data).ok()?.get("item").map(read)
    }
}
