//! What must not cross from one vendor to another, and what of a request cannot: credentials, headers, queries, fields.

use serde_json::{Value, json};

use super::{legal, name, scenarios::Scenario};
use crate::{
    common::streams::Dialect,
    fakes::{
        provider::{Provider, Received},
        script::Script,
    },
    harness::{
        client::{Answer, Request, Version},
        errors,
        gateway::Gateway,
        sdk::{Job, Mode, Sdk},
    },
};

const CLIENT_KEY: &str = "lk-client-of-the-gateway";
const OWN_KEY: &str = "sk-of-the-client";
const PROVIDER_KEY: &str = "sk-of-the-provider";
const KEYS: &str = "clients: { auth: keys, keys: [{ name: alice, env: FAKE_CLIENT_KEY }] }";

/// Every client dialect with every other upstream dialect.
fn pairs() -> impl Iterator<Item = (Dialect, Dialect)> {
    Dialect::ALL.into_iter().flat_map(|client| {
        Dialect::ALL.into_iter().filter(move |upstream| *upstream != client).map(move |upstream| (client, upstream))
    })
}

/// A gateway in front of an upstream that speaks one dialect.
struct Only {
    provider: Provider,
    gateway: Gateway,
    upstream: Dialect,
}

impl Only {
    async fn start(upstream: Dialect, credentials: &str, policy: &str, settings: &str) -> Self {
        let provider = Provider::start().await;
        let upstreams =
            format!("- {{ name: only, url: \"{}\", dialects: [{}]{credentials} }}\n", provider.url(), name(upstream));
        let builder = Gateway::with(&provider).upstreams(&upstreams).policy(policy).settings(settings);
        let gateway = builder.env("FAKE_CLIENT_KEY", CLIENT_KEY).env("FAKE_PROVIDER_KEY", PROVIDER_KEY).start().await;
        provider.otherwise(Script::json(Scenario::Text.said().whole(upstream, "m")));
        Self { provider, gateway, upstream }
    }

    async fn plain(upstream: Dialect, policy: &str) -> Self {
        Self::start(upstream, "", policy, "").await
    }

    /// Sends a request that must be served, and returns what the provider got.
    async fn served(&self, version: Version, request: Request) -> (Answer, Received) {
        let number = self.provider.requests().len();
        let answer = self.gateway.call(version, request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer, self.provider.request(number).await)
    }
}

/// Every header of a request that carries a credential, or the value of one.
fn secrets(received: &Received) -> Vec<(&str, &str)> {
    let names = ["authorization", "x-api-key", "api-key", "cookie", "proxy-authorization"];
    let all = received.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    all.filter(|(name, value)| names.contains(name) || value.contains("sk-of") || value.contains(CLIENT_KEY)).collect()
}

/// The header in which a provider reads its key.
fn credential(dialect: Dialect, key: &str) -> (&'static str, String) {
    if dialect == Dialect::Anthropic {
        ("x-api-key", key.to_owned())
    } else {
        ("authorization", format!("Bearer {key}"))
    }
}

/// A small call of `client` with these credentials and no others.
fn with(client: Dialect, headers: &[(&str, &str)]) -> Request {
    let request = Request::whole(client).without("authorization");
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

fn names(answer: &Answer) -> Vec<&str> {
    answer.header("x-luthien-dropped").unwrap_or_default().split(", ").filter(|name| !name.is_empty()).collect()
}

#[tokio::test]
async fn a_credential_is_sent_in_the_header_of_the_other_vendor() {
    let bearer = format!("Bearer {OWN_KEY}");
    for upstream in Dialect::ALL {
        let only = Only::plain(upstream, "policies: []").await;
        let (header, value) = credential(upstream, OWN_KEY);
        for (version, client) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
            if client == upstream {
                continue;
            }
            for (name, sent) in [("x-api-key", OWN_KEY), ("authorization", &bearer)] {
                let (_, received) = only.served(version, with(client, &[(name, sent)])).await;
                assert_eq!(secrets(&received), [(header, value.as_str())], "{client:?} to {upstream:?}, {name}");
            }
        }
        only.gateway.stop().await;
    }
}

