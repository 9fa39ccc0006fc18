//! Where a call goes.

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{End, Request, Version},
        errors,
        gateway::Gateway,
        samples,
    },
};

const DIALECTS: &str = "dialects: [openai_chat, openai_responses, anthropic_messages]";

#[tokio::test]
async fn the_model_picks_the_upstream() {
    let (first, second) = (Provider::start().await, Provider::start().await);
    let upstreams = format!(
        "- {{ name: first, url: \"{}\", {DIALECTS}, models: [\"claude-*\", \"gpt-6\"] }}\n\
         - {{ name: second, url: \"{}\", {DIALECTS}, models: [\"*\"] }}\n",
        first.url(),
        second.url()
    );
    let gateway = Gateway::with(&first).upstreams(&upstreams).start().await;
    let mut counts = (0, 0);
    for dialect in Dialect::ALL {
        for provider in [&first, &second] {
            provider.otherwise(Script::json(samples::whole(dialect, "Hello", &[])));
        }
        for (model, to_first) in
            [("claude-opus-5-5", true), ("gpt-6", true), ("gpt-6-mini", false), ("x/claude-3", false)]
        {
            let answer = gateway.call(Version::Http1, Request::call(dialect, model, false)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            counts = if to_first { (counts.0 + 1, counts.1) } else { (counts.0, counts.1 + 1) };
            assert_eq!((first.requests().len(), second.requests().len()), counts, "{model}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_dialect_picks_the_upstream() {
    let (chat, messages, responses) = (Provider::start().await, Provider::start().await, Provider::start().await);
    let upstreams = format!(
        "- {{ name: chat, url: \"{}\", dialects: [openai_chat] }}\n\
         - {{ name: messages, url: \"{}\", dialects: [anthropic_messages] }}\n\
         - {{ name: responses, url: \"{}\", dialects: [openai_responses] }}\n",
        chat.url(),
        messages.url(),
        responses.url()
    );
    let gateway = Gateway::with(&chat).upstreams(&upstreams).start().await;
    let each = [(Dialect::Anthropic, &messages), (Dialect::OpenaiChat, &chat), (Dialect::OpenaiResponses, &responses)];
    for (dialect, provider) in each {
        provider.otherwise(Script::json(samples::whole(dialect, "Hello", &[])));
        assert_eq!(gateway.call(Version::Http2, Request::whole(dialect)).await.status, 200);
        assert_eq!(provider.requests().len(), 1);
        let host = provider.request(0).await.header("host").map(str::to_owned);
        assert_eq!(host, Some(provider.address().to_string()));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_upstreams_path_goes_before_the_clients() {
    let provider = Provider::start().await;
    for (suffix, v1, path) in [
        ("/api/llm", true, "/api/llm/v1/messages?beta=true"),
        ("/api/v1", true, "/api/v1/messages?beta=true"),
        ("/v1/", true, "/v1/messages?beta=true"),
        ("/api/llm", false, "/api/llm/messages?beta=true"),
        ("", false, "/messages?beta=true"),
    ] {
        let upstream = format!("- {{ name: fake, url: \"{}{suffix}\", v1: {v1}, {DIALECTS} }}\n", provider.url());
        let gateway = Gateway::with(&provider).upstreams(&upstream).start().await;
        let number = provider.requests().len();
        provider.expect(Script::json(samples::whole(Dialect::Anthropic, "Hello", &[])));
        let body = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Hello"}]}"#;
        assert_eq!(gateway.call(Version::Http1, Request::post("/v1/messages?beta=true", body)).await.status, 200);
        assert_eq!(provider.request(number).await.path, path, "{suffix}, {v1}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_judge_is_asked_where_its_upstream_has_its_paths() {
    let (provider, judge) = (Provider::start().await, Provider::start().await);
    let chat = Dialect::OpenaiChat;
    judge.otherwise(Script::json(samples::whole(chat, r#"{"probability":0,"explanation":"harmless"}"#, &[])));
    let upstreams = format!(
        "- {{ name: fake, url: \"{}\", dialects: [openai_chat] }}\n\
         - {{ name: judges, url: \"{}/api\", v1: false, dialects: [openai_chat], models: [no-client-asks-for-it] }}\n",
        provider.url(),
        judge.url()
    );
    let policy = "policies: [{ name: guard, type: tool_judge, config: { judge: { upstream: judges, model: j-1 } } }]\n";
    let gateway = Gateway::with(&provider).upstreams(&upstreams).policy(policy).start().await;
    provider.expect(Script::sse(samples::tools(chat, "Working.", &samples::CALLS)));
    gateway.call(Version::Http1, Request::stream(chat)).await;
    assert_eq!(judge.request(0).await.path, "/api/chat/completions");
    assert_eq!(provider.request(0).await.path, "/v1/chat/completions");
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_cannot_pick_the_upstream() {
    let (open, other) = (Provider::start().await, Provider::start().await);
    let upstreams = format!(
        "- {{ name: open, url: \"{}\", {DIALECTS} }}\n- {{ name: other, url: \"{}\", {DIALECTS}, models: [\"never\"] }}\n",
        open.url(),
        other.url()
    );
    let gateway = Gateway::with(&open).upstreams(&upstreams).start().await;
    open.otherwise(Script::json(samples::whole(Dialect::Anthropic, "Hello", &[])));
    for (number, version) in Version::BOTH.into_iter().enumerate() {
        let request = Request::whole(Dialect::Anthropic).header("x-luthien-upstream", "other");
        assert_eq!(gateway.call(version, request).await.status, 200);
        let received = open.request(number).await;
        let told: Vec<_> = received.headers.iter().filter(|(name, _)| name.starts_with("x-luthien")).collect();
        assert!(told.is_empty(), "{told:?}");
    }
    assert!(other.requests().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn listed_unpoliced_paths_pass() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let models = "{\"object\":\"list\", \"data\":[ ]}";
    for (number, version) in Version::BOTH.into_iter().enumerate() {
        provider.expect(Script::json(models));
        let request = Request::new("GET", "/v1/models?limit=1000").header("authorization", "Bearer sk-of-the-client");
        let answer = gateway.call(version, request).await;
        assert_eq!((answer.status, answer.text().as_str(), &answer.end), (200, models, &End::Clean));
        let received = provider.request(number).await;
        assert_eq!((received.method.as_str(), received.path.as_str()), ("GET", "/v1/models?limit=1000"));
        assert_eq!(received.header("authorization"), Some("Bearer sk-of-the-client"));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn other_unpoliced_paths_are_refused_by_the_name_of_the_setting() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    for version in Version::BOTH {
        for (method, path) in
            [("POST", "/v1/files"), ("GET", "/v1/batches"), ("POST", "/v1/embeddings"), ("DELETE", "/v1/models/m")]
        {
            let answer = gateway.call(version, Request { method, ..Request::post(path, "{}") }).await;
            assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.status);
            assert!(answer.text().contains("unpoliced"), "{method} {path}: {}", answer.text());
            assert!(!answer.json()["error"]["message"].is_null(), "{}", answer.text());
        }
    }
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn unpoliced_paths_pass_where_the_settings_say_so() {
    let provider = Provider::start().await;
    let settings = "unpoliced: { pass: [\"POST /v1/files\"], otherwise: refuse }";
    let gateway = Gateway::with(&provider).settings(settings).start().await;
    provider.expect(Script::json("{}"));
    assert_eq!(gateway.call(Version::Http1, Request::post("/v1/files", "any bytes")).await.status, 200);
    assert_eq!(provider.request(0).await.body, "any bytes");
    errors::in_body(Dialect::OpenaiChat, &gateway.call(Version::Http1, Request::new("GET", "/v1/models")).await);
    gateway.stop().await;
}

#[tokio::test]
async fn the_root_answers_without_a_provider() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    for version in Version::BOTH {
        for method in ["HEAD", "GET"] {
            let answer = gateway.call(version, Request::new(method, "/")).await;
            assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{method}");
        }
    }
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}

/// A client that followed a redirect would go on without the gateway.
#[tokio::test]
async fn a_redirect_of_the_provider_does_not_reach_the_client() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    for dialect in Dialect::ALL {
        for status in [301, 307, 308] {
            provider.expect(Script::json("{}").status(status).header("location", &provider.url()));
            let answer = gateway.call(Version::Http1, Request::stream(dialect)).await;
            assert_eq!((answer.status, answer.header("location")), (502, None));
            assert!(answer.text().contains("redirect"), "{}", answer.text());
        }
    }
    gateway.stop().await;
}
