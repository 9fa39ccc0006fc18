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
        samples::{self, Text},
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

/// In Responses a text stands in five places and arguments in four; the SDKs read it from different ones.
#[tokio::test]
async fn a_secret_is_replaced_wherever_responses_repeats_it() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(&replacing(true)).start().await;
    let dialect = Dialect::OpenaiResponses;
    let arguments = format!(r#"{{"key":"{SECRET}"}}"#);
    let calls = [("call_a", "open", arguments.as_str())];
    let text = format!("The key is {SECRET}, keep it.");
    let sent = samples::tools(dialect, &text, &calls);
    let cut = samples::text(dialect, &["The key is sk-l", "ive-ABCD", "EF0123", ", keep it."]);
    provider.on_model("whole", Script::json(samples::whole(dialect, &text, &calls)));
    for size in [1, 7, usize::MAX] {
        provider.on_model(&format!("tools-{size}"), Script::sse_in_pieces(sent.as_bytes(), size));
        provider.on_model(&format!("text-{size}"), Script::sse_in_pieces(cut.as_bytes(), size));
    }
    let streams = ["tools-1", "tools-7", "text-1", "text-7"].map(str::to_owned);
    let streams = streams.into_iter().chain(["tools", "text"].map(|name| format!("{name}-{}", usize::MAX)));
    let mut jobs: Vec<_> =
        streams.map(|model| Job::new(dialect, &gateway.url(), Mode::Stream, &model).details()).collect();
    jobs.push(Job::new(dialect, &gateway.url(), Mode::Json, "whole"));
    for sdk in Sdk::BOTH {
        for (job, outcome) in jobs.iter().zip(sdk.run(&jobs).await) {
            assert_eq!(outcome.helper_error, None, "{job:?} in {sdk:?}");
            let (message, items) = (outcome.message.unwrap().to_string(), format!("{:?}", outcome.items));
            assert!(message.contains("The key is [key], keep it."), "{job:?} in {sdk:?}: {message}");
            assert!(!message.contains(SECRET) && !items.contains(SECRET), "{job:?} in {sdk:?}: {message}\n{items}");
        }
    }
    let answer = gateway.call(Version::Http2, Request::call(dialect, "tools-7", true)).await;
    assert!(!answer.text().contains("sk-live") && answer.text().matches("[key]").count() >= 9, "{}", answer.text());
    gateway.stop().await;
}

#[tokio::test]
async fn text_before_a_possible_match_flows() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(&replacing(false)).start().await;
    for (version, dialect) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
        let gate = Gate::new();
        let (mut text, start) = Text::open(dialect, &["Hello there, ", "sk-li"]);
        let rest = text.delta("on") + &text.close();
        provider.expect(Script::sse(start).wait(&gate).then(rest));
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
    for dialect in Dialect::ALL {
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
    for dialect in Dialect::ALL {
        provider.on_model("stream", Script::sse(samples::text(dialect, &["forbid", "den words"])));
        provider.on_model("whole", Script::json(samples::whole(dialect, "forbidden words", &[])));
        for (model, stream) in [("stream", true), ("whole", false)] {
            for version in Version::BOTH {
                let answer = gateway.call(version, Request::call(dialect, model, stream)).await;
                assert_eq!((answer.status, answer.header("x-should-retry")), (400, Some("false")), "{}", answer.text());
                let told = errors::in_body(dialect, &answer);
                assert!(told.message.contains("Not by this gateway."), "{told:?}");
                assert_eq!(told.kind, "invalid_request_error");
                let code = (dialect != Dialect::Anthropic).then_some("content_policy_violation");
                assert_eq!(told.code.as_deref(), code);
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_refusal_in_mid_stream_ends_it_with_an_error() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(&blocking("refuse")).start().await;
    // In chat a text does not end before the next block starts, so that it has not left when that one is judged.
    for (dialect, kind) in [(Dialect::Anthropic, "permission_error"), (Dialect::OpenaiResponses, "invalid_prompt")] {
        let stream = samples::tools(dialect, "Hello.", &[("call_a", "say", r#"{"what":"forbidden words"}"#)]);
        let call = stream.find("call_a").unwrap();
        let (text, call) = stream.split_at(stream[..call].rfind("\n\n").unwrap() + 2);
        for version in Version::BOTH {
            let gate = Gate::new();
            provider.expect(Script::sse(text.to_owned()).wait(&gate).then(call.to_owned()));
            let mut response = gateway.send(version, Request::stream(dialect)).await;
            let read = response.until("Hello.").await;
            gate.open();
            let answer = response.finish_after(read).await;
            let told = errors::at_end(dialect, &answer);
            assert!(told.message.contains("Not by this gateway."), "{told:?}");
            assert_eq!(told.kind, kind);
            assert!(!answer.text().contains("forbidden"), "{}", answer.text());
        }
    }
    gateway.stop().await;
}
