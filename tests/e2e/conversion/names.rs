//! Names: the model's, which an upstream may know by another, and those of fields that the upstream's dialect has not.

use serde_json::{Value, json};

use super::{name, read, scenarios::Scenario};
use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{Request, Version},
        gateway::Gateway,
        sdk::{Job, Mode, Sdk},
    },
};

/// What the client calls the model, and what the provider does.
const ASKED: &str = "the-good-one";
const THEIRS: &str = "model-2026-11-01";

#[tokio::test]
async fn an_alias_reaches_the_provider_and_is_undone_in_the_answer() {
    for upstream in Dialect::ALL {
        let provider = Provider::start().await;
        let upstreams = format!(
            "- {{ name: only, url: \"{}\", dialects: [{}], aliases: {{ {ASKED}: {THEIRS} }} }}\n",
            provider.url(),
            name(upstream)
        );
        let gateway = Gateway::with(&provider).upstreams(&upstreams).start().await;
        let said = Scenario::Tools.said();
        for client in Dialect::ALL {
            for (mode, script) in [
                (Mode::Stream, Script::sse(said.stream(upstream, THEIRS))),
                (Mode::Json, Script::json(said.whole(upstream, THEIRS))),
            ] {
                provider.on_model(THEIRS, script);
                let number = provider.requests().len();
                let job = Job::new(client, &gateway.url(), mode, ASKED).with(&Scenario::Tools.request(client));
                let outcome = Sdk::Node.run_one(job).await;
                let context = format!("{client:?} to {upstream:?}, {mode:?}");
                let message = outcome.message.unwrap_or_else(|| panic!("{context}: {:?}", outcome.helper_error));
                assert_eq!(read::message(client, &message).model, ASKED, "{context}");
                let body: Value = serde_json::from_slice(&provider.request(number).await.body).expect("JSON");
                assert_eq!(body["model"], THEIRS, "{context}");
            }
        }
        gateway.stop().await;
    }
}

/// A client's body, the upstream's dialect, and the field that it has not.
fn dropped() -> [(Dialect, Dialect, Value, &'static str); 3] {
    let seed = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hello" }], "seed": 7 });
    let top_k = json!({
        "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "Hello" }], "top_k": 5,
    });
    [
        (Dialect::OpenaiChat, Dialect::Anthropic, seed, "seed"),
        (Dialect::Anthropic, Dialect::OpenaiChat, top_k.clone(), "top_k"),
        (Dialect::Anthropic, Dialect::OpenaiResponses, top_k, "top_k"),
    ]
}

#[tokio::test]
async fn what_is_dropped_is_named_in_a_header() {
    for (client, upstream, body, field) in dropped() {
        let provider = Provider::start().await;
        let gateway = super::gateway(&provider, upstream).await;
        provider.otherwise(Script::json(Scenario::Text.said().whole(upstream, "m")));
        let answer = gateway.call(Version::Http1, Request::post(client.path(), body.to_string())).await;
        let context = format!("{client:?} to {upstream:?}: {}", answer.text());
        assert_eq!(answer.status, 200, "{context}");
        let named = answer.header("x-luthien-dropped").unwrap_or_default();
        assert!(named.split(", ").any(|named| named == field), "{named:?}: {context}");
        assert!(answer.header("x-luthien-call-id").is_some_and(|id| !id.is_empty()), "{context}");
        let sent: Value = serde_json::from_slice(&provider.request(0).await.body).expect("JSON");
        assert!(sent[field].is_null(), "{sent}");
        gateway.stop().await;
    }
}
