//! Requests and answers from one dialect to another.

use bytes::Bytes;
use luthien::{
    dialect::{RequestView, Target, convert_models, convert_request, request, without_foreign_reasoning},
    model::{Dialect, conversation::Lossy},
    pipeline::{Response, Setup},
};
use serde_json::Value;

use super::{
    input::{Input, with_clock},
    oracle::{self, assert_no_panic},
    policies::Chosen,
};
use crate::core::{
    reader,
    support::{LIMITS, Run, setup},
    validator,
};

const MODELS: [&str; 5] = ["claude-sonnet-4-5", "claude-3-haiku", "gpt-4o", "gpt-5", "o3-mini"];

/// Two bytes choose the dialect, the other one, the model and what becomes of fields without a place; the rest is a body.
pub fn requests(data: &[u8]) {
    let mut input = Input::new(data);
    let from = input.pick(&Dialect::ALL);
    let seed = input.byte();
    let to = Dialect::ALL[usize::from(seed % 3)];
    let model = MODELS[usize::from(seed / 3) % MODELS.len()];
    let lossy = [None, Some(Lossy::Drop), Some(Lossy::Refuse)][usize::from(seed / 64) % 3];
    let body = input.bytes();
    let is_json = serde_json::from_slice::<Value>(&body).is_ok();
    let (cleaned, _) = without_foreign_reasoning(from, &body);
    assert!(!is_json || serde_json::from_slice::<Value>(&cleaned).is_ok(), "no JSON any more");
    let converted = match convert_request(from, to, &body, &Target { model, lossy }) {
        Ok(converted) => converted,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    if from == to || !is_json {
        return;
    }
    let what = || String::from_utf8_lossy(&converted.body).into_owned();
    let out: Value = serde_json::from_slice(&converted.body).unwrap_or_else(|error| panic!("{error}: {}", what()));
    assert_eq!(out["model"], model);
    let read = request(to, &converted.body);
    assert!(read.is_ok(), "{:?}: {}", read.err(), what());
    match to {
        Dialect::AnthropicMessages => {
            assert!(out["max_tokens"].as_f64().is_some(), "no max_tokens: {}", what());
            assert_roles(&out["messages"], &["user", "assistant"], &what);
        }
        Dialect::OpenaiChat => {
            assert_roles(&out["messages"], &["system", "developer", "user", "assistant", "tool"], &what);
        }
        Dialect::OpenaiResponses => assert!(out["input"].is_array() || out["input"].is_string(), "{}", what()),
    }
}

fn assert_roles(messages: &Value, roles: &[&str], what: &dyn Fn() -> String) {
    let messages = messages.as_array().unwrap_or_else(|| panic!("no messages: {}", what()));
    let fits = |message: &Value| roles.iter().any(|role| message["role"] == **role);
    assert!(messages.iter().all(fits), "a message of another role: {}", what());
}

/// Four bytes choose the dialects, the form and the policies; the rest is the provider's answer.
pub fn answers(data: &[u8]) {
    let mut input = Input::new(data);
    let (pair, kind, seed, form) = (input.byte(), input.byte(), input.byte(), input.byte());
    let from = Dialect::ALL[usize::from(pair % 3)];
    let to = Dialect::ALL[usize::from(pair / 3 % 3)];
    let body = input.bytes();
    if form >= 0xf0 {
        let _ = convert_models(to, &body, [("alias", "model")].into_iter());
        return;
    }
    if from != to {
        let streams = form.is_multiple_of(2);
        with_clock(|| {
            if streams { stream(from, to, kind, seed, form, &body) } else { whole(from, to, kind, seed, &body) }
        });
    }
}

fn run_in(
    from: Dialect,
    to: Dialect,
    chosen: &Chosen,
    streams: bool,
    include_usage: bool,
    body: &Bytes,
    size: usize,
) -> Run {
    let (setup, runners) = setup(from, &chosen.rules(), LIMITS);
    let request = RequestView { model: "m".to_owned(), stream: streams, include_usage, ..RequestView::default() };
    let setup = Setup { client: to, request, created: 1_700_000_000, ..setup };
    let response = if streams { Response::stream(setup, runners) } else { Response::body(setup, runners) };
    let mut run = Run::new(response);
    for chunk in body.chunks(size.max(1)) {
        run.push(&body.slice_ref(chunk));
    }
    run.finish();
    assert_no_panic(&run);
    run
}

/// Whatever a provider streams, clients get a legal answer, and no end that the provider did not say.
fn stream(from: Dialect, to: Dialect, kind: u8, seed: u8, form: u8, body: &Bytes) {
    let before = oracle::stream(from, body);
    let chosen = Chosen::new(kind, seed, &before);
    let usage = form & 2 == 0;
    let run = run_in(from, to, &chosen, true, usage, body, body.len());
    let out = run.out.concat();
    let cut = run_in(from, to, &chosen, true, usage, body, 1 + usize::from(form));
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // What is decided later may come before or behind a failure.
    if run.failure.is_none() || !chosen.decides_later() {
        assert_eq!(lossy(&cut.out.concat()), lossy(&out), "depends on how it comes");
    }
    let mut problems = validator::problems(to, &out);
    // What a tool is called with is the provider's, however it is said.
    problems.retain(|problem| !is_of_arguments(problem));
    assert!(problems.is_empty(), "{chosen:?} {:?}: {problems:?}\n{}", run.failure, lossy(&out));
    let after = oracle::stream(to, &out);
    // Some servers of Chat Completions end without their last word.
    let said = before.ends > 0 || (from == Dialect::OpenaiChat && has_reason(body));
    assert!(said || after.ends == 0, "an end that the provider did not say: {}", lossy(&out));
    chosen.assert_gone(&after);
}

fn is_of_arguments(problem: &str) -> bool {
    ["the input of a tool call", "the arguments of a"].iter().any(|about| problem.starts_with(about))
}

fn has_reason(body: &[u8]) -> bool {
    let reason = |data: &Value| {
        data["choices"].as_array().is_some_and(|all| all.iter().any(|one| one["finish_reason"].is_string()))
    };
    oracle::events(body).iter().filter_map(|event| reader::sse::json(&event.data)).any(|data| reason(&data))
}

/// A whole answer is JSON in the other dialect, or there is none.
fn whole(from: Dialect, to: Dialect, kind: u8, seed: u8, body: &Bytes) {
    let Some(before) = oracle::body(from, body) else { return };
    let chosen = Chosen::new(kind, seed, &before);
    let run = run_in(from, to, &chosen, false, true, body, body.len());
    if run.failure.is_some() {
        return;
    }
    let out = run.out.concat();
    let after = oracle::body(to, &out).unwrap_or_else(|| panic!("no JSON: {}", String::from_utf8_lossy(&out)));
    // The plain reader panics at what is no answer of the dialect.
    let _ = reader::body(to, &out);
    chosen.assert_gone(&after);
}
