//! What a parsed and rewritten JSON would lose.

use luthien::model::Dialect::{AnthropicMessages as A, OpenaiChat as C, OpenaiResponses as R};

use super::support::sent;

const SCHEMA: &str = r#"{"type":"object","properties":{"z":{"minimum":1e3},"a":{"const":9007199254740993}},"x":1.0}"#;

#[test]
fn schemas_keep_their_numbers_and_their_order() {
    let chat = format!(
        r#"{{"messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{SCHEMA}}}}}]}}"#
    );
    let messages = format!(
        r#"{{"max_tokens":9,"messages":[{{"role":"user","content":"x"}}],"tools":[{{"name":"f","input_schema":{SCHEMA}}}]}}"#
    );
    let responses = format!(r#"{{"input":"x","tools":[{{"type":"function","name":"f","parameters":{SCHEMA}}}]}}"#);
    for (from, body) in [(C, chat), (A, messages), (R, responses)] {
        for to in [C, A, R].into_iter().filter(|to| *to != from) {
            let (body, _) = sent(from, to, &body);
            assert!(body.contains(SCHEMA), "{from:?} to {to:?}: {body}");
        }
    }
}

#[test]
fn arguments_keep_their_numbers_and_lose_their_white_space() {
    let messages = r#"{"max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[
        {"type":"tool_use","id":"t","name":"f","input": { "z" : 1e3, "a" : [ 1.0 , 9007199254740993 ], "s" : " : " }}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"x"}]}]}"#;
    for to in [C, R] {
        let (body, _) = sent(A, to, messages);
        let wanted = r#""arguments":"{\"z\":1e3,\"a\":[1.0,9007199254740993],\"s\":\" : \"}""#;
        assert!(body.contains(wanted), "{to:?}: {body}");
    }
    let chat = r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"t",
        "type":"function","function":{"name":"f","arguments":"{\"z\": 1e3, \"a\": 9007199254740993}"}}]},
        {"role":"tool","tool_call_id":"t","content":"x"}]}"#;
    let (body, _) = sent(C, A, chat);
    assert!(body.contains(r#""input":{"z": 1e3, "a": 9007199254740993}"#), "{body}");
    let (body, _) = sent(C, R, chat);
    assert!(body.contains(r#""arguments":"{\"z\": 1e3, \"a\": 9007199254740993}""#), "{body}");
}

#[test]
fn half_a_surrogate_pair_arrives() {
    let chat = r#"{"messages":[{"role":"user","content":"cut \ud83d"},{"role":"assistant","content":null,"tool_calls":[{"id":"t",
        "type":"function","function":{"name":"f","arguments":"{\"a\":\"\ud83d\",\"b\":\"\\ude00\"}"}}]},
        {"role":"tool","tool_call_id":"t","content":"\ude00"}]}"#;
    let (body, _) = sent(C, A, chat);
    assert!(body.contains(r#""content":"cut \ud83d""#), "{body}");
    assert!(body.contains(r#""input":{"a":"\ud83d","b":"\ude00"}"#), "{body}");
    assert!(body.contains(r#""content":"\ude00""#), "{body}");
    let (body, _) = sent(C, R, chat);
    assert!(body.contains(r#""arguments":"{\"a\":\"\\ud83d\",\"b\":\"\\ude00\"}""#), "{body}");
}

#[test]
fn sampling_keeps_its_text() {
    let (body, _) = sent(C, R, r#"{"messages":[{"role":"user","content":"x"}],"temperature":0.70}"#);
    assert!(!body.contains("temperature"), "gpt-5 takes none: {body}");
    let (body, _) = sent(C, A, r#"{"messages":[{"role":"user","content":"x"}],"temperature":0.70}"#);
    assert!(body.contains(r#""temperature":0.70"#), "{body}");
}
