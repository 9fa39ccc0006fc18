//! What the configuration must say, that Envoy accepts it, and that `deploy/envoy` is current.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::cli::envoy_config::document;
use crate::config::extproc::SentBodies;
use crate::envoy::doctor::{Expected, examine};
use crate::envoy::{find_envoy, secret_files};

/// Two providers.
const EXAMPLE: &str = r#"{
    "version": 1,
    "upstreams": [
        { "name": "anthropic", "url": "https://api.anthropic.com", "dialects": ["anthropic_messages"] },
        { "name": "openai", "url": "https://api.openai.com", "dialects": ["openai_chat", "openai_responses"] }
    ]
}"#;

fn example() -> Settings {
    serde_json::from_str(EXAMPLE).unwrap()
}

fn with_url(url: &str) -> Settings {
    let mut settings = example();
    settings.upstreams.truncate(1);
    settings.upstreams[0].url = url.to_owned();
    settings
}

/// Placed as `deploy/envoy/envoy.yaml` is: nothing of it depends on this machine.
fn local() -> Placement {
    let state = Path::new(".luthien");
    Placement { system_ca: Some(IMAGE_CA.into()), ..Placement::local(state, state) }
}

fn build(settings: &Settings) -> Value {
    bootstrap(settings, &local()).unwrap()
}

fn cluster(settings: &Settings) -> Value {
    build(settings)["static_resources"]["clusters"][1].clone()
}

