//! Runs bodies through the pipeline with given policies.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use luthien::{
    dialect::WireError,
    model::{BlockHead, CallHead, Dialect, Failure, FailureKind},
    pipeline::{Response, ResponseLimits, Runner, Setup, Stopped, select},
    policies,
    policy::{Context, Entry, Factory, Mode, OnFault, Policy, Release, Rules, Selector, Watch},
};

/// A stream of the vectors or of the recordings.
pub struct Stream {
    pub name: String,
    pub class: String,
    pub dialect: Dialect,
    pub body: Bytes,
}

pub fn streams_dir() -> Option<PathBuf> {
    std::env::var_os("LUTHIEN_STREAMS_DIR").map(PathBuf::from)
}

/// Every vector and every recording in the two dialects.
pub fn streams() -> Vec<Stream> {
    let mut out = Vec::new();
    let Some(dir) = streams_dir() else { return out };
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("vectors/expected.json")).unwrap()).unwrap();
    for (folder, dialect) in [("anthropic", Dialect::AnthropicMessages), ("openai-chat", Dialect::OpenaiChat)] {
        for kind in ["vectors", "recorded"] {
            let mut files: Vec<_> = std::fs::read_dir(dir.join(kind).join(folder))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|ext| ext == "sse"))
                .collect();
            files.sort();
            for file in files {
                let name = format!("{folder}/{}", file.file_stem().unwrap().to_string_lossy());
                let class = expected[&name]["class"].as_str().unwrap_or("recorded").to_owned();
                out.push(Stream { name, class, dialect, body: std::fs::read(file).unwrap().into() });
            }
        }
    }
    assert!(out.len() > 100);
    out
}

pub fn call(dialect: Dialect) -> Arc<CallHead> {
    Arc::new(CallHead {
        id: "call-1".into(),
        dialect,
        path: "/v1/x".into(),
        model: "m".into(),
        upstream: "u".into(),
        client: None,
        session: None,
        headers: Vec::new(),
        stream: true,
        deadline: None,
    })
}

pub fn rules(factories: Vec<Arc<dyn Factory>>) -> Arc<Rules> {
    let entries = factories
        .into_iter()
        .enumerate()
        .map(|(number, factory)| Entry {
            name: format!("p{number}").into(),
            kind: "test",
            factory,
            selects: Selector::default(),
            mode: Mode::Enforce,
            on_fault: OnFault::Closed,
            timeout: Duration::from_secs(5),
        })
        .collect();
    Arc::new(Rules { hash: "test".into(), release: Release::Block, entries })
}

/// A built-in policy from its config.
pub fn built_in(name: &str, config: serde_json::Value) -> Arc<dyn Factory> {
    let kind = policies::all().iter().find(|kind| kind.name == name).unwrap();
    (kind.build)(&config).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Watches everything and keeps everything.
pub struct WatchAll(pub Watch);

impl Factory for WatchAll {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(Self(self.0))
    }
}

impl Policy for WatchAll {
    fn on_block_start(&mut self, _: &mut Context<'_>, _: &BlockHead) -> Watch {
        self.0
    }
}

pub const LIMITS: ResponseLimits =
    ResponseLimits { event: 16 << 20, body: 32 << 20, held: 32 << 20, synthetic: 1 << 20 };

pub fn response(dialect: Dialect, rules: &Arc<Rules>) -> Response {
    let call = call(dialect);
    let runners: Vec<Runner> = select(rules, &call);
    let setup = Setup { dialect, call: call.id.clone(), include_usage: false, release: rules.release, limits: LIMITS };
    Response::stream(setup, runners)
}

/// Runs a stream as the driver does: every stop becomes the dialect's error event.
pub fn run(dialect: Dialect, rules: &Arc<Rules>, body: &Bytes, size: usize) -> Vec<Bytes> {
    let mut response = response(dialect, rules);
    let mut out = Vec::new();
    let mut wakeup = std::task::Context::from_waker(futures::task::noop_waker_ref());
    let mut step = |response: &mut Response, outcome: Result<(), Stopped>| {
        if let Err(stopped) = outcome {
            stop(response, stopped);
        }
        while let std::task::Poll::Ready(outcome) = response.poll_decisions(&mut wakeup) {
            if let Err(stopped) = outcome {
                stop(response, stopped);
            }
        }
        if let Some(Err(failure)) = response.over() {
            response.fail(&failure);
        }
        out.extend(response.take_output());
    };
    for chunk in body.chunks(size.max(1)) {
        let outcome = response.push(&body.slice_ref(chunk));
        step(&mut response, outcome);
        if response.is_done() {
            return out;
        }
    }
    let outcome = response.finish();
    step(&mut response, outcome);
    assert!(response.is_done(), "nothing may be left undecided");
    out
}

fn stop(response: &mut Response, stopped: Stopped) {
    match stopped {
        Stopped::Refused(refusal) => response.refuse(&refusal),
        Stopped::Failed(failure) => response.fail(&failure),
    }
}

pub fn error_event(dialect: Dialect, failure: &Failure) -> Vec<u8> {
    let json = WireError::failure(dialect, failure, "call-1").json(dialect);
    let mut out = Vec::new();
    luthien::wire::write_event((dialect == Dialect::AnthropicMessages).then_some("error"), &json, &mut out);
    out
}

pub fn truncated() -> Failure {
    Failure::new(FailureKind::Truncated, "the provider's answer ended before its end")
}
