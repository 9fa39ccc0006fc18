//! `uppercase`, `uppercase_nth_word` and `tool_filter` over whole streams.

use std::sync::LazyLock;

use luthien::{journal::Fact, model::Dialect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    corpus::{WHOLE, assert_only_prefixes, run_cut, texts},
    reader::{self, Kind},
    support::{Stream, built_in, rules, stream_of, vector},
    validator,
};

fn upper(text: &str) -> String {
    // A character at a time: what comes behind a text is not known while it streams.
    text.chars().flat_map(char::to_uppercase).collect()
}

fn nth_upper(text: &str, n: usize) -> String {
    let mut word = 0;
    let mut inside = false;
    text.chars()
        .map(|char| {
            word += usize::from(!inside && !char.is_whitespace());
            inside = !char.is_whitespace();
            if inside && word % n == 0 { char.to_uppercase().collect() } else { char.to_string() }
        })
        .collect()
}

fn legal(stream: &Stream, out: &[u8], what: &str) {
    let known = validator::problems(stream.dialect, &stream.body);
    let problems: Vec<_> =
        validator::problems(stream.dialect, out).into_iter().filter(|problem| !known.contains(problem)).collect();
    assert!(problems.is_empty(), "{what}: {problems:?}\n{}", String::from_utf8_lossy(out));
}

/// Streams with tool calls.
static TOOLS: LazyLock<Vec<&'static Stream>> =
    LazyLock::new(|| WHOLE.iter().filter(|stream| !calls(stream.dialect, &stream.body).is_empty()).collect());

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn upper_case_is_that_of_the_whole_text(stream: prop::sample::Index, n in 0_usize..5, cut: u64) {
        let stream = &WHOLE[stream.index(WHOLE.len())];
        let policy = match n {
            0 => built_in("uppercase", &json!({})),
            n => built_in("uppercase_nth_word", &json!({"n": n})),
        };
        let mut expected = texts(stream.dialect, &reader::stream(stream.dialect, &stream.body), |kind, text| match kind {
            Kind::Text | Kind::Refusal if n == 0 => upper(&text),
            Kind::Text | Kind::Refusal => nth_upper(&text, n),
            _ => text,
        });
        // Thinking behind a text that changed goes.
        expected.retain(|(_, kind, _), _| kind != "thinking");
        let run = run_cut(stream.dialect, &rules(vec![policy]), &stream.body, cut);
        assert_only_prefixes(stream.dialect, &run.out, &expected, &stream.name);
        let out = run.out.concat();
        legal(stream, &out, &stream.name);
        let mut found = texts(stream.dialect, &reader::stream(stream.dialect, &out), |_, text| text);
        found.retain(|(_, kind, _), _| kind != "thinking");
        prop_assert_eq!(found, expected, "{}", stream.name);
    }

    #[test]
    fn tools_are_dropped_or_replaced_by_their_names(stream: prop::sample::Index, deny in 0_usize..4, message: bool, cut: u64) {
        let stream = TOOLS[stream.index(TOOLS.len())];
        let glob = ["*", "*a*", "get_*", "never"][deny];
        check_filter(stream, glob, message, cut);
    }
}

/// Tool calls of a stream: id, name, arguments.
fn calls(dialect: Dialect, body: &[u8]) -> Vec<(String, String, String)> {
    let answer = reader::stream(dialect, body);
    let calls = answer.texts().into_iter().filter_map(|(kind, text)| match kind {
        Kind::Tool { id, name } => Some((id, name, text)),
        _ => None,
    });
    calls.collect()
}

