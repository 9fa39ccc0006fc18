//! Ours have nothing wrong with them, and each fault that is put in is found alone.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::{
    config::extproc::SentBodies,
    envoy::{POD_DIR, Placement, bootstrap},
};

mod faults;

use faults::{faults, filter, per_route};

const SETTINGS: &str = r#"{
    "listen": "0.0.0.0:8080",
    "rules": { "crd": { "gateway_api": true } },
    "upstreams": [
        { "name": "anthropic", "url": "https://api.anthropic.com", "dialects": ["anthropic_messages"] },
        { "name": "openai", "url": "https://api.openai.com", "dialects": ["openai_chat", "openai_responses"] }
    ]
}"#;

fn settings() -> Settings {
    serde_json::from_str(SETTINGS).unwrap()
}

/// What we generate for a pod.
fn ours() -> Value {
    bootstrap(&settings(), &Placement::sidecar(&settings(), Path::new(POD_DIR)).unwrap()).unwrap()
}

fn found(document: &Value) -> Vec<Finding> {
    examine(document.clone(), &Expected::of(&settings(), None)).unwrap()
}

fn ids(findings: &[Finding]) -> BTreeSet<&'static str> {
    findings.iter().map(|finding| finding.check).collect()
}

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// The route of that name.
fn route(document: &Value, name: &str) -> String {
    let routes = format!("{MANAGER}/route_config/virtual_hosts/0/routes");
    let at =
        document.pointer(&routes).and_then(Value::as_array).unwrap().iter().position(|route| route["name"] == name);
    format!("{routes}/{}", at.unwrap_or_else(|| panic!("no route `{name}`")))
}

/// Writes `value` at a pointer; `null` takes away what is there. Short words: `~` is the connection manager, `^` the ext_proc
/// filter, `>` the route through Luthien, `<` that of upgrades, `@` Luthien's cluster, `#` a provider's.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let (short, rest) = pointer.split_at(1);
    let filters = format!("{MANAGER}/http_filters");
    let place = match short {
        "~" => MANAGER.to_owned(),
        "^" => {
            let all = document.pointer(&filters).and_then(Value::as_array).unwrap();
            let at = all.iter().position(|filter| filter["name"] == "envoy.filters.http.ext_proc");
            format!("{filters}/{}/typed_config", at.unwrap())
        }
        ">" => route(document, "policed"),
        "<" => route(document, "upgrade"),
        "@" => "/static_resources/clusters/0".to_owned(),
        "#" => "/static_resources/clusters/1".to_owned(),
        other => other.to_owned(),
    };
    let options = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let tls = "/transport_socket/typed_config/common_tls_context/validation_context";
    let pointer = format!("{place}{rest}").replace("OPTIONS", options).replace("TLS", tls);
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {parent}"));
    if let Value::Array(items) = parent {
        let n = key.parse().unwrap();
        if value.is_null() { drop(items.remove(n)) } else { items.insert(n, value) }
    } else if value.is_null() {
        parent.as_object_mut().unwrap().remove(key).unwrap_or_else(|| panic!("no {pointer}"));
    } else {
        parent[key] = value;
    }
}

#[test]
fn nothing_is_wrong_with_ours() {
    assert_eq!(found(&ours()), []);
    let mut settings = settings();
    settings.extproc.bodies = SentBodies::WhenNeeded;
    let on_demand = bootstrap(&settings, &Placement::sidecar(&settings, Path::new(POD_DIR)).unwrap()).unwrap();
    assert_eq!(found(&on_demand), []);
    for name in ["envoy.yaml", "envoy.sidecar.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/envoy").join(name);
        let document = crate::config::document::Document::read(&path).unwrap().value;
        assert_eq!(examine(document, &Expected::unknown(None)).unwrap(), [], "{name}");
    }
}

