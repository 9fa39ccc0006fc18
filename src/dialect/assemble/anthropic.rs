//! A Messages stream as one message.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use crate::json::{Kind, Value};

use super::{
    object,
    tree::{Fields, Growing, Tree, entry, read},
};

/// The message so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    /// All of it but its content.
    fields: Fields,
    blocks: Vec<Block>,
    /// Which block the stream means by an index: the last one that began with it.
    places: HashMap<u64, usize>,
    has_started: bool,
    size: usize,
}

#[derive(Debug, Clone, Default)]
struct Block {
    fields: Fields,
    /// The JSON text of a tool's input, which comes in parts.
    input: Growing,
}

impl Message {
    pub(super) fn take(&mut self, event: Value<'_>) {
        let kind = event.str_at("type");
        match kind.as_deref().unwrap_or_default() {
            "content_block_delta" => self.delta(event),
            "content_block_start" => self.block_start(event),
            "message_start" => self.start(event),
            "message_delta" => self.message_delta(event),
            _ => {}
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn finish(self) -> Map<String, Json> {
        let mut message = object(self.fields);
        let content: Vec<Json> = self.blocks.into_iter().map(Block::finish).collect();
        if !content.is_empty() {
            message.insert("content".to_owned(), content.into());
        }
        message
    }

    /// Only the first one counts.
    fn start(&mut self, event: Value<'_>) {
        let Some(message) = event.some("message").filter(|_| !self.has_started) else { return };
        self.has_started = true;
        self.size += message.raw().len();
        let before = std::mem::replace(&mut self.fields, Tree::fields(message));
        self.fields.extend(before);
        let begun = message.get("content").into_iter().flat_map(Value::items);
        for (index, block) in (0..).zip(begun.filter(|block| block.kind() == Kind::Object)) {
            self.begin(Some(index), Tree::fields(block));
        }
    }

    fn block_start(&mut self, event: Value<'_>) {
        let Some(block) = event.some("content_block") else { return };
        self.size += block.raw().len();
        let fields = Tree::fields(block);
        // The model that answers from here on; the answer as a whole is said to be its.
        if block.str_at("type").as_deref() == Some("fallback")
            && let Some(model) = block.some("to").and_then(|to| to.some("model"))
        {
            self.fields.insert("model".to_owned(), Tree::of(model));
        }
        self.begin(index(event), fields);
    }

    fn begin(&mut self, index: Option<u64>, fields: Fields) {
        self.places.extend(index.map(|index| (index, self.blocks.len())));
        self.blocks.push(Block { fields, input: Growing::default() });
    }

    fn delta(&mut self, event: Value<'_>) {
        let Some(delta) = event.some("delta") else { return };
        let index = index(event);
        let place = index.and_then(|index| self.places.get(&index).copied());
        if place.is_none() {
            // The block never began; what is said of it is kept in one that does not say what it is.
            self.begin(index, Fields::new());
        }
        let block = match place {
            Some(place) => self.blocks.get_mut(place),
            None => self.blocks.last_mut(),
        };
        if let Some(block) = block {
            self.size += block.take(delta);
        }
    }

    fn message_delta(&mut self, event: Value<'_>) {
        self.size += event.raw().len();
        for member in event.members().filter(|member| !matches!(&*member.key, "type" | "delta" | "usage")) {
            self.set(&member.key, member.value);
        }
        for member in event.get("delta").into_iter().flat_map(Value::members) {
            match &*member.key {
                // Both SDKs take these as they are, `null` as well.
                "stop_reason" | "stop_sequence" | "stop_details" => {
                    self.fields.insert(member.key.into_owned(), Tree::of(member.value));
                }
                key => self.set(key, member.value),
            }
        }
        // Counts are totals: a later one replaces an earlier one, and one that is not said again stays.
        for member in event.get("usage").into_iter().flat_map(Value::members).filter(|member| !member.value.is_null()) {
            if let Some(count) = entry(&mut self.fields, "usage").field(&member.key) {
                *count = Tree::of(member.value);
            }
        }
    }

    fn set(&mut self, key: &str, value: Value<'_>) {
        if !value.is_null() {
            *entry(&mut self.fields, key) = Tree::of(value);
        }
    }
}

impl Block {
    /// Takes a delta. Returns how many bytes it adds.
    fn take(&mut self, delta: Value<'_>) -> usize {
        let kind = delta.str_at("type");
        match kind.as_deref().unwrap_or_default() {
            "text_delta" => self.grow("text", delta),
            "thinking_delta" => self.grow("thinking", delta),
            "input_json_delta" => delta.get("partial_json").map_or(0, |part| self.input.push(part)),
            "citations_delta" => {
                if let Some(citation) = delta.get("citation") {
                    entry(&mut self.fields, "citations").push(citation);
                }
                delta.raw().len()
            }
            "signature_delta" | "compaction_delta" => {
                for member in delta.members().filter(|member| member.key != "type") {
                    *entry(&mut self.fields, &member.key) = Tree::of(member.value);
                }
                delta.raw().len()
            }
            _ => {
                let members = delta.members().filter(|member| member.key != "type");
                members.map(|member| entry(&mut self.fields, &member.key).merge(member.value)).sum()
            }
        }
    }

    fn grow(&mut self, key: &str, delta: Value<'_>) -> usize {
        delta.get(key).map_or(0, |text| entry(&mut self.fields, key).merge(text))
    }

    /// An input that is no JSON, because it was cut, stays the text that it is: the SDKs drop what was cut.
    fn finish(self) -> Json {
        let mut block = object(self.fields);
        if !self.input.is_empty() {
            block.insert("input".to_owned(), read(self.input.finish().as_bytes()));
        }
        block.into()
    }
}

fn index(event: Value<'_>) -> Option<u64> {
    event.get("index").and_then(Value::as_u64)
}
