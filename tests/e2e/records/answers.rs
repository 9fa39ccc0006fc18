//! The recorded answers are what the official SDKs make of the bytes.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{call_of, recorded, recorded_of};
use crate::{
    common::streams::{self, Dialect},
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{End, Request, Version},
        gateway::Gateway,
        samples,
        sdk::{Job, Mode, Sdk},
    },
};

const REPLACING: &str = "policies: [{ name: words, type: string_replacement, config: { replacements: { Hello: Goodbye, \
                         sk-live-ABCDEF0123: the-key, Paris: Rome, the: THE }, include_tool_calls: true } }]";

/// Streams in which policies find something, and some in which none does.
const VECTORS: [&str; 10] = [
    "anthropic/01-basic-ping-padding",
    "anthropic/08-thinking-signature-redacted",
    "anthropic/10-parallel-tools-split-escapes",
    "anthropic/46-secret-split-text",
    "anthropic/20-usage-cumulative-two-deltas",
    "openai-chat/01-basic-usage-done",
    "openai-chat/07-parallel-tools-interleaved",
    "openai-chat/43-secret-split-args",
    "openai-responses/01-basic-text",
    "openai-responses/02-function-call",
];

/// Without what is `null`, which the SDKs add for every field that they know of, and without their helpers.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let told = fields.iter().filter(|(key, value)| !value.is_null() && !key.starts_with("parsed"));
            Value::Object(told.map(|(key, value)| (key.clone(), plain(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Number(number) => json!(number.as_f64()),
        // What has the form of a credential is not recorded.
        Value::String(text) => text.replace("sk-live-ABCDEF0123", "[redacted:api_key]").into(),
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

#[tokio::test]
async fn the_record_says_what_the_sdk_reads_before_and_behind_policies() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(REPLACING).start().await;
    let plain_gateway = Gateway::with(&provider).start().await;
    let mut jobs = Vec::new();
    for name in VECTORS {
        let vector = streams::vector(name);
        let model = name.replace('/', "-");
        provider.on_model(&model, Script::sse_in_pieces(&vector.bytes, 11));
        // Once as the provider gave it, once as it was changed.
        jobs.push(Job::new(vector.dialect, &plain_gateway.url(), Mode::Stream, &model));
        jobs.push(Job::new(vector.dialect, &gateway.url(), Mode::Stream, &model));
    }
    let outcomes = Sdk::Python.run(&jobs).await;
    let mut changed = 0;
    for (name, outcomes) in VECTORS.iter().zip(outcomes.chunks(2)) {
        let model = name.replace('/', "-");
        let [original, delivered] = outcomes else { unreachable!() };
        assert_eq!((&original.helper_error, &delivered.helper_error), (&None, &None), "{name}");
        let record = recorded_of(&gateway, &model).await;
        let (response, request) = (&record["response"], &record["request"]);
        assert_eq!(plain(&response["original"]), plain(original.message.as_ref().unwrap()), "{name}: original");
        assert_eq!(plain(&response["final"]), plain(delivered.message.as_ref().unwrap()), "{name}: final");
        assert_eq!(request["original"]["model"], model.as_str());
        assert_eq!(record["changed"]["response"], response["original"] != response["final"], "{name}");
        changed += i32::from(response["original"] != response["final"]);
        let untouched = recorded_of(&plain_gateway, &model).await;
        assert_eq!(
            (&untouched["response"]["final"], &untouched["changed"]["response"]),
            (&response["original"], &json!(false))
        );
    }
    assert!(changed >= 4, "only {changed} streams were changed");
    gateway.stop().await;
    plain_gateway.stop().await;
}

#[tokio::test]
async fn bodies_bytes_and_conversions_are_recorded_as_they_were() {
    let provider = Provider::start().await;
    let builder = Gateway::with(&provider).policy(REPLACING).settings("recording: { raw: true }");
    let gateway = builder.start().await;
    for dialect in Dialect::ALL {
        let whole = samples::whole(dialect, "Hello there", &[]);
        provider.expect(Script::json(whole.clone()));
        let answer = gateway.call(Version::Http1, Request::call(dialect, "whole", false)).await;
        let record = recorded(&gateway, &call_of(&answer)).await;
        let original: Value = serde_json::from_str(&whole).unwrap();
        assert_eq!((&record["response"]["original"], &record["response"]["final"]), (&original, &answer.json()));
        assert_eq!(STANDARD.decode(record["response"]["original_raw"].as_str().unwrap()).unwrap(), whole.as_bytes());
        assert_eq!(STANDARD.decode(record["response"]["final_raw"].as_str().unwrap()).unwrap(), answer.body);

        let stream = samples::text(dialect, &["Hel", "lo there"]);
        provider.expect(Script::sse_in_pieces(stream.as_bytes(), 5));
        let answer = gateway.call(Version::Http1, Request::call(dialect, "stream", true)).await;
        assert_eq!(answer.end, End::Clean);
        let record = recorded(&gateway, &call_of(&answer)).await;
        assert_eq!(STANDARD.decode(record["response"]["original_raw"].as_str().unwrap()).unwrap(), stream.as_bytes());
        assert_eq!(STANDARD.decode(record["response"]["final_raw"].as_str().unwrap()).unwrap(), answer.body);
    }
    gateway.stop().await;
    let upstream = format!("- {{ name: fake, url: \"{}\", dialects: [openai_chat] }}\n", provider.url());
    let gateway = Gateway::with(&provider).upstreams(&upstream).start().await;
    provider.expect(Script::sse(samples::text(Dialect::OpenaiChat, &["Hello"])));
    let answer = gateway.call(Version::Http1, Request::call(Dialect::Anthropic, "m", true)).await;
    let record = recorded(&gateway, &call_of(&answer)).await;
    assert_eq!(
        (record["dialect"].as_str(), record["upstream_dialect"].as_str()),
        (Some("anthropic_messages"), Some("openai_chat"))
    );
    assert_eq!(record["response"]["original"]["choices"][0]["message"]["content"], "Hello");
    assert_eq!(record["response"]["final"]["content"][0]["text"], "Hello");
    assert_eq!(record["request"]["final"]["stream_options"]["include_usage"], true);
    assert_eq!(record["changed"], json!({ "request": true, "response": true }));
    gateway.stop().await;
}

#[tokio::test]
async fn what_ends_badly_is_recorded_as_far_as_it_came() {
    let provider = Provider::start().await;
    let policy = "policies: [{ name: no, type: blocked_content, config: { patterns: [forbidden], message: Never., on_match: refuse } }]";
    let gateway = Gateway::with(&provider).policy(policy).settings("timeouts: { stall: 500ms }").start().await;
    let dialect = Dialect::Anthropic;
    let begun = samples::open_text(dialect, &["begun ", "and then"]);
    for (script, outcome, text) in [
        (Script::sse(begun.clone()).hang(), "stalled", "begun and then"),
        (Script::sse(begun.clone()), "truncated", "begun and then"),
        (Script::sse(samples::text(dialect, &["this is forb", "idden"])), "refused", "this is forbidden"),
    ] {
        provider.expect(script);
        let answer = gateway.call(Version::Http1, Request::stream(dialect)).await;
        let record = recorded(&gateway, &call_of(&answer)).await;
        assert_eq!(record["outcome"], outcome);
        assert_eq!(record["response"]["original"]["content"][0]["text"], text, "{outcome}");
        assert!(record["error"].as_str().is_some_and(|error| !error.is_empty()), "{outcome}");
        let told = record["response"]["final"]["error"]["message"].as_str();
        assert!(told.is_some(), "{outcome}: {}", record["response"]);
        assert!(!record["response"]["final"].to_string().contains("forbidden"), "{outcome}");
    }
    // A client that leaves.
    provider.expect(Script::sse(begun).hang());
    let response = gateway.send(Version::Http1, Request::call(dialect, "left", true)).await;
    drop(response);
    let record = recorded_of(&gateway, "left").await;
    assert!(["client_gone", "stalled"].contains(&record["outcome"].as_str().unwrap()), "{record}");
    // An error of the provider's, which passes unread.
    let error = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "no" } });
    provider.expect(Script::json(error.to_string()).status(529));
    let answer = gateway.call(Version::Http1, Request::stream(dialect)).await;
    let record = recorded(&gateway, &call_of(&answer)).await;
    assert_eq!((record["outcome"].as_str(), record["status"].as_u64()), (Some("upstream_error"), Some(529)));
    assert_eq!((&record["response"]["original"], &record["changed"]["response"]), (&error, &json!(false)));
    gateway.stop().await;
}