#[test]
fn each_fault_is_found_and_nothing_else() {
    let mut wrong = Vec::new();
    for (id, puts) in faults() {
        let mut document = ours();
        for (pointer, value) in &puts {
            put(&mut document, pointer, value.clone());
        }
        let findings = found(&document);
        if ids(&findings) != BTreeSet::from([id]) {
            wrong.push(format!("{id}: {puts:?}\n{findings:#?}"));
        }
        for finding in &findings {
            assert!(!finding.why.is_empty() && !finding.remedy.is_empty() && !finding.place.is_empty(), "{finding:?}");
            let check = CHECKS.iter().find(|check| check.id == finding.check);
            assert_eq!(check.map(|check| check.severity), Some(finding.severity));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_check_has_a_fault() {
    let of_processes = ["envoy-version", "envoy-version-unknown"];
    let covered: BTreeSet<&str> = faults().into_iter().map(|(id, _)| id).chain(of_processes).collect();
    assert_eq!(CHECKS.iter().map(|check| check.id).collect::<BTreeSet<_>>(), covered);
}

#[test]
fn all_faults_are_told_at_once_the_worst_first() {
    let mut document = ours();
    for pointer in ["^/failure_mode_allow", "^/allow_mode_override"] {
        put(&mut document, pointer, json!(true));
    }
    put(&mut document, "~/merge_slashes", Value::Null);
    let findings = found(&document);
    let told: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.check)).collect();
    let expected =
        [(Severity::Error, "failure-mode"), (Severity::Warning, "mode-override"), (Severity::Warning, "paths")];
    assert_eq!(told, expected);
    assert_eq!(
        findings[0].at,
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.failure_mode_allow"
    );
    assert_eq!(findings[0].place, "listener `clients`, filter `envoy.filters.http.ext_proc`");
}

#[test]
fn what_is_right_in_another_way_is_no_finding() {
    let whole = json!({ "overrides": { "processing_mode": {
        "request_body_mode": "FULL_DUPLEX_STREAMED", "response_body_mode": 4,
        "request_trailer_mode": "SEND", "response_trailer_mode": "SEND",
    } } });
    let cases: Vec<Vec<(&str, Value)>> = vec![
        // A mode that every route overrides is in force nowhere.
        vec![
            ("^/processing_mode", json!({})),
            (">/typed_per_filter_config", per_route(&whole)),
            ("~/route_config/typed_per_filter_config", Value::Null),
        ],
        // A filter that is off where Luthien is on.
        vec![("~/http_filters/0", {
            let mut off = filter("d", "decompressor.v3.Decompressor", json!({}));
            off["disabled"] = json!(true);
            off
        })],
        vec![("~/path_with_escaped_slashes_action", json!("UNESCAPE_AND_REDIRECT"))],
        // Upgrades that a route before answers.
        vec![("~/upgrade_configs", json!([{ "upgrade_type": "websocket" }]))],
        vec![("~/stream_idle_timeout", json!("0s")), (">/route/idle_timeout", Value::Null)],
        vec![
            ("</match/prefix", json!("/v2")),
            (">/route/upgrade_configs", json!([{ "upgrade_type": "websocket", "enabled": false }])),
            ("~/upgrade_configs", json!([{ "upgrade_type": "websocket" }])),
        ],
        vec![
            ("^/route_cache_action", Value::Null),
            ("^/mutation_rules", Value::Null),
            ("^/status_on_error", Value::Null),
        ],
        vec![(
            ">/route/retry_policy/retry_on",
            json!("connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"),
        )],
    ];
    for puts in cases {
        let mut document = ours();
        for (pointer, value) in &puts {
            put(&mut document, pointer, value.clone());
        }
        assert_eq!(found(&document), [], "{puts:?}");
    }
}

#[test]
fn limits_are_those_of_the_settings() {
    let mut patient = settings();
    patient.timeouts.total = crate::config::units::Duration::from_secs(100_000);
    let findings = examine(ours(), &Expected::of(&patient, None)).unwrap();
    assert_eq!(ids(&findings), BTreeSet::from(["idle-timeout", "request-timeout"]), "{findings:#?}");
    let mut busy = settings();
    busy.limits.calls = 1_000_000;
    let findings = examine(ours(), &Expected::of(&busy, None)).unwrap();
    assert_eq!(ids(&findings), BTreeSet::from(["circuit-breaker"]));
}

#[test]
fn what_a_mesh_encrypts_is_no_finding() {
    let mut document = ours();
    put(&mut document, "@/load_assignment", Value::Null);
    assert_eq!(ids(&found(&document)), BTreeSet::from(["extproc-plaintext"]));
    let mut meshed = settings();
    meshed.extproc.plaintext = true;
    assert_eq!(examine(document, &Expected::of(&meshed, None)).unwrap(), []);
}

#[test]
fn only_the_named_cluster_is_ours() {
    let mut document = ours();
    let mut other = filter("other", "ext_proc.v3.ExternalProcessor", json!({ "failure_mode_allow": true }));
    other["typed_config"]["grpc_service"] = json!({ "envoy_grpc": { "cluster_name": "elses" } });
    put(&mut document, "~/http_filters/0", other);
    assert_eq!(ids(&found(&document)), BTreeSet::from(["other-body-filter"]));
    let named = Expected::of(&settings(), Some("nobodys".to_owned()));
    let findings = examine(document, &named).unwrap();
    assert!(findings[0].why.contains("`nobodys`"), "{findings:?}");
    assert_eq!(ids(&findings), BTreeSet::from(["no-ext-proc"]));
}

/// As Envoy's `/config_dump` has it.
fn dump(version: Option<u64>) -> Value {
    let ours = ours();
    let listed = |kind: &str, list: &str, entry: &str| -> Value {
        let items = ours["static_resources"][kind].as_array().unwrap();
        json!({ list: items.iter().map(|item| json!({ entry: item })).collect::<Vec<_>>() })
    };
    let version = version.map(|minor| json!({ "major_number": 1, "minor_number": minor }));
    let node = json!({ "user_agent_build_version": { "version": version } });
    json!({ "configs": [
        { "bootstrap": { "admin": ours["admin"], "node": node, "static_resources": {} } },
        listed("listeners", "static_listeners", "listener"),
        listed("clusters", "static_clusters", "cluster"),
    ] })
}

#[test]
fn a_running_envoy_must_be_new_enough() {
    assert_eq!(found(&dump(Some(40))), []);
    assert_eq!(ids(&found(&dump(Some(39)))), BTreeSet::from(["envoy-version"]));
    assert_eq!(ids(&found(&dump(None))), BTreeSet::from(["envoy-version-unknown"]));
    let mut asked = dump(None);
    asked["server_info"] = json!({ "version": "9e55809/1.40.0/Clean/RELEASE/BoringSSL" });
    assert_eq!(found(&asked), []);
}

#[test]
fn the_dump_of_each_envoy_below_its_name_is_read() {
    let mut broken = dump(Some(40));
    broken["configs"][1]["static_listeners"][0]["listener"]["per_connection_buffer_limit_bytes"] = json!(1);
    let document = json!({ "envoy-gateway-system": { "envoy-a-1": dump(Some(40)), "envoy-a-2": broken } });
    let findings = found(&document);
    assert_eq!(ids(&findings), BTreeSet::from(["buffer-limit"]));
    assert!(findings[0].at.starts_with("[\"envoy-gateway-system\"][\"envoy-a-2\"].configs[1]"), "{findings:?}");
}

#[test]
fn what_is_no_envoy_is_said() {
    let error = examine(json!({ "kind": "Gateway" }), &Expected::unknown(None)).unwrap_err().to_string();
    assert!(error.contains("config_dump"), "{error}");
}

#[test]
fn the_documentation_has_a_row_for_each_check() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter(|(id, _)| !id.starts_with('-'))
        .filter_map(|(id, rest)| Some((id, rest.split_once(" |")?.0)))
        .collect();
    let expected: Vec<(&str, String)> = CHECKS.iter().map(|check| (check.id, check.severity.to_string())).collect();
    let expected: Vec<(&str, &str)> = expected.iter().map(|(id, severity)| (*id, severity.as_str())).collect();
    assert_eq!(rows, expected);
}
