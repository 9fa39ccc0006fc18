//! A JSON value that can still grow.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Number, Value as Json};

use crate::json::{Decoder, Kind, Text, Value, escape, literals};

/// How deeply deltas are merged into what is there; what comes for anything below is put behind it.
const DEPTH: usize = 8;

/// A JSON value that can still grow. It is opened only as far as something is added to it.
#[derive(Debug, Clone, Default)]
pub(super) enum Tree {
    /// `null`, or not said yet.
    #[default]
    Null,
    /// A string.
    Text(Growing),
    /// An object to which something was added.
    Object(Fields),
    /// An array to which something was added.
    List(List),
    /// Anything else, as it was written.
    Raw(Box<[u8]>),
}

/// The members of an object, in the order in which they were first said.
pub(super) type Fields = IndexMap<String, Tree>;

/// A text that comes in parts, which may cut a character in two.
#[derive(Debug, Clone, Default)]
pub(super) struct Growing {
    text: String,
    decoder: Decoder,
}

/// Entries that have a number, by it, and behind them those that have none.
#[derive(Debug, Clone, Default)]
pub(super) struct List {
    numbered: BTreeMap<u64, Tree>,
    plain: Vec<Tree>,
}

impl Growing {
    /// Adds a string to its end. What is no string is passed over. Returns how many bytes that adds, as written.
    pub(super) fn push(&mut self, part: Value<'_>) -> usize {
        let raw = part.string_raw().unwrap_or_default();
        if !raw.is_empty() {
            self.decoder.push_raw(raw, &mut self.text);
        }
        raw.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && !self.decoder.is_open()
    }

    pub(super) fn finish(mut self) -> String {
        self.decoder.finish(&mut self.text);
        self.text
    }
}

impl Tree {
    /// A value as it was written.
    pub(super) fn of(value: Value<'_>) -> Self {
        match value.kind() {
            Kind::Null => Self::Null,
            Kind::String => {
                let mut text = Growing::default();
                text.push(value);
                Self::Text(text)
            }
            Kind::Object | Kind::Array | Kind::Number | Kind::Bool => Self::Raw(value.raw().into()),
        }
    }

    /// A string.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(Growing { text: text.to_owned(), decoder: Decoder::default() })
    }

    /// The fields of an object.
    pub(super) fn fields(object: Value<'_>) -> Fields {
        object.members().map(|member| (member.key.into_owned(), Self::of(member.value))).collect()
    }

    /// Bytes of a value that nothing was added to.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.text.len(),
            Self::Raw(raw) => raw.len(),
            Self::Null | Self::Object(_) | Self::List(_) => 0,
        }
    }

    /// Whether it says nothing that a later word would take away.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty(),
            // Azure writes `"created":0` where it has no time to say.
            Self::Raw(raw) => matches!(&raw[..], b"{}" | b"[]" | b"0"),
            Self::Object(_) | Self::List(_) => false,
        }
    }

    /// A member of the object that this is, or becomes if it says nothing yet. `None`: it is something else.
    pub(super) fn field(&mut self, key: &str) -> Option<&mut Self> {
        if matches!(self, Self::Null) {
            *self = Self::Object(Fields::new());
        }
        match self.opened() {
            Self::Object(fields) => Some(entry(fields, key)),
            Self::Null | Self::Text(_) | Self::List(_) | Self::Raw(_) => None,
        }
    }

    /// The entry at this place of the array that this is, or becomes if it says nothing yet. `None`: it is something else.
    pub(super) fn at(&mut self, place: u64) -> Option<&mut Self> {
        if matches!(self, Self::Null) {
            *self = Self::List(List::default());
        }
        match self.opened() {
            Self::List(list) => {
                if list.numbered.is_empty() {
                    list.numbered = (0..).zip(std::mem::take(&mut list.plain)).collect();
                }
                Some(list.numbered.entry(place).or_default())
            }
            Self::Null | Self::Text(_) | Self::Object(_) | Self::Raw(_) => None,
        }
    }

    /// Adds an entry to the end of the array that this is, or becomes.
    pub(super) fn push(&mut self, value: Value<'_>) {
        match self.opened() {
            Self::List(list) => list.plain.push(Self::of(value)),
            Self::Null => *self = Self::List(List { plain: vec![Self::of(value)], ..List::default() }),
            Self::Text(_) | Self::Object(_) | Self::Raw(_) => self.pair(value),
        }
    }

    /// Adds a delta to what is there, as OpenAI's `accumulate_delta` does: strings are joined, numbers added, entries of
    /// arrays merged by their `index`. Where it would fail or drop something, both are kept. Returns how many bytes that
    /// adds, about.
    pub(super) fn merge(&mut self, delta: Value<'_>) -> usize {
        self.merge_within(delta, DEPTH)
    }

    fn merge_within(&mut self, delta: Value<'_>, depth: usize) -> usize {
        let kind = delta.kind();
        if kind == Kind::Null {
            return 0;
        }
        let inner = depth.saturating_sub(1);
        let is_open = depth > 0 && matches!(kind, Kind::Object | Kind::Array);
        match self.opened() {
            // Opened at once: one delta may hold two parts of one entry.
            Self::Null if is_open => {
                *self = if kind == Kind::Object { Self::Object(Fields::new()) } else { Self::List(List::default()) };
                return self.merge_within(delta, depth);
            }
            Self::Text(text) if kind == Kind::String => return text.push(delta),
            Self::Object(fields) if is_open && kind == Kind::Object => return merge_fields(fields, delta, inner),
            Self::List(list) if is_open && kind == Kind::Array => {
                return delta.items().map(|item| list.merge(item, inner)).sum();
            }
            Self::Text(text) if text.is_empty() => {
                *self = Self::Null;
                return self.merge_within(delta, depth);
            }
            Self::List(list) => match list.plain.last_mut() {
                Some(Self::Text(text)) if kind == Kind::String => return text.push(delta),
                Some(_) | None => list.plain.push(Self::of(delta)),
            },
            Self::Raw(number) => *self = sum(number, delta.raw()).map_or_else(|| Self::of(delta), Self::Raw),
            Self::Null => *self = Self::of(delta),
            Self::Text(_) | Self::Object(_) => self.pair(delta),
        }
        delta.raw().len()
    }

    /// Two things that cannot be joined, both kept.
    fn pair(&mut self, second: Value<'_>) {
        let first = std::mem::take(self);
        *self = Self::List(List { plain: vec![first, Self::of(second)], ..List::default() });
    }

    /// The same, with its outermost object or array opened.
    fn opened(&mut self) -> &mut Self {
        if let Self::Raw(raw) = self
            && matches!(raw.first(), Some(b'{' | b'['))
        {
            let raw = std::mem::take(raw);
            // It was a part of a checked text.
            if let Ok(value) = Value::parse(&raw) {
                *self = match value.kind() {
                    Kind::Array => {
                        let plain = value.items().map(Self::of).collect();
                        Self::List(List { plain, ..List::default() })
                    }
                    Kind::Object | Kind::String | Kind::Number | Kind::Bool | Kind::Null => {
                        Self::Object(Self::fields(value))
                    }
                };
            }
        }
        self
    }

    /// What it says.
    pub(super) fn json(self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Text(text) => Json::String(text.finish()),
            Self::Object(fields) => {
                fields.into_iter().map(|(key, value)| (key, value.json())).collect::<Map<_, _>>().into()
            }
            Self::List(list) => {
                list.numbered.into_values().chain(list.plain).map(Self::json).collect::<Vec<_>>().into()
            }
            Self::Raw(raw) => read(&raw),
        }
    }
}

