//! The attachments to Envoy Gateway and Istio: what they must say, and that it is what `tests/attach` runs in a real Envoy.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::helm::{Render, refusal, render};
use crate::compose::document::yaml;

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or_else(|| panic!("no list: {value}"), Vec::as_slice)
}

/// With keys in the one spelling of Envoy's own field names.
fn snake(value: &Value) -> Value {
    let key = |key: &str| {
        key.chars().fold(String::new(), |mut spelt, c| {
            if c.is_ascii_uppercase() {
                spelt.push('_');
            }
            spelt.push(c.to_ascii_lowercase());
            spelt
        })
    };
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (key(name), snake(field))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(snake).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The connection manager of a shape in `tests/attach`, and its ext_proc filter.
fn shape(name: &str) -> (Value, Value) {
    let document = snake(&yaml(&format!("tests/attach/{name}.yaml")));
    let listener = &document["static_resources"]["listeners"][0];
    let chain = if listener["filter_chains"].is_array() {
        &listener["filter_chains"][0]
    } else {
        &listener["default_filter_chain"]
    };
    let manager = chain["filters"][0]["typed_config"].clone();
    let is_ext_proc = |filter: &&Value| filter["typed_config"]["@type"].to_string().contains("ExternalProcessor");
    let filter = list(&manager["http_filters"]).iter().find(is_ext_proc).expect("ext_proc")["typed_config"].clone();
    (manager, filter)
}

/// What the early header mutations of a shape take away, by name and by prefix.
fn taken(manager: &Value) -> (Vec<Value>, Vec<Value>) {
    let mutations = list(&manager["early_header_mutation_extensions"][0]["typed_config"]["mutations"]);
    let named = mutations.iter().filter_map(|mutation| mutation.get("remove").cloned());
    let prefixed =
        mutations.iter().filter_map(|mutation| mutation.pointer("/remove_on_match/key_matcher/prefix").cloned());
    (named.collect(), prefixed.collect())
}

#[test]
fn envoy_gateway_gets_what_runs_in_the_tests() {
    let render = render("envoy-gateway", &[]);
    let (manager, filter) = shape("envoy-gateway");

    let policy = &render.object("EnvoyExtensionPolicy", "luthien")["spec"];
    assert_eq!(policy["targetRefs"][0]["kind"], "HTTPRoute");
    let ours = &policy["extProc"][0];
    assert_eq!(ours["failOpen"], false);
    let patch = &render.object("EnvoyPatchPolicy", "ai.luthien");
    assert_eq!(patch["metadata"]["namespace"], "gateways");
    let patch = &patch["spec"]["jsonPatches"][0];
    assert_eq!(patch["name"], "gateways/eg/https");
    let patched = patch["operation"]["jsonPath"].as_str().expect("a path").replace("/ai/luthien/", "/llm/luthien/");
    let name = manager["http_filters"][0]["name"].as_str().expect("a name");
    assert!(patched.contains(&format!("[?(@.name=='{name}')]")), "{patched}");
    for (direction, added) in [("request", Some(&patch["operation"]["value"])), ("response", None)] {
        assert_eq!(ours["processingMode"][direction]["body"], "FullDuplexStreamed");
        let asked = list(&ours["processingMode"][direction]["attributes"]);
        // What the definition of EnvoyExtensionPolicy takes.
        let prefixes = ["connection.", "source.", "request.", "response.", "upstream.", "xds.route_"];
        assert!(
            asked
                .iter()
                .all(|name| prefixes.iter().any(|prefix| name.as_str().unwrap_or_default().starts_with(prefix)))
        );
        let sent: Vec<Value> = asked.iter().chain(added).cloned().collect();
        assert_eq!(sent, list(&filter[format!("{direction}_attributes")]));
    }
    let namespaces = &filter["metadata_options"]["receiving_namespaces"]["untyped"];
    assert_eq!(&ours["metadata"]["writableNamespaces"], namespaces);
    assert_eq!(ours["backendSettings"]["circuitBreaker"]["maxParallelRequests"], 4 * 5000 + 4096);

    let clients = &render.object("ClientTrafficPolicy", "ai.luthien");
    assert_eq!(clients["metadata"]["namespace"], "gateways");
    let early = &clients["spec"]["headers"]["earlyRequestHeaders"];
    let prefixes: Vec<Value> = list(&early["removeOnMatch"]).iter().map(|one| one["value"].clone()).collect();
    assert_eq!((list(&early["remove"]).to_vec(), prefixes), taken(&manager));
    assert_eq!(clients["spec"]["path"]["escapedSlashesAction"], "RejectRequest");

    let traffic = &render.object("BackendTrafficPolicy", "luthien")["spec"];
    assert_eq!(traffic["timeout"]["http"]["requestTimeout"], "0s");
    assert!(traffic["retry"].is_null());
    assert_eq!(traffic["circuitBreaker"]["maxConnections"], 4 * 5000 + 4096);
}

#[test]
fn only_what_luthien_names_leads_to_a_provider() {
    let render = render("envoy-gateway", &[]);
    let rules = list(&render.object("HTTPRoute", "luthien")["spec"]["rules"]);
    let (default, upstreams) = rules.split_last().expect("rules");
    let named: Vec<&Value> = upstreams.iter().map(|rule| &rule["matches"][0]["headers"][0]).collect();
    let header = |name: &str| json!({ "type": "Exact", "name": "x-luthien-upstream", "value": name });
    assert_eq!(named, [&header("anthropic"), &header("openai"), &header("own_models")]);
    for (rule, backend) in upstreams.iter().zip(["luthien-to-anthropic", "luthien-to-openai", "luthien-to-own-models"])
    {
        assert_eq!(rule["backendRefs"][0]["name"], backend);
        assert!(list(&rule["filters"][0]["requestHeaderModifier"]["remove"]).len() <= 16, "the API's limit");
        render.object("Backend", backend);
    }
    assert!(default["backendRefs"].is_null() && default["matches"][0]["headers"].is_null(), "{default}");
    let filter = default["filters"][0]["extensionRef"]["name"].as_str().expect("a filter");
    assert_eq!(render.object("HTTPRouteFilter", filter)["spec"]["directResponse"]["statusCode"], 503);

    // TLS, with the provider's name, and Luthien's both ways.
    for (backend, host) in [("luthien-to-anthropic", "api.anthropic.com"), ("luthien-to-openai", "api.openai.com")] {
        assert_eq!(render.object("BackendTLSPolicy", backend)["spec"]["validation"]["hostname"], host);
        assert_eq!(render.object("Backend", backend)["spec"]["endpoints"][0]["fqdn"]["port"], 443);
    }
    assert!(!render.of("BackendTLSPolicy").any(|policy| policy["metadata"]["name"] == "luthien-to-own-models"));
    let luthien = &render.object("Backend", "luthien-extproc")["spec"];
    assert_eq!(luthien["tls"]["clientCertificateRef"]["name"], "luthien-extproc-client-tls");
    assert_eq!(luthien["tls"]["caCertificateRefs"][0]["name"], "luthien-extproc-tls");
}

fn patches<'r>(render: &'r Render, to: &'r str) -> impl Iterator<Item = &'r Value> {
    let filter = render.object("EnvoyFilter", "ai.luthien");
    list(&filter["spec"]["configPatches"]).iter().filter(move |patch| patch["applyTo"] == to)
}

#[test]
fn istio_gets_what_runs_in_the_tests() {
    let render = render("istio", &[]);
    let (manager, filter) = shape("istio");
    let inserted = &patches(&render, "HTTP_FILTER").next().expect("a filter")["patch"]["value"];
    assert_eq!((&inserted["name"], &inserted["disabled"]), (&json!("luthien"), &json!(true)));
    for field in
        ["processing_mode", "failure_mode_allow", "metadata_options", "request_attributes", "response_attributes"]
    {
        assert_eq!(inserted["typed_config"][field], filter[field], "{field}");
    }
    let merged = &patches(&render, "NETWORK_FILTER").next().expect("a manager")["patch"]["value"]["typed_config"];
    assert_eq!(taken(merged), taken(&manager));
    for field in ["normalize_path", "merge_slashes", "path_with_escaped_slashes_action"] {
        assert_eq!(merged[field], manager[field], "{field}");
    }

    // On for each route but that of upgrades.
    let on: Vec<&Value> = patches(&render, "HTTP_ROUTE")
        .map(|patch| &patch["match"]["routeConfiguration"]["vhost"]["route"]["name"])
        .collect();
    let routes = list(&render.object("VirtualService", "luthien")["spec"]["http"]);
    let (upgrade, others) = routes.split_first().expect("routes");
    assert_eq!(upgrade["name"], "luthien-upgrade");
    assert!(upgrade["directResponse"]["status"] == 426 && upgrade["route"].is_null(), "{upgrade}");
    let mut named: Vec<&Value> = others.iter().map(|route| &route["name"]).collect();
    named.rotate_right(1);
    assert_eq!(on, named);
    let (default, upstreams) = others.split_last().expect("routes");
    assert!(default["directResponse"]["status"] == 503 && default["route"].is_null(), "{default}");
    for route in upstreams {
        assert!(route["match"][0]["headers"]["x-luthien-upstream"]["exact"].is_string(), "{route}");
        assert_eq!(route["retries"]["attempts"], 0);
        assert_eq!(route["rewrite"]["authority"], route["route"][0]["destination"]["host"]);
    }
    let policy = &render.object("DestinationRule", "luthien-to-anthropic")["spec"]["trafficPolicy"];
    let tls = &policy["portLevelSettings"][0]["tls"];
    assert_eq!(tls, &json!({ "mode": "SIMPLE", "sni": "api.anthropic.com", "subjectAltNames": ["api.anthropic.com"] }));
    assert_eq!(render.object("DestinationRule", "luthien")["spec"]["trafficPolicy"]["tls"]["mode"], "MUTUAL");
    for entry in render.of("ServiceEntry") {
        assert_eq!(entry["spec"]["exportTo"], json!(["istio-ingress"]), "other pods speak TLS to that port");
    }
}

/// An argument for Helm with upstreams of these names and addresses.
fn upstreams(of: &[(&str, &str)]) -> String {
    let all: Value = of
        .iter()
        .map(|(name, url)| json!({ "name": name, "url": url, "dialects": ["openai_chat"] }))
        .collect::<Vec<_>>()
        .into();
    format!("settings.upstreams={all}")
}

/// Names of upstreams are their owner's, and some are those of parts of the release.
#[test]
fn objects_of_upstreams_have_names_of_their_own() {
    for set in ["envoy-gateway", "istio"] {
        let names = ["extproc", "upgrade", "host", "unrouted", "to-a", "extproc-client", "trailing_"];
        let urls: Vec<String> = names.iter().map(|name| format!("https://{}.test", name.replace('_', "-x"))).collect();
        let both: Vec<(&str, &str)> = names.into_iter().zip(urls.iter().map(String::as_str)).collect();
        let render = render(set, &["--set-json", &upstreams(&both)]);
        let mut seen = BTreeSet::new();
        for object in &render.objects {
            let name = object["metadata"]["name"].as_str().expect("a name");
            assert!(!name.ends_with('-') && !name.contains('_'), "{set}: {name}");
            assert!(
                seen.insert(format!("{} {name}", object["kind"])),
                "{set}: {} {name} is there twice",
                object["kind"]
            );
        }
        if set == "istio" {
            let routes = list(&render.object("VirtualService", "luthien")["spec"]["http"]);
            let unique: BTreeSet<&str> = routes.iter().filter_map(|route| route["name"].as_str()).collect();
            assert_eq!((unique.len(), routes.len()), (9, 9), "{unique:?}");
        }
        // What is cut off may have told them apart.
        let long = "a".repeat(60);
        let two = upstreams(&[(&format!("{long}1"), "https://a.test"), (&format!("{long}2"), "https://b.test")]);
        assert!(refusal(set, &["--set-json", &two]).contains("both give objects called luthien-to-aaa"));
        for (other, object) in [("a-b", "luthien-to-a-b"), ("a_b", "luthien-to-a-b"), ("a_b_", "luthien-to-a-b")] {
            let two = upstreams(&[("a_b", "https://a.test"), (other, "https://b.test")]);
            let said = refusal(set, &["--set-json", &two]);
            let expected = format!("`a_b` and `{other}` both give objects called {object}; rename one of the two");
            assert!(said.contains(&expected), "{said}");
        }
    }
}

/// Of several `ServiceEntry` or `DestinationRule` objects for a host, Istio takes one.
#[test]
fn istio_is_told_of_a_host_once() {
    let of = [
        ("a", "https://one.test"),
        ("b", "https://one.test/other"),
        ("c", "http://one.test:8000"),
        ("d", "https://ONE.test:8443"),
        ("e", "https://two.test"),
    ];
    let render = render("istio", &["--set-json", &upstreams(&of)]);
    let ports = |object: &str, at: &str| -> Vec<u64> {
        let spec = render.object(if at == "ports" { "ServiceEntry" } else { "DestinationRule" }, object);
        let all = list(spec.pointer(&format!("/spec/{at}")).expect("ports"));
        all.iter().filter_map(|one| one.get("port").unwrap_or(one)["number"].as_u64()).collect()
    };
    assert_eq!((render.of("ServiceEntry").count(), render.of("DestinationRule").count()), (2, 3));
    for at in ["ports", "trafficPolicy/portLevelSettings"] {
        assert_eq!((ports("luthien-to-a", at), ports("luthien-to-e", at)), (vec![443, 8000, 8443], vec![443]));
    }
    let rule = &render.object("DestinationRule", "luthien-to-a")["spec"];
    let modes: Vec<&Value> =
        list(&rule["trafficPolicy"]["portLevelSettings"]).iter().map(|port| &port["tls"]["mode"]).collect();
    assert_eq!(modes, ["SIMPLE", "DISABLE", "SIMPLE"]);
    let entry = &render.object("ServiceEntry", "luthien-to-a")["spec"];
    let names: BTreeSet<&str> = list(&entry["ports"]).iter().filter_map(|port| port["name"].as_str()).collect();
    assert_eq!(names.len(), 3, "{entry}");
    // Each upstream keeps its route.
    for (route, (name, _)) in list(&render.object("VirtualService", "luthien")["spec"]["http"])[1..].iter().zip(of) {
        assert_eq!(route["match"][0]["headers"]["x-luthien-upstream"]["exact"], name);
    }
    let said =
        refusal("istio", &["--set-json", &upstreams(&[("a", "https://one.test:8000"), ("b", "http://one.test:8000")])]);
    assert!(said.contains("`a` and `b` have the same host and port, one with https and one with http"), "{said}");
}

#[test]
fn values_that_attach_nothing_are_refused() {
    for (name, set, expected) in [
        ("demo", "envoyGateway.enabled=true", "set mode=extproc"),
        ("demo", "istio.enabled=true", "set mode=extproc"),
        ("envoy-gateway", "istio.enabled=true", "exclude each other"),
        ("envoy-gateway", r#"envoyGateway.gateway.name="""#, "name the Gateway"),
        (
            "envoy-gateway",
            r#"settings.upstreams=[{"name":"a","url":"https://a","dialects":["openai_chat"],"ca":"/a"}]"#,
            "has `ca`",
        ),
        (
            "envoy-gateway",
            r#"settings.upstreams=[{"name":"a","url":"https://10.0.0.1","dialects":["openai_chat"]}]"#,
            "by an IP address",
        ),
        (
            "istio",
            r#"settings.upstreams=[{"name":"a","url":"http://10.0.0.1","dialects":["openai_chat"]}]"#,
            "by an IP address",
        ),
        ("istio", "istio.gateways=[]", "istio.gateways is empty"),
        ("istio", r#"istio.clientCertificateSecret="""#, "istio.clientCertificateSecret is empty"),
        ("istio", "istio.ports=1", "Additional property ports is not allowed"),
        ("envoy-gateway", r#"envoyGateway.streamIdleTimeout="long""#, "streamIdleTimeout"),
    ] {
        let said = refusal(name, &["--set-json", set]);
        assert!(said.contains(expected), "{set}: {said}");
    }
    let many: Vec<Value> = (0..16)
        .map(|n| json!({ "name": format!("u{n}"), "url": "https://a.test", "dialects": ["openai_chat"] }))
        .collect();
    let said = refusal("envoy-gateway", &["--set-json", &format!("settings.upstreams={}", Value::from(many))]);
    assert!(said.contains("at most 15"), "{said}");
    let without = refusal(
        "envoy-gateway",
        &["--set-json", r#"extproc.tls={"existingSecret":"s","certManager":{"enabled":false}}"#],
    );
    assert!(without.contains("envoyGateway.clientCertificateSecret is empty"), "{without}");
}
