//! What holds for every object in every mode.

use std::collections::{BTreeMap, BTreeSet};

use luthien::app::LAST_WORDS;
use serde_json::{Value, json};

use super::helm::{NAMESPACE, Render, render, render_release, renders};
use crate::compose::document::documents;

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Containers and init containers, without those that a patch only adds variables to.
fn containers(pod: &Value) -> Vec<&Value> {
    let spec = &pod["spec"];
    let all = list(&spec["initContainers"]).iter().chain(list(&spec["containers"]));
    all.filter(|container| container["image"].is_string()).collect()
}

/// Those that run for as long as the pod.
fn lasting(pod: &Value) -> Vec<&Value> {
    let sidecars =
        list(&pod["spec"]["initContainers"]).iter().filter(|container| container["restartPolicy"] == "Always");
    sidecars.chain(list(&pod["spec"]["containers"])).filter(|container| container["image"].is_string()).collect()
}

fn is_subset(of: &Value, part: &Value) -> bool {
    part.as_object().expect("labels").iter().all(|(key, value)| of[key] == *value)
}

#[test]
fn every_container_is_restricted_and_has_its_limits() {
    let restricted = json!({
        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    let mut seen = 0;
    for (name, pod) in renders().iter().flat_map(Render::pods) {
        for key in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            assert!(pod["spec"][key].is_null(), "{name}: {key}");
        }
        assert!(!pod.to_string().contains("hostPath"), "{name}");
        for container in containers(&pod) {
            let name = format!("{name}: {}", container["name"]);
            assert_eq!(container["securityContext"], restricted, "{name}");
            let resources = &container["resources"];
            for (kind, what) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")] {
                assert!(!resources[kind][what].is_null(), "{name}: {kind} of {what}");
            }
            let image = text(&container["image"]);
            let pinned = image.rsplit_once(':').is_some_and(|(_, tag)| tag.contains(|c: char| c.is_ascii_digit()));
            assert!(pinned, "{name}: {image}");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn what_runs_is_asked_for_its_health() {
    for (name, pod) in renders().iter().flat_map(Render::pods) {
        // A pod of tests ends by itself.
        if name.contains("\"Pod\"") {
            assert_eq!(pod["spec"]["restartPolicy"], "Never", "{name}");
            // `helm test --logs` asks for its logs when it has ended.
            assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"], "before-hook-creation", "{name}");
            // It runs where the others may.
            assert_eq!(pod["spec"]["nodeSelector"].is_object(), name.starts_with("own"), "{name}");
            continue;
        }
        for container in lasting(&pod) {
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                assert!(container[probe].is_object(), "{name}: {}: {probe}", container["name"]);
            }
        }
    }
}

#[test]
fn what_drains_has_the_time_for_it() {
    let (mut seen, mut notices) = (0, 0);
    for (name, pod) in renders().iter().flat_map(Render::pods) {
        let envoy = lasting(&pod).into_iter().find(|container| text(&container["name"]).ends_with("envoy"));
        let seconds = |value: &Value| text(value).trim_end_matches('s').parse::<u64>().expect("seconds");
        let Some(envoy) = envoy else {
            let Some(luthien) = lasting(&pod).into_iter().find(|container| container["name"] == "luthien") else {
                continue;
            };
            // Its Envoys are elsewhere: they have to notice, and then calls get their time.
            let command = list(&luthien["lifecycle"]["preStop"]["exec"]["command"]);
            assert_eq!(command[..3], [json!("luthien"), json!("drain"), json!("--notice")], "{name}");
            assert_eq!(command[4..], [json!("--dir"), json!("/var/lib/luthien")], "{name}");
            let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds");
            assert!(grace >= 300 + seconds(&command[3]) + 10, "{name}: {grace} s");
            notices += 1;
            continue;
        };
        if name.starts_with("sidecar") {
            // The kubelet would run it while the agent still works, and its time is the agent's.
            assert!(lasting(&pod).iter().all(|container| container["lifecycle"].is_null()), "{name}");
            assert!(pod["spec"]["terminationGracePeriodSeconds"].is_null(), "{name}");
            continue;
        }
        let command = list(&envoy["lifecycle"]["preStop"]["exec"]["command"]);
        assert_eq!(command[..3], [json!("/run/luthien/luthien"), json!("drain"), json!("--wait")], "{name}");
        let wait = seconds(&command[3]);
        let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds");
        assert!(grace >= wait + 45, "{name}: {grace} s for {wait} s");
        let all = lasting(&pod);
        let luthien = all.iter().find(|container| container["name"] == "luthien").expect("luthien");
        if luthien["restartPolicy"] != "Always" {
            // It hears of the end together with Envoy.
            assert_eq!(list(&luthien["lifecycle"]["preStop"]["exec"]["command"])[1..], command[1..], "{name}");
        }
        seen += 1;
    }
    assert!(seen > 8 && notices > 4, "{seen} {notices}");
}

/// Its Envoys are elsewhere: they have to notice, and then calls get their time, all of it Luthien's own.
#[test]
fn the_least_grace_is_enough_where_envoy_is_elsewhere() {
    let render = render("extproc-mesh", &["--set", "drain.waitSeconds=900,drain.graceSeconds=45"]);
    let settings = render.object("ConfigMap", "luthien-settings")["data"]["luthien.yaml"].clone();
    let settings = &documents("luthien.yaml", text(&settings))[0];
    assert_eq!(settings["timeouts"]["drain"], "900s");
    let pod = &render.object("Deployment", "luthien")["spec"]["template"]["spec"];
    let notice = text(&pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][3]);
    let notice: u64 = notice.trim_end_matches('s').parse().expect("seconds");
    // What the last calls left is written for 5 s at most, and their spans are sent for 2 s.
    let least = notice + 900 + LAST_WORDS.as_secs() + 5 + 2;
    let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    // The rest is for the kubelet, which counts from before `preStop`.
    assert!(grace >= least + 10, "{grace} s for {least} s");
}

#[test]
fn everything_is_in_its_namespace_labelled_and_named_once() {
    for render in renders() {
        let mut names = BTreeSet::new();
        for object in &render.objects {
            let metadata = &object["metadata"];
            let name = format!("{}: {} {}", render.name, object["kind"], metadata["name"]);
            assert!(names.insert(format!("{name} {}", metadata["namespace"])), "{name} is there twice");
            if object["kind"] == "CustomResourceDefinition" {
                assert_eq!(metadata["annotations"]["helm.sh/resource-policy"], "keep", "{name}");
            } else if ["Role", "RoleBinding"].contains(&text(&object["kind"])) && metadata["namespace"] != NAMESPACE {
                assert_eq!(render.name, "crd-namespaces", "{name}");
            } else if ["ClientTrafficPolicy", "EnvoyFilter", "EnvoyPatchPolicy"].contains(&text(&object["kind"])) {
                // They belong to a gateway, and have to be where it is.
                assert!(["gateways", "istio-ingress"].contains(&text(&metadata["namespace"])), "{name}");
            } else {
                assert_eq!(metadata["namespace"], NAMESPACE, "{name}");
            }
            for (label, value) in [("instance", "luthien"), ("managed-by", "Helm"), ("part-of", "luthien")] {
                assert_eq!(metadata["labels"][format!("app.kubernetes.io/{label}")], value, "{name}");
            }
        }
    }
    let long = "a-release-whose-name-is-as-long-as-helm-lets-it-be-53";
    for object in &render_release(long, "crd", &[]).objects {
        assert!(text(&object["metadata"]["name"]).len() <= 63, "{}", object["metadata"]["name"]);
    }
    // What looks like a number is a text all the same.
    for object in &render_release("123", "production", &["--set-json", r#"secrets=["456"]"#]).objects {
        let (metadata, pod) = (&object["metadata"], &object["spec"]["template"]);
        let selector = &object["spec"]["selector"];
        for labels in [&metadata["labels"], &pod["metadata"]["labels"], &selector["matchLabels"]] {
            assert!(labels.as_object().into_iter().flatten().all(|(_, value)| value.is_string()), "{labels}");
        }
        for secret in list(&pod["spec"]["volumes"]).iter().filter_map(|volume| volume["secret"].get("secretName")) {
            assert!(secret.is_string(), "{secret}");
        }
    }
    for service in render_release("my.release", "demo", &[]).of("Service") {
        assert!(!text(&service["metadata"]["name"]).contains('.'), "{}", service["metadata"]["name"]);
    }
}

#[test]
fn selectors_find_their_pods_and_never_change() {
    for render in renders() {
        let workloads = || render.of("Deployment").chain(render.of("StatefulSet"));
        for workload in workloads() {
            let (selector, labels) =
                (&workload["spec"]["selector"]["matchLabels"], &workload["spec"]["template"]["metadata"]["labels"]);
            assert!(is_subset(labels, selector), "{}: {selector}", render.name);
            // Only what an upgrade leaves as it is.
            let keys: BTreeSet<&str> = selector.as_object().expect("labels").keys().map(String::as_str).collect();
            let kept = ["component", "instance", "name"].map(|key| format!("app.kubernetes.io/{key}"));
            assert!(keys.iter().eq(&kept), "{}: {keys:?}", render.name);
        }
        for service in render.of("Service") {
            let selector = &service["spec"]["selector"];
            let found: Vec<&Value> =
                workloads().filter(|one| is_subset(&one["spec"]["template"]["metadata"]["labels"], selector)).collect();
            let [workload] = found[..] else { panic!("{}: {selector} finds {}", render.name, found.len()) };
            let pod = &workload["spec"]["template"];
            let ports: Vec<&str> =
                containers(pod).iter().flat_map(|one| list(&one["ports"])).map(|port| text(&port["name"])).collect();
            for port in list(&service["spec"]["ports"]) {
                assert!(ports.contains(&text(&port["targetPort"])), "{}: {port}", render.name);
            }
        }
        for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
            for object in render.of(kind) {
                let selector = object["spec"].get("selector").unwrap_or(&object["spec"]["podSelector"]);
                let found = workloads()
                    .filter(|one| is_subset(&one["spec"]["template"]["metadata"]["labels"], &selector["matchLabels"]));
                assert_eq!(found.count(), 1, "{}: {kind}", render.name);
            }
        }
        for scaler in render.of("HorizontalPodAutoscaler") {
            let target = &scaler["spec"]["scaleTargetRef"];
            let workload = render.object(text(&target["kind"]), text(&target["name"]));
            assert!(workload["spec"]["replicas"].is_null(), "{}: who says how many?", render.name);
            let down = &scaler["spec"]["behavior"]["scaleDown"];
            assert_eq!(down["stabilizationWindowSeconds"], 600);
            assert_eq!(down["policies"], json!([{ "type": "Pods", "value": 1, "periodSeconds": 300 }]));
        }
    }
}

/// Whoever is logged in at one pod is so at each: nothing has to lead them to the same one.
#[test]
fn no_service_ties_anybody_to_a_pod() {
    for service in renders().iter().flat_map(|render| render.of("Service")) {
        assert!(service["spec"]["sessionAffinity"].is_null(), "{}", service["metadata"]["name"]);
    }
}

#[test]
fn volumes_are_mounted_and_mounts_have_volumes() {
    for (name, pod) in renders().iter().flat_map(Render::pods) {
        let declared: BTreeSet<&str> =
            list(&pod["spec"]["volumes"]).iter().map(|volume| text(&volume["name"])).collect();
        let mut used = BTreeSet::new();
        for mount in containers(&pod).iter().flat_map(|container| list(&container["volumeMounts"])) {
            used.insert(text(&mount["name"]));
        }
        // The claim of a StatefulSet is named in the set itself.
        used.remove("state");
        let declared: BTreeSet<&str> = declared.into_iter().filter(|volume| *volume != "state").collect();
        assert_eq!(declared, used, "{name}");
    }
}

/// Whoever has the token may read and write what the roles say: Envoy has no use for that, nor has an agent.
#[test]
fn only_luthien_has_a_token_and_only_where_rules_come_from_the_api() {
    for render in renders() {
        let asks = render.objects.iter().any(|object| object["kind"] == "Role");
        for (name, pod) in render.pods() {
            if render.name.starts_with("sidecar") {
                assert!(!pod.to_string().contains("serviceAccount"), "{name}: that is the agent's");
                continue;
            }
            assert_eq!(pod["spec"]["automountServiceAccountToken"], false, "{name}");
            let mounting: Vec<&str> = containers(&pod)
                .into_iter()
                .filter(|container| container["volumeMounts"].to_string().contains("serviceaccount"))
                .map(|container| text(&container["name"]))
                .collect();
            let serves = containers(&pod).iter().any(|container| container["args"] == json!(["serve"]));
            assert_eq!(mounting, if asks && serves { vec!["luthien"] } else { vec![] }, "{name}");
        }
    }
}

#[test]
fn rights_are_few_and_named() {
    // Group, resource, whether it is one object by its name, verbs.
    type Right = (&'static str, &'static str, bool, &'static [&'static str]);
    // Name, namespace, rights.
    type Expected = (&'static str, &'static str, &'static [Right]);
    let state: &'static [Right] =
        &[("coordination.k8s.io", "leases", true, &["get", "patch"]), ("", "configmaps", true, &["get", "patch"])];
    let policies: &'static [Right] = &[
        ("luthien.dev", "luthienpolicies", false, &["get", "list", "watch"]),
        ("luthien.dev", "luthienpolicies/status", false, &["patch"]),
        ("events.k8s.io", "events", false, &["create"]),
    ];
    let watched: &'static [Right] = &[("", "configmaps", true, &["list", "watch"])];
    let expected: BTreeMap<&str, Vec<Expected>> = BTreeMap::from([
        ("crd", vec![("luthien-rules", NAMESPACE, policies), ("luthien-rules-state", NAMESPACE, state)]),
        (
            "crd-namespaces",
            vec![
                ("ai.luthien-rules", "team-a", policies),
                ("ai.luthien-rules", "team-b", policies),
                ("luthien-rules-state", NAMESPACE, state),
            ],
        ),
        ("envoy-gateway", vec![("luthien-rules", NAMESPACE, policies), ("luthien-rules-state", NAMESPACE, state)]),
        ("watched-config-map", vec![("luthien-rules", NAMESPACE, watched)]),
    ]);
    for render in renders() {
        assert!(!render.text.contains("kind: ClusterRole") && render.of("Secret").next().is_none(), "{}", render.name);
        let expected = expected.get(render.name.as_str()).cloned().unwrap_or_default();
        let mut roles: Vec<&Value> = render.of("Role").collect();
        roles.sort_by_key(|role| (text(&role["metadata"]["name"]), text(&role["metadata"]["namespace"])));
        assert_eq!(roles.len(), expected.len(), "{}", render.name);
        for (role, (name, namespace, rights)) in roles.iter().zip(expected) {
            assert_eq!((&role["metadata"]["name"], &role["metadata"]["namespace"]), (&json!(name), &json!(namespace)));
            assert_eq!(list(&role["rules"]).len(), rights.len(), "{}: {name}", render.name);
            for (rule, (group, resource, one, verbs)) in list(&role["rules"]).iter().zip(rights) {
                assert_eq!((&rule["apiGroups"][0], &rule["resources"]), (&json!(group), &json!([resource])));
                assert_eq!(rule["verbs"], json!(verbs), "{}: {resource}", render.name);
                assert_eq!(list(&rule["resourceNames"]).len(), usize::from(*one), "{}: {resource}", render.name);
            }
            let bound = render
                .of("RoleBinding")
                .find(|binding| binding["metadata"]["name"] == name && binding["metadata"]["namespace"] == namespace);
            let subjects = &bound.expect("a binding")["subjects"];
            assert_eq!(*subjects, json!([{ "kind": "ServiceAccount", "name": "luthien", "namespace": NAMESPACE }]));
        }
    }
    // What may be written by name is there, so that nobody needs to create it, and is empty, so that Helm leaves its content alone.
    let crd = render("crd", &[]);
    assert!(crd.object("Lease", "luthien-rules")["spec"].is_null());
    assert!(crd.object("ConfigMap", "luthien-rules-last-good")["data"].is_null());
}

/// The pods of the gateway, as they are with more arguments for Helm.
fn gateway(more: &[&str]) -> Value {
    render("demo", more).object("Deployment", "luthien")["spec"]["template"].clone()
}

#[test]
fn settings_make_new_pods_and_rules_do_not() {
    let before = gateway(&[]);
    assert!(before["metadata"]["annotations"]["checksum/config"].is_string());
    assert_ne!(gateway(&["--set", "settings.limits.calls=10"]), before);
    assert_ne!(gateway(&["--set", "tls.existingSecret=other"]), before);
    for same in ["rules.document.release=turn", "service.port=81", "replicas=1", "networkPolicy.enabled=false"] {
        assert_eq!(gateway(&["--set", same]), before, "{same}");
    }
    let patch = |more: &[&str]| render("sidecar", more).pods()[0].1["metadata"]["annotations"].clone();
    assert_ne!(patch(&["--set", "settings.limits.calls=10"]), patch(&[]));
    assert_eq!(patch(&["--set", "rules.document.release=turn"]), patch(&[]));
}
