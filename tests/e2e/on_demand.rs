//! `extproc.bodies: when_needed`: Envoy sends no body by itself. What policies read is read as always, and what passes unread never
//! comes to Luthien.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        SOON,
        client::{End, Request, Version, call_body},
        errors,
        gateway::{Builder, Gateway},
        samples::{self, Text},
        within,
    },
    records::recorded,
};

const ON_DEMAND: &str = "extproc: { bodies: when_needed }";

/// Makes requests and answers longer and shorter.
const CHANGING: &str = "
policies:
  - name: longer
    type: string_replacement
    config: { apply_to: both, replacements: { short-word: a-word-that-is-very-much-longer } }
  - name: shorter
    type: string_replacement
    config: { apply_to: both, replacements: { 'a-word-to-be-taken-out': '' } }
";

/// Makes a request too large to be sent, and refuses an answer.
const STOPPING: &str = "
policies:
  - name: asked
    type: string_replacement
    config: { apply_to: request, replacements: { x-forbidden-x: LONG } }
  - name: answered
    type: blocked_content
    config: { patterns: [forbidden-answer], on_match: refuse }
";

fn on_demand(provider: &Provider) -> Builder {
    Gateway::with(provider).settings(ON_DEMAND)
}

/// A call that says this.
fn saying(dialect: Dialect, text: &str, stream: bool) -> String {
    let mut body = call_body(dialect, "m", stream);
    if dialect == Dialect::OpenaiResponses {
        body["input"] = text.into();
    } else {
        body["messages"][0]["content"] = text.into();
    }
    body.to_string()
}