impl List {
    fn merge(&mut self, item: Value<'_>, depth: usize) -> usize {
        if let Some(index) = item.get("index").and_then(Value::as_u64) {
            return self.numbered.entry(index).or_default().merge_within(item, depth);
        }
        self.plain.push(Tree::of(item));
        item.raw().len()
    }
}

fn merge_fields(fields: &mut Fields, delta: Value<'_>, depth: usize) -> usize {
    let mut added = 0;
    for member in delta.members() {
        let before = fields.len();
        let field = entry(fields, &member.key);
        added += match &*member.key {
            // They say which one it is.
            "index" | "type" => {
                *field = Tree::of(member.value);
                0
            }
            _ => field.merge_within(member.value, depth),
        };
        // A field that is new is kept with its name.
        added += if fields.len() > before { member.key.len() } else { 0 };
    }
    added
}

/// The field of that name. A text of its own is made only for a new one.
pub(super) fn entry<'a>(fields: &'a mut Fields, key: &str) -> &'a mut Tree {
    let place = match fields.get_index_of(key) {
        Some(place) => place,
        None => fields.insert_full(key.to_owned(), Tree::Null).0,
    };
    &mut fields[place]
}

/// What a JSON text says; what cannot be read, because it was cut or nests too deeply, is a string of its own.
pub(super) fn read(raw: &[u8]) -> Json {
    serde_json::from_slice(raw)
        .or_else(|_| serde_json::from_slice(&without_halves(raw)))
        .unwrap_or_else(|_| Json::String(String::from_utf8_lossy(raw).into_owned()))
}

/// The same text, with U+FFFD for every lone surrogate escape, which `serde_json` does not read.
fn without_halves(raw: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(raw).unwrap_or_default();
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    for literal in literals(text) {
        out.extend_from_slice(raw.get(at..literal.start).unwrap_or_default());
        escape(&Text::decode_raw(raw.get(literal.clone()).unwrap_or_default()), &mut out);
        at = literal.end;
    }
    out.extend_from_slice(raw.get(at..).unwrap_or_default());
    out
}

/// The sum of two numbers, as text. `None`: one of them is something else.
fn sum(a: &[u8], b: &[u8]) -> Option<Box<[u8]>> {
    let number = |text: &[u8]| serde_json::from_slice::<Number>(text).ok();
    let (a, b) = (number(a)?, number(b)?);
    let whole = a.as_i64().zip(b.as_i64()).and_then(|(a, b)| a.checked_add(b)).map(Number::from);
    let sum = whole.or_else(|| Number::from_f64(a.as_f64()? + b.as_f64()?))?;
    Some(sum.to_string().into_bytes().into())
}
