//! Bodies in pieces, so that what is said again is stored once.
//!
//! A conversation sends its whole history with each turn. Long texts are taken out of a body wherever they stand, and so
//! are the items of the lists at its top: messages, tools. What was taken out is named by its SHA-256.

use std::collections::{BTreeMap, btree_map::Entry};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::words;

/// Texts of this length are taken out, in bytes. What names one takes 44.
const LONG: usize = 128;
/// What a string begins with that stands for something else, or that is itself meant.
const MARK: char = '\u{1}';
/// What a string begins with that stands for a list, behind [`MARK`].
const LIST: char = '[';
/// Values under these keys are no texts that anybody would look for.
const UNREAD: [&str; 8] = [
    "data",
    "signature",
    "encrypted_content",
    "image_url",
    "file_data",
    "partial_image_b64",
    "b64_json",
    "thoughtSignature",
];

/// The SHA-256 of a piece.
pub(super) type Hash = [u8; 32];

/// A piece of a body: JSON, or the text of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// What it is.
    pub(super) content: Vec<u8>,
    /// What of it can be searched for.
    said: Said,
    /// The texts that were taken out of it.
    pub(super) holes: Vec<Hash>,
}

/// What of a piece can be searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// Nothing.
    Nothing,
    /// All of it.
    Content,
    /// Its short texts.
    Texts(String),
}

impl Part {
    /// The words in it that can be searched for.
    pub(super) fn words(&self) -> String {
        let mut words = words::Words::default();
        match &self.said {
            Said::Nothing => {}
            Said::Content => words.add(&String::from_utf8_lossy(&self.content)),
            Said::Texts(texts) => words.add(texts),
        }
        words.finish()
    }
}

/// Pieces by what they are.
pub(super) type Parts = BTreeMap<Hash, Part>;

/// A body in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pieces {
    /// What is left of it.
    pub(super) part: Hash,
    /// The lists that were taken out, by field.
    pub(super) lists: Vec<(String, Vec<Hash>)>,
}

/// Takes a body apart.
pub(super) fn split(body: &Value, parts: &mut Parts) -> Pieces {
    let mut lists: Vec<(&String, &Vec<Value>)> = Vec::new();
    let mut taking = Taking::new(parts);
    let rest = match body {
        Value::Object(fields) => {
            let taken = fields.iter().map(|(field, value)| match value {
                Value::Array(items) if !items.is_empty() => {
                    lists.push((field, items));
                    (field.clone(), Value::String(format!("{MARK}{LIST}")))
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_)
                | Value::Object(_) => (field.clone(), taking.value(field, value)),
            });
            Value::Object(taken.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => taking.value("", body),
    };
    let part = taking.finish(&rest);
    let mut item = |item: &Value| {
        let mut taking = Taking::new(parts);
        let item = taking.value("", item);
        taking.finish(&item)
    };
    let lists = lists.into_iter().map(|(field, items)| (field.clone(), items.iter().map(&mut item).collect()));
    let lists = lists.collect();
    Pieces { part, lists }
}

/// Takes long texts out of a value.
struct Taking<'p> {
    parts: &'p mut Parts,
    /// The short texts that anybody would look for, each on a line.
    said: String,
    holes: Vec<Hash>,
}

impl<'p> Taking<'p> {
    fn new(parts: &'p mut Parts) -> Self {
        Self { parts, said: String::new(), holes: Vec::new() }
    }

    /// The value, in which long texts are named.
    fn value(&mut self, key: &str, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(key, text),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(key, item)).collect()),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(key, value)| (key.clone(), self.value(key, value))).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn text(&mut self, key: &str, text: &str) -> Value {
        let is_read = !UNREAD.contains(&key) && !text.starts_with("data:");
        if text.len() < LONG {
            if is_read {
                self.said.push_str(text);
                self.said.push('\n');
            }
            return Value::String(if text.starts_with(MARK) { format!("{MARK}{text}") } else { text.to_owned() });
        }
        let hash = Sha256::digest(text.as_bytes()).into();
        let said = if is_read { Said::Content } else { Said::Nothing };
        self.parts.entry(hash).or_insert_with(|| Part { content: text.into(), said, holes: Vec::new() });
        self.holes.push(hash);
        Value::String(format!("{MARK}{}", URL_SAFE_NO_PAD.encode(hash)))
    }

    fn finish(mut self, value: &Value) -> Hash {
        let content = value.to_string().into_bytes();
        let hash = Sha256::digest(&content).into();
        self.holes.sort_unstable();
        self.holes.dedup();
        let part = Part { content, said: Said::Texts(self.said), holes: self.holes };
        // The same bytes may have been a text before; what was taken out of them has to be known all the same.
        match self.parts.entry(hash) {
            Entry::Vacant(vacant) => {
                vacant.insert(part);
            }
            Entry::Occupied(mut before) => before.get_mut().holes.extend(part.holes),
        }
        hash
    }
}

