//! Answers of servers that keep to the protocol less than others, each told as what it is.

use bytes::Bytes;
use luthien::model::Dialect;
use serde_json::json;

use super::{nobody, others, run, run_body, said};

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
