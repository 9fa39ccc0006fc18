//! Environment variables and arguments over the settings file. Which variables exist follows from the schema.

use std::net::SocketAddr;

use serde_json::Value;

use super::{
    document::Document,
    environment::Environment,
    report::{Place, Report, key},
    settings::{DEFAULT_ADMIN_LISTEN, DEFAULT_LISTEN},
    yaml::child,
};

/// What the names of our variables begin with.
const PREFIX: &str = "LUTHIEN_";

/// Variables that replace only the port of an address.
const PORTS: [(&str, &str, &str); 2] =
    [("LUTHIEN_PORT", "/listen", DEFAULT_LISTEN), ("LUTHIEN_ADMIN_PORT", "/admin/listen", DEFAULT_ADMIN_LISTEN)];

/// Variables that other parts of the project read; a name that ends in `*` stands for all that begin so.
const OTHERS: [&str; 7] = [
    // For clients; `client-env` has them send it.
    "LUTHIEN_CLIENT_KEY",
    "LUTHIEN_CLIENTS_DIR",
    "LUTHIEN_CONFIG",
    "LUTHIEN_ENVOY",
    "LUTHIEN_LIVE*",
    "LUTHIEN_STATE_DIR",
    "LUTHIEN_STREAMS_DIR",
];

/// A setting from the command line, stronger than file and environment.
#[derive(Debug, Clone)]
pub struct Override {
    /// JSON pointer of the key, as `/listen`.
    pub pointer: String,
    /// Its value.
    pub value: Value,
    /// The argument, as `--listen`.
    pub argument: String,
}

/// An environment variable that sets a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// As `LUTHIEN_TIMEOUTS_STALL`.
    pub name: String,
    /// JSON pointer of the key, as `/timeouts/stall`.
    pub pointer: String,
    /// The key's first paragraph in the schema.
    pub about: String,
    /// What holds without it, as YAML; nothing for a key without a default.
    pub default: Option<Value>,
    /// The words that are allowed, when only some are.
    pub choices: Vec<String>,
    /// Whether the value is taken as it stands, and not read as YAML.
    pub is_text: bool,
}

/// Every variable that sets a key of `schema`, in the order of the schema.
pub fn variables(schema: &Value) -> Vec<Variable> {
    let mut found = Vec::new();
    walk(schema, schema, schema.get("default"), "", &mut found);
    found
}

/// Puts the environment and then the arguments over `document`. Returns what is strange but no error (variables with our
/// prefix that set nothing), and the variables that cannot be read.
pub(super) fn apply(
    document: &mut Document,
    schema: &Value,
    overrides: &[Override],
    environment: &Environment,
) -> (Vec<String>, Report) {
    let variables = variables(schema);
    let mut wrong = Report::default();
    for variable in &variables {
        let Some(text) = environment.get(&variable.name) else { continue };
        let place = Place::Variable(variable.name.clone());
        if variable.is_text {
            document.overlay(&variable.pointer, Value::String(text.to_owned()), place);
            continue;
        }
        match Document::parse(variable.name.as_str(), text) {
            // An empty document reads as an empty mapping; an empty variable does not come here.
            Ok(inline) => document.overlay(&variable.pointer, inline.value, place),
            Err(report) => wrong.append(report.of_variable(&variable.name, &variable.pointer)),
        }
    }
    for (name, pointer, default) in PORTS {
        let Some(port) = environment.get(name) else { continue };
        let address = document.get(pointer).and_then(Value::as_str).unwrap_or(default);
        let replaced = match (address.parse::<SocketAddr>(), port.parse::<u16>()) {
            (Ok(mut address), Ok(port)) => {
                address.set_port(port);
                address.to_string()
            }
            // An address that is wrong already is reported as such; a port that is wrong makes the address so.
            (Err(_), Ok(_)) => continue,
            (_, Err(_)) => format!("{}:{port}", address.rsplit_once(':').map_or(address, |(host, _)| host)),
        };
        document.overlay(pointer, Value::String(replaced), Place::Variable(name.to_owned()));
    }
    for Override { pointer, value, argument } in overrides {
        document.overlay(pointer, value.clone(), Place::Argument(argument.clone()));
    }
    (unknown(&variables, environment), wrong)
}

