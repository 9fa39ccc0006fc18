//! Writes a configuration as YAML, for people who read `deploy/envoy`. Envoy itself would take JSON as well.
//!
//! The emitter is `saphyr`'s, the crate that also reads our own YAML. Key order is the order of construction, so that
//! the same settings always give the same bytes.

use std::borrow::Cow;

use saphyr::{Mapping, Scalar, Yaml, YamlEmitter};
use serde_json::Value;

/// A value that YAML cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Envoy's configuration cannot be written as YAML: {0}; this is a defect of Luthien, please report it")]
pub struct YamlError(String);

/// `value` as a YAML document, ending in a line break.
pub fn to_yaml(value: &Value) -> Result<String, YamlError> {
    let mut text = String::new();
    YamlEmitter::new(&mut text).dump(&convert(value)?).map_err(|e| YamlError(e.to_string()))?;
    // Without the document marker: a header of comments goes on top, and one file holds one document.
    let mut text = text.strip_prefix("---\n").unwrap_or(&text).to_owned();
    text.push('\n');
    Ok(text)
}

/// Sets one field of an object that is being built.
pub(super) fn set(object: &mut Value, key: &str, field: Value) {
    if let Value::Object(fields) = object {
        fields.insert(key.to_owned(), field);
    }
}

fn convert(value: &Value) -> Result<Yaml<'_>, YamlError> {
    Ok(match value {
        Value::Null => Yaml::Value(Scalar::Null),
        Value::Bool(flag) => Yaml::Value(Scalar::Boolean(*flag)),
        // Envoy's configuration has only whole numbers here; a fraction would be written differently by each emitter.
        Value::Number(number) => Yaml::Value(Scalar::Integer(
            number.as_i64().ok_or_else(|| YamlError(format!("{number} is not a 64-bit whole number")))?,
        )),
        Value::String(text) => string(text),
        Value::Array(items) => Yaml::Sequence(items.iter().map(convert).collect::<Result<_, _>>()?),
        Value::Object(fields) => {
            let mut mapping = Mapping::new();
            for (key, field) in fields {
                mapping.insert(string(key), convert(field)?);
            }
            Yaml::Mapping(mapping)
        }
    })
}

fn string(text: &str) -> Yaml<'_> {
    Yaml::Value(Scalar::String(Cow::Borrowed(text)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use saphyr::LoadableYamlNode;
    use serde_json::json;

    use super::*;

    fn back(yaml: &Yaml<'_>) -> Value {
        match yaml {
            Yaml::Value(Scalar::Null) => Value::Null,
            Yaml::Value(Scalar::Boolean(b)) => json!(b),
            Yaml::Value(Scalar::Integer(i)) => json!(i),
            Yaml::Value(Scalar::String(s)) => json!(s),
            Yaml::Sequence(items) => items.iter().map(back).collect(),
            Yaml::Mapping(map) => map.iter().map(|(k, v)| (k.as_str().unwrap().to_owned(), back(v))).collect(),
            Yaml::Representation(..)
            | Yaml::Value(Scalar::FloatingPoint(_))
            | Yaml::Tagged(..)
            | Yaml::Alias(_)
            | Yaml::BadValue => panic!("unexpected {yaml:?}"),
        }
    }

    fn check(value: &Value) {
        let text = to_yaml(value).unwrap();
        let read = Yaml::load_from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(&back(&read[0]), value, "\n{text}");
    }

    #[test]
    fn strings_that_look_like_something_else_stay_strings() {
        for text in
            ["yes", "off", "null", "~", "0600", "1e3", "0x10", "", " a", "a: b", "@type", "- a", "10s", "::1", "{x}"]
        {
            check(&json!({ "k": [text], text: "v" }));
        }
    }

    #[test]
    fn empty_lists_and_maps_and_nesting_survive() {
        check(&json!({ "a": {}, "b": [], "c": [[1, { "d": [{}] }], { "e": false, "f": { "g": "h" } }] }));
    }

    #[test]
    fn a_fraction_is_refused() {
        assert!(to_yaml(&json!(1.5)).unwrap_err().to_string().contains("1.5"));
    }

    proptest! {
        #[test]
        fn any_path_or_name_survives(text in "[ -~]{0,24}") {
            check(&json!({ "k": text, "l": [text] }));
        }
    }
}