fn manager(value: &Value) -> &Value {
    &value["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

fn this_envoy() -> std::path::PathBuf {
    let named = std::env::var_os("LUTHIEN_ENVOY").map(PathBuf::from);
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools");
    find_envoy(named.as_deref(), &[tools]).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs the real Envoy's own check, and ours. Files that the configuration names must exist.
fn accepted(settings: &Settings, placement: &Placement) {
    healthy(settings, placement);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("envoy.yaml");
    fs::write(&file, document(settings, placement, false).unwrap()).unwrap();
    let output = Command::new(this_envoy())
        .args(["--mode", "validate", "-l", "warning", "-c"])
        .arg(&file)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", fs::read_to_string(&file).unwrap());
    assert!(!said.contains("deprecated"), "{said}");
}

/// `luthien doctor` finds nothing.
fn healthy(settings: &Settings, placement: &Placement) {
    let findings = examine(bootstrap(settings, placement).unwrap(), &Expected::of(settings, None)).unwrap();
    assert_eq!(findings, []);
}

/// The example configuration that ships.
fn shipped() -> Settings {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/luthien.yaml");
    let environment = std::iter::empty::<(&str, &str)>().collect();
    crate::config::load::load(&path, &[], &environment).unwrap_or_else(|report| panic!("{report}")).settings
}

#[test]
fn deploy_is_current() {
    let mut sidecar = shipped();
    "0.0.0.0:8080".clone_into(&mut sidecar.listen);
    let cases = [
        ("envoy.yaml", document(&shipped(), &local(), false)),
        ("envoy.sidecar.yaml", document(&sidecar, &Placement::sidecar(&sidecar, Path::new(POD_DIR)).unwrap(), true)),
    ];
    for (name, document) in cases {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/envoy").join(name);
        let document = document.unwrap();
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &document).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == document,
            "deploy/envoy/{name} is not current; run `make envoy-config` and commit the change"
        );
    }
}

#[test]
fn envoy_accepts_it() {
    let placement = Placement::local(Path::new("."), Path::new("."));
    accepted(&example(), &placement);
    accepted(
        &example(),
        &Placement { system_ca: system_ca(), ..Placement::sidecar(&example(), Path::new(POD_DIR)).unwrap() },
    );
}

#[test]
fn envoy_accepts_every_kind_of_upstream_and_place() {
    let mut settings = example();
    let urls =
        ["demo", "http://127.0.0.1:11434/v1", "https://[::1]:8443", "http://ollama:11434", "https://10.0.0.1/x/"];
    settings.upstreams = urls
        .iter()
        .enumerate()
        .map(|(n, url)| Upstream { name: format!("up-{n}"), url: (*url).to_owned(), ..settings.upstreams[0].clone() })
        .collect();
    "[::]:0".clone_into(&mut settings.listen);
    settings.extproc.plaintext = true;
    let placement = Placement {
        extproc: "luthien:50051".parse().unwrap(),
        admin: "127.0.0.1:0".parse().unwrap(),
        access_log: AccessLog::Off,
        demo: Some("127.0.0.1:8090".parse().unwrap()),
        ..local()
    };
    accepted(&settings, &Placement { system_ca: system_ca(), ..placement });
}

#[test]
fn towards_luthien_over_tcp_envoy_shows_a_certificate_and_asks_for_one() {
    let mut settings = example();
    let file = |name: &str| PathBuf::from("/certs").join(name);
    settings.extproc = serde_json::from_value(json!({
        "listen": "0.0.0.0:9000",
        "tls": { "cert": file("s.pem"), "key": file("s.key"), "client_ca": file("ca.pem") },
    }))
    .unwrap();
    let missing = Placement::sidecar(&settings, Path::new(POD_DIR)).unwrap();
    let error = bootstrap(&settings, &missing).unwrap_err().to_string();
    assert!(error.contains("add `envoy: { address: HOST:PORT, cert: …"), "{error}");

    let envoy = json!({ "cert": file("e.pem"), "key": file("e.key"), "ca": file("ca.pem") });
    for (address, host, kind) in [(None, "127.0.0.1", "IP_ADDRESS"), (Some("luthien:9000"), "luthien", "DNS")] {
        let mut envoy = envoy.clone();
        envoy["address"] = address.into();
        settings.extproc.envoy = serde_json::from_value(envoy).unwrap();
        for secrets in [None, Some(PathBuf::from("/run/luthien"))] {
            let placement = Placement { secrets, ..Placement::sidecar(&settings, Path::new(POD_DIR)).unwrap() };
            let value = bootstrap(&settings, &placement).unwrap();
            let cluster = &value["static_resources"]["clusters"][0];
            let at = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
            assert_eq!(
                (&at["socket_address"]["address"], &at["socket_address"]["port_value"]),
                (&json!(host), &json!(9000))
            );
            let context = &cluster["transport_socket"]["typed_config"]["common_tls_context"];
            let name = &context["validation_context"]["match_typed_subject_alt_names"][0];
            assert_eq!((&name["san_type"], &name["matcher"]["exact"]), (&json!(kind), &json!(host)));
            assert_eq!(context["alpn_protocols"], json!(["h2"]));
            let shown = secret_files(&settings, &placement);
            if placement.secrets.is_none() {
                assert_eq!(context["tls_certificates"][0]["certificate_chain"]["filename"], "/certs/e.pem");
                continue;
            }
            let source = &context["tls_certificate_sds_secret_configs"][0];
            assert_eq!(source["sds_config"]["path_config_source"]["path"], "/run/luthien/extproc-tls.yaml");
            let [(path, secret)] = shown.as_slice() else { panic!("{shown:?}") };
            assert_eq!(path, Path::new("/run/luthien/extproc-tls.yaml"));
            assert_eq!(secret["resources"][0]["name"], source["name"]);
            assert_eq!(secret["resources"][0]["tls_certificate"]["watched_directory"]["path"], "/certs");
        }
    }
}

#[test]
fn the_same_settings_give_the_same_bytes() {
    let once = document(&example(), &local(), false).unwrap();
    assert_eq!(document(&example(), &local(), false).unwrap(), once);
}

#[test]
fn bodies_come_when_they_are_asked_for() {
    let mut settings = example();
    settings.extproc.bodies = SentBodies::WhenNeeded;
    accepted(&settings, &Placement::local(Path::new("."), Path::new(".")));
    let value = build(&settings);
    let filter = &manager(&value)["http_filters"][0]["typed_config"];
    assert_eq!((&filter["failure_mode_allow"], &filter["allow_mode_override"]), (&json!(false), &json!(true)));
    for direction in ["request", "response"] {
        let mode = |part: &str| filter["processing_mode"][format!("{direction}_{part}_mode")].clone();
        assert_eq!([mode("header"), mode("body"), mode("trailer")], ["SEND", "NONE", "SKIP"]);
    }
}

#[test]
fn nothing_passes_luthien_by_failure_or_by_an_answer_of_its_own() {
    let value = build(&example());
    let filter = &manager(&value)["http_filters"][0]["typed_config"];
    assert_eq!(filter["failure_mode_allow"], false);
    assert_eq!(filter["allow_mode_override"], false);
    for direction in ["request", "response"] {
        assert_eq!(filter["processing_mode"][format!("{direction}_body_mode")], "FULL_DUPLEX_STREAMED");
    }
    // It is on for all routes, and those that switch it off go to no provider.
    let routes = &manager(&value)["route_config"];
    assert!(routes["typed_per_filter_config"].get("envoy.filters.http.ext_proc").is_some());
    for route in routes["virtual_hosts"][0]["routes"].as_array().unwrap() {
        let off = route.get("typed_per_filter_config").is_some();
        assert_eq!(route.get("route").is_some(), !off, "{route}");
        assert_eq!(route.get("direct_response").is_some(), off, "{route}");
    }
}

#[test]
fn a_name_is_resolved_and_a_literal_is_not() {
    for (url, is_name, host, tls) in [
        ("https://api.anthropic.com", true, "api.anthropic.com", true),
        ("https://API.Anthropic.com:8443/v1/", true, "api.anthropic.com:8443", true),
        ("http://ollama:11434", true, "ollama:11434", false),
        ("http://127.0.0.1:80", false, "127.0.0.1", false),
        ("http://[::1]:11434", false, "[::1]:11434", false),
        ("https://[2001:db8::1]", false, "[2001:db8::1]", true),
    ] {
        let cluster = cluster(&with_url(url));
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        assert_eq!(cluster.get("cluster_type").is_some(), is_name, "{url}");
        assert_eq!(cluster.get("type").is_some(), !is_name, "{url}");
        assert_eq!(endpoint["hostname"], host, "{url}");
        assert_eq!(cluster.get("transport_socket").is_some(), tls, "{url}");
    }
}

#[test]
fn a_certificate_must_name_the_provider() {
    let by_name = cluster(&with_url("https://api.anthropic.com"));
    let tls = &by_name["transport_socket"]["typed_config"];
    assert_eq!(tls["sni"], "api.anthropic.com");
    let names = &tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"][0];
    assert_eq!(names["san_type"], "DNS");

    let by_address = cluster(&with_url("https://[::1]:1"));
    let tls = &by_address["transport_socket"]["typed_config"];
    assert!(tls.get("sni").is_none());
    let names = &tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"][0];
    assert_eq!((&names["san_type"], &names["matcher"]["exact"]), (&json!("IP_ADDRESS"), &json!("::1")));
}

#[test]
fn an_upstream_may_have_its_own_authority_and_connect_limit() {
    let mut settings = example();
    settings.upstreams[0].ca = Some("/own/ca.pem".into());
    settings.upstreams[0].timeouts.connect = Some(crate::config::units::Duration::from_secs(9));
    let cluster = cluster(&settings);
    let context = &cluster["transport_socket"]["typed_config"]["common_tls_context"];
    assert_eq!(context["validation_context"]["trusted_ca"]["filename"], "/own/ca.pem");
    assert_eq!(cluster["connect_timeout"], "9s");
}

#[test]
fn envoys_breakers_stand_far_above_our_own_limit() {
    let mut settings = example();
    settings.limits.calls = 50_000;
    for cluster in build(&settings)["static_resources"]["clusters"].as_array().unwrap() {
        for key in ["max_connections", "max_pending_requests", "max_requests", "max_retries"] {
            assert!(cluster["circuit_breakers"]["thresholds"][0][key].as_u64().unwrap() >= 200_000, "{key}");
        }
    }
}

#[test]
fn only_a_retry_that_cannot_generate_twice() {
    let value = build(&example());
    let route = &manager(&value)["route_config"]["virtual_hosts"][0]["routes"][3]["route"];
    assert_eq!(route["retry_policy"]["retry_on"], "connect-failure,refused-stream");
}

#[test]
fn settings_that_cannot_be_placed_say_what_to_write() {
    let no_ca = Placement { system_ca: None, ..local() };
    let mut unlistenable = example();
    "localhost".clone_into(&mut unlistenable.listen);
    let mut named = example();
    "gateway:80".clone_into(&mut named.listen);
    for (settings, placement, expected) in [
        (with_url("demo"), local(), "luthien demo-provider"),
        (with_url("ftp://x"), local(), "`ftp` is not http or https"),
        (with_url("api.openai.com"), local(), "write https://HOST"),
        (with_url("https://"), local(), "write https://HOST"),
        (with_url("https://me:secret@"), local(), "write https://HOST"),
        (example(), no_ca, "ca-certificates"),
        (unlistenable, local(), "127.0.0.1:8080"),
        (named, local(), "`gateway:80`"),
    ] {
        let error = bootstrap(&settings, &placement).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