#[tokio::test]
async fn the_gateways_own_keys_stay_where_they_belong_in_conversion() {
    let bearer = format!("Bearer {CLIENT_KEY}");
    for upstream in Dialect::ALL {
        for (credentials, key) in [(", credentials: { env: FAKE_PROVIDER_KEY }", Some(PROVIDER_KEY)), ("", None)] {
            let only = Only::start(upstream, credentials, "policies: []", KEYS).await;
            let wanted = key.map(|key| credential(upstream, key));
            let wanted: Vec<_> = wanted.iter().map(|(name, value)| (*name, value.as_str())).collect();
            for client in Dialect::ALL.into_iter().filter(|client| *client != upstream) {
                for (name, sent) in [("x-api-key", CLIENT_KEY), ("authorization", bearer.as_str())] {
                    let (_, received) = only.served(Version::Http1, with(client, &[(name, sent)])).await;
                    assert_eq!(secrets(&received), wanted, "{client:?} to {upstream:?}, {name}");
                }
                // The provider judges what a client sends beside our key, but only where no key of ours goes there.
                let both = with(client, &[("x-api-key", CLIENT_KEY), ("authorization", &format!("Bearer {OWN_KEY}"))]);
                let (_, received) = only.served(Version::Http2, both).await;
                let (header, value) = credential(upstream, key.unwrap_or(OWN_KEY));
                assert_eq!(secrets(&received), [(header, value.as_str())], "{client:?} to {upstream:?}, both");
                let stranger = with(client, &[("x-api-key", OWN_KEY)]);
                let answer = only.gateway.call(Version::Http1, stranger).await;
                assert_eq!(answer.status, 401, "{}", answer.text());
                errors::in_body(client, &answer);
            }
            only.gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn headers_and_queries_of_a_vendor_do_not_reach_another_one() {
    for (client, upstream) in pairs() {
        let only = Only::plain(upstream, "policies: []").await;
        let mut request = Request::whole(client)
            .header("anthropic-version", "2023-06-01")
            .header("anthropic-beta", "claude-code-20250219,context-1m-2025-08-07")
            .header("anthropic-dangerous-direct-browser-access", "true")
            .header("openai-organization", "org-1")
            .header("openai-project", "proj-1")
            .header("openai-beta", "responses=v1")
            .header("x-of-the-client", "kept");
        request.path += "?beta=true&limit=1";
        let (answer, received) = only.served(Version::Http2, request).await;
        let context = format!("{client:?} to {upstream:?}: {:?}", received.headers);
        assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", upstream.path()), "{context}");
        let of = |prefix: &str| received.headers.iter().filter(|(name, _)| name.starts_with(prefix)).count();
        if upstream == Dialect::Anthropic {
            assert_eq!(of("openai-"), 0, "{context}");
            assert_eq!((received.header("anthropic-version"), of("anthropic-version")), (Some("2023-06-01"), 1));
        } else {
            assert_eq!(of("anthropic-"), 0, "{context}");
        }
        assert_eq!(of("x-luthien"), 0, "{context}");
        assert_eq!(received.header("x-of-the-client"), Some("kept"), "{context}");
        assert!(answer.header("x-luthien-call-id").is_some());
        only.gateway.stop().await;
    }
}

/// An upstream's own path stands before that of its dialect, without what the client asked of its own.
#[tokio::test]
async fn a_path_of_the_upstream_goes_before_that_of_its_dialect() {
    for (client, upstream) in pairs() {
        let provider = Provider::start().await;
        let upstreams =
            format!("- {{ name: only, url: \"{}/api/v1\", dialects: [{}] }}\n", provider.url(), name(upstream));
        let gateway = Gateway::with(&provider).upstreams(&upstreams).start().await;
        provider.otherwise(Script::json(Scenario::Text.said().whole(upstream, "m")));
        let mut request = Request::whole(client);
        request.path += "?beta=true";
        assert_eq!(gateway.call(Version::Http1, request).await.status, 200);
        assert_eq!(provider.request(0).await.path, format!("/api{}", upstream.path()), "{client:?} to {upstream:?}");
        gateway.stop().await;
    }
}

/// A client's body, the upstream's dialect, what it has no place for, and whether that changes the meaning.
fn lossy() -> Vec<(Dialect, Dialect, Value, &'static str, bool)> {
    use Dialect::{Anthropic, OpenaiChat, OpenaiResponses};
    let hello = json!([{ "role": "user", "content": "Hello" }]);
    let chat = |field: &str, value: Value| {
        let mut body = json!({ "model": "m", "messages": hello });
        body[field] = value;
        body
    };
    let messages = |field: &str, value: Value| {
        let mut body = json!({ "model": "m", "max_tokens": 99, "messages": hello });
        body[field] = value;
        body
    };
    let responses = |field: &str, value: Value| {
        let mut body = json!({ "model": "m", "input": "Hello", "store": false });
        body[field] = value;
        body
    };
    vec![
        (OpenaiChat, Anthropic, chat("n", 2.into()), "n", true),
        (OpenaiChat, OpenaiResponses, chat("n", 2.into()), "n", true),
        (OpenaiChat, Anthropic, chat("seed", 7.into()), "seed", false),
        (OpenaiChat, OpenaiResponses, chat("seed", 7.into()), "seed", false),
        (Anthropic, OpenaiChat, messages("container", "c_1".into()), "container", true),
        (Anthropic, OpenaiResponses, messages("stop_sequences", json!(["stop"])), "stop_sequences", true),
        (Anthropic, OpenaiChat, messages("of_tomorrow", json!({ "x": 1 })), "of_tomorrow", false),
        (Anthropic, OpenaiResponses, messages("of_tomorrow", json!({ "x": 1 })), "of_tomorrow", false),
        (OpenaiResponses, Anthropic, responses("previous_response_id", "resp_1".into()), "previous_response_id", true),
        (OpenaiResponses, OpenaiChat, responses("previous_response_id", "resp_1".into()), "previous_response_id", true),
        (OpenaiResponses, Anthropic, responses("of_tomorrow", true.into()), "of_tomorrow", false),
        (OpenaiResponses, OpenaiChat, responses("of_tomorrow", true.into()), "of_tomorrow", false),
    ]
}

#[tokio::test]
async fn what_is_lost_is_named_or_refused_as_the_rules_say() {
    for (rule, policy) in
        [("", "policies: []\n"), ("drop", "lossy: drop\npolicies: []\n"), ("refuse", "lossy: refuse\npolicies: []\n")]
    {
        for upstream in Dialect::ALL {
            let only = Only::plain(upstream, policy).await;
            for (client, _, body, field, changes) in lossy().into_iter().filter(|case| case.1 == upstream) {
                let context = format!("{client:?} to {upstream:?}, {field} under lossy {rule:?}");
                let asked = only.provider.requests().len();
                let refused = rule == "refuse" || (rule.is_empty() && changes);
                for version in Version::BOTH {
                    let request = Request::post(client.path(), body.to_string());
                    if refused {
                        let answer = only.gateway.call(version, request).await;
                        assert_eq!(answer.status, 400, "{context}: {}", answer.text());
                        let told = errors::in_body(client, &answer);
                        assert!(told.message.contains(&format!("`{field}`")), "{context}: {told:?}");
                        continue;
                    }
                    let (answer, received) = only.served(version, request).await;
                    assert_eq!(names(&answer), [field], "{context}");
                    assert_eq!(legal::problems(upstream, &received), [""; 0], "{context}");
                }
                let sent = only.provider.requests().len() - asked;
                assert_eq!(sent, if refused { 0 } else { 2 }, "{context}");
            }
            only.gateway.stop().await;
        }
    }
}

/// A stream names it too, and what is lost of nothing is not named.
#[tokio::test]
async fn a_stream_names_what_is_lost() {
    let only = Only::plain(Dialect::Anthropic, "lossy: drop\npolicies: []\n").await;
    only.provider.otherwise(Script::sse(Scenario::Text.said().stream(Dialect::Anthropic, "m")));
    for (client, field, value) in
        [(Dialect::OpenaiChat, "n", json!(2)), (Dialect::OpenaiResponses, "top_logprobs", json!(3))]
    {
        for lost in [true, false] {
            let request = Request::stream(client);
            let mut body: Value = serde_json::from_slice(&request.body).unwrap();
            body[field] = if lost { value.clone() } else { Value::Null };
            let request = Request::post(client.path(), body.to_string());
            let (answer, _) = only.served(Version::Http1, request).await;
            let wanted: &[&str] = if lost { &[field] } else { &[] };
            assert_eq!(names(&answer), wanted, "{client:?}");
            assert!(answer.text().contains("Hello"), "{}", answer.text());
        }
    }
    only.gateway.stop().await;
}

const COUNT: &str = "/v1/messages/count_tokens";

fn counted(text: &str) -> String {
    json!({ "model": "m", "system": "Be brief.", "messages": [{ "role": "user", "content": text }] }).to_string()
}

#[tokio::test]
async fn tokens_are_estimated_where_the_provider_cannot_count() {
    for upstream in [Dialect::OpenaiChat, Dialect::OpenaiResponses] {
        let only = Only::plain(upstream, "policies: []").await;
        let mut counts = Vec::new();
        for (version, text) in Version::BOTH.into_iter().zip(["Hello", &"Hello there. ".repeat(100)]) {
            let answer = only.gateway.call(version, Request::post(COUNT, counted(text))).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-luthien-estimate"), Some("input_tokens"));
            counts.push(answer.json()["input_tokens"].as_u64().expect("a number of tokens"));
        }
        assert!(counts[0] >= 3 && (250..600).contains(&counts[1]), "{counts:?}");
        assert!(only.provider.requests().is_empty(), "the provider was asked what it does not know");
        only.gateway.stop().await;
    }
}

#[tokio::test]
async fn a_count_goes_through_request_policies() {
    let long = "long ".repeat(200);
    let policy = format!(
        "policies: [{{ name: grow, type: string_replacement, config: {{ apply_to: request, replacements: {{ short: '{long}' }} }} }}]"
    );
    let only = Only::plain(Dialect::OpenaiChat, &policy).await;
    let answer = only.gateway.call(Version::Http1, Request::post(COUNT, counted("short"))).await;
    assert!(answer.json()["input_tokens"].as_u64() > Some(200), "{}", answer.text());
    only.gateway.stop().await;
    // Who counts himself is asked, about what he would be sent.
    let only = Only::plain(Dialect::Anthropic, &policy).await;
    only.provider.otherwise(Script::json(r#"{"input_tokens":7}"#));
    let (answer, received) = only.served(Version::Http1, Request::post(COUNT, counted("short"))).await;
    assert_eq!((answer.text().as_str(), answer.header("x-luthien-estimate")), (r#"{"input_tokens":7}"#, None));
    assert_eq!((received.path.as_str(), &received.body[..]), (COUNT, counted(&long).as_bytes()));
    only.gateway.stop().await;
}

/// `GET /v1/responses/{id}` asks for what only a provider of that dialect keeps.
#[tokio::test]
async fn nobody_else_keeps_responses() {
    for upstream in [Dialect::Anthropic, Dialect::OpenaiChat] {
        let only = Only::plain(upstream, "policies: []").await;
        let request = Request::new("GET", "/v1/responses/resp_1").header("authorization", "Bearer sk-test-client");
        let answer = only.gateway.call(Version::Http1, request).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert!(errors::in_body(Dialect::OpenaiResponses, &answer).message.contains("keeps no responses"));
        assert!(only.provider.requests().is_empty());
        only.gateway.stop().await;
    }
}

/// What the SDKs add of their own is what the borders above are made of.
#[tokio::test]
async fn the_sdks_requests_are_clean_on_the_other_side() {
    for upstream in Dialect::ALL {
        let only = Only::plain(upstream, "policies: []").await;
        for sdk in Sdk::BOTH {
            let clients: Vec<Dialect> = Dialect::ALL.into_iter().filter(|client| *client != upstream).collect();
            let number = only.provider.requests().len();
            let jobs: Vec<Job> = clients
                .iter()
                .map(|client| {
                    let job = Job::new(*client, &only.gateway.url(), Mode::Json, "m");
                    job.with(&Scenario::Tools.request(*client))
                })
                .collect();
            let outcomes = sdk.run(&jobs).await;
            for (index, (client, outcome)) in clients.iter().zip(outcomes).enumerate() {
                let context = format!("{client:?} to {upstream:?} in {sdk:?}: {outcome:?}");
                assert_eq!(outcome.helper_error, None, "{context}");
                let received = only.provider.request(number + index).await;
                assert_eq!(legal::problems(only.upstream, &received), [""; 0], "{context}");
            }
        }
        only.gateway.stop().await;
    }
}
