//! Requests: what reaches a provider has been seen by the policies, and is told apart from what does not.

use bytes::Bytes;
use luthien::{
    dialect::{self, Target, convert_request},
    model::{Dialect, Event, Extra},
};
use serde_json::{Value, json};

use super::body;

const RESPONSES: Dialect = Dialect::OpenaiResponses;

fn seen(body: &str) -> Vec<String> {
    let (_, request) = dialect::request(RESPONSES, &Bytes::copy_from_slice(body.as_bytes())).unwrap();
    request.texts().iter().map(|text| text.get().into_owned()).collect()
}

fn sees(input: &str) -> bool {
    let body = format!(r#"{{"model":"m","input":[{input}]}}"#);
    seen(&body).iter().any(|text| text.contains("SECRET"))
}

fn sent(to: Dialect, body: &str) -> Option<String> {
    let model = if to == Dialect::AnthropicMessages { "claude-sonnet-4-5" } else { "gpt-4o" };
    let converted =
        convert_request(RESPONSES, to, &Bytes::copy_from_slice(body.as_bytes()), &Target { model, lossy: None });
    converted.ok().map(|converted| String::from_utf8(converted.body.to_vec()).unwrap())
}

/// What reaches the provider in another dialect has been seen by the request policies.
#[test]
fn what_is_converted_was_seen() {
    let mut problems = Vec::new();
    for body in [
        // A part that looks like an item: only its content is read, and its text is sent.
        r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","role":"user","content":"x","text":"SECRET"}]}]}"#,
        r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","role":"user","content":[],"text":"SECRET"}]}]}"#,
        r#"{"model":"m","input":[{"role":"user","content":"a"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","role":"x","content":"x","text":"SECRET"}]}]}"#,
        // Names, descriptions, schemas.
        r#"{"model":"m","input":"a","text":{"format":{"type":"json_schema","name":"n","description":"SECRET","schema":{"type":"object"}}}}"#,
        r#"{"model":"m","input":"a","tools":[{"type":"custom","name":"t","format":{"type":"grammar","syntax":"lark","definition":"SECRET"}}]}"#,
        r#"{"model":"m","input":"a","tools":[{"type":"namespace","name":"n","description":"SECRET","tools":[{"type":"function","name":"t","parameters":{}}]}]}"#,
    ] {
        let is_seen = seen(body).iter().any(|text| text.contains("SECRET"));
        for to in [Dialect::AnthropicMessages, Dialect::OpenaiChat] {
            let Some(sent) = sent(to, body) else { continue };
            if !is_seen && (sent.contains("SECRET") || sent.contains("U0VDUkVU")) {
                problems.push(format!("{}: {body}\n   -> {sent}", to.name()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Of two equal members readers take one or the other, so that no policy could see what is sent.
#[test]
fn what_is_said_twice_is_not_sent() {
    for body in [
        r#"{"model":"m","input":[{"role":"user","content":"SECRET","content":"a"}]}"#,
        r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"SECRET","text":"a"}]}]}"#,
        r#"{"model":"m","input":[{"role":"user","content":"a"},{"type":"function_call","call_id":"c","name":"n","arguments":"{\"a\":1}","arguments":"{\"a\":\"SECRET\"}"},{"type":"function_call_output","call_id":"c","output":"x"}]}"#,
    ] {
        let read = dialect::request(RESPONSES, &Bytes::from_static(body.as_bytes()));
        assert!(read.is_err_and(|error| error.to_string().contains("twice in one object")), "{body}");
    }
}

/// Texts of a native request that the model reads.
#[test]
fn what_the_provider_reads_is_seen() {
    let unseen: Vec<&str> = [
        r#"{"role":"user","content":[{"type":"input_text","role":"user","content":"x","text":"SECRET"}]}"#,
        r#"{"type":"mcp_approval_response","approval_request_id":"m","approve":false,"reason":"SECRET"}"#,
        r#"{"type":"mcp_approval_request","id":"m","server_label":"s","name":"n","arguments":"{\"a\":\"SECRET\"}"}"#,
        r#"{"type":"mcp_call","id":"m","server_label":"s","name":"n","arguments":"{}","output":"SECRET"}"#,
        r#"{"type":"mcp_call","id":"m","server_label":"s","name":"n","arguments":"{}","error":{"type":"mcp_tool_execution_error","content":[{"type":"text","text":"SECRET"}]}}"#,
        r#"{"type":"mcp_list_tools","id":"m","server_label":"s","tools":[{"name":"n","description":"SECRET","input_schema":{}}]}"#,
        r#"{"type":"file_search_call","id":"f","queries":["SECRET"],"status":"completed"}"#,
        r#"{"type":"file_search_call","id":"f","queries":["q"],"status":"completed","results":[{"text":"SECRET"}]}"#,
        r#"{"type":"code_interpreter_call","id":"c","code":"SECRET","container_id":"c","outputs":[],"status":"completed"}"#,
        r#"{"type":"code_interpreter_call","id":"c","code":"x","container_id":"c","outputs":[{"type":"logs","logs":"SECRET"}],"status":"completed"}"#,
        r#"{"type":"web_search_call","id":"w","action":{"type":"search","query":"SECRET"},"status":"completed"}"#,
        r#"{"type":"shell_call_output","call_id":"c","output":[{"stdout":"SECRET","stderr":"","outcome":{"type":"exit","exit_code":0}}]}"#,
        r#"{"type":"local_shell_call_output","id":"c","output":"{\"output\":\"SECRET\"}"}"#,
        r#"{"type":"apply_patch_call_output","call_id":"c","status":"failed","output":"SECRET"}"#,
        r#"{"type":"custom_tool_call_output","call_id":"c","output":[{"type":"input_text","text":"SECRET"}]}"#,
        r#"{"type":"tool_search_output","call_id":"c","tools":[{"type":"function","name":"n","description":"SECRET","parameters":{}}]}"#,
        r#"{"type":"computer_call","id":"c","call_id":"c","action":{"type":"wait"},"actions":[{"type":"type","text":"SECRET"}],"pending_safety_checks":[],"status":"completed"}"#,
        r#"{"type":"program","id":"p","call_id":"c","code":"SECRET","fingerprint":"f"}"#,
        r#"{"type":"program_output","id":"p","call_id":"c","result":"SECRET","status":"completed"}"#,
        r#"{"type":"agent_message","id":"a","content":[{"type":"input_text","text":"SECRET"}]}"#,
        r#"{"type":"additional_tools","role":"developer","tools":[{"type":"mcp","server_label":"s","server_description":"SECRET"}]}"#,
    ]
    .into_iter()
    .filter(|item| !sees(item))
    .collect();
    assert!(unseen.is_empty(), "unseen:\n{}", unseen.join("\n"));
}

/// The API takes an item with nothing but an id for a reference.
#[test]
fn a_reference_without_a_type_needs_what_the_provider_keeps() {
    for item in [r#"{"id":"msg_1"}"#, r#"{"id":"msg_1","type":null}"#] {
        let body = format!(r#"{{"model":"m","store":false,"input":[{item}]}}"#);
        let (view, _) = dialect::request(RESPONSES, &Bytes::from(body.clone())).unwrap();
        assert!(!view.state.needs.is_empty(), "{body}");
    }
}

#[test]
fn a_path_of_a_kept_response_names_a_response() {
    for path in [
        "/v1/responses/..%2ffiles",
        "/v1/responses/..",
        "/v1/responses/%2e%2e%2ffiles%2ff_1%2fcontent",
        "/v1/responses/.",
        "/v1/responses/resp_1%2finput_items",
        "/v1/responses/a%3fb",
        "/v1/responses/..;x",
        "/v1/responses/..\\files",
    ] {
        assert!(dialect::endpoint("GET", path).is_none(), "{path} is read as a kept response, and sent on as it is");
    }
}

/// Two tools of the client's have one name at the provider.
#[test]
fn a_namespace_and_a_plain_tool_keep_apart() {
    let body = r#"{"model":"m","input":"a","tools":[{"type":"function","name":"files__read","parameters":{}},{"type":"namespace","name":"files","description":"","tools":[{"type":"function","name":"read","parameters":{}}]}]}"#;
    let sent: Value = serde_json::from_str(&sent(Dialect::AnthropicMessages, body).unwrap()).unwrap();
    assert_ne!(sent["tools"][0]["name"], sent["tools"][1]["name"], "{sent}");
}

/// The id of a reasoning may have a dot in it; the seal is cut at the first.
#[test]
fn a_sealed_reasoning_comes_back_as_it_was() {
    let item = r#"{"id":"rs_1.5","type":"reasoning","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"gAAA"}"#;
    let read = dialect::decode_body(RESPONSES, &body(&[item])).unwrap();
    let sealed = read.iter().find_map(|(event, _)| match event {
        Event::Extra(_, Extra::Signature(sealed)) => Some(sealed.decode().into_owned()),
        _ => None,
    });
    let back = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": sealed.unwrap()}]},
        {"role": "user", "content": "b"},
    ]});
    let target = Target { model: "gpt-5", lossy: None };
    let sent = convert_request(Dialect::AnthropicMessages, RESPONSES, &Bytes::from(back.to_string()), &target).unwrap();
    let sent: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!((&sent["input"][1]["id"], &sent["input"][1]["encrypted_content"]), (&json!("rs_1.5"), &json!("gAAA")));
}

#[test]
fn a_chat_request_that_stores_says_so() {
    let (view, _) = dialect::request(
        Dialect::OpenaiChat,
        &Bytes::from_static(br#"{"model":"m","store":true,"messages":[{"role":"user","content":"a"}]}"#),
    )
    .unwrap();
    assert!(view.state.stores, "`stateful: refuse` does not see what Chat Completions keeps");
}
