//! The tools that render and check the chart: Helm 3, and Helm 4 and the schemas of Kubernetes behind scripts in tests/chart/.
//!
//! A tool that is missing is a failure: what it would have shown is not known.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

use crate::compose::document::{documents, root};

/// The chart.
pub(super) const CHART: &str = "deploy/helm/luthien";
/// What the chart is rendered for, unless a case says otherwise.
const KUBERNETES: &str = "1.32";
/// The namespace of the release.
pub(crate) const NAMESPACE: &str = "ai";

/// One rendered set of values.
pub(crate) struct Render {
    /// The set's name.
    pub(super) name: String,
    /// What Helm printed.
    pub(super) text: String,
    /// The objects in it.
    pub(super) objects: Vec<Value>,
}

impl Render {
    /// The objects of a kind.
    pub(crate) fn of<'r>(&'r self, kind: &'r str) -> impl Iterator<Item = &'r Value> + 'r {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The object of that kind and name.
    pub(super) fn object(&self, kind: &str, name: &str) -> &Value {
        let mut objects = self.objects.iter();
        let found = objects.find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("{}: there is no {kind} {name}", self.name))
    }

    /// The pods: of workloads, of tests, and what is merged into an agent's.
    pub(super) fn pods(&self) -> Vec<(String, Value)> {
        let mut pods = Vec::new();
        for object in &self.objects {
            let name = format!("{}: {} {}", self.name, object["kind"], object["metadata"]["name"]);
            match object["kind"].as_str() {
                Some("Pod") => pods.push((name, object.clone())),
                Some("Deployment" | "StatefulSet") => pods.push((name, object["spec"]["template"].clone())),
                _ => {
                    if let Some(patch) = object["data"]["patch.yaml"].as_str() {
                        pods.push((name, documents("patch.yaml", patch)[0]["spec"]["template"].clone()));
                    }
                }
            }
        }
        pods
    }
}

/// The names of the sets of values, in tests/chart/values/.
pub(super) fn sets() -> Vec<String> {
    let folder = root().join("tests/chart/values");
    let files = std::fs::read_dir(&folder).expect("tests/chart/values").flatten();
    let mut names: Vec<String> =
        files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned)).collect();
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    names
}

/// All of them, rendered.
pub(super) fn renders() -> Vec<Render> {
    sets().iter().map(|name| render(name, &[])).collect()
}

/// A set of values, rendered, with more arguments for Helm.
pub(crate) fn render(name: &str, more: &[&str]) -> Render {
    render_release("luthien", name, more)
}

/// The same for a release of another name.
pub(super) fn render_release(release: &str, name: &str, more: &[&str]) -> Render {
    let output = template(release, name, more);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let objects = documents(name, &text).into_iter().filter(|object| !object.is_null()).collect();
    Render { name: name.to_owned(), text, objects }
}

/// What Helm says when it refuses a set of values with these besides.
pub(super) fn refusal(name: &str, more: &[&str]) -> String {
    let output = template("luthien", name, more);
    assert!(!output.status.success(), "{name} is rendered with {more:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn template(release: &str, name: &str, more: &[&str]) -> Output {
    let mut command = helm();
    command.args(["template", release, CHART, "--namespace", NAMESPACE, "--kube-version", KUBERNETES]);
    command.arg("--values").arg(format!("tests/chart/values/{name}.yaml")).args(more);
    command.output().expect("Helm starts")
}

/// Helm 3.
pub(super) fn helm() -> Command {
    installed("tests/chart/node_modules/.bin/helm")
}

/// A script of tests/chart/ in the virtual environment that it needs.
pub(super) fn script(name: &str) -> Command {
    let mut command = installed(".tools/chart/bin/python");
    command.arg(format!("tests/chart/{name}"));
    command
}

fn installed(program: &str) -> Command {
    let path: PathBuf = root().join(program);
    assert!(path.exists(), "{program} is not there; run scripts/install-helm.sh");
    let mut command = Command::new(path);
    command.current_dir(root());
    command
}

/// What a command printed, which must succeed.
pub(super) fn printed(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
