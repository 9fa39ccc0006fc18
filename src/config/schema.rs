//! The JSON Schemas of the two documents, derived from the types.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::{Value, json};

use super::{rules::RulesDocument, settings::Settings};
use crate::{journal::activity::Event, policies::PolicyType};

/// The JSON Schema of `luthien.yaml`.
pub fn settings_schema() -> Value {
    of::<Settings>()
}

/// The JSON Schema of an event of the live activity.
pub fn activity_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(without_null).for_serialize();
    settings.into_generator().into_root_schema_for::<Event>().to_value()
}

/// The JSON Schema of `policy.yaml` with these policy types: what `config` may hold follows from `type`.
pub fn rules_schema(types: &[PolicyType]) -> Value {
    let mut schema = of::<RulesDocument>();
    let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) else { return schema };
    let mut cases = Vec::new();
    let mut names = Vec::new();
    for kind in types {
        let mut config = of_type(kind);
        prefix_references(&mut config, kind.name);
        if let Some(fields) = config.as_object_mut() {
            fields.remove("$schema");
            if let Some(Value::Object(own)) = fields.remove("$defs") {
                definitions.extend(own.into_iter().map(|(name, value)| (format!("{}.{name}", kind.name), value)));
            }
        }
        definitions.insert(format!("config.{}", kind.name), config);
        let reference = format!("#/$defs/config.{}", kind.name);
        cases.push(json!({
            "if": { "properties": { "type": { "const": kind.name } } },
            "then": { "properties": { "config": { "$ref": reference } } },
        }));
        names.push(json!({ "const": kind.name, "description": kind.summary }));
    }
    // A list of alternatives must not be empty in JSON Schema.
    if !types.is_empty()
        && let Some(entry) = definitions.get_mut("PolicyEntry").and_then(Value::as_object_mut)
    {
        entry.insert("allOf".to_owned(), Value::Array(cases));
        if let Some(Value::Object(kind)) = entry.get_mut("properties").and_then(|all| all.get_mut("type")) {
            kind.insert("oneOf".to_owned(), Value::Array(names));
        }
    }
    schema
}

/// The JSON Schema of a type as it is read. An optional key may be absent, but not null: `key:` without a value is
/// mostly a mistake, and the schema is easier to read.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(without_null);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The JSON Schema of a policy type's `config`.
pub(super) fn of_type(kind: &PolicyType) -> Value {
    let mut schema = (kind.schema)();
    without_null(&mut schema);
    schema.to_value()
}

/// Makes references to a type's own definitions fit where [`rules_schema`] puts them.
fn prefix_references(schema: &mut Value, prefix: &str) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let (Value::String(to), "$ref") = (&mut *value, name.as_str()) {
                    *to = to.replacen("#/$defs/", &format!("#/$defs/{prefix}."), 1);
                } else {
                    prefix_references(value, prefix);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prefix_references(item, prefix)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn without_null(schema: &mut Schema) {
    transform_subschemas(&mut without_null, schema);
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(branches)) = fields.get_mut("anyOf") {
        branches.retain(|branch| branch.get("type").is_none_or(|name| name != "null"));
        if let [only] = branches.as_slice()
            && let Value::Object(only) = only.clone()
        {
            fields.remove("anyOf");
            for (name, value) in only {
                fields.entry(name).or_insert(value);
            }
        }
    }
    if fields.get("default").is_some_and(Value::is_null) {
        fields.remove("default");
    }
}

#[cfg(test)]
mod tests;
