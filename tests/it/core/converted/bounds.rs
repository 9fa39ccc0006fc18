//! What a conversion keeps and makes is counted, and costs no more than there is to say.

use bytes::Bytes;
use luthien::{
    model::{Block, Dialect},
    pipeline::{Response, ResponseLimits},
    policy::{Factory, Fate, Watch},
};
use serde_json::json;

use super::{
    super::{
        repairs::By,
        support::{LIMITS, Run, WatchAll, built_in, rules, stream_of},
        validator,
    },
    made::stream,
    nobody, others, pairs, said, setup,
};

fn limited(
    from: Dialect,
    to: Dialect,
    policies: Vec<std::sync::Arc<dyn Factory>>,
    limits: ResponseLimits,
    body: &Bytes,
) -> String {
    let (setup, runners) = setup(from, to, &rules(policies), limits);
    let mut run = Run::new(Response::stream(setup, runners));
    for chunk in body.chunks(64) {
        run.push(&body.slice_ref(chunk));
    }
    run.finish();
    let out = run.out.concat();
    validator::assert_legal(to, &out, "limited");
    String::from_utf8(out).unwrap()
}

/// A chat stream of these deltas.
fn chat(deltas: &[String]) -> Bytes {
    let chunk = |delta: &str, finish: &str| {
        format!(
            r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#
        )
    };
    let mut data: Vec<String> = deltas.iter().map(|delta| chunk(delta, "null")).collect();
    data.push(chunk("{}", r#""tool_calls""#));
    data.push("[DONE]".to_owned());
    stream_of(Dialect::OpenaiChat, &data.iter().map(String::as_str).collect::<Vec<_>>())
}

fn call(index: usize, name: &str, arguments: &str) -> String {
    json!({"tool_calls": [{"index": index, "id": format!("id{index}"), "function": {"name": name, "arguments": arguments}}]}).to_string()
}

fn more(index: usize, arguments: &str) -> String {
    json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}).to_string()
}

#[test]
fn what_waits_counts_as_held() {
    let limits = ResponseLimits { held: 2000, ..LIMITS };
    let long = "x".repeat(300);
    let arguments = |index: usize| {
        let mut deltas = vec![more(index, "{\"a\":\"")];
        deltas.extend((0..20).map(|_| more(index, &long)));
        deltas.push(more(index, "\"}"));
        deltas
    };
    let text = || (0..20).map(|_| json!({ "content": long }).to_string());
    let waiting = [
        ("a call behind a call", [vec![call(0, "a", "{}"), call(1, "b", "")], arguments(1)].concat()),
        ("a text behind a call", [vec![call(0, "a", "{}")], text().collect()].concat()),
        (
            "a call without its name",
            [vec![json!({"tool_calls": [{"index": 0, "id": "id0"}]}).to_string()], arguments(0), vec![call(0, "a", "")]].concat(),
        ),
        (
            "free text",
            [vec![json!({"tool_calls": [{"index": 0, "id": "i", "type": "custom", "custom": {"name": "f", "input": ""}}]}).to_string()],
                (0..20).map(|_| json!({"tool_calls": [{"index": 0, "custom": {"input": long}}]}).to_string()).collect()].concat(),
        ),
    ];
    for (what, deltas) in waiting {
        let body = chat(&deltas);
        for to in [Dialect::AnthropicMessages, Dialect::OpenaiResponses] {
            let out = limited(Dialect::OpenaiChat, to, Vec::new(), limits, &body);
            assert!(out.contains("limits.held (2000 bytes)"), "{what} for {to:?}: {out}");
            let out = limited(Dialect::OpenaiChat, to, Vec::new(), LIMITS, &body);
            assert_eq!(said::stream(to, out.as_bytes()).end, said::End::Tools, "{what} for {to:?}: {out}");
        }
    }
    // What has its turn does not wait.
    let body = chat(&[text().collect(), vec![call(0, "a", "")], arguments(0)].concat());
    let out = limited(Dialect::OpenaiChat, Dialect::AnthropicMessages, Vec::new(), limits, &body);
    assert_eq!(said::stream(Dialect::AnthropicMessages, out.as_bytes()).end, said::End::Tools, "{out}");
}

