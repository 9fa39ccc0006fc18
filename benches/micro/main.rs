//! What the parts cost for one event: the framer, the decoders, the pipeline with several policies, a patch, a request.
//!
//! `cargo bench --bench micro` runs it, with a filter behind it if wanted. Each row says the time for an item, which is an event
//! or a byte, and what was allocated.

// It always holds here, and tells clippy that this is no part of the product.
#![cfg(test)]

mod recording;
#[path = "../common/streams.rs"]
mod streams;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use divan::{
    AllocProfiler, Bencher, black_box,
    counter::{BytesCount, ItemsCount},
};
use luthien::{
    dialect::{self, Parsed},
    json::{Patch, Value},
    model::{CallHead, Dialect, Entrance},
    pipeline::{Response, ResponseLimits, Setup, select},
    policies::{
        self,
        site::{Reach, Site},
    },
    policy::{Entry, Mode, OnFault, Release, Rules, Selector},
    wire::{Frame, Framer},
};
use serde::de::IgnoredAny;
use serde_json::json;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const DIALECTS: [&str; 3] = ["anthropic_messages", "openai_chat", "openai_responses"];
const LIMITS: ResponseLimits = ResponseLimits { event: 16 << 20, body: 32 << 20, held: 32 << 20, synthetic: 1 << 20 };

fn dialect(name: &str) -> Dialect {
    Dialect::ALL.into_iter().find(|dialect| dialect.name() == name).expect("a name of a dialect")
}

/// The events of a stream, each as a chunk of its own.
fn chunks(name: &str) -> Vec<Bytes> {
    streams::events(name).into_iter().map(Bytes::from).collect()
}

fn rules(policy: &str) -> Arc<Rules> {
    let config = match policy {
        "none" => return Arc::new(Rules::default()),
        "string_replacement" => json!({ "replacements": { "gateway": "gatehouse", "secret": "***" } }),
        "tool_filter" => json!({ "deny": ["bash", "shell_*"] }),
        _ => json!({}),
    };
    let kind = policies::all().iter().find(|kind| kind.name == policy).expect("a built-in policy");
    let (reach, timeout) = (Reach::default(), Duration::from_secs(30));
    let site = Site { name: "p", on_fault: OnFault::Closed, timeout, reach: &reach };
    let entry = Entry {
        name: "p".into(),
        kind: "measured",
        factory: (kind.build)(&config, &site).unwrap_or_else(|problems| panic!("{problems:?}")),
        selects: Arc::new(Selector::default()),
        mode: Mode::Enforce,
        on_fault: OnFault::Closed,
        timeout,
        record: None,
    };
    Arc::new(Rules { hash: "h".into(), release: Release::Block, entries: vec![entry], ..Rules::default() })
}

fn response(dialect: Dialect, rules: &Arc<Rules>) -> Response {
    let call = Arc::new(CallHead {
        entrance: Entrance::default(),
        id: "call".into(),
        dialect,
        path: "/v1/x".into(),
        model: "m".into(),
        upstream: "u".into(),
        client: None,
        session: None,
        headers: Vec::new(),
        stream: true,
        deadline: None,
        trace: None,
    });
    let runners = select(rules, &call);
    Response::stream(Setup::native(dialect, Arc::clone(&call.id), Release::Block, LIMITS), runners)
}

/// A stream through the pipeline, event by event, as a provider sends it.
fn through(bencher: Bencher<'_, '_>, name: &str, policy: &str) {
    let (chunks, rules, dialect) = (chunks(name), rules(policy), dialect(name));
    bencher.counter(ItemsCount::new(chunks.len())).with_inputs(|| response(dialect, &rules)).bench_local_values(
        |mut response| {
            for chunk in &chunks {
                assert!(response.push(chunk).is_ok());
                black_box(response.take_facts());
                response.take_output().for_each(|bytes| drop(black_box(bytes)));
            }
            assert!(response.finish().is_ok());
            response.take_output().for_each(|bytes| drop(black_box(bytes)));
        },
    );
}

#[divan::bench(args = DIALECTS)]
fn framer(bencher: Bencher<'_, '_>, name: &str) {
    let body = Bytes::from(streams::events(name).concat());
    bencher.counter(ItemsCount::new(streams::events(name).len())).bench_local(|| {
        let mut frames = Vec::new();
        assert!(Framer::new(LIMITS.event).push(black_box(&body), &mut frames).is_ok());
        frames
    });
}

/// The data of the stream's events.
fn data(name: &str) -> Vec<Bytes> {
    chunks(name).into_iter().filter_map(|raw| Frame::new(raw, true).data()).collect()
}

/// Whether each event is JSON, and nothing else.
#[divan::bench(args = DIALECTS)]
fn check(bencher: Bencher<'_, '_>, name: &str) {
    let events = data(name);
    bencher
        .counter(ItemsCount::new(events.len()))
        .bench_local(|| events.iter().filter(|event| Value::parse(black_box(event)).is_ok()).count());
}

/// The same, asked of `serde_json`.
#[divan::bench(args = DIALECTS)]
fn check_by_serde_json(bencher: Bencher<'_, '_>, name: &str) {
    let events = data(name);
    bencher.counter(ItemsCount::new(events.len())).bench_local(|| {
        events.iter().filter(|event| serde_json::from_slice::<IgnoredAny>(black_box(event)).is_ok()).count()
    });
}

#[divan::bench(args = DIALECTS)]
fn decode(bencher: Bencher<'_, '_>, name: &str) {
    let frames: Vec<Frame> = chunks(name).into_iter().map(|raw| Frame::new(raw, true)).collect();
    bencher.counter(ItemsCount::new(frames.len())).bench_local(|| {
        let (mut decoder, mut out) = (dialect::decoder(dialect(name)), Vec::new());
        for frame in &frames {
            out.clear();
            let said = black_box(frame).said();
            assert!(decoder.decode(&Parsed::of(&said), &mut out).is_ok());
            black_box(&out);
        }
    });
}

#[divan::bench(args = DIALECTS)]
fn no_policy(bencher: Bencher<'_, '_>, name: &str) {
    through(bencher, name, "none");
}

#[divan::bench(args = DIALECTS)]
fn noop(bencher: Bencher<'_, '_>, name: &str) {
    through(bencher, name, "noop");
}

#[divan::bench(args = DIALECTS)]
fn tool_filter(bencher: Bencher<'_, '_>, name: &str) {
    through(bencher, name, "tool_filter");
}

#[divan::bench(args = DIALECTS)]
fn string_replacement(bencher: Bencher<'_, '_>, name: &str) {
    through(bencher, name, "string_replacement");
}

#[divan::bench]
fn patch(bencher: Bencher<'_, '_>) {
    let data: &[u8] = br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" gateway"}}"#;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let value = Value::parse(black_box(data)).expect("it is JSON");
        let text = value.get("delta").and_then(|delta| delta.get("text")).expect("it is there");
        let mut patch = Patch::default();
        patch.replace(text.span(), "\" gatehouse\"");
        patch.apply(data)
    });
}

#[divan::bench(args = [1 << 10, 1 << 20])]
fn request(bencher: Bencher<'_, '_>, size: usize) {
    let turn =
        r#"{"role":"user","content":[{"type":"text","text":"There was a gateway between an agent and its model. "}]},"#;
    let turns = turn.repeat(size / turn.len() + 1);
    let body = format!(r#"{{"model":"m-1","max_tokens":9,"messages":[{}]}}"#, turns.trim_end_matches(','));
    let body = Bytes::from(body);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| dialect::request(Dialect::AnthropicMessages, black_box(&body)).unwrap());
}
