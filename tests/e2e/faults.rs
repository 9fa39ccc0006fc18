//! What happens when something breaks: never a silent end, never an invented success, never unfiltered text.

use std::{net::TcpListener, time::Duration};

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
        sse,
    },
};

/// A policy that reads every text.
const WATCHES: &str = "
policies:
  - name: watch
    type: string_replacement
    config: { replacements: { 'secret-word': '[gone]' } }
";

#[tokio::test]
async fn a_provider_that_breaks_off_breaks_the_answer() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            for broken in [Script::reset, Script::cut] {
                let gate = Gate::new();
                provider.expect(broken(Script::sse(samples::open_text(dialect, &["Hello"])).wait(&gate)));
                let mut response = gateway.send(version, Request::stream(dialect)).await;
                response.until("Hello").await;
                gate.open();
                let answer = response.finish().await;
                assert_ne!(answer.end, End::Clean, "a broken stream ended as if it were whole: {}", answer.text());
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_without_its_end_gets_an_error() {
    let provider = Provider::start().await;
    for policy in ["policies: []", WATCHES] {
        let gateway = Gateway::with(&provider).policy(policy).start().await;
        for version in Version::BOTH {
            for dialect in Dialect::ALL {
                let sent = samples::open_text(dialect, &["Hello"]);
                provider.expect(Script::sse(sent.clone()));
                let answer = gateway.call(version, Request::stream(dialect)).await;
                errors::at_end(dialect, &answer);
                assert!(answer.text().starts_with(&sent), "{}", answer.text());
            }
        }
        gateway.stop().await;
    }
}

/// What has begun is told to have failed; of what has not, nothing is known to tell.
#[tokio::test]
async fn a_failure_before_any_event_is_a_bare_error() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).settings("timeouts: { stall: 1s }").start().await;
    for (version, dialect) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
        provider.expect(Script::sse(": not yet\n\n").hang());
        let answer = gateway.call(version, Request::stream(dialect)).await;
        let told = errors::at_end(dialect, &answer);
        assert_eq!(sse::events(&answer.body).len(), 1, "{}", answer.text());
        assert!(told.message.contains("stall"), "{told:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_event_that_is_not_json_ends_a_watched_stream() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(WATCHES).start().await;
    for (version, dialect) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
        let name = match dialect {
            Dialect::Anthropic => "event: content_block_delta\n",
            Dialect::OpenaiChat => "",
            Dialect::OpenaiResponses => "event: response.output_text.delta\n",
        };
        let (text, start) = Text::open(dialect, &["Hello"]);
        let end = text.close();
        provider.expect(Script::sse(format!("{start}{name}data: {{\"text\":\"secret-word\n\n{end}")));
        let answer = gateway.call(version, Request::stream(dialect)).await;
        errors::at_end(dialect, &answer);
        assert!(!answer.text().contains("secret-word"), "{}", answer.text());
        assert!(answer.text().contains("Hello"), "{}", answer.text());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_compressed_answer_is_refused() {
    // The head of a gzip member; whatever follows could not be read either.
    let gzip: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0x4c, 0x4a, 6, 0];
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(WATCHES).start().await;
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            provider.expect(Script::sse(gzip).header("content-encoding", "gzip"));
            let answer = gateway.call(version, Request::stream(dialect)).await;
            assert_eq!(answer.status, 502);
            errors::in_body(dialect, &answer);
            provider.expect(Script::json(gzip).header("content-encoding", "gzip"));
            let answer = gateway.call(version, Request::whole(dialect)).await;
            assert_eq!((answer.status, answer.header("content-encoding")), (502, None));
            errors::in_body(dialect, &answer);
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_event_over_the_limit_ends_the_stream() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(WATCHES).settings("limits: { event: 64KiB }").start().await;
    for (version, dialect) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
        let (mut text, start) = Text::open(dialect, &["Hello"]);
        let long = text.delta(&"x".repeat(100 << 10));
        provider.expect(Script::sse(start).then(long).then(text.close()));
        let answer = gateway.call(version, Request::stream(dialect)).await;
        errors::at_end(dialect, &answer);
        assert!(answer.body.len() < 64 << 10, "the event was sent all the same");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_whole_answer_over_the_limit_is_refused() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(WATCHES).settings("limits: { response_body: 64KiB }").start().await;
    for (version, dialect) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
        provider.expect(Script::json(samples::whole(dialect, &"x".repeat(100 << 10), &[])));
        let answer = gateway.call(version, Request::whole(dialect)).await;
        assert_eq!(answer.status, 502);
        errors::in_body(dialect, &answer);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_and_never_forwarded() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).settings("limits: { request_body: 1MiB }").start().await;
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(2 << 20));
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            let answer = gateway.call(version, Request::post(dialect.path(), body.clone())).await;
            assert_eq!(answer.status, 413, "{}", answer.text());
            errors::in_body(dialect, &answer);
        }
    }
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_that_is_not_json_is_refused_when_a_policy_has_to_read_it() {
    let provider = Provider::start().await;
    let policy = "policies: [{ name: block, type: blocked_content, config: { patterns: ['secret'], message: 'No.' } }]";
    let gateway = Gateway::with(&provider).policy(policy).start().await;
    for (version, dialect) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
        let answer = gateway.call(version, Request::post(dialect.path(), "{\"model\": \"m\", ")).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        errors::in_body(dialect, &answer);
    }
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_without_a_body_is_refused_or_passes_unread() {
    let provider = Provider::start().await;
    provider.otherwise(Script::json("{}"));
    for (settings, status) in [("", 400), ("unreadable: pass", 200)] {
        let gateway = Gateway::with(&provider).policy(WATCHES).settings(settings).start().await;
        for version in Version::BOTH {
            for dialect in Dialect::ALL {
                let answer = gateway.call(version, Request::post(dialect.path(), "")).await;
                assert_eq!(answer.status, status, "{dialect:?} over {version:?}: {}", answer.text());
                if status == 400 {
                    errors::in_body(dialect, &answer);
                }
            }
        }
        gateway.stop().await;
    }
    assert_eq!(provider.requests().len(), 6);
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_provider() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(WATCHES).start().await;
    let cases = Version::BOTH.into_iter().cycle().zip(Dialect::ALL);
    for (number, (version, dialect)) in cases.enumerate() {
        provider.expect(Script::sse(samples::open_text(dialect, &["Hello. "])).hang());
        let mut response = gateway.send(version, Request::stream(dialect)).await;
        response.until("Hello").await;
        drop(response);
        provider.request(number).await.abandoned(Duration::from_secs(5)).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_killed_gateway_breaks_the_answer_and_lets_nothing_through() {
    let provider = Provider::start().await;
    for version in Version::BOTH {
        let mut gateway = Gateway::with(&provider).policy(WATCHES).start().await;
        let gate = Gate::new();
        let dialect = Dialect::Anthropic;
        let (mut text, start) = Text::open(dialect, &["Hello. "]);
        let rest = text.delta("secret-word") + &text.close();
        provider.expect(Script::sse(start).wait(&gate).then(rest));
        let mut response = gateway.send(version, Request::stream(dialect)).await;
        response.until("Hello").await;
        gateway.kill9().await;
        gate.open();
        let answer = response.finish().await;
        assert_ne!(answer.end, End::Clean, "{}", answer.text());
        assert!(!answer.text().contains("secret-word"), "{}", answer.text());
        // Envoy asks the kernel to be told when its parent ends, and ends too.
        gateway.nothing_left().await;
    }
}

#[tokio::test]
async fn the_gateway_ends_with_its_envoy_and_says_so() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::with(&provider).start().await;
    gateway.kill_envoy();
    let status = gateway.exited(SOON).await;
    assert!(!status.success(), "ended with {status}");
    let output = gateway.output().to_lowercase();
    assert!(output.contains("envoy") && (output.contains("signal") || output.contains("exited")), "{output}");
    gateway.nothing_left().await;
}

#[tokio::test]
async fn a_provider_that_is_down_is_told_in_the_dialect() {
    // Nobody listens here any more.
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let gateway = Builder::at(&format!("http://{free}")).start().await;
    for version in Version::BOTH {
        for dialect in Dialect::ALL {
            for request in [Request::stream(dialect), Request::whole(dialect)] {
                let answer = gateway.call(version, request).await;
                assert!(matches!(answer.status, 502 | 503), "{}: {}", answer.status, answer.text());
                errors::in_body(dialect, &answer);
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_that_policies_make_too_large_never_reaches_the_provider() {
    let provider = Provider::start().await;
    let policy = format!(
        "policies:\n  - name: grow\n    type: string_replacement\n    config: {{ apply_to: request, replacements: {{ hello: {} }} }}\n",
        "x".repeat(5_000)
    );
    let gateway = Gateway::with(&provider).policy(&policy).settings("limits: { synthetic: 4KiB }").start().await;
    for dialect in Dialect::ALL {
        let mut body = call_body(dialect, "m", false);
        if dialect == Dialect::OpenaiResponses {
            body["input"] = "hello".into();
        } else {
            body["messages"][0]["content"] = "hello".into();
        }
        let request = Request::post(dialect.path(), body.to_string());
        let answer = gateway.call(Version::Http1, request).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert!(answer.text().contains("limits.synthetic"), "{}", answer.text());
    }
    assert!(provider.requests().is_empty());
    gateway.stop().await;
}