#[test]
fn what_policies_add_counts_as_synthetic() {
    let limits = ResponseLimits { synthetic: 1000, ..LIMITS };
    let fragments = ["some words of text "; 40];
    for (from, to) in pairs() {
        let body = stream(from, &fragments, &fragments, &["{}"]);
        let what = format!("{from:?} for {to:?}");
        // What the provider says is no output of our own, whatever it is written in.
        for policies in [Vec::new(), vec![std::sync::Arc::new(WatchAll(Watch::Whole)) as _]] {
            let out = limited(from, to, policies, limits, &body);
            assert_eq!(said::stream(to, out.as_bytes()).end, said::End::Tools, "{what}: {out}");
        }
        let added = vec![Block::text("x".repeat(5000))];
        let out = limited(from, to, vec![std::sync::Arc::new(By { fate: |_| Fate::Keep, added })], limits, &body);
        assert!(out.contains("limits.synthetic (1000 bytes)"), "{what}: {out}");
        let grows = json!({"replacements": {"words": "w".repeat(100)}});
        let out = limited(from, to, vec![built_in("string_replacement", &grows)], limits, &body);
        assert!(
            out.contains("limits.synthetic") || said::stream(to, out.as_bytes()).end == said::End::Failed,
            "{what}: {out}"
        );
    }
}

/// So many deltas that what grows with their square would not end before the test is stopped.
const MANY: usize = 20_000;

fn runs_to_its_end(from: Dialect, to: Dialect, body: &Bytes) {
    let out = super::run(from, to, &nobody(), body, 4096).out.concat();
    let end = match to {
        Dialect::AnthropicMessages => "message_stop",
        Dialect::OpenaiChat => "[DONE]",
        Dialect::OpenaiResponses => "response.completed",
    };
    let at = memchr::memmem::rfind(&out, b"data: ").expect("something is said");
    assert!(String::from_utf8_lossy(&out[at..]).contains(end), "{from:?} for {to:?}");
}

/// Text and arguments of half as many deltas each.
fn long_answer(from: Dialect) {
    let arguments = [[r#"{\"a\":\""#].as_slice(), &vec!["x"; MANY / 2], &[r#"\"}"#]].concat();
    let body = stream(from, &["hm"], &vec!["ab "; MANY / 2], &arguments);
    for to in others(from) {
        runs_to_its_end(from, to, &body);
    }
}

#[test]
fn long_messages_cost_what_they_say() {
    long_answer(Dialect::AnthropicMessages);
}

#[test]
fn long_chat_costs_what_it_says() {
    long_answer(Dialect::OpenaiChat);
}

#[test]
fn long_responses_cost_what_they_say() {
    long_answer(Dialect::OpenaiResponses);
}

fn long_wait(deltas: &[String]) {
    let body = chat(deltas);
    for to in others(Dialect::OpenaiChat) {
        runs_to_its_end(Dialect::OpenaiChat, to, &body);
    }
}

fn begin(index: usize, name: &str) -> String {
    call(index, name, "{\"a\":\"")
}

fn end(index: usize) -> String {
    more(index, "\"}")
}

#[test]
fn calls_side_by_side_cost_what_they_hold() {
    let fragments = (0..MANY).map(|at| more(at % 2, "x")).collect();
    long_wait(&[vec![begin(0, "a"), begin(1, "b")], fragments, vec![end(0), end(1)]].concat());
}

#[test]
fn a_late_name_costs_what_it_holds() {
    let fragments = (0..MANY).map(|_| more(0, "x")).collect();
    let late = json!({"tool_calls": [{"index": 0, "function": {"name": "late"}}]}).to_string();
    long_wait(&[vec![begin(0, "")], fragments, vec![end(0), late]].concat());
}

#[test]
fn many_blocks_cost_what_they_say() {
    let texts =
        (0..MANY / 4).map(|at| json!({ (if at % 2 == 0 { "content" } else { "reasoning_content" }): "x" }).to_string());
    let calls = (0..MANY / 10).map(|at| call(at, "a", "{}"));
    long_wait(&texts.chain(calls).collect::<Vec<_>>());
}
