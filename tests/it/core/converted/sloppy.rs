//! Answers of servers that keep to the protocol less than others, each told as what it is.

use bytes::Bytes;
use luthien::model::Dialect;
use serde_json::json;

use super::{
    super::{support, validator},
    nobody, others, run, run_body, said,
};

const CHAT: Dialect = Dialect::OpenaiChat;

fn chunk(delta: &str, reason: &str) -> String {
    format!(r#"data: {{"id":"c","choices":[{{"index":0,"delta":{delta},"finish_reason":{reason}}}]}}"#) + "\n\n"
}

fn call(arguments: &str) -> String {
    format!(
        r#"{{"tool_calls":[{{"index":0,"id":"t","type":"function","function":{{"name":"f","arguments":{arguments}}}}}]}}"#
    )
}

fn streamed(to: Dialect, chunks: &[String]) -> said::Said {
    let body = Bytes::from(chunks.concat() + "data: [DONE]\n\n");
    said::stream(to, &run(CHAT, to, &nobody(), &body, 7).out.concat())
}

#[test]
fn half_of_the_arguments_is_a_failure_unless_the_end_says_why() {
    let half = || call(&json!(r#"{"a":"}"#).to_string());
    for to in others(CHAT) {
        for end in ["null", r#""tool_calls""#, r#""stop""#] {
            assert_eq!(streamed(to, &[chunk(&half(), end)]).end, said::End::Failed, "{end} for {to:?}");
        }
        assert_eq!(streamed(to, &[chunk(&half(), r#""length""#)]).end, said::End::Cut, "for {to:?}");
        let whole = chunk(&call(&json!(r#"{"a":"\"}"}"#).to_string()), "null");
        assert_eq!(streamed(to, &[whole]).end, said::End::Tools, "for {to:?}");
    }
}

#[test]
fn a_head_behind_the_content_does_not_begin_the_answer_again() {
    let start = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}"#;
    let body = support::stream_of(
        Dialect::AnthropicMessages,
        &[
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
            start,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#,
            r#"{"type":"message_stop"}"#,
        ],
    );
    for to in others(Dialect::AnthropicMessages) {
        let out = run(Dialect::AnthropicMessages, to, &nobody(), &body, 7).out.concat();
        validator::assert_legal(to, &out, "a late head");
        assert!(String::from_utf8_lossy(&out).contains('b'), "for {to:?}");
    }
}

#[test]
fn arguments_may_be_an_object() {
    for to in others(CHAT) {
        let said = streamed(to, &[chunk(&call(r#"{"a": 1e3}"#), r#""tool_calls""#)]);
        assert_eq!(said.calls()[0].2, r#"{"a": 1e3}"#, "for {to:?}");
        let body = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":{"a":1e3}}}]},"finish_reason":"tool_calls"}]}"#;
        let out = run_body(CHAT, to, &nobody(), &Bytes::from_static(body.as_bytes()));
        assert!(said::body(to, &out).calls()[0].2.contains("1e3"), "{}", String::from_utf8_lossy(&out));
    }
}

/// A status that says 200 would hide the error from clients: nothing leaves, and the call fails.
#[test]
fn an_error_with_a_status_of_success_is_a_failure() {
    for (from, body) in [
        (CHAT, r#"{"error":{"message":"no","type":"server_error"}}"#),
        (Dialect::AnthropicMessages, r#"{"type":"error","error":{"type":"api_error","message":"no"}}"#),
        (
            Dialect::OpenaiResponses,
            r#"{"id":"r","status":"failed","error":{"code":"server_error","message":"no"},"output":[]}"#,
        ),
    ] {
        for to in others(from) {
            let out = run_body(from, to, &nobody(), &Bytes::from_static(body.as_bytes()));
            assert!(out.is_empty(), "{from:?} for {to:?}: {}", String::from_utf8_lossy(&out));
        }
    }
}

#[test]
fn an_answer_without_a_message_is_a_failure() {
    for to in others(CHAT) {
        let out = run_body(CHAT, to, &nobody(), &Bytes::from_static(br#"{"id":"c","choices":[]}"#));
        assert!(out.is_empty(), "for {to:?}: {}", String::from_utf8_lossy(&out));
        assert_eq!(streamed(to, &[]).end, said::End::Failed, "for {to:?}");
    }
}

/// Some servers say id and name with every piece of a call, some the same index of every call, and some make up an id for
/// each piece.
#[test]
fn calls_are_told_apart_whatever_is_repeated() {
    let piece = |index: u32, id: &str, name: &str, arguments: &str| {
        let function = json!({"name": name, "arguments": arguments});
        chunk(&json!({"tool_calls": [{"index": index, "id": id, "function": function}]}).to_string(), "null")
    };
    let end = chunk("{}", r#""tool_calls""#);
    for to in others(CHAT) {
        let calls = |pieces: &[String]| {
            let said = streamed(to, &[pieces, std::slice::from_ref(&end)].concat());
            assert_eq!(said.end, said::End::Tools, "for {to:?}");
            said.calls().into_iter().map(|(_, name, arguments)| format!("{name} {arguments}")).collect::<Vec<_>>()
        };
        let repeated = [piece(0, "a", "f", r#"{"a":"#), piece(0, "a", "f", "1}")];
        assert_eq!(calls(&repeated), [r#"f {"a":1}"#], "for {to:?}");
        let invented = [piece(0, "a", "f", r#"{"a":"#), piece(0, "b", "", "1}")];
        assert_eq!(calls(&invented), [r#"f {"a":1}"#], "for {to:?}");
        let shared = [piece(0, "a", "f", r#"{"a":1}"#), piece(0, "b", "f", "{}"), piece(1, "c", "g", "{}")];
        assert_eq!(calls(&shared), [r#"f {"a":1}"#, "f {}", "g {}"], "for {to:?}");
        let renamed = [piece(0, "a", "f", r#"{"a":"#), piece(0, "a", "g", "1}")];
        assert_eq!(streamed(to, &renamed).end, said::End::Failed, "for {to:?}");
    }
}

#[test]
fn what_stands_behind_the_end_is_left_out() {
    let text = |text: &str| json!({"content": text}).to_string();
    let late = [chunk(&text("a"), r#""stop""#), chunk(&text("b"), "null"), chunk(&text("c"), r#""length""#)];
    for to in others(CHAT) {
        let said = streamed(to, &late);
        assert_eq!((said.text().as_str(), said.end), ("a", said::End::Turn), "for {to:?}");
        let native = super::super::support::run(CHAT, &enforcing(), &Bytes::from(late.concat()), 7).out.concat();
        assert!(String::from_utf8_lossy(&native).contains("behind its end"));
    }
}

fn enforcing() -> std::sync::Arc<luthien::policy::Rules> {
    super::support::rules(vec![super::support::built_in("uppercase", &json!({}))])
}

#[test]
fn an_end_that_is_none_is_a_failure() {
    for to in others(CHAT) {
        let broken = [chunk(&json!({"content": "a"}).to_string(), r#""error""#)];
        assert_eq!(streamed(to, &broken).end, said::End::Failed, "for {to:?}");
    }
    for status in ["queued", "in_progress", "cancelled"] {
        let body = json!({"id": "r", "object": "response", "status": status, "model": "m", "output": []}).to_string();
        for to in others(Dialect::OpenaiResponses) {
            let out = run_body(Dialect::OpenaiResponses, to, &nobody(), &Bytes::from(body.clone()));
            assert!(out.is_empty(), "{status} for {to:?}: {}", String::from_utf8_lossy(&out));
        }
    }
}
