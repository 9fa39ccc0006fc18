//! Many streams at the same time: each with its own bytes, for little memory, which is given back.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{MIB, quiet, span};
use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        client::{self, End, Request, Version},
        gateway::Gateway,
        process::Usage,
        samples, within,
    },
};

/// Connections between Envoy and Luthien that may be made for a moment.
const FEW: usize = 20;
/// Long enough for all of them on a busy machine.
const LONG: Duration = Duration::from_mins(3);
/// Policies that watch every text and every tool call.
const WATCHED: &str = r#"
policies:
  - { name: nothing, type: noop }
  - { name: words, type: string_replacement, config: { replacements: { "never-said": "x" }, apply_to: both } }
  - { name: tools, type: tool_filter, config: { deny: [never_called] } }
"#;
/// Clocks that say nothing while a busy machine opens all streams.
const PATIENT: &str = "timeouts: { keepalive: 10m, stall: 10m, first_byte: 10m }";
/// A policy that holds each text until it is whole.
const HELD: &str = r#"
policies:
  - { name: texts, type: blocked_content, config: { patterns: ["never.*said"], message: "no" } }
"#;

/// How many streams there are at the same time.
fn count() -> usize {
    if span().is_some() { 1000 } else { 200 }
}

/// The most that a stream may take of Luthien's memory, beyond what is held of it. Where there are few, what a process takes
/// once weighs more.
fn most() -> u64 {
    if span().is_some() { 64 << 10 } else { 128 << 10 }
}

/// What is left to be seen while every stream is open.
struct Open {
    held: u64,
    usage: [Usage; 2],
}

/// Opens all streams, looks while each is open, lets them end, and checks every byte.
async fn round(gateway: &Gateway, provider: &Provider, piece: &str, count: usize) -> Open {
    let gate = Gate::new();
    let mut clients = JoinSet::new();
    for dialect in Dialect::ALL {
        let mut said = piece.to_owned();
        let (mut text, mut bytes) = samples::Text::open(dialect, &[]);
        let mut script = Script::stream().then(bytes.clone());
        for number in 0..20 {
            said.push(char::from(b'a' + number));
            let event = text.delta(&said);
            bytes.push_str(&event);
            script = script.then(event).pause(Duration::from_millis(20));
            if number == 9 {
                script = script.wait(&gate);
            }
        }
        let end = text.close();
        bytes.push_str(&end);
        provider.on_model(dialect.path(), script.then(end));
        let whole = Bytes::from(bytes);
        for number in (0..count).filter(|number| Dialect::ALL[number % 3] == dialect) {
            let (address, whole) = (gateway.listen(), whole.clone());
            let request = Request::call(dialect, dialect.path(), true);
            clients.spawn(async move {
                let version = Version::BOTH[number / 3 % 2];
                let answer = client::send(version, address, request).await.finish().await;
                assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
                assert!(answer.body == whole, "{} bytes of {}", answer.body.len(), whole.len());
            });
        }
    }
    let all = async {
        while gate.waiting() < count {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
                Some(ended) = clients.join_next() => panic!("a client ended before all were there: {:?}", ended.err()),
            }
        }
    };
    within(LONG, "all streams", all).await;
    // The middle of every stream has come once nothing more does.
    gateway.metric_is("luthien_calls_in_flight", |calls| calls as usize == count).await;
    let mut held = gateway.metric("luthien_held_bytes").await as u64;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = gateway.metric("luthien_held_bytes").await as u64;
        if now == std::mem::replace(&mut held, now) {
            break;
        }
    }
    let usage = gateway.usage();
    gate.open();
    let ended = async { while clients.join_next().await.transpose().expect("the stream was right").is_some() {} };
    within(LONG, "the end of all streams", ended).await;
    Open { held, usage }
}

/// What each of two processes takes, at three times.
fn in_time(before: [Usage; 2], open: [Usage; 2], after: [Usage; 2]) -> [[Usage; 3]; 2] {
    [0, 1].map(|process| [before[process], open[process], after[process]])
}

/// Some rounds: what the second takes is no more than what the first left.
async fn streams(policy: &str, piece: &str, holds: bool) {
    let provider = Provider::start().await;
    provider.forget();
    let gateway = Gateway::with(&provider).policy(policy).settings(PATIENT).start().await;
    // What a process makes once is not any stream's.
    round(&gateway, &provider, piece, 20).await;
    quiet(&gateway).await;
    let before = gateway.usage();
    let mut first = None;
    for number in 0..3 {
        let open = round(&gateway, &provider, piece, count()).await;
        quiet(&gateway).await;
        let after = gateway.usage();
        let grown = open.usage[0].memory.saturating_sub(before[0].memory);
        let each = grown.saturating_sub(open.held) / count() as u64;
        println!("round {number}, {} streams: {} KiB each beyond {} MiB held", count(), each >> 10, open.held / MIB);
        for (process, [before, open, after]) in ["Luthien", "Envoy"].iter().zip(in_time(before, open.usage, after)) {
            let [memory, files] =
                [[before, open, after].map(|at| at.memory / MIB), [before, open, after].map(|at| at.files as u64)];
            println!("  {process}: MiB {memory:?}, files {files:?} before, while they are open, afterwards");
        }
        let least = if holds { 8192 * count() as u64 } else { 0 };
        assert!((least..=least + 8192 * count() as u64).contains(&open.held), "{} bytes are held", open.held);
        // What later rounds take is what the first one left: the allocator keeps some of it for them.
        first.get_or_insert((each, after));
        let (each, left) = first.unwrap();
        assert!(each <= most(), "{each} bytes for each stream");
        for (process, (now, left)) in after.iter().zip(left).enumerate() {
            assert!(now.memory <= left.memory + left.memory / 4, "{process} grows from {left:?} to {now:?}");
            assert!(now.files <= left.files + FEW, "{process} keeps files: {now:?} after {left:?}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn many_streams_at_once_take_little() {
    streams(WATCHED, "word ", false).await;
}

#[tokio::test]
async fn many_streams_that_are_held_take_little_more_than_what_is_held() {
    streams(HELD, &"never ".repeat(200), true).await;
}
