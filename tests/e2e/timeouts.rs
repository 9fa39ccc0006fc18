//! The clocks. Limits are short; what may not fire is far from its limit, and what must fire has a generous bound.

use std::time::{Duration, Instant};

use bytes::Bytes;
use regex::Regex;

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        SOON,
        client::{End, Request, Version},
        errors,
        gateway::Gateway,
        samples::{self, Text},
    },
};

/// A second is plenty to cancel what the client no longer waits for.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Fails unless a message names the limit and a second duration, the time that has passed.
fn tells_limit_and_elapsed(message: &str, limit: &str) {
    let durations = Regex::new(r"\b\d+(\.\d+)?\s?(s|ms|seconds?)\b").unwrap();
    let found: Vec<&str> = durations.find_iter(message).map(|found| found.as_str()).collect();
    assert!(
        found.contains(&limit) && found.len() >= 2,
        "{message:?} tells of {found:?}, not of the limit {limit} and more"
    );
}

#[tokio::test]
async fn a_provider_that_never_answers_becomes_a_504() {
    let provider = Provider::start().await;
    let settings = "timeouts: { first_byte: 1s, first_byte_json: 1s }";
    let gateway = Gateway::with(&provider).settings(settings).start().await;
    let mut number = 0;
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            for request in [Request::stream(dialect), Request::whole(dialect)] {
                provider.expect(Script::silence());
                let start = Instant::now();
                let answer = gateway.call(version, request).await;
                let end = Instant::now();
                assert_eq!(answer.status, 504, "{}", answer.text());
                tells_limit_and_elapsed(&errors::in_body(dialect, &answer).message, "1s");
                assert!(end - start >= Duration::from_secs(1), "too early: {:?}", end - start);
                let left = provider.request(number).await.abandoned(SOON).await;
                assert!(left <= end + AT_ONCE, "the provider was left {:?} after the answer", left - end);
                number += 1;
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_head_without_a_body_is_no_first_byte() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).settings("timeouts: { first_byte: 1s }").start().await;
    provider.expect(Script::stream().hang());
    let answer = gateway.call(Version::Http1, Request::stream(Dialect::Anthropic)).await;
    assert_eq!(answer.status, 504);
    errors::in_body(Dialect::Anthropic, &answer);
    gateway.stop().await;
}

#[tokio::test]
async fn a_stall_ends_the_stream_with_an_error_and_leaves_the_provider() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).settings("timeouts: { stall: 1s }").start().await;
    let mut number = 0;
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            let sent = samples::open_text(dialect, &["Hello"]);
            provider.expect(Script::sse(sent.clone()).hang());
            let answer = gateway.call(version, Request::stream(dialect)).await;
            let end = Instant::now();
            assert!(answer.text().starts_with(&sent), "{}", answer.text());
            tells_limit_and_elapsed(&errors::at_end(dialect, &answer).message, "1s");
            let left = provider.request(number).await.abandoned(SOON).await;
            assert!(left <= end + AT_ONCE, "the provider was left {:?} after the stream", left - end);
            number += 1;
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_whole_answer_has_a_limit_too() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).settings("timeouts: { stall: 30s, total: 2s }").start().await;
    for (number, (version, dialect)) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL).enumerate() {
        let (mut text, start) = Text::open(dialect, &["Hello"]);
        let endless = (0..600)
            .fold(Script::sse(start), |script, _| script.pause(Duration::from_millis(100)).then(text.delta(" again")));
        provider.expect(endless);
        let start = Instant::now();
        let answer = gateway.call(version, Request::stream(dialect)).await;
        tells_limit_and_elapsed(&errors::at_end(dialect, &answer).message, "2s");
        assert!(start.elapsed() >= Duration::from_secs(2));
        assert!(answer.text().contains(" again"));
        provider.request(number).await.abandoned(SOON).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_provider_that_never_pauses_cannot_put_off_the_limit() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).settings("timeouts: { total: 1s }").start().await;
    for dialect in Dialect::ALL {
        // Far more than goes through in a second, and sent as fast as it is taken.
        let (mut text, start) = Text::open(dialect, &["Hello"]);
        let piece = Bytes::from(text.delta(&"again ".repeat(2000)).repeat(80));
        let flood = (0..1000).fold(Script::sse(start), |script, _| script.then(piece.clone()));
        provider.expect(flood);
        let answer = gateway.call(Version::Http1, Request::stream(dialect)).await;
        assert!(answer.body.len() < 900 * piece.len(), "the flood was over before the limit");
        let tail = answer.body.slice(answer.body.len().saturating_sub(2000)..);
        let tail = String::from_utf8_lossy(&tail);
        assert!(tail.contains("timeouts.total") && answer.end == End::Clean, "{tail}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn gaps_below_the_limits_never_fire() {
    let provider = Provider::start().await;
    let settings = "timeouts: { first_byte: 5s, stall: 5s, total: 60s }";
    let gateway = Gateway::with(&provider).settings(settings).start().await;
    // Longer in sum than either limit that each gap is measured by.
    let gap = Duration::from_millis(700);
    for (version, dialect) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
        let (mut text, mut sent) = Text::open(dialect, &["Hello"]);
        let mut script = Script::sse(sent.clone());
        for _ in 0..9 {
            let piece = text.delta(" again");
            script = script.pause(gap).then(piece.clone());
            sent += &piece;
        }
        let end = text.close();
        provider.expect(script.then(end.clone()));
        let answer = gateway.call(version, Request::stream(dialect)).await;
        assert_eq!((answer.status, &answer.end), (200, &End::Clean));
        assert_eq!(answer.text(), sent + &end);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_upstream_may_have_limits_of_its_own() {
    let provider = Provider::start().await;
    let upstream = format!(
        "- name: fake\n  url: {}\n  dialects: [openai_chat, openai_responses, anthropic_messages]\n  timeouts: {{ stall: 1s }}\n",
        provider.url()
    );
    let gateway = Gateway::with(&provider).upstreams(&upstream).settings("timeouts: { stall: 300s }").start().await;
    provider.expect(Script::sse(samples::open_text(Dialect::OpenaiChat, &["Hello"])).hang());
    let answer = gateway.call(Version::Http2, Request::stream(Dialect::OpenaiChat)).await;
    tells_limit_and_elapsed(&errors::at_end(Dialect::OpenaiChat, &answer).message, "1s");
    gateway.stop().await;
}
