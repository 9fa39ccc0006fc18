//! What becomes of a release that is upgraded and uninstalled, with Helm and a stand-in for the API server.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    cluster::Cluster,
    helm::{CHART, NAMESPACE, helm, printed},
};
use crate::compose::document::{documents, root};

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/luthienpolicies.luthien.dev";
const LAST_GOOD: &str = "/api/v1/namespaces/ai/configmaps/luthien-rules-last-good";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ai/leases/luthien-rules";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/ai/deployments/luthien";

/// A chart of the next version, whose custom resource has a field more.
fn next_chart(folder: &TempDir) -> String {
    let chart = folder.path().join("luthien");
    // With what links lead to.
    printed(Command::new("cp").arg("--recursive").arg("--dereference").arg(root().join(CHART)).arg(&chart));
    let file = chart.join("files/luthienpolicies.luthien.dev.yaml");
    let mut crd = documents("crd", &fs::read_to_string(&file).expect("the custom resource")).swap_remove(0);
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["later"] =
        json!({ "type": "string" });
    fs::write(&file, crd.to_string()).expect("a file");
    chart.display().to_string()
}

fn later(cluster: &Cluster) -> Value {
    let crd = cluster.get(CRD).expect("the custom resource");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["later"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_brings_the_new_field_and_leaves_what_luthien_wrote() {
    let (cluster, address) = Cluster::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    // Helm waits on this thread; the cluster answers on another.
    let helm = |arguments: &[&str]| {
        tokio::task::block_in_place(|| run(&address, folder.path(), arguments));
    };
    let values = "tests/chart/values/crd.yaml";
    helm(&["install", "luthien", CHART, "--values", values]);
    assert!(later(&cluster).is_null());
    cluster.change(LAST_GOOD, &json!({ "data": { "rules": "last good" } }));
    cluster.change(LEASE, &json!({ "spec": { "holderIdentity": "luthien-0" } }));
    let selector = cluster.get(DEPLOYMENT).expect("a deployment")["spec"]["selector"].clone();

    let chart = next_chart(&folder);
    let change = "settings.limits.calls=100";
    helm(&["upgrade", "luthien", &chart, "--values", values, "--set", change]);
    assert_eq!(later(&cluster), json!({ "type": "string" }));
    assert_eq!(cluster.get(LAST_GOOD).expect("a ConfigMap")["data"]["rules"], "last good");
    assert_eq!(cluster.get(LEASE).expect("a Lease")["spec"]["holderIdentity"], "luthien-0");
    let settings = cluster.get("/api/v1/namespaces/ai/configmaps/luthien-settings").expect("settings");
    assert!(settings["data"]["luthien.yaml"].as_str().is_some_and(|text| text.contains("calls: 100")), "{settings}");
    assert_eq!(cluster.get(DEPLOYMENT).expect("a deployment")["spec"]["selector"], selector);

    helm(&["uninstall", "luthien"]);
    // With it every LuthienPolicy of the cluster would go.
    assert_eq!(later(&cluster), json!({ "type": "string" }));
    assert!(cluster.get(DEPLOYMENT).is_none() && cluster.get(LAST_GOOD).is_none());
}

fn run(address: &str, home: &Path, arguments: &[&str]) {
    let mut command = helm();
    command.args(arguments).args(["--kube-apiserver", address, "--namespace", NAMESPACE]);
    command.env("HOME", home).env("KUBECONFIG", home.join("none")).env_remove("HELM_DRIVER");
    printed(&mut command);
}
