//! The fakes, the clients and the SDK drivers checked against each other, with no gateway between them.

use std::time::Duration;

use crate::{
    common::streams::{self, Dialect},
    fakes::{
        link::{Link, Weather},
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        SOON,
        client::{self, End, Request, Version},
        samples::{self, CALLS},
        sdk::{Job, Mode, Outcome, Sdk},
        sse,
    },
};

async fn send(provider: &Provider, request: Request) -> client::Response {
    client::send(Version::Http1, provider.address(), request).await
}

#[tokio::test]
async fn a_script_is_replayed_byte_for_byte_at_any_chunking() {
    let provider = Provider::start().await;
    let vector = streams::vector("anthropic/10-parallel-tools-split-escapes");
    for size in [1, 7, 64, usize::MAX] {
        provider.expect(Script::sse_in_pieces(&vector.bytes, size));
        let answer = send(&provider, Request::stream(Dialect::Anthropic)).await.finish().await;
        assert_eq!((answer.status, answer.end), (200, End::Clean));
        assert_eq!(answer.body, vector.bytes);
    }
}

#[tokio::test]
async fn a_request_is_recorded_as_it_came() {
    let provider = Provider::start().await;
    provider.expect(Script::json("{}").status(201).header("x-mark", "1"));
    let body = "x".repeat(3 << 20);
    let request = Request::post("/v1/messages?beta=true", body.clone()).header("x-extra", "yes");
    let answer = send(&provider, request).await.finish().await;
    assert_eq!((answer.status, answer.header("x-mark"), &answer.end), (201, Some("1"), &End::Clean));
    let received = provider.request(0).await;
    assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/v1/messages?beta=true"));
    assert_eq!((received.header("x-extra"), received.body.len()), (Some("yes"), body.len()));
    assert_eq!(received.body, body);
}

#[tokio::test]
async fn scripts_are_picked_by_model_then_in_order_then_by_default() {
    let provider = Provider::start().await;
    provider.on_model("m", Script::json("\"model\""));
    provider.expect(Script::json("\"queued\""));
    provider.otherwise(Script::json("\"default\""));
    for (model, wanted) in [("m", "model"), ("other", "queued"), ("other", "default"), ("m", "model")] {
        let request = Request::call(Dialect::OpenaiChat, model, false);
        assert_eq!(send(&provider, request).await.finish().await.json(), wanted);
    }
    assert_eq!(provider.requests().len(), 4);
}

