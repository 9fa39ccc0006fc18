//! Answers that stream, in each dialect: read and written again.

use bytes::Bytes;
use luthien::{
    dialect::Transcript,
    model::Dialect,
    wire::{Frame, Framer},
};

use super::{
    input::{Input, with_clock},
    oracle::{self, assert_no_panic},
    policies::Chosen,
};
use crate::core::{
    corpus::run_cut,
    support::{LIMITS, Run, rules, run},
    validator,
};

pub fn anthropic(data: &[u8]) {
    check(Dialect::AnthropicMessages, data);
}

pub fn openai_chat(data: &[u8]) {
    check(Dialect::OpenaiChat, data);
}

pub fn openai_responses(data: &[u8]) {
    check(Dialect::OpenaiResponses, data);
}

/// Three bytes choose the policies and the chunks, the rest is the provider's stream.
fn check(dialect: Dialect, data: &[u8]) {
    let mut input = Input::new(data);
    let (kind, seed, cut) = (input.byte(), input.byte(), input.byte());
    let body = input.bytes();
    with_clock(|| {
        untouched(dialect, &body, u64::from(cut));
        edited(dialect, kind, seed, u64::from(cut), &body);
        recorded(dialect, &body);
    });
}

/// Without a policy the same bytes leave, and an error behind them where the provider's end is missing.
fn untouched(dialect: Dialect, body: &Bytes, cut: u64) {
    let nobody = rules(Vec::new());
    let whole = run(dialect, &nobody, body, body.len());
    let out = whole.out.concat();
    assert_begins(dialect, &whole, body);
    let cut = run_cut(dialect, &nobody, body, cut);
    assert_eq!(lossy(&cut.out.concat()), lossy(&out), "depends on how it comes");
}

/// What left is the provider's own, frame by frame, up to the error that ended it.
fn assert_begins(dialect: Dialect, run: &Run, body: &Bytes) {
    let out = run.out.concat();
    let frames = frames(body);
    let whole = frames.iter().filter(|frame| frame.is_ended()).map(|frame| frame.raw().len());
    let ends = whole.scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    let same = ends.take_while(|end| out.get(..*end) == body.get(..*end)).last().unwrap_or(0);
    let (rest, tail) = (&body[same..], &out[same..]);
    // A last frame without its end leaves, if it can be read.
    let is_half = frames.last().is_some_and(|last| !last.is_ended() && last.raw() == rest);
    if run.failure.is_none() {
        let fits = tail == rest || (is_half && tail.is_empty());
        return assert!(fits, "{} became {}", lossy(rest), lossy(tail));
    }
    let left = tail.strip_prefix(rest).filter(|_| is_half);
    let is_error = |bytes: &[u8]| {
        let events = oracle::events(bytes);
        events.len() == 1 && events.iter().all(|event| event.data.contains("\"error\""))
    };
    // Nothing is written behind the end.
    let is_silent = tail.is_empty() && oracle::stream(dialect, &out).ends > 0;
    let fits = is_silent || is_error(tail) || left.is_some_and(is_error);
    assert!(fits, "{:?}: {} became {}", run.failure, lossy(rest), lossy(tail));
}

/// Policies that edit.
fn edited(dialect: Dialect, kind: u8, seed: u8, cut: u64, body: &Bytes) {
    let before = oracle::stream(dialect, body);
    let chosen = Chosen::new(kind, seed, &before);
    let rules = chosen.rules();
    let whole = run(dialect, &rules, body, body.len());
    let out = whole.out.concat();
    let what = || format!("{chosen:?}: {:?}\n{}", whole.failure, lossy(&out));
    let cut = run_cut(dialect, &rules, body, cut);
    // What is decided later may come before or behind a failure.
    if whole.failure.is_none() || !chosen.decides_later() {
        assert_eq!(lossy(&cut.out.concat()), lossy(&out), "depends on how it comes: {chosen:?}");
    }
    assert_no_panic(&whole);
    if chosen.keeps() {
        assert_begins(dialect, &whole, body);
        return;
    }
    let after = oracle::stream(dialect, &out);
    assert!(after.ends <= before.ends, "an end that the provider did not say: {}", what());
    chosen.assert_gone(&after);
    let problems = validator::problems(dialect, body);
    let new: Vec<String> =
        validator::problems(dialect, &out).into_iter().filter(|problem| !problems.contains(problem)).collect();
    assert!(!problems.is_empty() || new.is_empty(), "{new:?}: {}", what());
}

/// What is kept for the record.
fn recorded(dialect: Dialect, body: &Bytes) {
    let mut transcript = Transcript::stream(dialect, LIMITS.body, true);
    transcript.push(body);
    assert!(transcript.size() <= LIMITS.body * 3);
    let (_, raw) = transcript.finish();
    assert!(raw.is_none_or(|raw| raw == *body));
}

fn frames(body: &Bytes) -> Vec<Frame> {
    let mut framer = Framer::new(LIMITS.event);
    let mut out = Vec::new();
    let _ = framer.push(body, &mut out);
    out.extend(framer.finish());
    out
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
