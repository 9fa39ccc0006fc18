//! compose.yaml as Compose sees it: merge keys followed, variables with their defaults.

use std::{fs, path::Path, sync::LazyLock};

use regex::{Captures, Regex};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A YAML file of the repository.
pub(crate) fn yaml(file: &str) -> Value {
    documents(file, &text(file)).swap_remove(0)
}

/// The documents of a YAML text that is called `name`.
pub(crate) fn documents(name: &str, text: &str) -> Vec<Value> {
    let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    documents.iter().map(value).collect()
}

/// The services, with the defaults of all variables.
pub(super) fn services() -> Map<String, Value> {
    substituted(yaml("compose.yaml"))["services"].as_object().expect("services").clone()
}

/// A variable that compose.yaml reads: its name, and its default when it has one.
pub(super) fn variables(text: &str) -> Vec<(String, Option<String>)> {
    let found = PATTERN.captures_iter(text).map(|found| {
        let default = found.get(2).filter(|rest| !rest.as_str().starts_with(":+"));
        (found[1].to_owned(), default.map(|default| default.as_str()[2..].to_owned()))
    });
    found.collect()
}

/// `${NAME}`, `${NAME:-default}` or `${NAME:+other}`.
static PATTERN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{([A-Z_]+)(:[-+][^}]*)?\}").expect("a pattern"));

fn substituted(value: Value) -> Value {
    match value {
        Value::String(text) => {
            let default = |found: &Captures<'_>| {
                let default = found.get(2).and_then(|rest| rest.as_str().strip_prefix(":-")).unwrap_or_default();
                default.to_owned()
            };
            Value::String(PATTERN.replace_all(&text, default).into_owned())
        }
        Value::Array(items) => items.into_iter().map(substituted).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, field)| (key, substituted(field))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn value(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::String(text)) => Value::String(text.to_string()),
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Value(Scalar::Boolean(flag)) => (*flag).into(),
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(fields) => {
            let mut merged = Map::new();
            let mut own = Map::new();
            for (key, field) in fields {
                match (key.as_str().expect("a key is text"), value(field)) {
                    ("<<", Value::Object(from)) => merged.extend(from),
                    ("<<", Value::Array(from)) => {
                        // What stands first counts.
                        merged.extend(
                            from.into_iter().rev().flat_map(|from| from.as_object().expect("a mapping").clone()),
                        );
                    }
                    (key, field) => drop(own.insert(key.to_owned(), field)),
                }
            }
            merged.extend(own);
            Value::Object(merged)
        }
        Yaml::Value(Scalar::FloatingPoint(_))
        | Yaml::Representation(..)
        | Yaml::Tagged(..)
        | Yaml::Alias(_)
        | Yaml::BadValue => panic!("no such value is expected: {node:?}"),
    }
}
