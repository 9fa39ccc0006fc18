//! Runs a policy over a small answer and prints what a client would receive.

use std::{io::Write, sync::Arc, task, time::Duration};

use bytes::Bytes;
use luthien::{
    model::{CallHead, Dialect, Entrance},
    pipeline::{Response, ResponseLimits, Setup, select},
    policy::{Entry, Factory, Mode, OnFault, Release, Rules},
};

/// An answer with a text and two tool calls, as Anthropic Messages streams it.
pub const ANSWER: &str = include_str!("answer.sse");

/// What a client receives of `answer` behind a policy whose hooks answer at once.
pub fn run(policy: impl Factory + 'static, answer: &'static str) -> String {
    let entry = Entry {
        name: "example".into(),
        kind: "example",
        factory: Arc::new(policy),
        selects: Arc::default(),
        mode: Mode::Enforce,
        on_fault: OnFault::Closed,
        timeout: Duration::from_secs(1),
        record: None,
    };
    let rules = Arc::new(Rules { entries: vec![entry], ..Rules::default() });
    let dialect = Dialect::AnthropicMessages;
    let call = Arc::new(CallHead {
        id: "example".into(),
        dialect,
        path: "/v1/messages".to_owned(),
        model: "claude-demo".to_owned(),
        upstream: "demo".to_owned(),
        client: None,
        session: None,
        headers: Vec::new(),
        stream: true,
        deadline: None,
        trace: None,
        entrance: Entrance::default(),
    });
    let limits = ResponseLimits { event: 1 << 20, body: 1 << 20, held: 1 << 20, synthetic: 1 << 20 };
    let setup = Setup::native(dialect, call.id.clone(), Release::Block, limits);
    let mut response = Response::stream(setup, select(&rules, &call));
    let pushed = response.push(&Bytes::from_static(answer.as_bytes())).and_then(|()| response.finish());
    assert_eq!(pushed, Ok(()));
    let mut wakeup = task::Context::from_waker(task::Waker::noop());
    assert!(response.poll_decisions(&mut wakeup).is_pending(), "the policy answers later");
    String::from_utf8_lossy(&response.take_output().collect::<Vec<_>>().concat()).into_owned()
}

/// Prints what a client receives behind a policy.
pub fn show(policy: impl Factory + 'static) -> std::io::Result<()> {
    std::io::stdout().write_all(run(policy, ANSWER).as_bytes())
}
