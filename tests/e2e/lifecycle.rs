//! Starting and stopping.

use std::{net::TcpListener, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        SOON,
        client::{End, Request, Version},
        errors,
        gateway::Gateway,
        samples, within,
    },
};

/// Runs the program to its end and returns its exit code and what it said.
async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let child = Command::new(env!("CARGO_BIN_EXE_luthien"))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(SOON, "the program's end", child).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn a_stop_ends_calls_in_flight_with_an_error() {
    let provider = Provider::start().await;
    for dialect in Dialect::ALL {
        let mut gateway = Gateway::with(&provider).settings("timeouts: { drain: 500ms }").start().await;
        provider.expect(Script::sse(samples::open_text(dialect, &["Hello"])).hang());
        let mut response = gateway.send(Version::Http1, Request::stream(dialect)).await;
        let read = response.until("Hello").await;
        gateway.terminate();
        let answer = response.finish_after(read).await;
        assert!(errors::at_end(dialect, &answer).message.contains("shutting down"), "{}", answer.text());
        assert!(gateway.exited(SOON).await.success());
        gateway.nothing_left().await;
    }
}

#[tokio::test]
async fn a_second_stop_does_not_wait() {
    let provider = Provider::start().await;
    let dialect = Dialect::OpenaiChat;
    let mut gateway = Gateway::with(&provider).settings("timeouts: { drain: 10m }").start().await;
    provider.expect(Script::sse(samples::open_text(dialect, &["Hello"])).hang());
    let mut response = gateway.send(Version::Http1, Request::stream(dialect)).await;
    response.until("Hello").await;
    gateway.terminate();
    gateway.readyz("the drain", |state| state["ready"] == false).await;
    gateway.terminate();
    assert!(gateway.exited(SOON).await.success());
    assert_ne!(response.finish().await.end, End::Clean, "a stream that was cut looks whole");
    gateway.nothing_left().await;
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_variable_that_chooses_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().to_str().unwrap();
    for (variable, other) in [("LUTHIEN_PORT", "LUTHIEN_ADMIN_PORT"), ("LUTHIEN_ADMIN_PORT", "LUTHIEN_PORT")] {
        // Port 0 is any free one, so that the other listener is in nobody's way.
        let (code, said) = run(&["up", "--state-dir", folder], &[(variable, &port), (other, "0")]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&port) && said.contains(variable) && said.contains("taken"), "{said}");
    }
}

#[tokio::test]
async fn every_mistake_of_both_documents_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("luthien.yaml");
    let settings =
        "listen: here\nupstreams:\n  - name: a\n    url: ftp://x\n    dialects: [openai]\ntimeouts:\n  stall: soon\n";
    std::fs::write(&path, settings).unwrap();
    std::fs::write(
        folder.path().join("policy.yaml"),
        "policies:\n  - name: a\n    type: uppercas\n    onfault: open\n",
    )
    .unwrap();
    for command in ["check", "up", "serve"] {
        let (code, said) = run(&[command, "--config", path.to_str().unwrap()], &[]).await;
        assert_eq!(code, Some(1), "{said}");
        for line in ["luthien.yaml:1", "luthien.yaml:4", "luthien.yaml:5", "luthien.yaml:7"] {
            assert!(said.contains(line), "{command} does not tell of {line}:\n{said}");
        }
        if command == "check" {
            assert!(said.contains("policy.yaml:3") && said.contains("policy.yaml:4"), "{said}");
        }
    }
}

#[tokio::test]
async fn two_gateways_on_one_state_folder_do_not_mix() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let state = gateway.rules().with_file_name("state");
    let arguments = ["up", "--state-dir", state.to_str().unwrap()];
    let (code, said) = run(&arguments, &[("LUTHIEN_PORT", "0"), ("LUTHIEN_ADMIN_PORT", "0")]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--state-dir"), "{said}");
    provider.expect(Script::sse(samples::text(Dialect::Anthropic, &["Hello"])));
    let answer = gateway.call(Version::Http1, Request::stream(Dialect::Anthropic)).await;
    assert_eq!((answer.status, answer.end), (200, End::Clean));
    tokio::time::timeout(Duration::from_mins(1), gateway.stop()).await.unwrap();
}
