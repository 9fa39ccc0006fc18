//! docs/kubernetes.md: its values are rendered, and Helm does what its commands say.

use std::{collections::BTreeMap, fs, process::Command};

use super::{
    cluster::Cluster,
    helm::{CHART, helm, printed},
};
use crate::compose::document::{documents, root, text};

/// The blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The files that the document shows, by the names in their first lines, and what it says may be added to `values.yaml`.
fn values(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut files, mut fragments) = (BTreeMap::new(), Vec::new());
    for block in blocks(text, "yaml") {
        let first = block.lines().next().unwrap_or_default();
        match first.strip_prefix("# ") {
            Some("fragment of values.yaml") => fragments.push(block.to_owned()),
            Some(name) => drop(files.insert(name.to_owned(), block.to_owned())),
            None => assert!(block.contains("kind: LuthienPolicy"), "what is this? {block}"),
        }
    }
    (files, fragments)
}

#[test]
fn every_fragment_goes_with_the_values_that_are_shown() {
    let text = text("docs/kubernetes.md");
    let (files, fragments) = values(&text);
    assert!(fragments.len() > 8, "{}", fragments.len());
    let folder = tempfile::tempdir().expect("a folder");
    let base = folder.path().join("values.yaml");
    fs::write(&base, &files["values.yaml"]).expect("values");
    for fragment in fragments {
        let file = folder.path().join("fragment.yaml");
        fs::write(&file, &fragment).expect("a fragment");
        let mut command = helm();
        command.args(["template", "luthien", CHART, "--kube-version", "1.32"]).arg("--values").arg(&base);
        let rendered = printed(command.arg("--values").arg(&file));
        assert!(documents("fragment", &rendered).len() > 5, "{fragment}");
    }
}

/// The images have no shell and nothing but their program.
#[test]
fn nothing_is_run_in_a_pod_but_the_program() {
    let mut seen = 0;
    for file in fs::read_dir(root().join("docs")).expect("documents").flatten() {
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        for line in text.lines().filter(|line| line.contains("kubectl") && line.contains(" exec ")) {
            let run = line.split(" -- ").nth(1).and_then(|run| run.split_whitespace().next());
            assert!(matches!(run, Some("luthien" | "/run/luthien/luthien")), "{:?}: {line}", file.path());
            seen += 1;
        }
    }
    assert!(seen > 1, "{seen}");
}

#[test]
fn the_objects_that_are_shown_are_accepted() {
    let text = text("docs/kubernetes.md");
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = 0;
    for block in blocks(&text, "yaml").into_iter().filter(|block| block.contains("kind: LuthienPolicy")) {
        let file = folder.path().join("object.yaml");
        fs::write(&file, block).expect("an object");
        let mut program = Command::new(env!("CARGO_BIN_EXE_luthien"));
        printed(program.env_clear().current_dir(folder.path()).arg("check").arg(&file));
        seen += 1;
    }
    assert!(seen > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_does_what_the_commands_say() {
    let text = text("docs/kubernetes.md");
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in values(&text).0 {
        fs::write(folder.path().join(name), content).expect("a file");
    }
    std::os::unix::fs::symlink(root().join("deploy"), folder.path().join("deploy")).expect("a link");
    let (cluster, address) = Cluster::start().await;
    let mut seen = 0;
    for block in blocks(&text, "sh") {
        for line in block.replace("\\\n", " ").lines().filter(|line| line.starts_with("helm ")) {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let mut command = Command::new(helm().get_program());
            if words[0] == "test" {
                // Its pods would have to run: that its arguments are known is enough.
                command.args(&words).arg("--help");
            } else {
                command.args(&words).args(["--kube-apiserver", &address]);
            }
            command.current_dir(folder.path()).env("HOME", folder.path()).env("KUBECONFIG", folder.path().join("none"));
            tokio::task::block_in_place(|| printed(&mut command));
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen}");
    // What the commands of kubectl name is there.
    for path in [
        "/api/v1/namespaces/ai/configmaps/agent-gateway-luthien-sidecar",
        "/api/v1/namespaces/ai/services/luthien-pods",
    ] {
        assert!(cluster.get(path).is_some(), "{path}");
    }
}