fn check_filter(stream: &Stream, glob: &str, message: bool, cut: u64) {
    let what = format!("{} deny {glob} message {message} cut {cut}", stream.name);
    let denied = |name: &str| globset::Glob::new(glob).unwrap().compile_matcher().is_match(name);
    let config = if message { json!({"deny": [glob], "message": "no {tool}!"}) } else { json!({"deny": [glob]}) };
    let run = run_cut(stream.dialect, &rules(vec![built_in("tool_filter", &config)]), &stream.body, cut);
    let out = run.out.concat();
    legal(stream, &out, &what);
    let before = calls(stream.dialect, &stream.body);
    let gone: Vec<_> = before.iter().filter(|(_, name, _)| denied(name)).collect();
    if gone.is_empty() {
        assert!(out == stream.body, "{what}: nothing is denied, and bytes changed");
        return;
    }
    let left: Vec<_> = before.iter().filter(|(_, name, _)| !denied(name)).cloned().collect();
    assert_eq!(calls(stream.dialect, &out), left, "{what}");
    let read = reader::stream(stream.dialect, &out);
    let prose = read.texts().into_iter().filter(|(kind, _)| *kind == Kind::Text);
    let prose: String = prose.map(|(_, text)| text).collect();
    for (_, name, _) in &gone {
        assert_eq!(prose.contains(&format!("no {name}!")), message, "{what}: {prose}");
    }
    let blocked = run.facts.iter().filter(|fact| matches!(fact, Fact::Emitted { event: "tool_blocked", .. })).count();
    assert_eq!(blocked, gone.len(), "{what}");
}

fn chunk(delta: &Value, finish: Option<&str>) -> String {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    .to_string()
}

fn chat(name: &str, chunks: &[(Value, Option<&str>)]) -> Stream {
    let mut data = vec![chunk(&json!({"role": "assistant", "content": null}), None)];
    data.extend(chunks.iter().map(|(delta, finish)| chunk(delta, *finish)));
    data.push("[DONE]".to_owned());
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let body = stream_of(Dialect::OpenaiChat, &data);
    Stream { name: name.to_owned(), class: None, accepted: true, dialect: Dialect::OpenaiChat, body }
}

fn call(index: u32, id: &str, name: &str, arguments: &str) -> Value {
    json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn more(index: u32, arguments: &str) -> Value {
    json!({"index": index, "function": {"arguments": arguments}})
}

#[test]
fn tools_are_filtered_in_every_shape_in_which_a_chat_brings_them() {
    let shapes = [
        chat(
            "one after the other",
            &[
                (json!({"tool_calls": [call(0, "a", "rm", "")]}), None),
                (json!({"tool_calls": [more(0, "{}")]}), None),
                (json!({"tool_calls": [call(1, "b", "ls", "")]}), None),
                (json!({"tool_calls": [more(1, "{\"x\":1}")]}), None),
                (json!({}), Some("tool_calls")),
            ],
        ),
        chat(
            "interleaved",
            &[
                (json!({"tool_calls": [call(0, "a", "rm", "{"), call(1, "b", "ls", "{")]}), None),
                (json!({"tool_calls": [more(1, "\"x\":"), more(0, "\"y\":")]}), None),
                (json!({"tool_calls": [more(0, "2}")]}), None),
                (json!({"tool_calls": [more(1, "1}")]}), None),
                (json!({}), Some("tool_calls")),
            ],
        ),
        chat(
            "whole in one chunk, with the reason",
            &[(
                json!({"content": "so", "tool_calls": [call(0, "a", "ls", "{}"), call(1, "b", "rm", "{}"), call(2, "c", "ls", "{}")]}),
                Some("tool_calls"),
            )],
        ),
        chat(
            "text between and behind",
            &[
                (json!({"content": "one "}), None),
                (json!({"tool_calls": [call(0, "a", "rm", "{}")]}), None),
                (json!({"content": "two "}), None),
                (json!({"tool_calls": [call(1, "b", "rm", "{}")]}), None),
                (json!({"content": "three"}), Some("tool_calls")),
            ],
        ),
        chat(
            "the deprecated form",
            &[
                (json!({"function_call": {"name": "rm", "arguments": "{"}}), None),
                (json!({"function_call": {"arguments": "}"}}), None),
                (json!({}), Some("function_call")),
            ],
        ),
    ];
    for stream in &shapes {
        validator::assert_legal(stream.dialect, &stream.body, &stream.name);
        for (glob, cut) in [("rm", 0), ("ls", 1), ("*", 2), ("never", 3)] {
            check_filter(stream, glob, false, cut);
            check_filter(stream, glob, true, cut);
        }
    }
    let shapes = ["07-parallel-tools-interleaved", "41-tool-args-whole-in-one-chunk", "25-legacy-function-call"];
    for stream in shapes.map(|name| vector(&format!("openai-chat/{name}"))) {
        check_filter(&stream, "*", false, 0);
        check_filter(&stream, "*", true, 0);
    }
}

#[test]
fn calls_without_an_index_are_told_apart_by_their_ids() {
    let bare =
        |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}});
    let stream = chat(
        "no index",
        &[
            (json!({"tool_calls": [bare("a", "ls")]}), None),
            (json!({"tool_calls": [bare("b", "rm")]}), None),
            (json!({}), Some("tool_calls")),
        ],
    );
    let policy = || built_in("tool_filter", &json!({"deny": ["rm"]}));
    let out = run_cut(stream.dialect, &rules(vec![policy()]), &stream.body, 0).out.concat();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(r#""ls""#) && !text.contains(r#""rm""#), "{text}");
}

