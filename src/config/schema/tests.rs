//! The files that are generated or must keep up: schemas, `.env.example`, the examples in `config/`.

use std::{fs, path::Path, sync::Arc, time::Duration};

use super::*;
use crate::{
    cli,
    config::{
        compile::{Context, compile},
        document::Document,
        environment::Environment,
        load::load,
        reference::env_example,
        settings::Settings,
    },
    model,
    policies::{
        self,
        remote::GrpcTarget,
        site::{Provider, Reach, Remote, RemoteTarget, Target},
    },
    policy::Demand,
};

/// The types that the examples show.
const SHOWN: [&str; 11] = [
    "noop",
    "debug_log",
    "uppercase",
    "uppercase_nth_word",
    "string_replacement",
    "blocked_content",
    "tool_filter",
    "command_guard",
    "tool_judge",
    "llm_judge",
    "remote",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The file holds `text`; `UPDATE=1` writes it.
fn generated(file: &str, text: &str) {
    let file = root().join(file);
    if Environment::of_process().get("UPDATE").is_some() {
        fs::write(&file, text).expect("written");
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{} is out of date: run the tests with UPDATE=1", file.display());
}

fn pretty(schema: &Value) -> String {
    format!("{schema:#}\n")
}

#[test]
fn generated_files_are_current() {
    generated("config/schema/luthien.schema.json", &pretty(&settings_schema()));
    generated("config/schema/policy.schema.json", &pretty(&rules_schema(policies::all())));
    generated("config/schema/activity.schema.json", &pretty(&activity_schema()));
    generated(".env.example", &env_example());
    generated("deploy/helm/luthien/files/luthienpolicies.luthien.dev.yaml", &cli::crd::text().expect("YAML"));
}

#[test]
fn the_example_settings_load_and_are_the_defaults() {
    let loaded = load(&root().join("config/luthien.yaml"), &[], &Environment::default());
    let settings = loaded.unwrap_or_else(|report| panic!("{report}")).settings;
    let plain = "upstreams:\n  - {name: anthropic, url: 'https://api.anthropic.com', dialects: [anthropic_messages], models: ['claude-*']}";
    let defaults: Settings = Document::parse("plain", plain).expect("a document").read_as("").expect("settings");
    let without_rules = |settings: &Settings| {
        let mut value = serde_json::to_value(settings).expect("a value");
        value.as_object_mut().and_then(|fields| fields.remove("rules"));
        value
    };
    assert_eq!(without_rules(&settings), without_rules(&defaults));
}

#[test]
fn the_example_settings_name_every_key() {
    fn keys(node: &Value, found: &mut Vec<String>) {
        match node {
            Value::Object(fields) => {
                if let Some(Value::Object(properties)) = fields.get("properties") {
                    found.extend(properties.keys().cloned());
                }
                fields.values().for_each(|value| keys(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    for (file, schema) in [("luthien.yaml", settings_schema()), ("policy.yaml", rules_schema(&[]))] {
        let text = fs::read_to_string(root().join("config").join(file)).expect("a file");
        let mut found = Vec::new();
        keys(&schema, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for key in found {
            let named = text.contains(&format!("{key}:")) || text.contains(&format!(" {key} ("));
            assert!(named, "config/{file} does not name `{key}`");
        }
    }
}

/// Settings with an upstream that can judge, and a remote.
fn context() -> Context {
    let url = "http://127.0.0.1:50051".to_owned();
    let connect = Duration::from_secs(5);
    let target = Target {
        name: "anthropic".to_owned(),
        base: url.clone(),
        v1: true,
        key: None,
        ca: None,
        connect,
        longest_answer: 1 << 20,
        circuit: None,
    };
    let providers = vec![Provider::new("anthropic".to_owned(), model::Dialect::AnthropicMessages, Some(target))];
    let target =
        GrpcTarget { name: "mine".to_owned(), url, token: None, ca: None, identity: None, connect, circuit: None };
    let remotes = vec![Remote::new("mine".to_owned(), RemoteTarget::Grpc(target))];
    let reach = Arc::new(Reach { providers, remotes, ..Reach::default() });
    Context { upstreams: vec!["anthropic".to_owned()], hook: Duration::from_secs(10), reach, demand: Demand::default() }
}

#[test]
fn the_example_rules_compile() {
    let mut files: Vec<_> = SHOWN.iter().map(|name| root().join(format!("config/examples/{name}.yaml"))).collect();
    files.push(root().join("config/policy.yaml"));
    for file in files {
        let compiled = Document::read(&file).and_then(|document| compile(&document, &context(), policies::all()));
        let rules = compiled.unwrap_or_else(|report| panic!("{report}"));
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        assert!(stem == "policy" || rules.entries.iter().any(|entry| entry.kind == stem), "{}", file.display());
    }
}

#[test]
fn the_rules_in_the_guide_compile() {
    let guide = fs::read_to_string(root().join("docs/policies.md")).expect("the guide");
    let blocks: Vec<&str> = guide.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let mut seen = 0;
    for block in blocks {
        let entries = match block.strip_prefix("- name:") {
            Some(_) => format!("policies:\n{block}"),
            None if block.starts_with("policies:") || block.starts_with("version:") => block.to_owned(),
            None => continue,
        };
        seen += 1;
        let compiled =
            Document::parse("guide.yaml", entries).and_then(|document| compile(&document, &context(), policies::all()));
        assert!(compiled.is_ok(), "{block}\n{}", compiled.err().map(|report| report.to_string()).unwrap_or_default());
    }
    assert!(seen > 5, "{seen}");
}

#[test]
fn the_rules_schema_knows_the_config_of_each_type() {
    fn schema() -> Schema {
        schemars::json_schema!({
            "type": "object",
            "properties": { "n": { "$ref": "#/$defs/N" } },
            "additionalProperties": false,
            "$defs": { "N": { "type": "integer", "minimum": 1 } }
        })
    }
    let kind = PolicyType { name: "nth", summary: "words", schema, timeout: None, build: |_, _| Err(Vec::new()) };
    let schema = rules_schema(&[kind]);
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let entry = |kind: &str, config: Value| json!({ "policies": [{ "name": "a", "type": kind, "config": config }] });
    assert!(validator.is_valid(&entry("nth", json!({ "n": 3 }))));
    assert!(!validator.is_valid(&entry("nth", json!({ "n": 0 }))));
    assert!(!validator.is_valid(&entry("nth", json!({ "m": 3 }))));
    assert!(!validator.is_valid(&entry("other", json!({}))));
}
