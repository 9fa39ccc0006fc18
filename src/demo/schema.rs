//! Makes up arguments that fit a tool's JSON Schema.

use serde_json::{Map, Value, json};

/// Deep enough for any real tool; a schema that refers to itself ends here.
const DEEPEST: usize = 6;

/// What agents call a shell command among a tool's properties.
const COMMANDS: [&str; 2] = ["command", "cmd"];

/// Arguments with every required property of `schema` (all properties, if none is required).
pub(super) fn arguments(schema: &Value) -> Value {
    object(schema, 0)
}

/// Whether a tool with this schema runs shell commands, as those of coding agents do.
pub(super) fn runs_commands(schema: &Value) -> bool {
    COMMANDS.iter().any(|name| schema.pointer("/properties").is_some_and(|properties| properties.get(name).is_some()))
}

/// What a tool gets that takes any text. It is a program where the text is one (Codex has a tool that runs JavaScript).
pub(super) const fn free_text() -> &'static str {
    "text(\"hello from the demo provider\")"
}

fn object(schema: &Value, depth: usize) -> Value {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required: Option<Vec<&str>> =
        schema.get("required").and_then(Value::as_array).map(|names| names.iter().filter_map(Value::as_str).collect());
    properties
        .iter()
        .filter(|(name, _)| required.as_ref().is_none_or(|required| required.contains(&name.as_str())))
        .map(|(name, property)| (name.clone(), value(name, property, depth + 1)))
        .collect()
}

fn value(name: &str, schema: &Value, depth: usize) -> Value {
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    if let Some(first) = schema.get("enum").and_then(|list| list.get(0)) {
        return first.clone();
    }
    for union in ["anyOf", "oneOf"] {
        if let Some(first) = schema.get(union).and_then(|list| list.get(0)) {
            return value(name, first, depth);
        }
    }
    let kind = schema.get("type");
    let kind = kind.and_then(Value::as_str).or_else(|| kind.and_then(|list| list.get(0)).and_then(Value::as_str));
    match kind {
        Some("object") if depth < DEEPEST => object(schema, depth),
        Some("array") if depth < DEEPEST => {
            schema.get("items").map_or_else(|| json!([]), |items| json!([value(name, items, depth + 1)]))
        }
        Some("object") => json!({}),
        Some("array") => json!([]),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        _ => json!(text(name)),
    }
}

/// A text that suits a property of this name: tools of coding agents are the usual ones.
fn text(name: &str) -> String {
    match name {
        command if COMMANDS.contains(&command) => "echo hello from the demo provider".to_owned(),
        "path" | "file_path" | "file" => "/tmp/luthien-demo.txt".to_owned(),
        "url" => "https://example.com/".to_owned(),
        other => format!("demo {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_are_there_and_others_are_not() {
        let schema = json!({
            "type": "object",
            "properties": {
                "command": { "type": "string" },
                "unit": { "enum": ["celsius", "kelvin"] },
                "days": { "type": "integer", "minimum": 3 },
                "where": { "type": "object", "properties": { "city": { "type": ["string", "null"] } } },
                "tags": { "type": "array", "items": { "type": "boolean" } },
                "note": { "type": "string" },
            },
            "required": ["command", "unit", "days", "where", "tags"],
        });
        let expected = json!({
            "command": "echo hello from the demo provider",
            "unit": "celsius",
            "days": 3,
            "where": { "city": "demo city" },
            "tags": [true],
        });
        assert_eq!(arguments(&schema), expected);
    }

    #[test]
    fn odd_schemas_give_an_object() {
        for schema in [json!(null), json!({}), json!({ "type": "object" }), json!({ "properties": 3 }), json!(true)] {
            assert_eq!(arguments(&schema), json!({}));
        }
    }
}