/// How many messages with a part of a body came to Luthien, of this direction.
async fn chunks(gateway: &Gateway, direction: &str) -> u64 {
    let metrics = gateway.admin(Request::new("GET", "/metrics")).await.text();
    let name = format!("luthien_chunk_overhead_seconds_count{{direction=\"{direction}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn what_policies_change_fits_in_both_directions() {
    let provider = Provider::start().await;
    let gateway = on_demand(&provider).policy(CHANGING).start().await;
    let (short, long) = ("short-word", "a-word-that-is-very-much-longer");
    let mut number = 0;
    for dialect in Dialect::ALL {
        for version in Version::BOTH {
            for (said, expected) in [(short, long), ("a-word-to-be-taken-out.", "."), ("as it is", "as it is")] {
                let context = format!("{dialect:?} over {version:?}: {said}");
                for stream in [true, false] {
                    let script = if stream {
                        Script::sse_in_pieces(samples::text(dialect, &["He said: ", said]).as_bytes(), 7)
                    } else {
                        // With its length, and later in chunks.
                        Script::json(samples::whole(dialect, said, &[]))
                    };
                    provider.expect(script);
                    let request = Request::post(dialect.path(), saying(dialect, said, stream));
                    let answer = gateway.call(version, request).await;
                    assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{context}: {}", answer.text());
                    assert!(answer.text().contains(expected), "{context}: {}", answer.text());
                    assert_eq!(answer.header("content-length"), None, "{context}");
                    let received = provider.request(number).await;
                    assert_eq!(received.body, saying(dialect, expected, stream), "{context}");
                    assert_eq!(received.header("content-length"), None, "{context}");
                    number += 1;
                }
            }
        }
    }
    gateway.stop().await;
}

/// A client that was left waiting would reuse its connection; so the next call says whether lengths were right.
#[tokio::test]
async fn a_large_request_may_become_longer_and_shorter() {
    let provider = Provider::start().await;
    let gateway = on_demand(&provider).policy(CHANGING).start().await;
    let fill = "x".repeat(1 << 20);
    let mut number = 0;
    for version in Version::BOTH {
        for (said, expected) in [("short-word", "a-word-that-is-very-much-longer"), ("a-word-to-be-taken-out", "")] {
            provider.expect(Script::json(samples::whole(Dialect::Anthropic, "Hello", &[])));
            let request = Request::post("/v1/messages", saying(Dialect::Anthropic, &format!("{fill} {said}"), false));
            let answer = gateway.call(version, request).await;
            assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
            let received = provider.request(number).await;
            assert!(received.body == saying(Dialect::Anthropic, &format!("{fill} {expected}"), false), "{said}");
            number += 1;
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_call_is_stopped_before_it_is_sent_and_in_its_answer() {
    let provider = Provider::start().await;
    let policy = STOPPING.replace("LONG", &"x".repeat(5_000));
    let gateway = on_demand(&provider).policy(&policy).settings("limits: { synthetic: 4KiB }").start().await;
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            let before = provider.requests().len();
            let asked = saying(dialect, "x-forbidden-x", true);
            let answer = gateway.call(version, Request::post(dialect.path(), asked)).await;
            assert_eq!((answer.status, provider.requests().len()), (502, before), "{}", answer.text());
            errors::in_body(dialect, &answer);

            let (mut text, start) = Text::open(dialect, &["It begins. "]);
            let gate = Gate::new();
            let rest = text.delta("forbidden-answer") + &text.delta(" and the rest") + &text.close();
            provider.expect(Script::sse(start).wait(&gate).then(rest));
            let mut response = gateway.send(version, Request::stream(dialect)).await;
            let begun = response.until("It ").await;
            gate.open();
            let answer = response.finish_after(begun).await;
            assert_eq!(answer.end, End::Clean, "{}", answer.text());
            assert!(
                !answer.text().contains("forbidden-answer") && !answer.text().contains("rest"),
                "{}",
                answer.text()
            );
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn requests_without_a_body_and_with_an_empty_one_are_answered() {
    let provider = Provider::start().await;
    let gateway = on_demand(&provider).policy(CHANGING).start().await;
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            let answer = gateway.call(version, Request::post(dialect.path(), "")).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
            errors::in_body(dialect, &answer);
        }
        assert!(provider.requests().is_empty());
    }
    // An answer that the provider kept is asked for without a body, and goes through policies.
    let dialect = Dialect::OpenaiResponses;
    for version in Version::BOTH {
        provider.expect(Script::json(samples::whole(dialect, "short-word", &[])));
        let answer = gateway.call(version, Request::new("GET", "/v1/responses/resp_1")).await;
        assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
        assert!(answer.text().contains("very-much-longer"), "{}", answer.text());
    }
    gateway.stop().await;
}

/// Envoy would send the body before them twice.
#[tokio::test]
async fn a_request_with_trailers_is_refused() {
    let provider = Provider::start().await;
    for settings in [ON_DEMAND, "extproc: { bodies: always }"] {
        let gateway = Gateway::with(&provider).settings(settings).policy(CHANGING).start().await;
        let socket = TcpStream::connect(gateway.listen()).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        let head = http::Request::post(format!("{}/v1/messages", gateway.url()))
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let (answer, mut upload) = sender.ready().await.unwrap().send_request(head, false).unwrap();
        upload.send_data(Bytes::from(saying(Dialect::Anthropic, "short-word", false)), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-trailer", "last".parse().unwrap());
        upload.send_trailers(trailers).unwrap();
        assert_eq!(within(SOON, "the refusal", answer).await.unwrap().status(), 400, "{settings}");
        gateway.stop().await;
    }
    assert!(provider.requests().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_provider() {
    let provider = Provider::start().await;
    let gateway =
        on_demand(&provider).policy(CHANGING).settings("unpoliced: { pass: [\"POST /v1/files\"] }").start().await;
    let mut number = 0;
    for version in Version::BOTH {
        for path in ["/v1/messages", "/v1/files"] {
            provider.expect(Script::sse(samples::open_text(Dialect::Anthropic, &["Hello. "])).hang());
            let request = Request { path: path.to_owned(), ..Request::stream(Dialect::Anthropic) };
            let mut response = gateway.send(version, request).await;
            response.until("Hello").await;
            drop(response);
            provider.request(number).await.abandoned(Duration::from_secs(5)).await;
            number += 1;
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_killed_gateway_lets_nothing_through() {
    let provider = Provider::start().await;
    for version in Version::BOTH {
        let mut gateway = on_demand(&provider).policy(CHANGING).start().await;
        let gate = Gate::new();
        let (mut text, start) = Text::open(Dialect::Anthropic, &["Hello. "]);
        let rest = text.delta("a-word-to-be-taken-out") + &text.close();
        provider.expect(Script::sse(start).wait(&gate).then(rest));
        let mut response = gateway.send(version, Request::stream(Dialect::Anthropic)).await;
        response.until("Hello").await;
        gateway.kill9().await;
        gate.open();
        let answer = response.finish().await;
        assert_ne!(answer.end, End::Clean, "{}", answer.text());
        assert!(!answer.text().contains("taken-out"), "{}", answer.text());
        gateway.nothing_left().await;
    }
}

#[tokio::test]
async fn what_passes_unread_never_comes_to_luthien() {
    let provider = Provider::start().await;
    let settings = format!("{ON_DEMAND}\nunpoliced: {{ pass: [\"POST /v1/files\", \"GET /v1/models*\"] }}");
    for (bodies, comes) in [(settings.as_str(), false), (settings.replace("when_needed", "always").as_str(), true)] {
        let gateway = Gateway::with(&provider).policy(CHANGING).settings(bodies).start().await;
        for version in Version::BOTH {
            // With its length, in pieces, and with an end that only HTTP/2 tells.
            for script in [Script::json("a short-word"), Script::sse_in_pieces(b"a short-word", 3)] {
                let number = provider.requests().len();
                provider.expect(script.header("x-luthien-policy", "forged").header("x-envoy-forged", "1"));
                let body = "short-word ".repeat(100_000);
                let request = Request::post("/v1/files", body.clone())
                    .header("x-luthien-upstream", "forged")
                    .header("x-http-method-override", "DELETE");
                let answer = gateway.call(version, request).await;
                assert_eq!((answer.status, &answer.end), (200, &End::Clean));
                assert_eq!(answer.text(), "a short-word");
                // What Luthien does with headers it does as always.
                assert!(answer.header("x-luthien-call-id").is_some(), "{:?}", answer.headers);
                assert_eq!((answer.header("x-luthien-policy"), answer.header("x-envoy-forged")), (None, None));
                let received = provider.request(number).await;
                assert!(received.body == body, "{version:?}");
                assert_eq!(received.header("x-http-method-override"), None);
                assert!(!received.headers.iter().any(|(name, _)| name.starts_with("x-luthien")));
            }
            let number = provider.requests().len();
            provider.expect(Script::json("{\"object\":\"list\",\"data\":[]}"));
            assert_eq!(gateway.call(version, Request::new("GET", "/v1/models")).await.status, 200);
            assert_eq!(provider.request(number).await.path, "/v1/models");
        }
        let came = (chunks(&gateway, "request").await, chunks(&gateway, "response").await);
        assert_eq!((came.0 > 0, came.1 > 0), (comes, comes), "{came:?} with {bodies}");
        gateway.metric_is("luthien_calls_in_flight", |calls| calls == 0.0).await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn calls_that_nothing_has_to_read_pass_until_a_policy_can_run_on_them() {
    let provider = Provider::start().await;
    let settings = "unpoliced: { calls: pass }\nrecording: { level: off }";
    let gateway = on_demand(&provider).settings(settings).start().await;
    for (version, dialect) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
        provider.expect(Script::sse_in_pieces(samples::text(dialect, &["short-word"]).as_bytes(), 7));
        let answer = gateway.call(version, Request::stream(dialect)).await;
        assert_eq!((answer.status, &answer.end), (200, &End::Clean));
        assert_eq!(answer.text(), samples::text(dialect, &["short-word"]));
    }
    assert_eq!((chunks(&gateway, "request").await, chunks(&gateway, "response").await), (0, 0));
    let first = gateway.readyz("the first rules", |_| true).await["rules"]["hash"].clone();
    std::fs::write(gateway.rules(), CHANGING).unwrap();
    gateway.readyz("the second rules", |state| state["rules"]["hash"] != first).await;
    provider.expect(Script::sse(samples::text(Dialect::Anthropic, &["short-word"])));
    let answer = gateway.call(Version::Http1, Request::stream(Dialect::Anthropic)).await;
    assert!(answer.text().contains("very-much-longer"), "{}", answer.text());
    gateway.stop().await;
}

/// As of every call that passes unread, no text is recorded; the rest is.
#[tokio::test]
async fn an_error_that_passes_unread_arrives_and_is_recorded_by_its_status() {
    let provider = Provider::start().await;
    let settings = "unpoliced: { pass: [\"POST /v1/files\"] }";
    let gateway = on_demand(&provider).settings(settings).start().await;
    for version in Version::BOTH {
        for script in [Script::json("no such purpose"), Script::sse_in_pieces(b"no such purpose", 4)] {
            provider.expect(script.status(400));
            let answer = gateway.call(version, Request::post("/v1/files", "{}")).await;
            assert_eq!((answer.status, answer.text().as_str(), &answer.end), (400, "no such purpose", &End::Clean));
            let record = recorded(&gateway, answer.header("x-luthien-call-id").unwrap()).await;
            assert_eq!((&record["outcome"], &record["status"]), (&"upstream_error".into(), &400.into()), "{record}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_list_of_models_is_told_in_the_clients_words() {
    let provider = Provider::start().await;
    let upstreams = format!(
        "- {{ name: only, url: \"{}\", dialects: [openai_chat], aliases: {{ claude-alias: gpt-x }} }}\n",
        provider.url()
    );
    let gateway = on_demand(&provider).upstreams(&upstreams).start().await;
    for version in Version::BOTH {
        provider.expect(Script::json(
            "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-x\",\"object\":\"model\",\"created\":1,\"owned_by\":\"x\"}]}",
        ));
        let request = Request::new("GET", "/v1/models").header("anthropic-version", "2023-06-01");
        let answer = gateway.call(version, request).await;
        assert_eq!((answer.status, &answer.end), (200, &End::Clean));
        assert!(answer.text().contains("claude-alias") && answer.text().contains("has_more"), "{}", answer.text());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_disguised_path_is_refused() {
    let provider = Provider::start().await;
    let gateway = on_demand(&provider).settings("unpoliced: { otherwise: pass }").start().await;
    for version in Version::BOTH {
        for path in ["/v1/messages/", "/V1/Messages", "/v1/%256dessages", "/chat/completions"] {
            let answer = gateway.call(version, Request { path: path.to_owned(), ..Request::post(path, "{}") }).await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        }
    }
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}
