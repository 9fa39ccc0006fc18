//! `GET /v1/models` of a client whose vendor is not the upstream's.

use serde_json::{Value, json};

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{Request, Version},
        gateway::Gateway,
    },
};

const OPENAI: &str =
    r#"{"object":"list","data":[{"id":"gpt-5","object":"model","created":1754000000,"owned_by":"o"}]}"#;
const ANTHROPIC: &str = r#"{"data":[{"type":"model","id":"claude-x","display_name":"Claude X","created_at":"2025-07-31T22:13:20Z"}],"has_more":false,"first_id":"claude-x","last_id":"claude-x"}"#;

async fn gateway(provider: &Provider, upstream: Dialect, aliases: &str) -> Gateway {
    let name = super::name(upstream);
    let upstreams =
        format!("- {{ name: only, url: \"{}\", dialects: [{name}], aliases: {aliases} }}\n", provider.url());
    Gateway::with(provider).upstreams(&upstreams).start().await
}

#[tokio::test]
async fn a_list_comes_in_the_form_of_the_clients_vendor() {
    let provider = Provider::start().await;
    let gateway = gateway(&provider, Dialect::OpenaiResponses, "{ claude-y: gpt-5 }").await;
    provider.expect(Script::json(OPENAI));
    let request =
        Request::new("GET", "/v1/models?limit=1000").header("anthropic-version", "2023-06-01").header("x-api-key", "k");
    let answer = gateway.call(Version::Http1, request).await;
    let list: Value = serde_json::from_str(&answer.text()).expect("JSON");
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!((answer.status, ids), (200, vec!["gpt-5", "claude-y"]), "{list}");
    assert_eq!((&list["has_more"], &list["data"][0]["type"]), (&json!(false), &json!("model")));
    let asked = provider.request(0).await;
    assert_eq!((asked.path.as_str(), asked.header("authorization")), ("/v1/models", Some("Bearer k")));
    assert_eq!((asked.header("x-api-key"), asked.header("anthropic-version")), (None, None));
    gateway.stop().await;
}

#[tokio::test]
async fn and_the_other_way_round() {
    let provider = Provider::start().await;
    let gateway = gateway(&provider, Dialect::Anthropic, "{}").await;
    provider.expect(Script::json(ANTHROPIC));
    let request = Request::new("GET", "/v1/models").header("authorization", "Bearer k");
    let answer = gateway.call(Version::Http2, request).await;
    let list: Value = serde_json::from_str(&answer.text()).expect("JSON");
    let model = json!({"id": "claude-x", "object": "model", "created": 1_754_000_000, "owned_by": "upstream"});
    assert_eq!((answer.status, list), (200, json!({"object": "list", "data": [model]})));
    let asked = provider.request(0).await;
    assert_eq!((asked.header("x-api-key"), asked.header("authorization")), (Some("k"), None));
    assert!(asked.header("anthropic-version").is_some());
    gateway.stop().await;
}

#[tokio::test]
async fn a_list_of_the_clients_own_vendor_and_an_error_pass_as_they_are() {
    let provider = Provider::start().await;
    let gateway = gateway(&provider, Dialect::Anthropic, "{ x: claude-x }").await;
    for (body, status) in [(ANTHROPIC, 200), ("{\"type\":\"error\"}", 404)] {
        provider.expect(Script::json(body).status(status));
        let request =
            Request::new("GET", "/v1/models").header("anthropic-version", "2023-06-01").header("x-api-key", "k");
        let answer = gateway.call(Version::Http1, request).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, body));
    }
    provider.expect(Script::json("{\"type\":\"error\"}").status(404));
    let answer =
        gateway.call(Version::Http1, Request::new("GET", "/v1/models/none").header("authorization", "Bearer k")).await;
    assert_eq!((answer.status, answer.text().as_str()), (404, "{\"type\":\"error\"}"));
    gateway.stop().await;
}