#[tokio::test]
async fn a_broken_answer_is_seen_as_broken() {
    let provider = Provider::start().await;
    let gate = Gate::new();
    provider.expect(Script::sse("one").wait(&gate).reset());
    provider.expect(Script::sse("one").cut());
    for _ in 0..2 {
        let mut response = send(&provider, Request::stream(Dialect::OpenaiChat)).await;
        response.until("one").await;
        gate.open();
        assert!(matches!(response.finish().await.end, End::Cut(_)));
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let provider = Provider::start().await;
    provider.expect(Script::sse("one").hang());
    provider.expect(Script::silence());
    let mut response = send(&provider, Request::stream(Dialect::OpenaiChat)).await;
    response.until("one").await;
    drop(response);
    provider.request(0).await.abandoned(SOON).await;

    let request = send(&provider, Request::stream(Dialect::OpenaiChat));
    tokio::select! {
        _ = request => panic!("the provider was told to say nothing"),
        _ = provider.request(1) => {}
    }
    provider.request(1).await.abandoned(SOON).await;
}

#[tokio::test]
async fn a_gate_holds_what_comes_after_it() {
    let provider = Provider::start().await;
    let gate = Gate::new();
    provider.expect(Script::sse("one").wait(&gate).then("two").pause(Duration::from_millis(1)).then("three"));
    let mut response = send(&provider, Request::stream(Dialect::OpenaiChat)).await;
    assert_eq!(response.until("one").await, "one");
    gate.open();
    assert_eq!(response.finish().await.body, "twothree");
}

#[test]
fn events_are_read_with_and_without_names() {
    let events = sse::events(&"event: a\ndata: {\"x\":1}\n\n: note\n\ndata: [DONE]\n\n".into());
    assert_eq!(events.len(), 2);
    assert_eq!((events[0].name.as_deref(), &events[0].json()["x"]), (Some("a"), &serde_json::json!(1)));
    assert_eq!((events[1].name.as_deref(), events[1].data.as_str()), (None, "[DONE]"));
}

/// Each vector, read by the SDKs straight from the provider, gives what `expected.json` says of it, with nothing
/// normalised. What the SDKs make of it through the gateway can therefore be compared with the same file.
#[tokio::test]
async fn the_sdks_read_every_vector_as_expected() {
    let provider = Provider::start().await;
    let vectors = Dialect::ALL.map(streams::vectors).concat();
    for vector in &vectors {
        provider.on_model(&vector.name, Script::sse(vector.bytes.clone()));
    }
    let jobs: Vec<Job> =
        vectors.iter().map(|vector| Job::new(vector.dialect, &provider.url(), Mode::Both, &vector.name)).collect();
    for sdk in Sdk::BOTH {
        for (vector, outcome) in vectors.iter().zip(sdk.run(&jobs).await) {
            assert_eq!(outcome, Outcome::expected(vector.expected(sdk.key())), "{} in {sdk:?}", vector.name);
        }
    }
}

/// What the tests make up is what a provider may send: the helpers accumulate the stream to the body.
#[tokio::test]
async fn the_sdks_read_every_sample() {
    let provider = Provider::start().await;
    for dialect in Dialect::ALL {
        provider.on_model("text", Script::sse(samples::text(dialect, &["Work", "ing."])));
        provider.on_model("tools", Script::sse(samples::tools(dialect, "Working.", &CALLS)));
        provider.on_model("whole", Script::json(samples::whole(dialect, "Working.", &CALLS)));
        let job = |mode, model| Job::new(dialect, &provider.url(), mode, model);
        let jobs = [job(Mode::Both, "text"), job(Mode::Both, "tools"), job(Mode::Json, "whole")];
        for sdk in Sdk::BOTH {
            let outcomes = sdk.run(&jobs).await;
            for (outcome, has_calls) in outcomes.iter().zip([false, true, true]) {
                let context = format!("{dialect:?} in {sdk:?}: {outcome:?}");
                assert_eq!((&outcome.raw_error, &outcome.helper_error), (&None, &None), "{context}");
                let message = outcome.message.as_ref().unwrap_or_else(|| panic!("{context}")).to_string();
                assert!(message.contains("Working."), "{context}");
                assert!(
                    CALLS.iter().all(|(id, name, _)| (message.contains(id) && message.contains(name)) == has_calls)
                );
            }
        }
    }
}

/// Asks over a link: the answer, or how it failed.
async fn ask_over(link: &Link) -> Result<client::Answer, String> {
    let address = link.url().strip_prefix("http://").unwrap().parse().unwrap();
    let response = client::try_send(Version::Http1, address, Request::whole(Dialect::OpenaiChat)).await?;
    Ok(response.finish().await)
}

#[tokio::test]
async fn a_link_fails_as_it_is_told_and_works_again() {
    let provider = Provider::start().await;
    provider.otherwise(Script::json("x".repeat(1000)));
    let link = Link::to(provider.address()).await;
    let works = async || {
        let answer = ask_over(&link).await.unwrap();
        assert_eq!((answer.status, answer.end, answer.body.len()), (200, End::Clean, 1000));
    };
    works().await;
    link.kill().await;
    let refused = ask_over(&link).await.unwrap_err();
    assert!(refused.contains("refused"), "{refused}");
    link.revive().await;
    works().await;
    link.set(Weather::Refusing);
    let reset = ask_over(&link).await.unwrap_err();
    assert!(reset.contains("reset") || reset.contains("closed"), "{reset}");
    link.set(Weather::Slow);
    works().await;
    link.set(Weather::Garbage);
    assert!(ask_over(&link).await.is_err());
    link.set(Weather::Fair);
    works().await;
}

#[tokio::test]
async fn a_link_that_stands_still_goes_on_and_one_that_is_reset_does_not() {
    let (provider, gate) = (Provider::start().await, Gate::new());
    let link = Link::to(provider.address()).await;
    provider.expect(Script::json("").then("first").wait(&gate).then("second"));
    link.set(Weather::Still);
    let asked = ask_over(&link);
    tokio::pin!(asked);
    // It does not even get there.
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut asked).await.is_err());
    assert_eq!(provider.requests().len(), 0);
    link.set(Weather::Fair);
    gate.open();
    assert_eq!(asked.await.unwrap().text(), "firstsecond");
    let (gate, reached) = (Gate::new(), Gate::new());
    provider.expect(Script::json("").then("first").reach(&reached).wait(&gate).then("second"));
    let reset = async {
        reached.passed().await;
        link.reset();
    };
    let (answer, ()) = tokio::join!(ask_over(&link), reset);
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.end != End::Clean));
}
