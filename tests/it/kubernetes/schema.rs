//! What the definition lets through, and what a real API server turns down by it.

use std::{fs, path::Path};

use luthien::config::{document::Document, kubernetes::crd::crd};
use serde_json::{Value, json};

use super::world::{World, noop, spec};

/// The schema of `spec`, as JSON Schema understands it: what has no type may have any.
fn schema() -> Value {
    let mut schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    close(&mut schema);
    schema
}

/// Keys that are not there are dropped by the API server, so they must not come.
fn close(node: &mut Value) {
    if let Some(fields) = node.as_object_mut() {
        let is_open = fields.contains_key("x-kubernetes-preserve-unknown-fields");
        if fields.contains_key("properties") && !is_open {
            fields.insert("additionalProperties".to_owned(), json!(false));
        }
        fields.values_mut().for_each(close);
    }
    if let Some(items) = node.as_array_mut() {
        items.iter_mut().for_each(close);
    }
}

#[test]
fn every_example_is_an_object_too() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files: Vec<_> = fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(root.join("policy.yaml"));
    assert!(files.len() > 5);
    for file in files {
        let mut document = Document::read(&file).unwrap().value;
        let fields = document.as_object_mut().unwrap();
        fields.remove("version");
        fields.insert("targetRefs".to_owned(), spec(&[])["targetRefs"].clone());
        let wrong: Vec<String> =
            validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", file.display());
    }
    for wrong in [
        json!({ "policies": [] }),
        json!({ "targetRefs": [], "policies": [] }),
        json!({ "targetRefs": spec(&[])["targetRefs"], "policies": [{ "name": "x" }] }),
        json!({ "targetRefs": spec(&[])["targetRefs"], "policies": [{ "name": "x", "type": "noop", "on_falt": "open" }] }),
        json!({ "targetRefs": spec(&[])["targetRefs"], "policies": [{ "name": "x", "type": "noop", "mode": "off" }] }),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

/// Every key of a structural schema has a type, or may be anything; and everything is bounded.
#[test]
fn the_schema_is_structural_and_bounded() {
    fn walk(node: &Value, at: &str) {
        let Some(fields) = node.as_object() else { return };
        let is_open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
        assert!(fields.contains_key("type") || is_open, "{at} has no type");
        assert!(!fields.contains_key("oneOf") && !fields.contains_key("anyOf") && !fields.contains_key("$ref"), "{at}");
        match fields.get("type").and_then(Value::as_str) {
            Some("string") => assert!(
                fields.contains_key("maxLength") || fields.contains_key("enum") || fields.contains_key("format"),
                "{at} may be as long as it likes"
            ),
            Some("array") => assert!(fields.contains_key("maxItems"), "{at} may be as long as it likes"),
            _ => {}
        }
        for (name, node) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(node, &format!("{at}.{name}"));
        }
        for key in ["items", "additionalProperties"] {
            if let Some(node) = fields.get(key) {
                walk(node, &format!("{at}.{key}"));
            }
        }
    }
    walk(&crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "");
}

#[tokio::test]
async fn a_real_server_turns_down_what_the_rules_of_the_definition_forbid() {
    if std::env::var_os("LUTHIEN_TEST_KUBECONFIG").is_none() {
        eprintln!("SKIPPED: only a real API server knows definitions, and LUTHIEN_TEST_KUBECONFIG is not set");
        return;
    }
    let world = World::start().await;
    let service = |name: &str| json!({ "group": "", "kind": "Service", "name": name });
    let route = json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "chat" });
    for (name, spec, words) in [
        ("twice", spec(&[noop("x"), noop("x")]), "two policies have the same name"),
        ("targets", json!({ "targetRefs": [service("a"), service("a")], "policies": [] }), "a target is named twice"),
        (
            "kind",
            json!({ "targetRefs": [{ "group": "apps", "kind": "Deployment", "name": "a" }], "policies": [] }),
            "policies hold for",
        ),
        ("stateful", json!({ "targetRefs": [route], "stateful": "refuse", "policies": [] }), "hold for every call"),
        ("mode", spec(&[json!({ "name": "x", "type": "noop", "mode": "off" })]), "mode"),
        ("none", json!({ "policies": [] }), "targetRefs"),
    ] {
        let message = world.refused(name, spec).await;
        assert!(message.contains(words), "{name}: {message}");
    }
}