#[test]
fn a_name_that_comes_late_is_still_a_name_and_one_in_pieces_is_none() {
    let part = |function: Value| json!({"tool_calls": [{"index": 0, "function": function}]});
    let stream = chat(
        "late name",
        &[
            (json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"arguments": ""}}]}), None),
            (part(json!({"name": "rm"})), None),
            (part(json!({"arguments": "{}"})), None),
            (json!({}), Some("tool_calls")),
        ],
    );
    let filtered = |stream: &Stream, deny: &str| {
        let policy = built_in("tool_filter", &json!({"deny": [deny]}));
        String::from_utf8(run_cut(stream.dialect, &rules(vec![policy]), &stream.body, 0).out.concat()).unwrap()
    };
    for (deny, left) in [("rm", false), ("r", true), ("m", true)] {
        let out = filtered(&stream, deny);
        assert_eq!(out.as_bytes() == stream.body, left, "{deny}: {out}");
    }
    // Some clients put the pieces together and some take the last: nobody can say what will be called.
    for second in ["m", "r"] {
        let pieces = chat(
            "name in pieces",
            &[
                (json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "r"}}]}), None),
                (part(json!({"name": second, "arguments": "{}"})), None),
                (json!({}), Some("tool_calls")),
            ],
        );
        let out = filtered(&pieces, "nothing");
        assert!(out.contains("cannot be read") && !out.contains("[DONE]"), "{out}");
    }
}

#[test]
fn log_probabilities_go_with_the_text_that_they_are_of() {
    let logprobs = json!({"content": [{"token": "a", "logprob": -0.1}], "refusal": null});
    let choice = |index: u32, text: &str, holder: &str, finish: Option<&str>| json!({"index": index, (holder): {"role": "assistant", "content": text}, "logprobs": logprobs, "finish_reason": finish});
    let answer = |holder: &str, finish| {
        let choices = [choice(0, "a", holder, finish), choice(1, "B", holder, finish)];
        json!({"id": "c", "object": "chat.completion.chunk", "choices": choices}).to_string()
    };
    let upper = || rules(vec![built_in("uppercase", &json!({}))]);
    let body = answer("message", Some("stop"));
    let whole = super::support::run_body(Dialect::OpenaiChat, &upper(), &body.into());
    let stream = stream_of(Dialect::OpenaiChat, &[&answer("delta", Some("stop")), "[DONE]"]);
    let streamed = super::support::run(Dialect::OpenaiChat, &upper(), &stream, 7).out.concat();
    let streamed = String::from_utf8(streamed).unwrap();
    let first = streamed.strip_prefix("data: ").unwrap().lines().next().unwrap();
    for out in [first.as_bytes(), &whole[..]] {
        let out: Value = serde_json::from_slice(out).unwrap();
        assert_eq!(out["choices"][0]["logprobs"], Value::Null, "{out}");
        assert_eq!(out["choices"][1]["logprobs"], logprobs, "what did not change keeps them: {out}");
    }
}
