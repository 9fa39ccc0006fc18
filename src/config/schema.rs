//! The JSON Schemas of the two documents, derived from the types.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::Value;

use super::settings::Settings;
use crate::policies::PolicyType;

/// The JSON Schema of `luthien.yaml`.
pub fn settings_schema() -> Value {
    of::<Settings>()
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