#[tokio::test]
async fn rules_say_how_much_is_recorded() {
    let provider = Provider::start().await;
    let policy = "policies:\n  \
                  - { name: little, type: noop, match: { model: 'meta*' }, record: metadata }\n  \
                  - { name: none, type: noop, match: { model: '*off' }, record: off }\n";
    let gateway = Gateway::with(&provider).policy(policy).start().await;
    let dialect = Dialect::OpenaiChat;
    provider.otherwise(Script::sse(samples::text(dialect, &["Answered-text"])));
    for model in ["meta", "meta-off", "off", "full"] {
        let answer = gateway.call(Version::Http1, Request::call(dialect, model, true)).await;
        assert_eq!(answer.status, 200);
    }
    let full = recorded_of(&gateway, "full").await;
    assert_eq!((full["record"].as_str(), full["response"]["final"].is_object()), (Some("full"), true));
    let little = recorded_of(&gateway, "meta").await;
    assert_eq!((little["record"].as_str(), little["outcome"].as_str()), (Some("metadata"), Some("completed")));
    assert_eq!((&little["response"], &little["request"], &little["headers"]), (&json!({}), &json!({}), &json!([])));
    let all = super::ask(&gateway, "/debug/calls").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
    gateway.stop().await;
}

#[tokio::test]
async fn the_end_of_an_answer_that_has_to_be_recorded_waits_for_its_record() {
    for required in [true, false] {
        let provider = Provider::start().await;
        let settings = if required { "recording: { audit: required }" } else { "" };
        let gateway = Gateway::with(&provider).settings(settings).start().await;
        let dialect = Dialect::Anthropic;
        provider.otherwise(Script::sse(samples::text(dialect, &["Hello"])));
        // What cannot be compressed fills the segment that is written, so that the next line needs another.
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            STANDARD.encode(&state.to_le_bytes()[2..])
        });
        let noise: String = noise.take(3_000_000).collect();
        provider.expect(Script::json(samples::whole(dialect, &noise, &[])));
        let answer = gateway.call(Version::Http1, Request::whole(dialect)).await;
        assert_eq!((answer.status, answer.end.clone()), (200, End::Clean));
        recorded(&gateway, &call_of(&answer)).await;
        // A disk that is gone.
        std::fs::remove_dir_all(gateway.state_folder().join("spool")).unwrap();
        let answer = gateway.call(Version::Http1, Request::stream(dialect)).await;
        let ended_well = answer.status == 200 && answer.end == End::Clean && answer.text().contains("message_stop");
        assert_eq!(ended_well, !required, "{} {:?} {}", answer.status, answer.end, answer.text());
        // The end that the dialect says is withheld as well, not only that of the body.
        assert_eq!(answer.text().contains("message_stop"), !required, "{}", answer.text());
        if required {
            let ready = super::ask(&gateway, "/readyz").await;
            assert_eq!((ready.status, ready.json()["missing"]["recording"].is_string()), (503, true));
            provider.expect(Script::json(samples::whole(dialect, "Hello", &[])));
            let refused = gateway.call(Version::Http1, Request::whole(dialect)).await;
            assert!(refused.status == 503 && refused.text().contains("recording.audit"), "{}", refused.text());
        }
        let metrics = super::ask(&gateway, "/metrics").await.text();
        assert!(metrics.contains("luthien_lost_records_total{why=\"disk\"}"), "{metrics}");
        gateway.stop().await;
    }
}
