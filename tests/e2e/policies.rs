//! Policies that change or refuse texts, as a client sees it.

use std::time::Duration;

use crate::{
    common::streams::{self, Dialect},
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        client::{End, Request, Version},
        errors,
        gateway::Gateway,
        samples,
        sdk::{Job, Mode, Sdk},
    },
};

/// The token that vectors 46, 47 and 43 cut into pieces.
const SECRET: &str = "sk-live-ABCDEF0123";

fn replacing(include_tool_calls: bool) -> String {
    format!(
        "policies:\n  - name: secret\n    type: string_replacement\n    config:\n      replacements: {{ '{SECRET}': '[key]' }}\n      \
         include_tool_calls: {include_tool_calls}\n"
    )
}

fn blocking(on_match: &str) -> String {
    format!(
        "policies: [{{ name: block, type: blocked_content, config: {{ patterns: ['forbidden\\s+words'], \
         message: 'Not by this gateway.', on_match: {on_match} }} }}]"
    )
}

#[tokio::test]
async fn a_secret_cut_into_pieces_is_replaced_for_both_sdks() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(&replacing(true)).start().await;
    let names = [
        "anthropic/46-secret-split-text",
        "anthropic/47-secret-in-tool-json-escapes",
        "openai-chat/43-secret-split-args",
    ];
    for name in names {
        let vector = streams::vector(name);
        for size in [1, 7, usize::MAX] {
            let model = format!("{name}-{size}");
            provider.on_model(&model, Script::sse_in_pieces(&vector.bytes, size));
            let answer = gateway.call(Version::Http1, Request::call(vector.dialect, &model, true)).await;
            assert_eq!(answer.end, End::Clean);
            for sdk in Sdk::BOTH {
                let outcome = sdk.run_one(Job::new(vector.dialect, &gateway.url(), Mode::Stream, &model)).await;
                assert_eq!(outcome.helper_error, None, "{model} in {sdk:?}");
                let (before, after) =
                    (vector.expected(sdk.key())["final"].to_string(), outcome.message.unwrap().to_string());
                assert!(before.contains(SECRET), "the vector has no secret to replace");
                assert!(!after.contains(SECRET) && after.contains("[key]"), "{model} in {sdk:?}: {after}");
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn text_before_a_possible_match_flows() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(&replacing(false)).start().await;
    for (version, dialect) in Version::BOTH.into_iter().zip(Dialect::FIRST) {
        let gate = Gate::new();
        let start = Script::sse(samples::open_text(dialect, &["Hello there, ", "sk-li"]));
        provider.expect(start.wait(&gate).then(samples::text_delta(dialect, "on")).then(samples::close_text(dialect)));
        let mut response = gateway.send(version, Request::stream(dialect)).await;
        // The provider waits: only what can no longer be part of a match comes before it goes on.
        let early = [response.until("Hello there").await, response.during(Duration::from_millis(300)).await].concat();
        assert!(!String::from_utf8_lossy(&early).contains("sk-li"), "{}", String::from_utf8_lossy(&early));
        gate.open();
        let rest = response.finish().await;
        assert_eq!(rest.end, End::Clean);
        assert!(rest.text().contains("sk-li"), "{}", rest.text());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_forbidden_block_is_replaced() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(&blocking("replace_block")).start().await;
    for dialect in Dialect::FIRST {
        let text = ["Here come forbid", "den", "  words", " and more"];
        provider.on_model("stream", Script::sse(samples::text(dialect, &text)));
        provider.on_model("whole", Script::json(samples::whole(dialect, &text.concat(), &[])));
        for (model, stream) in [("stream", true), ("whole", false)] {
            for version in Version::BOTH {
                let answer = gateway.call(version, Request::call(dialect, model, stream)).await;
                assert_eq!((answer.status, &answer.end), (200, &End::Clean));
                let text = answer.text();
                assert!(
                    text.contains("Not by this gateway.") && !text.contains("words"),
                    "{dialect:?} {model}: {text}"
                );
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_refusal_before_anything_was_sent_is_an_http_error_without_retries() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(&blocking("refuse")).start().await;
    for dialect in Dialect::FIRST {
        provider.on_model("stream", Script::sse(samples::text(dialect, &["forbid", "den words"])));
        provider.on_model("whole", Script::json(samples::whole(dialect, "forbidden words", &[])));
        for (model, stream) in [("stream", true), ("whole", false)] {
            for version in Version::BOTH {
                let answer = gateway.call(version, Request::call(dialect, model, stream)).await;
                assert_eq!((answer.status, answer.header("x-should-retry")), (400, Some("false")), "{}", answer.text());
                assert!(
                    errors::in_body(dialect, &answer).message.contains("Not by this gateway."),
                    "{}",
                    answer.text()
                );
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_refusal_in_mid_stream_ends_it_with_an_error() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(&blocking("refuse")).start().await;
    // Only in this dialect does a text end before the next block starts, so that it has left when that one is judged.
    let dialect = Dialect::Anthropic;
    let stream = samples::tools(dialect, "Hello.", &[("call_a", "say", r#"{"what":"forbidden words"}"#)]);
    let call = stream.find("call_a").unwrap();
    let (text, call) = stream.split_at(stream[..call].rfind("\n\n").unwrap() + 2);
    for version in Version::BOTH {
        let gate = Gate::new();
        provider.expect(Script::sse(text.to_owned()).wait(&gate).then(call.to_owned()));
        let mut response = gateway.send(version, Request::stream(dialect)).await;
        response.until("Hello.").await;
        gate.open();
        let answer = response.finish().await;
        assert!(errors::at_end(dialect, &answer).message.contains("Not by this gateway."), "{}", answer.text());
        assert!(!answer.text().contains("forbidden"), "{}", answer.text());
    }
    gateway.stop().await;
}