/// One sentence for each variable that looks like ours and is not.
fn unknown(variables: &[Variable], environment: &Environment) -> Vec<String> {
    let known: Vec<&str> =
        variables.iter().map(|variable| variable.name.as_str()).chain(PORTS.iter().map(|port| port.0)).collect();
    let is_other = |name: &str| {
        OTHERS.iter().any(|other| other.strip_suffix('*').map_or(*other == name, |start| name.starts_with(start)))
    };
    let strange =
        environment.names().filter(|name| name.starts_with(PREFIX) && !known.contains(name) && !is_other(name));
    strange
        .map(|name| match nearest(name, &known) {
            Some(near) => format!("the environment variable {name} sets nothing; did you mean {near}?"),
            None => format!("the environment variable {name} sets nothing; see .env.example for those that exist"),
        })
        .collect()
}

/// The known variable that `name` was meant to be, compared without the prefix that they all share.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or_default().to_owned();
    let ranked = known.iter().map(|known| (*known, strsim::jaro_winkler(&bare(name), &bare(known))));
    ranked.filter(|(_, near)| *near > 0.85).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(known, _)| known)
}

fn walk(root: &Value, node: &Value, default: Option<&Value>, pointer: &str, found: &mut Vec<Variable>) {
    let target = resolve(root, node);
    let default = node.get("default").or(default);
    if let Some(Value::Object(properties)) = target.get("properties").filter(|_| target.get("oneOf").is_none()) {
        for (name, property) in properties {
            let default = default.and_then(|default| default.get(name));
            walk(root, property, default, &child(pointer, name), found);
        }
        return;
    }
    let about = node.get("description").or_else(|| target.get("description")).and_then(Value::as_str);
    found.push(Variable {
        name: format!("{PREFIX}{}", key(pointer).to_uppercase().replace('.', "_")),
        pointer: pointer.to_owned(),
        about: about.unwrap_or_default().to_owned(),
        default: default.cloned(),
        choices: choices(target),
        is_text: is_text(target),
    });
}

fn choices(node: &Value) -> Vec<String> {
    let words =
        node.get("oneOf").and_then(Value::as_array).into_iter().flatten().filter_map(|branch| branch.get("const"));
    words.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a schema wants text and nothing else: then a value is not read as YAML, so that `0123` stays what it is.
fn is_text(node: &Value) -> bool {
    let branches = node.get("oneOf").or_else(|| node.get("anyOf")).and_then(Value::as_array);
    branches.map_or_else(|| node.get("type").is_some_and(|name| name == "string"), |all| all.iter().all(is_text))
}

fn resolve<'s>(root: &'s Value, node: &'s Value) -> &'s Value {
    let name = node.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
    name.and_then(|name| root.pointer(name)).unwrap_or(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::settings_schema;

    #[test]
    fn every_key_has_a_variable() {
        let variables = variables(&settings_schema());
        let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
        for name in [
            "LUTHIEN_LISTEN",
            "LUTHIEN_ADMIN_LISTEN",
            "LUTHIEN_ADMIN_TOKEN",
            "LUTHIEN_UPSTREAMS",
            "LUTHIEN_TIMEOUTS_STALL",
            "LUTHIEN_CLIENTS_AUTH",
            "LUTHIEN_TLS_CERT",
            "LUTHIEN_LIMITS_HELD_TOTAL",
            "LUTHIEN_LOG_FORMAT",
            "LUTHIEN_PROBE_LISTEN",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        let of = |name: &str| variables.iter().find(|variable| variable.name == name).expect("a variable");
        assert_eq!(of("LUTHIEN_TIMEOUTS_STALL").default, Some("3m".into()));
        assert!(of("LUTHIEN_CLIENTS_AUTH").is_text && !of("LUTHIEN_LIMITS_CALLS").is_text);
        assert!(!of("LUTHIEN_UPSTREAMS").is_text && !of("LUTHIEN_ADMIN_TOKEN").is_text);
    }
}
