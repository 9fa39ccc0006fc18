//! A value of an Envoy configuration together with its place, read as protobuf's JSON form says.
//!
//! Field names come in two spellings (`snake_case` in what Envoy prints, `camelCase` in what many control planes print), and a
//! field that is not there has its default. [`one_spelling`] takes care of the first; the readers here of the second.

use std::time::Duration;

use serde_json::Value;

/// Fields whose keys are names of somebody's own.
const NAMED: [&str; 5] = [
    "typed_per_filter_config",
    "typed_extension_protocol_options",
    "filter_metadata",
    "typed_filter_metadata",
    "static_layer",
];

/// The same document with all field names in `snake_case`.
pub(super) fn one_spelling(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, field)| {
                    let key = snake_case(key);
                    let field = if NAMED.contains(&key.as_str()) { named_values(field) } else { one_spelling(field) };
                    (key, field)
                })
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(one_spelling).collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

fn named_values(value: Value) -> Value {
    match value {
        Value::Object(named) => named.into_iter().map(|(key, field)| (key, one_spelling(field))).collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => plain,
    }
}

fn snake_case(key: String) -> String {
    let is_camel = key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.bytes().all(|b| b.is_ascii_alphanumeric())
        && key.bytes().any(|b| b.is_ascii_uppercase());
    if !is_camel {
        return key;
    }
    let mut snake = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node<'d> {
    value: &'d Value,
    path: String,
}

impl<'d> Node<'d> {
    /// The document itself.
    pub(super) fn root(value: &'d Value) -> Self {
        Self { value, path: String::new() }
    }

    /// Where it stands, as `static_resources.clusters[0].name`.
    pub(super) fn path(&self) -> &str {
        if self.path.is_empty() { "the document" } else { &self.path }
    }

    /// Where a field of it stands, or would.
    pub(super) fn path_of(&self, field: &str) -> String {
        let mut path = self.path.clone();
        for key in field.split('/') {
            let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            match (plain, path.is_empty()) {
                (true, true) => path.push_str(key),
                (true, false) => path = format!("{path}.{key}"),
                (false, _) => path = format!("{path}[\"{key}\"]"),
            }
        }
        path
    }

    /// The field at this path of names, as `common_tls_context/validation_context`.
    pub(super) fn get(&self, field: &str) -> Option<Node<'d>> {
        let value = field.split('/').try_fold(self.value, |value, key| value.get(key))?;
        (!value.is_null()).then(|| Node { value, path: self.path_of(field) })
    }

    /// A field whose name may hold any character.
    pub(super) fn named(&self, name: &str) -> Option<Node<'d>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Node { value, path: format!("{}[\"{name}\"]", self.path) })
    }

    /// The elements of a list.
    pub(super) fn list(&self, field: &str) -> Vec<Node<'d>> {
        let Some(list) = self.get(field) else { return Vec::new() };
        let items = list.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = |(n, value)| Node { value, path: format!("{}[{n}]", list.path) };
        items.iter().enumerate().map(item).collect()
    }

    /// All fields.
    pub(super) fn fields(&self) -> Vec<(&'d str, Node<'d>)> {
        let Some(fields) = self.value.as_object() else { return Vec::new() };
        fields.iter().filter_map(|(key, _)| Some((key.as_str(), self.named(key)?))).collect()
    }

    /// Its own text.
    pub(super) fn as_text(&self) -> Option<&'d str> {
        self.value.as_str()
    }

    /// A text.
    pub(super) fn text(&self, field: &str) -> Option<&'d str> {
        self.get(field)?.as_text()
    }

    /// A list of texts.
    pub(super) fn texts(&self, field: &str) -> Vec<&'d str> {
        self.list(field).iter().filter_map(Node::as_text).collect()
    }

    /// A flag, which is off when absent.
    pub(super) fn is_on(&self, field: &str) -> bool {
        self.get(field).is_some_and(|flag| flag.value == &Value::Bool(true))
    }

    /// A whole number.
    pub(super) fn whole(&self, field: &str) -> Option<u64> {
        let number = self.get(field)?.value;
        number.as_u64().or_else(|| number.as_str()?.parse().ok())
    }

    /// A duration, as `0.5s`.
    pub(super) fn duration(&self, field: &str) -> Option<Duration> {
        let seconds: f64 = self.text(field)?.strip_suffix('s')?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// A word of an enumeration, which may also be written as its number. The first of `words` is the default.
    pub(super) fn word(&self, field: &str, words: &[&'static str]) -> &'static str {
        let found = self.get(field).and_then(|node| match node.value {
            Value::String(text) => words.iter().find(|word| *word == text),
            Value::Number(number) => words.get(usize::try_from(number.as_u64()?).ok()?),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        });
        found.or(words.first()).copied().unwrap_or("")
    }

    /// The last part of its message's name, as `v3.Router`, and its fields. A `TypedStruct` is what it stands for.
    pub(super) fn message(&self) -> (&'d str, Node<'d>) {
        let name = self.text("@type").unwrap_or_default();
        if name.ends_with(".TypedStruct") {
            let inner = self.get("value").unwrap_or_else(|| self.clone());
            return (short(self.text("type_url").unwrap_or_default()), inner);
        }
        (short(name), self.clone())
    }
}

/// `…/envoy.extensions.filters.http.router.v3.Router` → `router.v3.Router`.
fn short(name: &str) -> &str {
    let dots = name.rmatch_indices('.').map(|(at, _)| at);
    dots.take(3).last().map_or(name, |at| name.get(at + 1..).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_spellings_are_one_and_names_stay() {
        let read = one_spelling(json!({
            "typedPerFilterConfig": { "myFilter": { "processingMode": { "requestBodyMode": "NONE" } } },
            "@type": "x", "envoy.lb": 1, "http2ProtocolOptions": {},
        }));
        let expected = json!({
            "typed_per_filter_config": { "myFilter": { "processing_mode": { "request_body_mode": "NONE" } } },
            "@type": "x", "envoy.lb": 1, "http2_protocol_options": {},
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn a_place_can_be_found_in_the_document() {
        let value = json!({ "a": { "b": [{ "c": 1 }] }, "m": { "x.y": {} } });
        let root = Node::root(&value);
        assert_eq!(root.list("a/b")[0].path_of("c"), "a.b[0].c");
        assert_eq!(root.get("m").unwrap().named("x.y").unwrap().path(), "m[\"x.y\"]");
        assert_eq!(root.path(), "the document");
    }

    #[test]
    fn values_are_read_as_protobuf_writes_them() {
        let value =
            json!({ "half": "0.5s", "none": "0s", "wrong": "1m", "n": 7, "t": "8", "e": 1, "w": "B", "x": "Z" });
        let node = Node::root(&value);
        assert_eq!(node.duration("half"), Some(Duration::from_millis(500)));
        assert_eq!(node.duration("none"), Some(Duration::ZERO));
        assert_eq!((node.duration("wrong"), node.duration("absent")), (None, None));
        assert_eq!((node.whole("n"), node.whole("t")), (Some(7), Some(8)));
        assert_eq!(["e", "w", "x", "absent"].map(|key| node.word(key, &["A", "B"])), ["B", "B", "A", "A"]);
    }

    #[test]
    fn a_typed_struct_is_what_it_stands_for() {
        let value = json!({
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "type_url": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "value": { "failure_mode_allow": true },
        });
        let (name, inner) = Node::root(&value).message();
        assert_eq!((name, inner.is_on("failure_mode_allow")), ("ext_proc.v3.ExternalProcessor", true));
    }
}
