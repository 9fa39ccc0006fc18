//! Luthien behind the Envoys of Envoy Gateway and Istio, as far as they can be had without a cluster: what their control planes
//! make of the chart's templates, in a real Envoy.

use serde_json::Value;

use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        SOON,
        attached::{Attached, Shape},
        client::{End, Request, Version},
        errors,
        samples::{self, CALLS},
        within,
    },
};

/// The providers `anthropic` and `openai`.
async fn providers() -> (Provider, Provider) {
    (Provider::start().await, Provider::start().await)
}

/// Where a dialect's calls go.
fn of(dialect: Dialect, (anthropic, openai): &(Provider, Provider)) -> (&Provider, &'static str) {
    match dialect {
        Dialect::Anthropic => (anthropic, "api.anthropic.test"),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => (openai, "api.openai.test"),
    }
}

/// How many requests came to any provider.
fn asked((anthropic, openai): &(Provider, Provider)) -> usize {
    anthropic.requests().len() + openai.requests().len()
}

#[tokio::test]
async fn every_dialect_reaches_its_provider_by_the_route_that_luthien_names() {
    for shape in Shape::ALL {
        let providers = providers().await;
        let attached = Attached::start(shape, &providers.0, &providers.1, "policies: []\n", "").await;
        for version in Version::BOTH {
            for dialect in Dialect::ALL {
                let (provider, host) = of(dialect, &providers);
                let whole = samples::whole(dialect, "Hello", &[]);
                let stream = samples::text(dialect, &["Hello", ", world"]);
                for (request, script, body) in [
                    (Request::whole(dialect), Script::json(whole.clone()), whole.clone()),
                    (Request::stream(dialect), Script::sse(stream.clone()), stream.clone()),
                ] {
                    provider.expect(script);
                    let number = provider.requests().len();
                    // What a client says of the upstream, or of retries, is nobody's business.
                    let other = if dialect == Dialect::Anthropic { "openai" } else { "anthropic" };
                    let request = request.header("x-luthien-upstream", other).header("x-envoy-retry-on", "5xx");
                    let answer = attached.call(version, request).await;
                    assert_eq!((answer.status, answer.text()), (200, body), "{shape:?} {dialect:?} {version:?}");
                    let received = provider.request(number).await;
                    assert_eq!(received.header("host"), Some(host), "{shape:?}");
                    for hidden in ["x-luthien-upstream", "x-envoy-retry-on", "x-forwarded-for", "x-request-id"] {
                        assert_eq!(received.header(hidden), None, "{shape:?}: {hidden} reached the provider");
                    }
                }
            }
        }
        attached.stop().await;
    }
}

#[tokio::test]
async fn a_tool_call_is_blocked_and_a_stall_ends_with_the_dialects_error() {
    let policy = "policies: [{ name: no-deletes, type: tool_filter, config: { deny: [\"rm_*\"] } }]\n";
    for shape in Shape::ALL {
        let providers = providers().await;
        let more = "timeouts: { stall: 1s, keepalive: 30s }";
        let attached = Attached::start(shape, &providers.0, &providers.1, policy, more).await;
        for dialect in Dialect::ALL {
            let (provider, _) = of(dialect, &providers);
            provider.expect(Script::json(samples::whole(dialect, "", &CALLS)));
            let answer = attached.call(Version::Http2, Request::whole(dialect)).await.text();
            assert!(answer.contains("read_file") && answer.contains("list_files"), "{shape:?}: {answer}");
            assert!(!answer.contains("rm_tree"), "{shape:?}: {answer}");

            let number = provider.requests().len();
            provider.expect(Script::sse(samples::open_text(dialect, &["Hello"])).hang());
            let answer = attached.call(Version::Http1, Request::stream(dialect)).await;
            assert!(errors::at_end(dialect, &answer).message.contains("1s"), "{}", answer.text());
            provider.request(number).await.abandoned(SOON).await;
        }
        attached.stop().await;
    }
}

