//! compose.yaml, `.env.example`, the settings and the Dockerfile, held against each other. No engine is needed;
//! `make compose-test` runs them.

pub(crate) mod document;
mod image;

use std::collections::{BTreeMap, BTreeSet};

use luthien::{
    config::{
        compile::{Context, compile},
        environment::Environment,
        load::{Loaded, load},
        overlay,
        schema::settings_schema,
    },
    policies,
};
use serde_json::Value;

use document::{root, services, text, variables, yaml};

/// What is published, with the port inside.
const PUBLISHED: [(&str, &str); 3] = [("envoy", "8080"), ("luthien", "8081"), ("grafana", "3000")];

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|items| items.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// `#NAME=value` lines of `.env.example`.
fn documented(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let named = lines.filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
    named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The settings that compose.yaml gives to Luthien, with these variables besides.
fn settings(more: &[(&str, &str)]) -> (Loaded, Environment) {
    let services = services();
    let environment = services["luthien"]["environment"].as_object().expect("an environment");
    let set = environment.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("text")));
    let environment: Environment = set.chain(more.iter().copied()).collect();
    let loaded = load(&root().join("deploy/compose/luthien.yaml"), &[], &environment);
    (loaded.unwrap_or_else(|report| panic!("{report}")), environment)
}

#[test]
fn every_variable_is_documented_with_its_default() {
    let example = text(".env.example");
    let documented_here = documented(&example);
    let mut used = BTreeSet::new();
    for (name, default) in variables(&text("compose.yaml")) {
        let Some(said) = documented_here.get(&name) else { panic!("{name} is not in .env.example") };
        // A base URL is shown with its public address, which it has without being set.
        if let Some(default) = default.filter(|_| !name.ends_with("_BASE_URL")) {
            assert_eq!(&default, said, "{name}");
        }
        used.insert(name);
    }
    let own = example.split_once("# ---- compose ----").expect("a section of compose's own").1;
    for name in documented(own).keys() {
        assert!(used.contains(name), "{name} is in the section of compose.yaml, which does not read it");
    }
    assert!(used.len() > 20, "{used:?}");
}

