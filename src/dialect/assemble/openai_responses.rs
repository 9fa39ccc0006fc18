//! A Responses stream as one response.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::json::{Kind, Value};

use super::{object, tree::Tree};

/// The response so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Response {
    /// The last word on all of it, as it was written: until the end it is mostly the request, again and again.
    said: Box<[u8]>,
    items: BTreeMap<u64, Item>,
    over: bool,
    /// Bytes of the items.
    size: usize,
}

#[derive(Debug, Clone, Default)]
struct Item {
    tree: Tree,
    /// Nothing is added to it any more: it was said as a whole.
    is_whole: bool,
    size: usize,
}

impl Response {
    pub(super) fn take(&mut self, event: Value<'_>) {
        let kind = event.str_at("type");
        let Some(kind) = kind.as_deref().and_then(|kind| kind.strip_prefix("response.")) else { return };
        if self.over {
            return;
        }
        if let Some(response) = event.get("response").filter(|response| response.kind() == Kind::Object) {
            self.said = response.raw().into();
            self.over = matches!(kind, "completed" | "incomplete" | "failed");
            return;
        }
        let Some(index) = number(event, "output_index") else { return };
        match kind {
            "output_item.added" | "output_item.done" => {
                let Some(item) = event.get("item").filter(|item| item.kind() == Kind::Object) else { return };
                let item = Item { tree: Tree::of(item), is_whole: kind.ends_with("done"), size: item.raw().len() };
                self.size += item.size;
                let before = self.items.insert(index, item);
                self.size -= before.map_or(0, |before| before.size);
            }
            _ => {
                let Some((what, phase)) = kind.rsplit_once('.') else { return };
                let item = self.items.entry(index).or_default();
                if !item.is_whole {
                    let added = item.take(event, what, phase).unwrap_or_default();
                    item.size += added;
                    self.size += added;
                }
            }
        }
    }

    /// Nothing that follows belongs to it.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    pub(super) fn size(&self) -> usize {
        self.said.len() + self.size
    }

    /// At its end a response repeats its output; what it says there counts. Before, and where it does not, the output is
    /// what its items said.
    pub(super) fn finish(self) -> Map<String, Json> {
        let mut response = Value::parse(&self.said).map(|value| object(Tree::fields(value))).unwrap_or_default();
        let repeated = response.get_mut("output").and_then(Json::as_array_mut);
        let is_final = self.over && repeated.is_some();
        let mut output: BTreeMap<u64, Json> = (0..).zip(repeated.map(std::mem::take).unwrap_or_default()).collect();
        if !is_final {
            let items = self.items.into_iter().map(|(index, item)| (index, item.tree.json()));
            output.extend(items.filter(|(_, item)| !item.is_null()));
        }
        if !output.is_empty() || response.contains_key("output") {
            response.insert("output".to_owned(), output.into_values().collect());
        }
        response
    }
}

impl Item {
    /// Takes what an event says of a part. Returns how many bytes it adds. `None`: nothing that belongs anywhere.
    fn take(&mut self, event: Value<'_>, what: &str, phase: &str) -> Option<usize> {
        let item = &mut self.tree;
        // Where it stands, and the name that the event has for it when it says it as a whole.
        let (place, name) = match what {
            "output_text" | "reasoning_text" => (content(item, event)?.field("text")?, "text"),
            "refusal" => (content(item, event)?.field("refusal")?, "refusal"),
            "reasoning_summary_text" => (summary(item, event)?.field("text")?, "text"),
            "content_part" => (content(item, event)?, "part"),
            "reasoning_summary_part" => (summary(item, event)?, "part"),
            "output_text.annotation" => {
                let annotations = content(item, event)?.field("annotations")?;
                (annotations.at(number(event, "annotation_index")?)?, "annotation")
            }
            "function_call_arguments" | "mcp_call_arguments" => (item.field("arguments")?, "arguments"),
            "custom_tool_call_input" => (item.field("input")?, "input"),
            "code_interpreter_call_code" => (item.field("code")?, "code"),
            _ => return None,
        };
        if phase == "delta" {
            return Some(place.merge(event.get("delta")?));
        }
        let whole = event.some(name)?;
        *place = Tree::of(whole);
        Some(whole.raw().len())
    }
}

fn content<'a>(item: &'a mut Tree, event: Value<'_>) -> Option<&'a mut Tree> {
    item.field("content")?.at(number(event, "content_index")?)
}

fn summary<'a>(item: &'a mut Tree, event: Value<'_>) -> Option<&'a mut Tree> {
    item.field("summary")?.at(number(event, "summary_index")?)
}

fn number(event: Value<'_>, key: &str) -> Option<u64> {
    event.get(key).and_then(Value::as_u64)
}
