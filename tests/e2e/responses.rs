//! What only OpenAI Responses has: answers that a provider keeps, and clients that try a WebSocket first.

use serde_json::{Value, json};

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        SOON,
        client::{self, End, Request, Version},
        errors,
        gateway::Gateway,
        samples::{self, CALLS},
        sse, within,
    },
};

const DIALECT: Dialect = Dialect::OpenaiResponses;
const UPPER: &str = "policies: [{ name: upper, type: uppercase }]\n";
const REPLACES: &str =
    "policies: [{ name: secret, type: string_replacement, config: { replacements: { hidden: '[gone]' } } }]\n";
/// What the log says of an answer that was changed here and is kept there.
const KEPT_UNCHANGED: &str = "a policy changed an answer that the provider keeps unchanged";

fn get(path: &str) -> Request {
    Request::new("GET", path).header("authorization", "Bearer sk-test-client")
}

fn ask(fields: &Value) -> Request {
    let mut body = json!({ "model": "m", "input": "Hello" });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post(DIALECT.path(), body.to_string())
}

#[tokio::test]
async fn an_answer_that_is_fetched_goes_through_policies() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(UPPER).start().await;
    let mut number = 0;
    for version in Version::BOTH {
        let path = "/v1/responses/resp_0aSample";
        provider.expect(Script::json(samples::whole(DIALECT, "Hello", &CALLS)));
        let answer = gateway.call(version, get(path)).await;
        assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["output"][0]["content"][0]["text"], "HELLO", "{body}");
        assert_eq!(body["output"][2]["call_id"], "call_b", "{body}");

        let path = "/v1/responses/resp_0aSample?stream=true&starting_after=3";
        provider.expect(Script::sse_in_pieces(samples::text(DIALECT, &["Hel", "lo"]).as_bytes(), 50));
        let answer = gateway.call(version, get(path)).await;
        assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
        let last = sse::events(&answer.body).pop().unwrap().json();
        assert_eq!(last["response"]["output"][0]["content"][0]["text"], "HELLO", "{last}");
        assert!(!answer.text().contains("Hel"), "{}", answer.text());

        let received = provider.request(number + 1).await;
        assert_eq!((received.method.as_str(), received.path.as_str()), ("GET", path));
        assert_eq!((received.header("authorization"), received.body.len()), (Some("Bearer sk-test-client"), 0));
        number += 2;
    }
    gateway.stop().await;
}

/// An answer that is made in the background is fetched again and again until it is there.
#[tokio::test]
async fn an_answer_that_is_not_there_yet_arrives_as_it_is() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(UPPER).start().await;
    for (status, error) in [
        ("queued", Value::Null),
        ("in_progress", Value::Null),
        ("cancelled", Value::Null),
        ("failed", json!({ "code": "server_error", "message": "too much to do" })),
    ] {
        let mut body: Value = serde_json::from_str(&samples::whole(DIALECT, "", &[])).unwrap();
        body["status"] = status.into();
        body["error"] = error;
        body["usage"] = Value::Null;
        body["background"] = true.into();
        let mut without = body.clone();
        without.as_object_mut().unwrap().remove("output");
        for body in [body, without].map(|body| format!("{body:#}\n")) {
            for request in [get("/v1/responses/resp_0aSample"), ask(&json!({ "background": true }))] {
                provider.expect(Script::json(body.clone()));
                let answer = gateway.call(Version::Http1, request).await;
                assert_eq!((answer.status, answer.text(), answer.end), (200, body.clone(), End::Clean), "{status}");
            }
        }
    }
    gateway.stop().await;
}

/// A client that lost its connection asks for the rest. What stands before it, no policy has seen in this call.
#[tokio::test]
async fn the_rest_of_a_stream_is_judged_only_where_no_policy_objects() {
    let provider = Provider::start().await;
    let whole = samples::text(DIALECT, &["Hel", "lo"]);
    let rest = whole[whole.rfind("\"delta\":\"lo\"").unwrap()..].split_once("\n\n").unwrap().1;
    let delta = whole.split("\n\n").find(|event| event.contains("\"delta\":\"lo\"")).unwrap();
    let rest = format!("{delta}\n\n{rest}");
    for (policy, judged) in [("policies: []", false), (UPPER, true)] {
        let gateway = Gateway::with(&provider).policy(policy).start().await;
        provider.expect(Script::sse(rest.clone()));
        let answer = gateway.call(Version::Http1, get("/v1/responses/resp_1?stream=true&starting_after=4")).await;
        if judged {
            assert!(!answer.text().contains("lo\""), "{}", answer.text());
            assert!(answer.text().contains("cannot be read"), "{}", answer.text());
        } else {
            assert_eq!((answer.status, answer.text().as_str(), &answer.end), (200, rest.as_str(), &End::Clean));
        }
        gateway.stop().await;
    }
}