#[test]
fn every_setting_that_is_set_exists() {
    let mut known: BTreeSet<String> = overlay::variables(&settings_schema()).into_iter().map(|one| one.name).collect();
    known.extend(["LUTHIEN_CONFIG", "LUTHIEN_PORT"].map(str::to_owned));
    let mut seen = 0;
    for (service, definition) in services() {
        for name in definition["environment"].as_object().into_iter().flat_map(|set| set.keys()) {
            if name.starts_with("LUTHIEN_") {
                assert!(known.contains(name), "{service} sets {name}, which is no setting");
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "{seen}");
}

#[test]
fn only_three_ports_are_published_and_on_loopback() {
    for (service, definition) in services() {
        assert_ne!(definition["network_mode"], "host", "{service}");
        let inside = PUBLISHED.iter().find(|(name, _)| *name == service).map(|(_, port)| *port);
        let ports = texts(&definition["ports"]);
        assert_eq!(ports.len(), usize::from(inside.is_some()), "{service}: {ports:?}");
        for port in ports {
            let [address, _, port] = port.split(':').collect::<Vec<_>>()[..] else { panic!("{service}: {port}") };
            assert_eq!((address, Some(port)), ("127.0.0.1", inside), "{service}");
        }
    }
    let networks = &yaml("compose.yaml")["networks"];
    for store in ["postgres", "redis"] {
        assert_eq!(texts(&services()[store]["networks"]), ["store"]);
    }
    assert_eq!(networks["store"]["internal"], true);
}

#[test]
fn every_service_has_a_pinned_image_limits_and_a_health_check() {
    let services = services();
    let ours = services["luthien"]["image"].clone();
    let awaited: BTreeSet<&String> = services
        .values()
        .filter_map(|definition| definition["depends_on"].as_object())
        .flatten()
        .filter(|(_, how)| how["condition"] == "service_completed_successfully")
        .map(|(name, _)| name)
        .collect();
    for (service, definition) in &services {
        let image = definition["image"].as_str().unwrap_or_else(|| panic!("{service} has no image"));
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        assert!(tag.contains(|c: char| c.is_ascii_digit()), "{service}: {image} is not pinned");
        assert_eq!(definition["build"].is_object(), *image == ours, "{service}: built here, or not");
        let once = definition["restart"] == "no";
        assert_eq!(once, awaited.contains(service), "{service}: who ends is awaited");
        assert_ne!(definition["healthcheck"]["test"].is_array(), once, "{service}: a health check");
        assert_eq!(definition["read_only"], true, "{service}");
        assert_eq!(texts(&definition["cap_drop"]), ["ALL"], "{service}");
        assert_eq!(texts(&definition["security_opt"]), ["no-new-privileges:true"], "{service}");
        assert!(definition["logging"]["options"]["max-size"].is_string(), "{service}");
        // A model takes what it takes.
        assert_ne!(definition["mem_limit"].is_string(), service == "ollama", "{service}: a limit");
        for (other, how) in definition["depends_on"].as_object().into_iter().flatten() {
            let other_has = &services.get(other).unwrap_or_else(|| panic!("{service} waits for {other}"))["profiles"];
            let together = other_has.is_null() || *other_has == definition["profiles"] || how["required"] == false;
            assert!(together, "{service} waits for {other}, which its profile does not start");
        }
    }
}

#[test]
fn what_is_mounted_is_there() {
    let volumes = yaml("compose.yaml")["volumes"].clone();
    for (service, definition) in services() {
        for volume in texts(&definition["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            match source.strip_prefix("./") {
                Some(path) => assert!(root().join(path).is_dir() && volume.ends_with(":ro"), "{service}: {volume}"),
                None if source.starts_with('/') => assert!(volume.ends_with(":ro"), "{service}: {volume}"),
                None => assert!(volumes.get(source).is_some(), "{service}: {volume}"),
            }
        }
    }
}

#[test]
fn settings_and_containers_agree_on_every_address() {
    let (loaded, _) = settings(&[]);
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let settings = loaded.settings;
    let services = services();
    let port = |address: &str| address.rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap_or_default();
    assert_eq!(port(&settings.listen), PUBLISHED[0].1);
    assert_eq!(port(&settings.admin.listen), PUBLISHED[1].1);
    let probe = port(&settings.probe.expect("a probe listener").listen);
    let asked = texts(&services["luthien"]["healthcheck"]["test"])[3];
    assert_eq!(asked, format!("http://127.0.0.1:{probe}/readyz"));

    let jobs = yaml("deploy/observability/prometheus/prometheus.yaml")["scrape_configs"].clone();
    let targets = |job: usize| texts(&jobs[job]["static_configs"][0]["targets"]).join(" ");
    assert_eq!(targets(0), format!("luthien:{probe}"));
    let envoy = port(&settings.telemetry.metrics.envoy_listen.expect("Envoy's metrics"));
    assert_eq!(targets(1), format!("envoy:{envoy}"));

    let demo = texts(&services["demo"]["command"])[2];
    let config = texts(&services["envoy-config"]["command"]);
    assert_eq!(config[3], format!("demo:{}", port(demo)));
    let socket = settings.extproc.listen.expect("a socket");
    assert_eq!(socket, "unix:/run/luthien/extproc.sock");
    for service in ["envoy", "envoy-config", "luthien"] {
        assert!(texts(&services[service]["volumes"]).contains(&"run:/run/luthien"), "{service}");
        assert_eq!(services[service]["user"], services["luthien"]["user"], "the socket is open to one user: {service}");
    }
    assert!(texts(&services["envoy"]["command"]).contains(&config[5]), "Envoy reads what was written for it");

    assert_eq!(settings.redis.expect("a Redis").url, "redis://redis:6379/0");
    let postgres = settings.recording.postgres.expect("a PostgreSQL");
    let database = services["postgres"]["environment"]["POSTGRES_DB"].as_str().expect("a database");
    assert_eq!(postgres.url, format!("postgres://postgres:5432/{database}"));
    assert_eq!(postgres.username.as_deref(), services["postgres"]["environment"]["POSTGRES_USER"].as_str());
}

#[test]
fn the_rules_compile_and_keys_choose_the_providers() {
    let (loaded, environment) = settings(&[]);
    let context = Context::of(&loaded.settings, &loaded.base, &environment);
    let rules = loaded.rules.read().and_then(|document| compile(&document, &context, policies::all()));
    let entries = rules.unwrap_or_else(|report| panic!("{report}")).entries;
    let names: Vec<&str> = entries.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["no-secrets", "demo-code-names", "demo-no-deleting"]);
    let urls = |more: &[(&str, &str)]| -> Vec<String> {
        settings(more).0.settings.upstreams.into_iter().map(|upstream| upstream.url).collect()
    };
    assert_eq!(urls(&[]), ["demo", "demo"]);
    assert_eq!(urls(&[("ANTHROPIC_API_KEY", "sk-ant-fake")]), ["demo", "https://api.anthropic.com"]);
    assert_eq!(urls(&[("OPENAI_BASE_URL", "http://ollama:11434")]), ["http://ollama:11434", "demo"]);
}

#[test]
fn telemetry_is_kept_for_a_day() {
    let tempo = yaml("deploy/observability/tempo/tempo.yaml");
    assert_eq!(tempo["backend_scheduler"]["provider"]["compaction"]["compaction"]["block_retention"], "24h");
    assert_eq!(tempo["backend_worker"]["compaction"]["block_retention"], "24h");
    let loki = yaml("deploy/observability/loki/loki.yaml");
    assert_eq!(loki["limits_config"]["retention_period"], "24h");
    assert_eq!(loki["compactor"]["retention_enabled"], true);
    assert!(texts(&services()["prometheus"]["command"]).contains(&"--storage.tsdb.retention.time=24h"));
}

#[test]
fn a_span_leads_to_its_lines_and_a_line_to_its_trace() {
    let sources = yaml("deploy/observability/grafana/provisioning/datasources/datasources.yaml")["datasources"].clone();
    let services = services();
    let of = |uid: &str| {
        let sources = sources.as_array().expect("sources");
        sources.iter().find(|source| source["uid"] == uid).unwrap_or_else(|| panic!("no source {uid}")).clone()
    };
    for uid in ["prometheus", "tempo", "loki"] {
        let url = of(uid)["url"].as_str().expect("a URL").to_owned();
        let host = url.trim_start_matches("http://").split(':').next().expect("a host").to_owned();
        assert!(services.contains_key(&host), "{url}");
    }
    let lines = &of("tempo")["jsonData"]["tracesToLogsV2"];
    assert_eq!(lines["datasourceUid"], "loki");
    let trace = &of("loki")["jsonData"]["derivedFields"][0];
    assert_eq!(trace["datasourceUid"], "tempo");
    // What both look for is what the collector takes out of the lines.
    let field = trace["matcherRegex"].as_str().expect("a field");
    assert!(lines["query"].as_str().expect("a query").contains(&format!("| {field}=")));
    let collector = text("deploy/observability/alloy/config.alloy");
    assert!(collector.contains(&format!("{field} = \"{field}\"")) && collector.contains(&format!("{field} = \"\"")));
}
