//! Each limit at its border: one below and the limit itself pass, one above does not. The smallest and the largest values work, or
//! are refused with the reason.

use std::process::Command;

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{Answer, End, Request, Version},
        errors,
        gateway::Gateway,
        samples,
    },
};

const WATCHES: &str = "policies: [{ name: tools, type: tool_filter, config: { deny: [never_called] } }]";
/// The limit of what is tried.
const LIMIT: usize = 20_000;

/// One below the limit, the limit, and one above it.
const AROUND: [usize; 3] = [LIMIT - 1, LIMIT, LIMIT + 1];

/// A text of so many bytes in all, by what stands around it.
fn filled(size: usize, make: impl Fn(&str) -> String) -> String {
    let text = make(&"x".repeat(size - make("").len()));
    assert_eq!(text.len(), size);
    text
}

fn passes(answer: &Answer, context: &str) {
    assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{context}: {}", answer.text());
}

#[tokio::test]
async fn requests_at_the_limit_pass_and_one_byte_more_does_not() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).settings(&format!("limits: {{ request_body: {LIMIT}B }}")).start().await;
    for dialect in Dialect::ALL {
        provider.otherwise(Script::sse(samples::text(dialect, &["Hello"])));
        for (size, version) in AROUND.into_iter().flat_map(|size| Version::BOTH.map(|version| (size, version))) {
            let body = filled(size, |padding| {
                let mut body = crate::harness::client::call_body(dialect, "m", true);
                body["metadata"] = serde_json::json!({ "padding": padding });
                body.to_string()
            });
            let before = provider.requests().len();
            let answer = gateway.call(version, Request::post(dialect.path(), body)).await;
            if size <= LIMIT {
                passes(&answer, "a request that fits");
                assert_eq!(provider.requests()[before].body.len(), size);
            } else {
                assert_eq!(answer.status, 413);
                assert!(errors::in_body(dialect, &answer).message.contains("limits.request_body"));
                assert_eq!(provider.requests().len(), before);
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn answers_at_the_limit_pass_and_one_byte_more_does_not() {
    let provider = Provider::start().await;
    let settings = format!("limits: {{ response_body: {LIMIT}B }}");
    let gateway = Gateway::with(&provider).policy(WATCHES).settings(&settings).start().await;
    for (dialect, size) in Dialect::ALL.into_iter().flat_map(|dialect| AROUND.map(|size| (dialect, size))) {
        let body = filled(size, |text| samples::whole(dialect, &format!("x{text}"), &[]));
        provider.expect(Script::json(body.clone()));
        let answer = gateway.call(Version::Http1, Request::whole(dialect)).await;
        if size <= LIMIT {
            passes(&answer, "an answer that fits");
            assert!(answer.body == body.as_bytes());
        } else {
            assert_eq!(answer.status, 502);
            assert!(errors::in_body(dialect, &answer).message.contains("limits.response_body"));
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn events_at_the_limit_pass_and_one_byte_more_does_not() {
    let provider = Provider::start().await;
    let settings = format!("limits: {{ event: {LIMIT}B, held: 1MiB }}");
    let gateway = Gateway::with(&provider).policy(WATCHES).settings(&settings).start().await;
    for (dialect, size) in
        [Dialect::Anthropic, Dialect::OpenaiChat].into_iter().flat_map(|d| AROUND.map(|size| (d, size)))
    {
        let (mut text, open) = samples::Text::open(dialect, &["Hello"]);
        let event = filled(size, |padding| text.clone().delta(padding));
        let whole = format!("{open}{event}{}", {
            text.delta("");
            text.close()
        });
        provider.expect(Script::sse(whole.clone()));
        let answer = gateway.call(Version::Http2, Request::stream(dialect)).await;
        if size <= LIMIT {
            passes(&answer, "an event that fits");
            assert!(answer.body == whole.as_bytes());
        } else {
            assert!(errors::at_end(dialect, &answer).message.contains("limits.event"));
            assert!(answer.text().starts_with(&open) && answer.body.len() < LIMIT);
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_smallest_and_the_largest_limits_work() {
    let provider = Provider::start().await;
    let whole = samples::text(Dialect::OpenaiChat, &["Hello"]);
    let largest = "limits: { request_body: 15EiB, event: 15EiB, response_body: 15EiB, held: 15EiB, held_total: 15EiB, \
                   synthetic: 15EiB, calls: 1000000 }\ntimeouts: { connect: 18000days, upload: 18000days, \
                   first_byte: 18000days, first_byte_json: 18000days, stall: 18000days, total: 18000days, hook: 18000days, \
                   keepalive: 18000days, drain: 18000days }\nrecording: { keep: 18000days, size: 15EiB, spool: 15EiB }";
    let gateway = Gateway::with(&provider).policy(WATCHES).settings(largest).start().await;
    provider.otherwise(Script::sse(whole.clone()));
    let answer = gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
    passes(&answer, "the largest limits");
    assert_eq!(answer.text(), whole);
    gateway.stop().await;

    // Everything is turned away or ended with its reason, and nothing breaks.
    let smallest = "limits: { request_body: 1B, event: 1B, response_body: 1B, held: 1B, held_total: 1B, synthetic: 1B, calls: 1 }\n\
                    timeouts: { upload: 1ns, first_byte: 1ns, first_byte_json: 1ns, stall: 1ns, total: 1ns, hook: 1ns, \
                    keepalive: 1ns, drain: 1ns }";
    let gateway = Gateway::with(&provider).policy(WATCHES).settings(smallest).start().await;
    for dialect in Dialect::ALL {
        let answer = gateway.call(Version::Http2, Request::stream(dialect)).await;
        assert!([408, 413].contains(&answer.status), "{}", answer.text());
        errors::in_body(dialect, &answer);
    }
    gateway.stop().await;
    for limit in ["event: 1B", "held_total: 1B, request_body: 1MiB, event: 1B, held: 1B", "response_body: 1B"] {
        let settings = format!("limits: {{ {limit} }}");
        let gateway = Gateway::with(&provider).policy(WATCHES).settings(&settings).start().await;
        let answer = gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat)).await;
        if limit.starts_with("response") {
            passes(&answer, limit);
        } else {
            assert!(answer.status == 502 || answer.status == 503, "{limit}: {}", answer.text());
            errors::in_body(Dialect::OpenaiChat, &answer);
        }
        gateway.stop().await;
    }
}

#[test]
fn limits_that_cannot_be_are_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let check = |limits: &str| {
        let file = folder.path().join("luthien.yaml");
        let upstream = "upstreams: [{ name: fake, url: \"http://127.0.0.1:1\", dialects: [openai_chat] }]";
        std::fs::write(&file, format!("{upstream}\nrules: policy.yaml\n{limits}\n")).unwrap();
        std::fs::write(folder.path().join("policy.yaml"), "policies: []\n").unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_luthien")).arg("check").arg("--config").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    };
    assert!(check("limits: { calls: 1 }").0, "{}", check("limits: { calls: 1 }").1);
    let sizes = ["request_body", "event", "response_body", "held", "held_total", "synthetic"];
    let times = ["connect", "upload", "first_byte", "first_byte_json", "stall", "total", "hook", "keepalive", "drain"];
    let mut wrong: Vec<String> = vec!["limits: { calls: 0 }".into()];
    wrong.extend(sizes.iter().flat_map(|name| ["0B", "-1B"].map(|value| format!("limits: {{ {name}: {value} }}"))));
    wrong.extend(times.iter().flat_map(|name| {
        ["0s", "51years", "999999999999years"].map(|value| format!("timeouts: {{ {name}: {value} }}"))
    }));
    wrong.extend(["keep: 0s", "size: 0B", "spool: 0B"].map(|value| format!("recording: {{ {value} }}")));
    for limits in wrong {
        let (passes, said) = check(&limits);
        let key = limits.split(['{', ':']).nth(2).unwrap().trim();
        assert!(!passes && said.contains(key) && said.contains("remedy"), "{limits}: {said}");
    }
}
