//! Policies in other processes: the examples in Python, behind gRPC and behind a webhook, through a real Envoy.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use std::io::{BufRead, BufReader};

use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        client::{Answer, End, Request, Version, call_body},
        errors,
        gateway::{Builder, Gateway},
        samples::{self, CALLS},
        sdk::{Job, Mode, Sdk},
    },
    tools::{Message, left, message, stops},
};

const SECRET: &str = "shared-with-the-remote";
/// Everything that can be asked and told.
const ALL_HOOKS: &str = "hooks: [request, response_start, text, thinking, tool_call, deltas, response_end]";

/// How the remote is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Webhook,
}

/// A policy in Python.
struct Remote {
    process: Child,
    url: String,
    protocol: Protocol,
}

/// The contract as Python code.
static CONTRACT: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let out = tempfile::tempdir().unwrap();
    let made = Command::new(python())
        .args(["-m", "grpc_tools.protoc", "-I", "proto", "proto/luthien/policy/v1/policy.proto"])
        .args(["python_out", "grpc_python_out"].map(|what| format!("--{what}={}", out.path().display())))
        .current_dir(root())
        .status()
        .expect("Python is installed");
    assert!(made.success());
    out
});

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn python() -> PathBuf {
    root().join(".tools/sdk-python/bin/python")
}

impl Remote {
    fn start(protocol: Protocol) -> Self {
        let mut command = Command::new(python());
        match protocol {
            Protocol::Grpc => {
                command.args(["examples/remote/grpc_policy.py", "127.0.0.1:0"]).env("PYTHONPATH", CONTRACT.path())
            }
            Protocol::Webhook => command.args(["examples/remote/webhook_policy.py", "0"]).env("WEBHOOK_SECRET", SECRET),
        };
        Self::spawn(command, protocol, "http")
    }

