//! Our JSON Schemas as the "structural" schemas that the API server takes for custom resources.
//!
//! What may have several types keeps only its bounds there: the API server cannot say it, and the controller checks the
//! whole document anyway. Everything is bounded, because the API server reckons with the largest value that a schema
//! allows when it estimates what an expression costs.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// The longest text that has no limit of its own.
const LONGEST_TEXT: u64 = 4096;
/// The most entries of a list that has no limit of its own.
const MOST_ITEMS: u64 = 64;
/// The most keys of a mapping that has no limit of its own.
const MOST_KEYS: u64 = 64;

/// `node` as a structural schema; `root` holds the definitions that it refers to.
pub(super) fn structural(node: &Value, root: &Value) -> Value {
    let target = resolve(node, root);
    let mut out = Map::new();
    let about = node.get("description").or_else(|| target.get("description"));
    if let Some(about) = about.and_then(Value::as_str) {
        out.insert("description".to_owned(), Value::String(said(about, target)));
    }
    if let Some(words) = words(target) {
        out.insert("type".to_owned(), json!("string"));
        out.insert("enum".to_owned(), Value::Array(words));
        return Value::Object(out);
    }
    match target.get("type").and_then(Value::as_str) {
        Some("object") => object(target, root, &mut out),
        Some("array") => {
            out.insert("type".to_owned(), json!("array"));
            copy(target, "minItems", &mut out);
            bound(target, "maxItems", MOST_ITEMS, &mut out);
            out.insert("items".to_owned(), structural(target.get("items").unwrap_or(&Value::Null), root));
        }
        Some("string") => {
            out.insert("type".to_owned(), json!("string"));
            for key in ["minLength", "pattern"] {
                copy(target, key, &mut out);
            }
            let longest = if target.get("format").is_some() { 64 } else { LONGEST_TEXT };
            bound(target, "maxLength", longest, &mut out);
        }
        Some("integer") => {
            out.insert("type".to_owned(), json!("integer"));
            out.insert("format".to_owned(), json!("int32"));
            for key in ["minimum", "maximum"] {
                copy(target, key, &mut out);
            }
        }
        Some("boolean") => _ = out.insert("type".to_owned(), json!("boolean")),
        // One of several types.
        Some(_) | None => {
            out.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
            out.insert("maxLength".to_owned(), json!(LONGEST_TEXT));
            out.insert("maxItems".to_owned(), json!(MOST_ITEMS));
            out.insert("maxProperties".to_owned(), json!(MOST_KEYS));
        }
    }
    Value::Object(out)
}

fn object(target: &Value, root: &Value, out: &mut Map<String, Value>) {
    out.insert("type".to_owned(), json!("object"));
    if let Some(fields) = target.get("properties").and_then(Value::as_object) {
        copy(target, "required", out);
        let fields = fields.iter().map(|(name, field)| (name.clone(), structural(field, root)));
        out.insert("properties".to_owned(), fields.collect());
        return;
    }
    bound(target, "maxProperties", MOST_KEYS, out);
    match target.get("additionalProperties").filter(|more| more.is_object()) {
        Some(more) => _ = out.insert("additionalProperties".to_owned(), structural(more, root)),
        None => _ = out.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true)),
    }
}

fn resolve<'s>(node: &'s Value, root: &'s Value) -> &'s Value {
    let name = node.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
    name.and_then(|name| root.pointer(name)).unwrap_or(node)
}

/// The words that a schema allows, when it allows nothing else.
fn words(target: &Value) -> Option<Vec<Value>> {
    let branches = target.get("oneOf").and_then(Value::as_array)?;
    branches.iter().map(|branch| branch.get("const").cloned()).collect()
}

/// The description in one line, with what each word means.
fn said(about: &str, target: &Value) -> String {
    let mut text = about.replace('\n', " ");
    let branches = target.get("oneOf").and_then(Value::as_array);
    for branch in branches.into_iter().flatten() {
        if let (Some(word), Some(about)) =
            (branch.get("const").and_then(Value::as_str), branch.get("description").and_then(Value::as_str))
        {
            // Writing to a string cannot fail.
            let _ = write!(text, " {word}: {}", about.replace('\n', " "));
        }
    }
    text
}

fn copy(from: &Value, key: &str, out: &mut Map<String, Value>) {
    if let Some(value) = from.get(key) {
        out.insert(key.to_owned(), value.clone());
    }
}

fn bound(from: &Value, key: &str, otherwise: u64, out: &mut Map<String, Value>) {
    let bound = from.get(key).cloned().unwrap_or_else(|| json!(otherwise));
    out.insert(key.to_owned(), bound);
}
