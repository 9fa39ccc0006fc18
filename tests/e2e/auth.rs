//! Who the client is, and which key the provider sees.

use std::{fs, time::Duration};

use crate::{
    common::streams::Dialect,
    fakes::{
        provider::{Provider, Received},
        script::Script,
    },
    harness::{
        SOON,
        client::{Request, Version},
        errors,
        gateway::{Builder, Gateway},
        samples, within,
    },
};

const CLIENT_KEY: &str = "lk-client-of-the-gateway";
const PROVIDER_KEY: &str = "sk-of-the-provider";

/// The secrets that a request carries, whatever the header.
fn credentials(received: &Received) -> Vec<(&str, &str)> {
    let names = ["authorization", "x-api-key", "api-key", "proxy-authorization"];
    let headers = received.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    headers.filter(|(name, _)| names.contains(name)).collect()
}

/// A gateway that adds the provider's key.
fn with_provider_key(provider: &Provider) -> Builder {
    let upstream = format!(
        "- name: fake\n  url: {}\n  dialects: [openai_chat, openai_responses, anthropic_messages]\n  credentials: {{ env: FAKE_PROVIDER_KEY }}\n",
        provider.url()
    );
    Gateway::with(provider).upstreams(&upstream).env("FAKE_PROVIDER_KEY", PROVIDER_KEY)
}

const KEYS: &str = "clients: { auth: keys, keys: [{ name: alice, env: FAKE_CLIENT_KEY }] }";