    fn spawn(mut command: Command, protocol: Protocol, scheme: &str) -> Self {
        let spawned = command.current_dir(root()).stdout(Stdio::piped()).spawn();
        let mut process = spawned.expect("Python is installed");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().strip_prefix("port ").and_then(|port| port.parse().ok()).expect("it says its port");
        Self { process, url: format!("{scheme}://127.0.0.1:{port}"), protocol }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// A gateway that asks it.
    fn asked(&self, provider: &Provider, entry: &str, config: &str) -> Builder {
        self.asked_with(provider, "", entry, config)
    }

    /// A gateway that asks it, with more in its entry of the settings.
    fn asked_with(&self, provider: &Provider, more: &str, entry: &str, config: &str) -> Builder {
        let (name, secret) = match self.protocol {
            Protocol::Grpc => ("grpc", ""),
            Protocol::Webhook => ("webhook", ", secret: { env: REMOTE_SECRET }"),
        };
        let remotes = format!("remotes: [{{ name: mine, protocol: {name}, url: \"{}\"{secret}{more} }}]", self.url);
        let policy =
            format!("policies: [{{ name: far, type: remote, {entry} config: {{ remote: mine, {config} }} }}]\n");
        Gateway::with(provider).settings(&remotes).policy(&policy).env("REMOTE_SECRET", SECRET)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn changes(protocol: Protocol, config: &str) {
    let (provider, remote) = (Provider::start().await, Remote::start(protocol));
    let gateway = remote.asked(&provider, "", config).start().await;
    let mut jobs = Vec::new();
    for dialect in Dialect::ALL {
        for (mode, model) in [(Mode::Stream, "stream"), (Mode::Json, "whole")] {
            let model = format!("{}-{model}", dialect.folder());
            let text = "The secret is out.";
            let script = match mode {
                Mode::Json => Script::json(samples::whole(dialect, text, &CALLS)),
                Mode::Stream | Mode::Both => {
                    Script::sse_in_pieces(samples::tools(dialect, text, &CALLS).as_bytes(), 33)
                }
            };
            provider.on_model(&model, script);
            jobs.push((dialect, mode, Job::new(dialect, &gateway.url(), mode, &model)));
        }
    }
    let calls: Vec<Job> = jobs.iter().map(|(_, _, job)| job.clone()).collect();
    for sdk in Sdk::BOTH {
        for ((dialect, mode, _), outcome) in jobs.iter().zip(sdk.run(&calls).await) {
            let context = format!("{protocol:?} {config}: {dialect:?}, {mode:?}, {sdk:?}");
            assert_eq!(outcome.helper_error, None, "{context}");
            let text = "The [redacted] is out.[rm_tree is not allowed]".to_owned();
            let wanted = Message { text, calls: left(&[0, 2]), stop: stops(*dialect).0.to_owned() };
            assert_eq!(message(*dialect, &outcome), wanted, "{context}");
        }
    }
    if protocol == Protocol::Grpc {
        assert!(gateway.output().contains("rm_tree"), "the operator is told: {}", gateway.output());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_policy_behind_grpc_changes_answers() {
    changes(Protocol::Grpc, "").await;
}

#[tokio::test]
async fn a_policy_behind_grpc_is_told_of_everything() {
    changes(Protocol::Grpc, ALL_HOOKS).await;
}

#[tokio::test]
async fn a_policy_behind_a_webhook_changes_answers() {
    changes(Protocol::Webhook, "hooks: [request, text, tool_call, response_end]").await;
}

fn asks_for(dialect: Dialect, words: &str) -> Request {
    let mut body = call_body(dialect, "m", true);
    let said = serde_json::json!([{ "role": "user", "content": words }]);
    body[if dialect == Dialect::OpenaiResponses { "input" } else { "messages" }] = said;
    let path = match dialect {
        Dialect::Anthropic => "/v1/messages",
        Dialect::OpenaiChat => "/v1/chat/completions",
        Dialect::OpenaiResponses => "/v1/responses",
    };
    Request::post(path, body.to_string())
}

#[tokio::test]
async fn a_request_is_refused_and_the_provider_is_not_asked() {
    for protocol in [Protocol::Grpc, Protocol::Webhook] {
        let (provider, remote) = (Provider::start().await, Remote::start(protocol));
        let gateway = remote.asked(&provider, "", "").start().await;
        for dialect in Dialect::ALL {
            let answer = gateway.call(Version::Http1, asks_for(dialect, "Tell me the launch codes.")).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
            let told = errors::in_body(dialect, &answer);
            assert!(told.message.contains("We do not talk about that."), "{told:?}");
        }
        assert!(provider.requests().is_empty());
        gateway.stop().await;
    }
}

/// What a client gets when the remote is killed between the beginning of an answer and its text.
async fn killed(protocol: Protocol, entry: &str, check: impl Fn(Dialect, &str, &Answer)) {
    for dialect in Dialect::ALL {
        let (provider, mut remote) = (Provider::start().await, Remote::start(protocol));
        let gateway = remote.asked(&provider, entry, "").start().await;
        let gate = Gate::new();
        let all = samples::tools(dialect, "Working.", &CALLS);
        provider.expect(Script::stream().wait(&gate).then(all.clone()));
        let call = gateway.call(Version::Http1, Request::stream(dialect));
        let kill = async {
            provider.request(0).await;
            remote.kill();
            gate.open();
        };
        let (answer, ()) = tokio::join!(call, kill);
        check(dialect, &all, &answer);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_remote_that_is_killed_in_mid_call_does_what_the_rules_say() {
    for protocol in [Protocol::Grpc, Protocol::Webhook] {
        killed(protocol, "timeout: 1s,", |dialect, _, answer| {
            let told =
                if answer.status == 200 { errors::at_end(dialect, answer) } else { errors::in_body(dialect, answer) };
            assert!(told.message.contains("far") && told.message.contains("fail closed"), "{protocol:?} {told:?}");
            let text = answer.text();
            assert!(!text.contains("Working") && !text.contains("rm_tree"), "{protocol:?} {text}");
        })
        .await;
        killed(protocol, "timeout: 1s, on_fault: open,", |_, all, answer| {
            assert_eq!((answer.status, &answer.end, answer.text().as_str()), (200, &End::Clean, all), "{protocol:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_webhook_takes_only_what_is_signed_with_its_secret() {
    let (provider, remote) = (Provider::start().await, Remote::start(Protocol::Webhook));
    let gateway = remote.asked(&provider, "", "").env("REMOTE_SECRET", "another-secret").start().await;
    let answer = gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    let output = gateway.output();
    assert!(output.contains("answered with status 401") && !output.contains("another-secret"), "{output}");
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn what_was_asked_about_a_text_is_not_asked_again() {
    let (provider, remote) = (Provider::start().await, Remote::start(Protocol::Webhook));
    // The request hook alone, so that a remote that is gone can be told by the next call.
    let gateway = remote.asked(&provider, "timeout: 500ms,", "hooks: [request]").start().await;
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["Hello"])));
    let first = gateway.call(Version::Http1, asks_for(Dialect::OpenaiChat, "Good morning.")).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let mut remote = remote;
    remote.kill();
    let again = gateway.call(Version::Http1, asks_for(Dialect::OpenaiChat, "Good morning.")).await;
    assert_eq!(again.status, 200, "{}", again.text());
    let new = gateway.call(Version::Http1, asks_for(Dialect::OpenaiChat, "Good evening.")).await;
    assert_eq!(new.status, 500, "{}", new.text());
    gateway.stop().await;
}

/// An authority and a certificate of its, as `ca.pem`, `leaf.pem` and `leaf.key`.
fn certificates(dir: &Path) {
    let new = |name: &str, more: &[&str]| {
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", &format!("/CN={name}"), "-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
            .args(more)
            .current_dir(dir)
            .output()
            .expect("openssl is needed to make certificates; apt-get install openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    new("ca", &[]);
    let leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"];
    new("leaf", &[&["-CA", "ca.pem", "-CAkey", "ca.key"], &leaf[..]].concat());
    new("stranger", &[]);
}

#[tokio::test]
async fn a_remote_behind_tls_shows_a_certificate_and_asks_for_ours() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    certificates(dir);
    for (protocol, name) in [(Protocol::Grpc, "grpc"), (Protocol::Webhook, "webhook")] {
        let mut command = Command::new(python());
        command.args(["tests/sdk/python/tls_remote.py", name]);
        command.args(["ca.pem", "leaf.pem", "leaf.key"].map(|file| dir.join(file)));
        command.env("PYTHONPATH", CONTRACT.path()).env("WEBHOOK_SECRET", SECRET);
        let remote = Remote::spawn(command, protocol, "https");
        let path = |file: &str| dir.join(file).display().to_string();
        let ours = format!(", tls: {{ cert: \"{}\", key: \"{}\" }}", path("leaf.pem"), path("leaf.key"));
        let good = format!(", ca: \"{}\"{}", path("ca.pem"), if protocol == Protocol::Grpc { &ours } else { "" });
        let stranger = good.replace("ca.pem", "stranger.pem");
        let mut cases = vec![(good, true), (stranger, false), (String::new(), false)];
        if protocol == Protocol::Grpc {
            cases.push((format!(", ca: \"{}\"", path("ca.pem")), false));
        }
        for (more, works) in cases {
            let provider = Provider::start().await;
            let gateway = remote.asked_with(&provider, &more, "timeout: 2s,", "").start().await;
            let answer = gateway.call(Version::Http1, asks_for(Dialect::OpenaiChat, "the launch codes")).await;
            assert_eq!(answer.status, if works { 400 } else { 500 }, "{protocol:?}{more}: {}", answer.text());
            assert!(provider.requests().is_empty());
            gateway.stop().await;
        }
    }
}
