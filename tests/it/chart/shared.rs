//! What is in the chart and elsewhere too: alerts, dashboards, the custom resource, versions, the reference of values, and the
//! example of a sidecar.

use std::{fs, process::Command};

use serde_json::Value;

use super::helm::{CHART, printed, refusal, render, script, sets};
use crate::compose::document::{documents, root, text, yaml};

/// The example of a sidecar, which kustomize puts together.
const EXAMPLE: &str = "deploy/kubernetes/sidecar";
const CRD: &str = "deploy/helm/luthien/files/luthienpolicies.luthien.dev.yaml";

#[test]
fn alerts_and_dashboards_are_those_of_deploy_observability() {
    let render = render("production", &[]);
    let rule = render.object("PrometheusRule", "luthien");
    assert_eq!(rule["spec"], yaml("deploy/observability/prometheus/alerts.yaml"));
    let map = render.object("ConfigMap", "luthien-dashboards");
    let folder = root().join("deploy/observability/grafana/dashboards");
    let mut seen = 0;
    for file in fs::read_dir(folder).expect("dashboards").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let shown = map["data"][&name].as_str().unwrap_or_else(|| panic!("{name} is no link in files/dashboards/"));
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(read(shown), read(&fs::read_to_string(file.path()).expect("a dashboard")), "{name}");
        seen += 1;
    }
    assert!(seen > 1, "{seen}");
    // Helm keeps a release in one Secret, and there is a limit of 1 MiB to it.
    assert!(render.text.len() < 300 << 10, "{}", render.text.len());
    // Alerts and dashboards ask for jobs by these names.
    let endpoints = &render.object("ServiceMonitor", "luthien")["spec"]["endpoints"];
    for (at, job) in ["luthien", "envoy"].into_iter().enumerate() {
        assert_eq!(endpoints[at]["relabelings"][0]["replacement"], job);
        assert!(text("deploy/observability/prometheus/prometheus.yaml").contains(&format!("job_name: {job}\n")));
    }
}

#[test]
fn the_custom_resource_is_a_template_that_an_upgrade_applies() {
    // Helm installs what is in crds/ once, and never again.
    assert!(!root().join(CHART).join("crds").exists());
    let before = render("crd", &[]);
    let before = before.object("CustomResourceDefinition", "luthienpolicies.luthien.dev");
    assert_eq!(before["spec"], yaml(CRD)["spec"]);
    assert_eq!(render("demo", &[]).of("CustomResourceDefinition").count(), 0);
}

#[test]
fn the_reference_and_the_schema_of_values_are_current() {
    printed(Command::new("python3").current_dir(root()).args(["scripts/chart.py", "--check"]));
    // Every value has a place in the schema: what is refused is unknown, and not forgotten.
    let values = yaml("deploy/helm/luthien/values.yaml");
    let schema: Value = serde_json::from_str(&text("deploy/helm/luthien/values.schema.json")).expect("JSON");
    let known = schema["properties"].as_object().expect("properties");
    for key in values.as_object().expect("values").keys() {
        assert!(known.contains_key(key), "{key}");
    }
    for key in known.keys() {
        assert!(values.get(key).is_some() || key == "global", "values.yaml does not have {key}");
        // Kubernetes' own, Helm's own, and what is refused elsewhere.
        if !["affinity", "global", "settings"].contains(&key.as_str()) {
            refusal("demo", &["--set-json", &format!(r#"{key}={{"no_such_key":[{{}}]}}"#)]);
        }
    }
}

#[test]
fn versions_are_those_of_the_program_and_of_its_envoy() {
    let chart = yaml("deploy/helm/luthien/Chart.yaml");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let installed = text("scripts/install-envoy.sh");
    let envoy = installed.lines().find_map(|line| line.strip_prefix("version=")).expect("a version");
    assert_eq!(yaml("deploy/helm/luthien/values.yaml")["envoy"]["image"]["tag"], format!("v{envoy}"));
}

/// `UPDATE=1` writes it anew.
#[test]
fn the_example_of_a_sidecar_is_what_the_chart_renders() {
    let render = render("sidecar", &[]);
    let map = render.object("ConfigMap", "luthien-sidecar");
    let patch = map["data"]["patch.yaml"].as_str().expect("a patch");
    let head = "# Rendered from the chart by `make chart`. Do not edit.\n";
    let target = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: agent\n";
    let objects: Vec<&str> = render.text.split("---\n").filter(|object| !object.contains("  patch.yaml: |")).collect();
    for (file, now) in
        [("patch.yaml", format!("{head}{target}{patch}")), ("luthien.yaml", format!("{head}{}", objects.join("---\n")))]
    {
        let at = root().join(EXAMPLE).join(file);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&at, &now).expect("a file");
        }
        assert!(
            fs::read_to_string(&at).unwrap_or_default() == now,
            "{EXAMPLE}/{file} is not current; run `make chart`"
        );
    }
}

/// As the API server merges it: lists of things with a name by that name.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(patch)) => {
            for item in patch {
                match into.iter_mut().find(|one| one["name"] == item["name"]) {
                    Some(one) => merge(one, item),
                    None => into.push(item.clone()),
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

#[test]
fn the_patched_agent_is_valid_and_still_itself() {
    for set in sets().iter().filter(|name| name.starts_with("sidecar")) {
        let render = render(set, &[]);
        let patch = render.object("ConfigMap", "luthien-sidecar")["data"]["patch.yaml"].as_str().expect("a patch");
        let agent = yaml(&format!("{EXAMPLE}/agent.yaml"));
        let mut patched = agent.clone();
        merge(&mut patched, &documents("patch.yaml", patch)[0]);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("agent.yaml");
        // JSON is YAML.
        fs::write(&file, patched.to_string()).expect("a file");
        for version in ["1.29", "1.37"] {
            let said = printed(script("validate.py").arg(version).arg(&file));
            assert!(said.starts_with("1 validated, 0 wrong"), "{said}");
        }
        let (before, after) = (&agent["spec"]["template"]["spec"], &patched["spec"]["template"]["spec"]);
        let own = &after["containers"][0];
        assert_eq!(own["image"], before["containers"][0]["image"]);
        // Neither Luthien's socket, over which calls can be read, nor a provider's key is the agent's to see.
        assert_eq!(own["volumeMounts"], before["containers"][0]["volumeMounts"]);
        assert_eq!(after["containers"].as_array().map(Vec::len), Some(1));
        let variables = own["env"].to_string();
        assert_eq!(variables.contains("http://127.0.0.1:8080/v1"), *set == "sidecar", "{variables}");
        let started: Vec<&Value> =
            after["initContainers"].as_array().expect("containers").iter().map(|one| &one["name"]).collect();
        assert_eq!(started, ["luthien-envoy-config", "luthien", "luthien-envoy"]);
    }
}
