//! Which texts of a request a policy looks at.

use bytes::Bytes;
use luthien::{
    dialect::{patch_request, request},
    model::Dialect,
    pipeline::{Stopped, run_request, select},
    telemetry::trace::Parent,
};
use serde_json::{Value, json};

use super::support::{built_in, call, rules};

/// What is sent of a request under `blocked_content`, or what refuses it.
async fn sent(config: &Value, dialect: Dialect, body: &Value) -> Result<Value, String> {
    let rules = rules(vec![built_in("blocked_content", config)]);
    let body = Bytes::from(body.to_string());
    let (_, asked) = request(dialect, &body).unwrap();
    match run_request(select(&rules, &call(dialect)), asked, Parent::default()).await.outcome {
        Ok(request) => Ok(serde_json::from_slice(&patch_request(&body, &request)).unwrap()),
        Err(Stopped::Refused(refusal)) => Err(refusal.message),
        Err(Stopped::Failed(failure)) => panic!("{failure:?}"),
    }
}

/// A conversation whose first and last user messages say these, and whose tool gave this.
fn conversation(dialect: Dialect, first: &str, gave: &str, last: &str) -> Value {
    match dialect {
        Dialect::OpenaiChat => json!({ "model": "m", "messages": [
            { "role": "system", "content": "bad system" },
            { "role": "user", "content": first },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\":\"bad\"}" } }] },
            { "role": "tool", "tool_call_id": "a", "content": gave },
            { "role": "user", "content": last },
        ] }),
        Dialect::AnthropicMessages => json!({ "model": "m", "messages": [
            { "role": "user", "content": first },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "a", "name": "f", "input": { "x": "bad" } }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "a", "content": gave }, { "type": "text", "text": last }] },
        ], "system": "bad system" }),
        Dialect::OpenaiResponses => json!({ "model": "m", "input": [
            { "type": "message", "role": "user", "content": first },
            { "type": "function_call", "call_id": "a", "name": "f", "arguments": "{\"x\":\"bad\"}" },
            { "type": "function_call_output", "call_id": "a", "output": gave },
            { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": last }] },
        ], "instructions": "bad system" }),
    }
}

#[tokio::test]
async fn what_was_refused_before_does_not_end_every_later_turn() {
    let refuse = |scan: &str| json!({"patterns": ["bad"], "on_match": "refuse", "apply_to": "request", "scan": scan});
    for dialect in Dialect::ALL {
        let history = conversation(dialect, "bad", "fine", "fine");
        assert_eq!(sent(&refuse("latest_turn"), dialect, &history).await.as_ref(), Ok(&history), "{dialect:?}");
        assert!(sent(&refuse("conversation"), dialect, &history).await.is_err(), "{dialect:?}");
        for (gave, last) in [("bad", "fine"), ("fine", "bad")] {
            let latest = conversation(dialect, "fine", gave, last);
            assert!(sent(&refuse("latest_turn"), dialect, &latest).await.is_err(), "{dialect:?}: {gave} {last}");
        }
    }
}

/// Caches and signed thinking rest on a history that stays the same.
#[tokio::test]
async fn what_is_replaced_is_replaced_wherever_it_comes_again() {
    for scan in ["latest_turn", "conversation"] {
        let replace = json!({"patterns": ["bad"], "message": "[x]", "apply_to": "both", "scan": scan});
        for dialect in Dialect::ALL {
            let body = conversation(dialect, "bad", "so bad", "fine");
            let text = sent(&replace, dialect, &body).await.unwrap().to_string();
            let expected = conversation(dialect, "[x]", "[x]", "fine").to_string().replace("bad system", "[x]");
            assert_eq!(text, expected, "{dialect:?}");
        }
    }
}

#[tokio::test]
async fn requests_are_left_alone_unless_the_rules_say_so() {
    let config = json!({"patterns": ["bad"], "on_match": "refuse"});
    let body = conversation(Dialect::OpenaiChat, "bad", "bad", "bad");
    assert_eq!(sent(&config, Dialect::OpenaiChat, &body).await.as_ref(), Ok(&body));
}
