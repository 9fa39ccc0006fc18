//! Items that overlap, decided on by lot, stopped anywhere, and told to clients of other dialects.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use luthien::{
    model::{Dialect, Failure, FailureKind, Refusal, RefusalForm},
    pipeline::{self, Response, Setup},
    policy::{OnFault, Release, Rules},
};

use super::{
    super::{
        random::{Lots, Script, lot},
        reader,
        support::{LIMITS, Run, call, response, rules_with, run, streams},
        validator,
    },
    Made, lifecycle, numbered, placed,
};

const RESPONSES: Dialect = Dialect::OpenaiResponses;

const SEEDS: u64 = 200;

/// Items whose events are mixed, as providers that work on several at once send them.
fn overlapping(items: &[Made], seed: u64) -> Bytes {
    let mut state = seed;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut queues: Vec<VecDeque<String>> =
        items.iter().enumerate().map(|(place, item)| placed(item, place).into()).collect();
    let mut out = vec![lifecycle("created", ""), lifecycle("in_progress", "")];
    let mut begun = 0;
    while queues.iter().any(|queue| !queue.is_empty()) {
        // Items begin in order.
        let at = draw((begun + 1).min(queues.len()));
        let Some(event) = queues[at].pop_front() else {
            begun = begun.max(at + 1);
            continue;
        };
        begun = begun.max(at + 1);
        out.push(event);
        if draw(7) == 0 {
            out.push(r#"{"type":"keepalive"}"#.to_owned());
        }
    }
    let output: Vec<&str> = items.iter().map(|item| item.item.as_str()).collect();
    out.push(lifecycle("completed", &output.join(",")));
    numbered(&out)
}

fn mixed() -> Vec<Made> {
    vec![
        Made::reasoning("rs_1", &["one", "two"]),
        Made::parts(
            "msg_1",
            &[("output_text", &["ab", "cd"], "abcd"), ("output_text", &["e"], "e"), ("refusal", &["no"], "no")],
        ),
        Made::call("fc_1", "call_1", "ls", &["{\\\"a\\\":", "1}"]),
        Made::custom("ctc_1", "call_2", "patch", &["*** ", "Begin"]),
        Made::message("msg_2", &["x", "y", "z"], "xyz"),
        Made::call("fc_2", "call_3", "rm", &["{\\\"b\\\":", "2}"]),
    ]
}

/// The problems that were found, each with how often and the first case.
#[derive(Default)]
struct Found(BTreeMap<String, (usize, String)>);

impl Found {
    fn note(&mut self, case: &str, problems: Vec<String>, out: &[u8]) {
        for problem in problems {
            let first = || (0, format!("{case}\n{}", String::from_utf8_lossy(out)));
            self.0.entry(problem).or_insert_with(first).0 += 1;
        }
    }

    fn assert_none(&self) {
        let told = self.0.iter().map(|(problem, (times, first))| format!("{times}x {problem}, first in {first}"));
        let told: Vec<String> = told.collect();
        assert!(told.is_empty(), "{}", told.join("\n\n"));
    }
}

/// Whether the object at the end says what the events said.
fn same_at_the_end(out: &[u8]) -> bool {
    let terminal = reader::openai_responses::terminal(&reader::sse::events(out));
    terminal.map(|terminal| reader::body(RESPONSES, terminal.as_bytes()).texts())
        == Some(reader::stream(RESPONSES, out).texts())
}

fn problems(out: &[u8], ended: bool) -> Vec<String> {
    let mut problems = validator::problems(RESPONSES, out);
    if ended && !same_at_the_end(out) {
        problems.push("the terminal object says something else".to_owned());
    }
    problems
}

fn by_lot(seed: u64) -> Arc<Rules> {
    let release = if seed.is_multiple_of(2) { Release::Turn } else { Release::Block };
    let script = Script { seed, appends: if seed.is_multiple_of(3) { &["text"] } else { &[] } };
    rules_with(vec![Arc::new(Lots { script, patience: seed })], release, OnFault::Closed)
}

/// The paused clock in which policies of the test take their time.
fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn overlapping_items_stay_legal_whatever_is_decided() {
    let runtime = paused();
    let _guard = runtime.enter();
    let mut found = Found::default();
    for seed in 0..SEEDS {
        let stream = overlapping(&mixed(), seed);
        assert_eq!(problems(&stream, true), Vec::<String>::new());
        let out = run(RESPONSES, &by_lot(seed), &stream, 64).out.concat();
        found.note(&format!("seed {seed}"), problems(&out, true), &out);
    }
    found.assert_none();
}

fn converted(from: Dialect, to: Dialect, rules: &Arc<Rules>, stream: &Bytes) -> Vec<u8> {
    let runners = pipeline::select(rules, &call(from));
    let setup = Setup { client: to, ..Setup::native(from, "call-1".into(), rules.release, LIMITS) };
    let mut run = Run::new(Response::stream(setup, runners));
    for chunk in stream.chunks(97) {
        run.push(&Bytes::copy_from_slice(chunk));
    }
    run.finish();
    run.out.concat()
}

#[test]
fn overlapping_items_are_legal_in_other_dialects() {
    let runtime = paused();
    let _guard = runtime.enter();
    let mut found = Found::default();
    for seed in 0..SEEDS {
        let stream = overlapping(&mixed(), seed);
        for to in [Dialect::AnthropicMessages, Dialect::OpenaiChat] {
            let out = converted(RESPONSES, to, &by_lot(seed), &stream);
            found.note(&format!("{} with seed {seed}", to.name()), validator::problems(to, &out), &out);
        }
    }
    found.assert_none();
}

#[test]
fn other_dialects_are_legal_in_this_one() {
    let runtime = paused();
    let _guard = runtime.enter();
    let mut found = Found::default();
    for stream in streams().into_iter().filter(|stream| stream.dialect != RESPONSES && stream.is_good()) {
        for seed in 0..4 {
            let rules = if seed == 0 { rules_with(Vec::new(), Release::Block, OnFault::Closed) } else { by_lot(seed) };
            let out = converted(stream.dialect, RESPONSES, &rules, &stream.body);
            let case = format!("{} with seed {seed}", stream.name);
            found.note(&case, validator::problems(RESPONSES, &out), &out);
        }
    }
    found.assert_none();
}

#[test]
fn a_stop_among_overlapping_items_is_legal() {
    let runtime = paused();
    let _guard = runtime.enter();
    let mut found = Found::default();
    for seed in 0..SEEDS {
        let body = overlapping(&mixed(), seed);
        let cut = usize::try_from(lot((seed, "cut"))).unwrap_or(0) % body.len();
        let mut run = Run::new(response(RESPONSES, &by_lot(seed), LIMITS));
        for (number, chunk) in body[..cut].chunks(211).enumerate() {
            run.push(&Bytes::copy_from_slice(chunk));
            if lot((seed, number)).is_multiple_of(5) {
                run.response.keepalive();
            }
        }
        let mut refusal = Refusal::new("p", "not that");
        match seed % 3 {
            0 => {
                refusal.form = RefusalForm::Message;
                run.response.refuse(&refusal);
            }
            1 => run.response.refuse(&refusal),
            _ => run.response.fail(&Failure::new(FailureKind::Truncated, "it broke off")),
        }
        let mut out = run.out.concat();
        out.extend(run.response.take_output().flatten());
        let last = super::data(&out).pop().unwrap_or_default();
        found.note(&format!("seed {seed}"), problems(&out, last["type"] == "response.completed"), &out);
    }
    found.assert_none();
}