#[tokio::test]
async fn nothing_reaches_a_provider_that_luthien_did_not_send_there() {
    for shape in Shape::ALL {
        let providers = providers().await;
        let mut attached = Attached::start(shape, &providers.0, &providers.1, "policies: []\n", "").await;
        for provider in [&providers.0, &providers.1] {
            provider.otherwise(Script::json("{}"));
        }
        // A path of no dialect, an upgrade, and an upstream that Envoy has no route for.
        let refused = attached.call(Version::Http1, Request::post("/v1/unheard-of", "{}")).await;
        assert_eq!(refused.status, 404, "{shape:?}: {}", refused.text());
        for path in ["/v1/realtime", "/v1/responses", "/v1/models"] {
            let upgrade = Request::new("GET", path)
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("sec-websocket-version", "13")
                .header("x-luthien-upstream", "openai");
            let answer = attached.call(Version::Http1, upgrade).await;
            assert!(matches!(answer.status, 403 | 404 | 426), "{shape:?} {path}: {} {}", answer.status, answer.text());
        }
        let unrouted = attached.call(Version::Http2, Request::call(Dialect::OpenaiChat, "unrouted", true)).await;
        assert_eq!(unrouted.status, 502, "{shape:?}: {}", unrouted.text());
        let told = errors::in_body(Dialect::OpenaiChat, &unrouted).message;
        assert!(told.contains("no route for the upstream unrouted"), "{told}");

        attached.kill_luthien().await;
        for version in Version::BOTH {
            for dialect in Dialect::ALL {
                let answer = attached.call(version, Request::stream(dialect)).await;
                assert!(answer.status >= 500, "{shape:?}: {} {}", answer.status, answer.text());
            }
        }
        assert_eq!(asked(&providers), 0, "{shape:?}");
        attached.stop().await;
    }
}

#[tokio::test]
async fn the_doctor_finds_only_the_upstream_without_a_route() {
    for shape in Shape::ALL {
        let providers = providers().await;
        let attached = Attached::start(shape, &providers.0, &providers.1, "policies: []\n", "").await;
        let output = attached.doctor().await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let told: Vec<_> = report["findings"].as_array().unwrap().iter().map(|told| told["check"].clone()).collect();
        assert_eq!(told, ["unknown-upstream"], "{shape:?}: {report:#}");
        assert!(report["findings"][0]["why"].as_str().unwrap().contains("`unrouted`"), "{report:#}");
        assert_eq!(output.status.code(), Some(1));
        attached.stop().await;
    }
}

/// Envoy's connections are long: they have to be asked to end, or new calls come to the one that goes.
#[tokio::test]
async fn new_calls_go_to_the_next_luthien_while_a_stream_ends_with_the_first() {
    let providers = providers().await;
    let mut attached = Attached::start(Shape::EnvoyGateway, &providers.0, &providers.1, "policies: []\n", "").await;
    let (gate, dialect) = (Gate::new(), Dialect::Anthropic);
    let (mut text, open) = samples::Text::open(dialect, &["Hello"]);
    let rest = text.delta(" again") + &text.close();
    let whole = format!("{open}{rest}");
    providers.0.expect(Script::sse(open).wait(&gate).then(rest));
    let mut stream = attached.send(Version::Http2, Request::stream(dialect)).await;
    let read = stream.until("Hello").await;

    let mut first = attached.replace_luthien().await;
    for _ in 0..5 {
        let body = samples::text(dialect, &["Hi"]);
        providers.0.expect(Script::sse(body.clone()));
        let answer = attached.call(Version::Http1, Request::stream(dialect)).await;
        assert_eq!((answer.status, answer.text()), (200, body));
    }
    assert!(first.try_wait().expect("a child").is_none(), "the first one still has its stream");
    gate.open();
    let answer = stream.finish_after(read).await;
    assert_eq!((answer.text(), answer.end), (whole, End::Clean));
    assert!(within(SOON, "the first one", first.wait()).await.expect("a child").success());
    attached.stop().await;
}