/// What is fetched was made earlier, maybe under other rules: it is refused all the same.
#[tokio::test]
async fn a_fetched_answer_is_refused_like_a_new_one() {
    let provider = Provider::start().await;
    let policy = "policies: [{ name: block, type: blocked_content, config: { patterns: ['forbidden'], message: 'No.', on_match: refuse } }]";
    let gateway = Gateway::with(&provider).policy(policy).start().await;
    for path in ["/v1/responses/resp_1", "/v1/responses/resp_1?stream=true"] {
        provider.expect(if path.contains("stream") {
            Script::sse(samples::text(DIALECT, &["forbidden"]))
        } else {
            Script::json(samples::whole(DIALECT, "forbidden", &[]))
        });
        let answer = gateway.call(Version::Http1, get(path)).await;
        assert_eq!((answer.status, answer.header("x-should-retry")), (400, Some("false")), "{}", answer.text());
        assert_eq!(errors::in_body(DIALECT, &answer).code.as_deref(), Some("content_policy_violation"));
    }
    gateway.stop().await;
}

/// Fetching is covered, deleting and listing are not.
#[tokio::test]
async fn other_paths_of_kept_answers_stay_closed() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(UPPER).start().await;
    for (method, path) in [
        ("DELETE", "/v1/responses/resp_1"),
        ("GET", "/v1/responses/resp_1/input_items"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/responses/compact"),
        ("GET", "/v1/responses"),
    ] {
        let answer = gateway.call(Version::Http1, Request { method, ..get(path) }).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        assert!(errors::in_body(DIALECT, &answer).message.contains("unpoliced"), "{}", answer.text());
    }
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}