/// The texts that were taken out of a piece.
pub(super) fn holes(part: &Value, out: &mut Vec<Hash>) {
    match part {
        Value::String(text) => out.extend(hole(text)),
        Value::Array(items) => items.iter().for_each(|item| holes(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| holes(field, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Puts texts back into a piece, and lists into what is left of a body. What is not there any more says so.
pub(super) fn join(
    part: Value,
    field: &str,
    texts: &BTreeMap<Hash, String>,
    lists: &mut BTreeMap<String, Vec<Value>>,
) -> Value {
    match part {
        Value::String(text) => match text.strip_prefix(MARK) {
            None => Value::String(text),
            Some(rest) if rest.starts_with(LIST) => Value::Array(lists.remove(field).unwrap_or_default()),
            Some(rest) if rest.starts_with(MARK) => Value::String(rest.to_owned()),
            Some(_) => {
                let found = hole(&text).and_then(|hash| texts.get(&hash));
                Value::String(found.map_or_else(|| "[no longer recorded]".to_owned(), Clone::clone))
            }
        },
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| join(item, "", texts, &mut BTreeMap::new())).collect())
        }
        Value::Object(fields) => {
            let joined = fields.into_iter().map(|(key, value)| {
                let value = join(value, &key, texts, lists);
                (key, value)
            });
            Value::Object(joined.collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

fn hole(text: &str) -> Option<Hash> {
    URL_SAFE_NO_PAD.decode(text.strip_prefix(MARK)?).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, strategy::Strategy};
    use serde_json::json;

    use super::*;

    /// What comes out when all pieces are put together again.
    fn whole(pieces: &Pieces, parts: &Parts) -> Value {
        let read = |hash: &Hash| serde_json::from_slice::<Value>(&parts[hash].content).unwrap();
        let texts: BTreeMap<Hash, String> = parts
            .iter()
            .filter_map(|(hash, part)| Some((*hash, String::from_utf8(part.content.clone()).ok()?)))
            .collect();
        let item = |hash: &Hash| join(read(hash), "", &texts, &mut BTreeMap::new());
        let mut lists =
            pieces.lists.iter().map(|(field, items)| (field.clone(), items.iter().map(item).collect())).collect();
        join(read(&pieces.part), "", &texts, &mut lists)
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[a-z ]{0,12}".prop_map(Value::String),
            Just(json!("\u{1}")),
            Just(json!("\u{1}[")),
            Just(json!("\u{1}\u{1}x")),
            Just(json!(format!("\u{1}{}", "A".repeat(43)))),
            "[a-z]{4}".prop_map(|word| Value::String(word.repeat(40))),
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
        ];
        text.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec(("[a-c]{1,2}", inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_when_it_is_put_together_again(body in any_value()) {
            let mut parts = Parts::new();
            let pieces = split(&body, &mut parts);
            prop_assert_eq!(whole(&pieces, &parts), body);
            for part in parts.values() {
                let mut found = Vec::new();
                if let Ok(value) = serde_json::from_slice(&part.content) {
                    holes(&value, &mut found);
                }
                prop_assert!(part.holes.iter().all(|hole| found.contains(hole) && parts.contains_key(hole)));
            }
        }
    }

    #[test]
    fn what_is_said_again_is_the_same_piece() {
        let mut parts = Parts::new();
        let (long, tool) = ("word ".repeat(100), json!({ "name": "t", "description": "d ".repeat(100) }));
        let turn = |messages: Value| json!({ "model": "m", "messages": messages, "tools": [tool.clone()] });
        let first = split(&turn(json!([{ "role": "user", "content": long }])), &mut parts);
        let before = parts.len();
        let answer = json!({ "type": "text", "text": "answer ".repeat(100) });
        split(&json!({ "content": [answer.clone()] }), &mut parts);
        let again = json!([{ "role": "user", "content": long }, { "role": "assistant", "content": [answer] }]);
        let second = split(&turn(again), &mut parts);
        assert_eq!(first.part, second.part);
        assert_eq!(first.lists[0].1[0], second.lists[0].1[0]);
        assert_eq!(first.lists[1], second.lists[1]);
        // The answer's text, its block, what stands around it, and the message in the history.
        assert_eq!(parts.len(), before + 4);
    }
}
