//! The Helm chart: rendered by Helm 3 and Helm 4, validated, held to what must hold in every mode, and its settings given to the
//! program and to Envoy. No cluster is needed. `scripts/install-helm.sh` installs what is.

mod attach;
mod cluster;
mod documentation;
mod helm;
mod invariants;
mod network;
mod refusals;
mod releases;
mod settings;
mod shared;

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use self::helm::{CHART, Render, helm, printed, renders, script, sets};
pub(crate) use self::helm::{NAMESPACE, render};
use crate::compose::document::{documents, root};

/// Kinds that are files of the repository in a few lines of YAML; `shared` looks at them.
fn is_shared(object: &str) -> bool {
    ["\nkind: CustomResourceDefinition\n", "\nkind: PrometheusRule\n", "\n  live-activity.json: |\n"]
        .iter()
        .any(|line| object.contains(line))
}

/// What stands in the golden file.
fn golden(render: &Render) -> String {
    let objects: Vec<&str> = render.text.split("---\n").filter(|object| !is_shared(object)).collect();
    objects.join("---\n")
}

/// `UPDATE=1` writes them anew.
#[test]
fn renders_are_as_they_were() {
    let folder = root().join("tests/chart/golden");
    for render in renders() {
        let file = folder.join(format!("{}.yaml", render.name));
        let now = golden(&render);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &now).expect("a golden file");
        }
        let before = fs::read_to_string(&file).unwrap_or_default();
        let changed = similar::TextDiff::from_lines(&before, &now).unified_diff().context_radius(3).to_string();
        assert!(
            before == now,
            "{} is rendered otherwise; if that is meant, run with UPDATE=1:\n{changed}",
            render.name
        );
    }
    for file in fs::read_dir(folder).expect("golden files").flatten() {
        let name = file.file_name().to_string_lossy().trim_end_matches(".yaml").to_owned();
        assert!(sets().contains(&name), "tests/chart/golden/{name}.yaml belongs to no set of values");
    }
}

#[test]
fn every_object_is_valid_for_the_oldest_and_the_newest_kubernetes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = Vec::new();
    for render in renders() {
        let file = folder.path().join(format!("{}.yaml", render.name));
        fs::write(&file, &render.text).expect("a file");
        files.push(file);
    }
    // What is merged into an agent's workload is looked at once it is merged, in `shared`.
    for version in ["1.29", "1.37"] {
        let said = printed(script("validate.py").arg(version).args(&files));
        let last = said.lines().last().unwrap_or_default();
        let foreign = "Backend BackendTLSPolicy BackendTrafficPolicy Certificate ClientTrafficPolicy DestinationRule \
                       EnvoyExtensionPolicy EnvoyFilter EnvoyPatchPolicy HTTPRoute HTTPRouteFilter PrometheusRule ServiceEntry \
                       ServiceMonitor VirtualService";
        assert!(last.contains(&format!(", 0 wrong, not looked at: {foreign}")), "{said}");
        println!("Kubernetes {version}: {last}");
    }
}

#[test]
fn helm_3_finds_nothing_to_complain_of() {
    for name in sets() {
        let values = format!("tests/chart/values/{name}.yaml");
        let said = printed(helm().args(["lint", CHART, "--strict", "--namespace", NAMESPACE, "--values", &values]));
        assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{name}: {said}");
    }
}

/// Helm 4 knows other functions and validates with another library.
#[test]
fn helm_4_renders_the_same_objects() {
    let said = printed(script("helm4.py").args([CHART, NAMESPACE]).args(sets()));
    let rendered: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&said).expect("JSON");
    for render in renders() {
        let templates = &rendered[&render.name];
        let mut theirs: Vec<Value> = templates
            .iter()
            .filter(|(name, _)| !name.ends_with("NOTES.txt"))
            .flat_map(|(name, text)| documents(name, text))
            .filter(|object| !object.is_null())
            .collect();
        let mut ours = render.objects.clone();
        for objects in [&mut ours, &mut theirs] {
            objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]));
        }
        assert_eq!(ours.len(), theirs.len(), "{}", render.name);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{}", render.name);
        }
    }
}

/// They name what is there: nobody reads them before they have installed it.
#[test]
fn notes_say_what_to_do_next() {
    let said = printed(script("helm4.py").args([CHART, NAMESPACE]).args(sets()));
    let rendered: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&said).expect("JSON");
    for render in renders() {
        let notes = &rendered[&render.name]["luthien/templates/NOTES.txt"];
        // The chart makes none where there is one already.
        let made = render.of("ConfigMap").any(|map| map["metadata"]["name"] == "luthien-rules");
        assert_eq!(notes.contains("made of rules.document"), made && !render.name.starts_with("sidecar"), "{notes}");
        assert_eq!(notes.contains("rules.document is ignored"), render.name == "crd-namespaces", "{notes}");
        assert!(!notes.contains("<no value>") && !notes.contains("%!"), "{notes}");
        let mut commands = 0;
        for line in notes.lines().map(str::trim) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.first() != Some(&"kubectl") {
                continue;
            }
            commands += 1;
            assert_eq!(words[1..3], ["--namespace", NAMESPACE], "{line}");
            for (kind, name) in words.iter().filter_map(|word| word.split_once('/')) {
                let kinds = [("service", "Service"), ("deployment", "Deployment"), ("statefulset", "StatefulSet")];
                let kind = kinds.iter().find(|(short, _)| *short == kind).unwrap_or_else(|| panic!("{line}")).1;
                render.object(kind, name);
            }
            if let Some(name) = words.iter().position(|word| *word == "configmap").and_then(|at| words.get(at + 1)) {
                render.object("ConfigMap", name);
            }
        }
        assert!(commands >= 2, "{}: {notes}", render.name);
    }
}