/// What of a request rests on what a provider keeps, and how the refusal calls it.
fn resting() -> [(Value, &'static str); 4] {
    [
        (json!({ "previous_response_id": "resp_1" }), "`previous_response_id`"),
        (json!({ "conversation": "conv_1" }), "`conversation`"),
        (json!({ "background": true }), "`background`"),
        (json!({ "input": [{ "type": "item_reference", "id": "msg_1" }] }), "item_reference"),
    ]
}

#[tokio::test]
async fn require_stateless_lets_the_provider_keep_nothing() {
    let provider = Provider::start().await;
    let policy = format!("stateful: require_stateless\n{UPPER}");
    let gateway = Gateway::with(&provider).policy(&policy).start().await;
    provider.otherwise(Script::json(samples::whole(DIALECT, "Hello", &[])));
    for (version, store) in Version::BOTH.into_iter().cycle().zip([None, Some(true), Some(false)]) {
        let number = provider.requests().len();
        let fields = store.map_or(json!({ "previous_response_id": null }), |store| json!({ "store": store }));
        let answer = gateway.call(version, ask(&fields)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent: Value = serde_json::from_slice(&provider.request(number).await.body).unwrap();
        assert_eq!((&sent["store"], &sent["input"]), (&false.into(), &"Hello".into()), "{sent}");
    }
    let asked = provider.requests().len();
    for (fields, field) in resting() {
        let answer = gateway.call(Version::Http1, ask(&fields)).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(errors::in_body(DIALECT, &answer).message.contains(field), "{}", answer.text());
    }
    let answer = gateway.call(Version::Http1, get("/v1/responses/resp_1")).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    errors::in_body(DIALECT, &answer);
    assert_eq!(provider.requests().len(), asked, "the provider was asked all the same");
    // Nothing is kept, so there is nothing to warn of.
    assert!(!gateway.output().contains(KEPT_UNCHANGED), "{}", gateway.output());
    gateway.stop().await;
}

#[tokio::test]
async fn refuse_leaves_it_to_the_client_to_ask_for_nothing_kept() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy("stateful: refuse\npolicies: []\n").start().await;
    provider.otherwise(Script::json(samples::whole(DIALECT, "Hello", &[])));
    for fields in [json!({}), json!({ "store": true }), json!({ "store": null })] {
        let answer = gateway.call(Version::Http1, ask(&fields)).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(errors::in_body(DIALECT, &answer).message.contains("`store: false`"), "{}", answer.text());
    }
    for (mut fields, field) in resting() {
        fields["store"] = false.into();
        let answer = gateway.call(Version::Http1, ask(&fields)).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(errors::in_body(DIALECT, &answer).message.contains(field), "{}", answer.text());
    }
    assert!(provider.requests().is_empty());
    assert_eq!(gateway.call(Version::Http1, ask(&json!({ "store": false }))).await.status, 200);
    // The other dialects keep nothing that a later request could rest on.
    for dialect in [Dialect::Anthropic, Dialect::OpenaiChat] {
        provider.expect(Script::json(samples::whole(dialect, "Hello", &[])));
        assert_eq!(gateway.call(Version::Http1, Request::whole(dialect)).await.status, 200);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn kept_requests_pass_where_the_rules_say_nothing() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(UPPER).start().await;
    provider.otherwise(Script::json(samples::whole(DIALECT, "Hello", &[])));
    for (number, (fields, _)) in resting().into_iter().enumerate() {
        let request = ask(&fields);
        let sent = request.body.clone();
        assert_eq!(gateway.call(Version::Http1, request).await.status, 200);
        let received: Value = serde_json::from_slice(&provider.request(number).await.body).unwrap();
        let wanted: Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!(received["store"], wanted["store"]);
        for name in fields.as_object().unwrap().keys() {
            assert_eq!(received[name], wanted[name]);
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_log_tells_of_a_changed_answer_that_the_provider_keeps() {
    let provider = Provider::start().await;
    let texts = [("changed", "hidden"), ("untouched", "plain")];
    for (fields, name, told) in [
        (json!({}), "changed", true),
        (json!({ "store": true }), "changed", true),
        (json!({ "store": false }), "changed", false),
        (json!({}), "untouched", false),
    ] {
        let gateway = Gateway::with(&provider).policy(REPLACES).start().await;
        let text = texts.iter().find(|(key, _)| *key == name).unwrap().1;
        for stream in [false, true] {
            provider.expect(if stream {
                Script::sse(samples::text(DIALECT, &[text]))
            } else {
                Script::json(samples::whole(DIALECT, text, &[]))
            });
            let mut fields = fields.clone();
            fields["stream"] = stream.into();
            let answer = gateway.call(Version::Http1, ask(&fields)).await;
            assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
        }
        // What a call is told of stands in the log before the metrics have it among the calls that ended.
        within(SOON, "the end of both calls", async {
            loop {
                let text = gateway.admin(Request::new("GET", "/metrics")).await.text();
                if text.contains("outcome=\"completed\"} 2") {
                    break;
                }
            }
        })
        .await;
        let lines = gateway.output().matches(KEPT_UNCHANGED).count();
        assert_eq!(lines, if told { 2 } else { 0 }, "{fields} {name}: {}", gateway.output());
        gateway.stop().await;
    }
}

/// As Codex asks, which goes on with a POST at once when it reads 426, and tries for seconds on anything else.
#[tokio::test]
async fn a_websocket_is_answered_with_426() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let codex = || {
        get("/v1/responses")
            .header("user-agent", "codex_exec/0.169.0 (Debian 12.0.0; x86_64) unknown (codex_exec; 0.169.0)")
            .header("originator", "codex_exec")
            .header("openai-beta", "responses_websockets=2026-02-06")
            .header("x-codex-turn-metadata", "{}")
            .header("x-codex-beta-features", "remote_compaction_v2")
            .header("session-id", "00000000-0000-4000-8000-000000000000")
            .header("thread-id", "00000000-0000-4000-8000-000000000000")
    };
    for upgrade in ["websocket", "WebSocket"] {
        let request = codex()
            .header("connection", "Upgrade")
            .header("upgrade", upgrade)
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits");
        let answer = gateway.call(Version::Http1, request).await;
        assert_eq!((answer.status, &answer.end), (426, &End::Clean), "{}", answer.text());
        assert_eq!(errors::in_body(DIALECT, &answer).code.as_deref(), Some("upgrade_not_supported"));
    }
    // HTTP/2 has no upgrade: the same question without those headers names no answer.
    let answer = gateway.call(Version::Http2, codex()).await;
    assert!((400..500).contains(&answer.status), "{}: {}", answer.status, answer.text());
    errors::in_body(DIALECT, &answer);
    assert!(provider.requests().is_empty());
    // And the POST that follows is served.
    provider.expect(Script::sse(samples::text(DIALECT, &["Hello"])));
    let answer = client::send(Version::Http1, gateway.listen(), Request::stream(DIALECT)).await.finish().await;
    assert_eq!((answer.status, answer.end), (200, End::Clean));
    gateway.stop().await;
}
