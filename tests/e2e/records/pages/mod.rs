//! The pages over recorded calls: over the wire, and in a real browser.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    fakes::{provider::Provider, script::Script},
    harness::{
        SOON,
        client::{Answer, Request, Version},
        gateway::Gateway,
        within,
    },
};

mod browser;
mod wire;

/// Replaces a word, and lets one tool not through.
pub(crate) const RULES: &str = "\
policies:
  - name: no-falcons
    type: string_replacement
    config: { replacements: { falcon: sparrow } }
  - name: no-shell
    type: tool_filter
    config: { deny: [\"rm_*\"], message: \"The tool {tool} is not allowed here.\" }
";

/// Makes a call, waits until it is recorded as closed, and returns its id.
pub(crate) async fn call(gateway: &Gateway, request: Request) -> String {
    let answer = gateway.call(Version::Http1, request).await;
    let id = answer.header("x-luthien-call-id").expect("an answer has the id of its call").to_owned();
    recorded(gateway, &id).await;
    id
}

/// Waits until a call is recorded as closed.
pub(crate) async fn recorded(gateway: &Gateway, id: &str) -> Value {
    let closed = async {
        loop {
            let answer = gateway.admin(Request::new("GET", &format!("/debug/calls/{id}"))).await;
            if answer.status == 200 && answer.json()["outcome"].is_string() {
                return answer.json();
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(SOON, "the record of the call", closed).await
}

/// What a browser gets.
pub(crate) async fn page(gateway: &Gateway, path: &str) -> Answer {
    gateway.admin(Request::new("GET", path).header("accept", "text/html")).await
}

/// A call of Anthropic's with these messages, in a conversation.
pub(crate) fn said(session: &str, messages: &[Value]) -> Request {
    let body = json!({ "model": "claude-sonnet-4-5", "max_tokens": 256, "messages": messages, "system": "Be brief.",
        "tools": [{ "name": "read_file", "description": "Reads", "input_schema": { "type": "object" } }] });
    Request::post("/v1/messages", body.to_string()).header("x-session-id", session)
}

/// The next answer of the provider.
pub(crate) fn answers(provider: &Provider, content: &Value) {
    let body = json!({
        "id": "msg_01Sample", "type": "message", "role": "assistant", "model": "claude-test", "content": content,
        "stop_reason": "end_turn", "stop_sequence": null, "usage": { "input_tokens": 1200, "output_tokens": 85 },
    });
    provider.expect(Script::json(body.to_string()));
}

/// A conversation of two turns: the first asks for two tools, of which one is not allowed.
pub(crate) async fn conversation(provider: &Provider, gateway: &Gateway, session: &str) -> [String; 2] {
    let question = json!({ "role": "user", "content": "Where does the falcon nest? Look it up in the field notes." });
    let calls = json!([
        { "type": "thinking", "thinking": "The notes are in a file; I read it first.", "signature": "c2ln" },
        { "type": "text", "text": "I look for the falcon in the notes." },
        { "type": "tool_use", "id": "toolu_a", "name": "read_file", "input": { "path": "/notes/birds.md", "lines": [1, 40] } },
        { "type": "tool_use", "id": "toolu_b", "name": "rm_tree", "input": { "path": "/", "force": true } },
    ]);
    answers(provider, &calls);
    let first = call(gateway, said(session, std::slice::from_ref(&question))).await;
    let told = recorded(gateway, &first).await;
    let result = json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_a",
        "content": "## Birds of prey\nThe pair nests on the cathedral's north tower since 2019." }] });
    let history = [question, json!({ "role": "assistant", "content": told["response"]["final"]["content"] }), result];
    answers(provider, &json!([{ "type": "text", "text": "The falcon nests on the cathedral's north tower." }]));
    [first, call(gateway, said(session, &history)).await]
}