#[tokio::test]
async fn the_clients_credential_passes() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let sent = [("authorization", "Bearer sk-of-the-client"), ("x-api-key", "sk-of-the-client")];
    let mut number = 0;
    for dialect in Dialect::ALL {
        for (name, value) in sent {
            provider.expect(Script::json(samples::whole(dialect, "Hello", &[])));
            let request = Request::whole(dialect).without("authorization").header(name, value);
            assert_eq!(gateway.call(Version::Http1, request).await.status, 200);
            assert_eq!(credentials(&provider.request(number).await), [(name, value)]);
            number += 1;
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_key_of_the_gateway_takes_the_place_of_the_clients() {
    let provider = Provider::start().await;
    let gateway = with_provider_key(&provider).start().await;
    for (number, dialect) in Dialect::ALL.into_iter().enumerate() {
        provider.expect(Script::json(samples::whole(dialect, "Hello", &[])));
        let request = Request::whole(dialect).header("x-api-key", "sk-of-the-client");
        assert_eq!(gateway.call(Version::Http2, request).await.status, 200);
        let received = provider.request(number).await;
        let sent = credentials(&received);
        assert!(sent.iter().any(|(_, value)| value.ends_with(PROVIDER_KEY)), "{dialect:?}: {sent:?}");
        assert!(sent.iter().all(|(_, value)| value.ends_with(PROVIDER_KEY)), "{dialect:?}: {sent:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_without_a_key_is_refused_in_its_dialect() {
    let provider = Provider::start().await;
    let gateway = with_provider_key(&provider).settings(KEYS).env("FAKE_CLIENT_KEY", CLIENT_KEY).start().await;
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            let request = Request::stream(dialect).without("authorization");
            let wrong = request.clone().header("authorization", "Bearer lk-somebody-else");
            for request in [request, wrong] {
                let answer = gateway.call(version, request).await;
                assert_eq!(answer.status, 401, "{}", answer.text());
                let told = errors::in_body(dialect, &answer);
                if dialect == Dialect::Anthropic {
                    assert_eq!(told.kind, "authentication_error");
                } else {
                    assert_eq!(told.code.as_deref(), Some("invalid_api_key"));
                }
                let text = answer.text();
                assert!(
                    !text.contains(CLIENT_KEY) && !text.contains(PROVIDER_KEY) && !text.contains("lk-somebody-else")
                );
            }
        }
    }
    assert!(provider.requests().is_empty());
    assert!(!gateway.output().contains(CLIENT_KEY) && !gateway.output().contains(PROVIDER_KEY));
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_key_opens_the_gateway_and_goes_no_further() {
    let provider = Provider::start().await;
    let own = with_provider_key(&provider).settings(KEYS).env("FAKE_CLIENT_KEY", CLIENT_KEY).start().await;
    let none = Gateway::with(&provider).settings(KEYS).env("FAKE_CLIENT_KEY", CLIENT_KEY).start().await;
    let mut number = 0;
    for gateway in [&own, &none] {
        for dialect in Dialect::ALL {
            for (name, value) in
                [("authorization", format!("Bearer {CLIENT_KEY}")), ("x-api-key", CLIENT_KEY.to_owned())]
            {
                provider.expect(Script::json(samples::whole(dialect, "Hello", &[])));
                let request = Request::whole(dialect).without("authorization").header(name, &value);
                assert_eq!(gateway.call(Version::Http1, request).await.status, 200);
                let received = provider.request(number).await;
                let leaked = received.headers.iter().find(|(_, value)| value.contains(CLIENT_KEY));
                assert_eq!(leaked, None, "{dialect:?}");
                number += 1;
            }
        }
    }
    own.stop().await;
    none.stop().await;
}

#[tokio::test]
async fn either_takes_a_client_key_or_leaves_it_to_the_provider() {
    let provider = Provider::start().await;
    let clients = "clients: { auth: either, keys: [{ name: alice, env: FAKE_CLIENT_KEY }] }";
    let gateway = Gateway::with(&provider).settings(clients).env("FAKE_CLIENT_KEY", CLIENT_KEY).start().await;
    provider.otherwise(Script::json(samples::whole(Dialect::OpenaiChat, "Hello", &[])));
    for (number, key) in [CLIENT_KEY, "sk-of-the-client"].into_iter().enumerate() {
        let request = Request::whole(Dialect::OpenaiChat).header("authorization", &format!("Bearer {key}"));
        assert_eq!(gateway.call(Version::Http1, request).await.status, 200);
        let forwarded = !credentials(&provider.request(number).await).is_empty();
        assert_eq!(forwarded, key != CLIENT_KEY);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn either_lends_no_key_of_the_gateway_to_somebody_unknown() {
    let provider = Provider::start().await;
    let clients = "clients: { auth: either, keys: [{ name: alice, env: FAKE_CLIENT_KEY }] }";
    let gateway = with_provider_key(&provider).settings(clients).env("FAKE_CLIENT_KEY", CLIENT_KEY).start().await;
    let dialect = Dialect::OpenaiChat;
    for request in [
        Request::whole(dialect).without("authorization"),
        Request::whole(dialect).header("authorization", "Bearer sk-of-somebody"),
    ] {
        assert_eq!(gateway.call(Version::Http1, request).await.status, 401);
    }
    assert!(provider.requests().is_empty());
    provider.expect(Script::json(samples::whole(dialect, "Hello", &[])));
    let request = Request::whole(dialect).header("authorization", &format!("Bearer {CLIENT_KEY}"));
    assert_eq!(gateway.call(Version::Http1, request).await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn a_key_file_that_changes_or_goes_revokes_its_key() {
    let provider = Provider::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("alice");
    fs::write(&file, CLIENT_KEY).unwrap();
    let clients = format!("clients: {{ auth: keys, keys: [{{ name: alice, file: {} }}] }}", file.display());
    let gateway = with_provider_key(&provider).settings(&clients).start().await;
    provider.otherwise(Script::json(samples::whole(Dialect::OpenaiChat, "Hello", &[])));
    let answers = async |key: &str, status: u16| {
        within(SOON, &format!("{status} for {key}"), async {
            loop {
                let request = Request::whole(Dialect::OpenaiChat).header("authorization", &format!("Bearer {key}"));
                if gateway.call(Version::Http1, request).await.status == status {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    answers(CLIENT_KEY, 200).await;
    fs::write(&file, "lk-the-next").unwrap();
    answers(CLIENT_KEY, 401).await;
    answers("lk-the-next", 200).await;
    fs::remove_file(&file).unwrap();
    answers("lk-the-next", 401).await;
    gateway.stop().await;
}
