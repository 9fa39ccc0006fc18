//! `luthien doctor` asks an Envoy that runs.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::gateway::Gateway;

/// Runs `luthien doctor` with Envoy's admin interface, while Envoy runs.
async fn doctor(gateway: &Gateway, arguments: &[&str]) -> Output {
    let admin = format!("unix:{}", gateway.dir.path().join("envoy-admin.sock").display());
    let settings = gateway.dir.path().join("luthien.yaml");
    std::fs::write(&settings, serde_json::to_string(&gateway.settings).unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_luthien"));
    command.arg("doctor").arg(admin).arg("--config").arg(settings).args(arguments).env_remove("LUTHIEN_CONFIG");
    gateway.run(|_| async move { tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap() }).await
}

#[tokio::test]
async fn nothing_is_wrong_with_an_envoy_of_ours() {
    let gateway = Gateway::new();
    let output = doctor(&gateway, &["--strict"]).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("ok: unix:"), "{said}");
}

#[tokio::test]
async fn what_was_changed_by_hand_is_found_in_the_envoy_that_runs() {
    let mut gateway = Gateway::new();
    gateway.change(|config| {
        let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
        *config.pointer_mut(&format!("{manager}/http_filters/0/typed_config/failure_mode_allow")).unwrap() =
            json!(true);
        config.pointer_mut(manager).unwrap()["merge_slashes"] = json!(false);
    });
    let output = doctor(&gateway, &["--format", "json"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|finding| finding["check"].clone()).collect();
    assert_eq!(checks, ["failure-mode", "paths"], "{report:#}");
    assert_eq!((&report["errors"], &report["warnings"]), (&json!(1), &json!(1)));
    let at = report["findings"][0]["at"].as_str().unwrap();
    assert!(at.contains("static_listeners[0].listener") && at.ends_with(".failure_mode_allow"), "{at}");
}

#[test]
fn what_cannot_be_read_is_told_from_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let run = |source: &str| {
        let command =
            Command::new(env!("CARGO_BIN_EXE_luthien")).args(["doctor", source]).current_dir(folder.path()).output();
        let output = command.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    std::fs::write(folder.path().join("pod.yaml"), "kind: Pod\n").unwrap();
    std::fs::write(folder.path().join("broken.yaml"), "admin: [\n").unwrap();
    for (source, expected) in [
        ("none.yaml", "none.yaml"),
        ("broken.yaml", "broken.yaml"),
        ("pod.yaml", "no Envoy configuration"),
        ("unix:none.sock", "does not answer"),
        ("https://127.0.0.1", "plain HTTP"),
        ("unix:", "write Envoy's admin interface as"),
    ] {
        let (code, said) = run(source);
        assert_eq!(code, Some(2), "{source}: {said}");
        assert!(said.contains(expected), "{source}: {said}");
    }
    std::fs::write(folder.path().join("empty.yaml"), "static_resources: {}\n").unwrap();
    assert_eq!(run("empty.yaml").0, Some(1));
}
