//! The debug API: what it answers is what its document says.

use std::time::Duration;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{ask, call_of, recorded, recorded_of};
use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        SOON,
        client::{Request, Version},
        gateway::Gateway,
        samples, within,
    },
};

/// The schema of an answer, by the document.
fn schema(document: &Value, path: &str, method: &str, status: &str) -> Validator {
    let content = &document["paths"][path][method]["responses"][status]["content"];
    let (_, content) = content.as_object().unwrap_or_else(|| panic!("{method} {path} {status}")).iter().next().unwrap();
    let mut schema = content["schema"].clone();
    schema["components"] = document["components"].clone();
    jsonschema::validator_for(&schema).unwrap()
}

#[tokio::test]
async fn every_path_answers_what_the_openapi_document_says() {
    let provider = Provider::start().await;
    let policy = "policies: [{ name: guard, type: tool_filter, config: { deny: [Bash] } }]";
    let gateway = Gateway::with(&provider).policy(policy).start().await;
    let document = ask(&gateway, "/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let dialect = Dialect::Anthropic;
    let call = ("toolu_1", "Bash", r#"{"command":"rm"}"#);
    provider.otherwise(Script::sse(samples::tools(dialect, "I will", &[call])));
    let ask_once = async |session: &str| {
        let request = Request::stream(dialect).header("x-session-id", session);
        call_of(&gateway.call(Version::Http1, request).await)
    };
    let (first, second) = (ask_once("s 1/ä").await, ask_once("s2").await);
    for call in [&first, &second] {
        recorded(&gateway, call).await;
    }
    let session = "s%201%2F%C3%A4";
    let mut asked = Vec::new();
    for (path, template, status) in [
        ("/debug/calls?limit=1".to_owned(), "/debug/calls", 200),
        ("/debug/calls?modle=x".to_owned(), "/debug/calls", 400),
        (format!("/debug/calls/{first}"), "/debug/calls/{call_id}", 200),
        ("/debug/calls/none".to_owned(), "/debug/calls/{call_id}", 404),
        (format!("/debug/calls/{first}/diff"), "/debug/calls/{call_id}/diff", 200),
        ("/debug/sessions".to_owned(), "/debug/sessions", 200),
        ("/debug/sessions?model=x".to_owned(), "/debug/sessions", 400),
        (format!("/debug/sessions/{session}"), "/debug/sessions/{session_id}", 200),
        ("/debug/sessions/none".to_owned(), "/debug/sessions/{session_id}", 404),
        (format!("/debug/sessions/{session}/export"), "/debug/sessions/{session_id}/export", 200),
        ("/debug/sessions/none/export".to_owned(), "/debug/sessions/{session_id}/export", 404),
    ] {
        let answer = ask(&gateway, &path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let validator = schema(&document, template, "get", &status.to_string());
        let answer = answer.json();
        if let Err(error) = validator.validate(&answer) {
            panic!("{path}: {error} in {answer}");
        }
        asked.push(("get", template));
    }
    for (path, template) in [
        (format!("/debug/calls/{second}"), "/debug/calls/{call_id}"),
        (format!("/debug/sessions/{session}"), "/debug/sessions/{session_id}"),
    ] {
        for status in [200, 404] {
            let answer = gateway.admin(Request::new("DELETE", &path)).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            assert!(schema(&document, template, "delete", &status.to_string()).is_valid(&answer.json()));
            asked.push(("delete", template));
        }
    }
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            assert!(asked.contains(&(method.as_str(), path.as_str())), "{method} {path} was not tried");
        }
    }
    assert_eq!(ask(&gateway, "/debug/calls").await.json(), json!({ "items": [] }));
    gateway.stop().await;
}

#[tokio::test]
async fn what_policies_changed_is_told_with_who_did_it() {
    let provider = Provider::start().await;
    let policy = "policies:\n  \
                  - { name: words, type: string_replacement, config: { replacements: { dog: cat } } }\n  \
                  - { name: guard, type: tool_filter, config: { deny: [Bash] } }\n  \
                  - { name: watch, type: uppercase, mode: shadow }\n";
    let gateway = Gateway::with(&provider).policy(policy).start().await;
    for dialect in Dialect::ALL {
        for stream in [true, false] {
            let call = ("call_1", "Bash", r#"{"command":"rm -rf /"}"#);
            let script = if stream {
                Script::sse(samples::tools(dialect, "the dog ran", &[call]))
            } else {
                Script::json(samples::whole(dialect, "the dog ran", &[call]))
            };
            provider.expect(script);
            let answer = gateway.call(Version::Http1, Request::call(dialect, "m", stream)).await;
            let call = call_of(&answer);
            let record = recorded(&gateway, &call).await;
            let shadow = |event: &&Value| event["policy"] == "watch" && event["event"] == "would_change";
            let shadowed =
                record["events"].as_array().unwrap().iter().find(shadow).unwrap_or_else(|| panic!("{record}"));
            assert_eq!(shadowed["fields"]["after"]["text"], "THE CAT RAN");
            let diff = ask(&gateway, &format!("/debug/calls/{call}/diff")).await.json();
            assert_eq!(diff["request"], json!([]));
            let changes = diff["response"].as_array().unwrap();
            let by = |change: &Value| change["by"][0]["policy"].as_str().unwrap_or_default().to_owned();
            let word = changes.iter().find(|change| by(change) == "words").unwrap_or_else(|| panic!("{diff}"));
            let insert = json!({ "op": "insert", "text": "cat" });
            assert!(word["words"].as_array().unwrap().contains(&insert), "{word}");
            let gone = changes.iter().find(|change| by(change) == "guard").unwrap_or_else(|| panic!("{diff}"));
            assert!(gone["before"].to_string().contains("rm -rf"), "{gone}");
            assert!(!record["response"]["final"].to_string().contains("rm -rf"), "{dialect:?} {stream}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn calls_are_found_by_what_was_said_and_by_what_became_of_them() {
    let provider = Provider::start().await;
    let policy = "policies: [{ name: guard, type: blocked_content, config: { patterns: [zebra], message: no, on_match: refuse } }]";
    let gateway = Gateway::with(&provider).policy(policy).start().await;
    let dialect = Dialect::OpenaiChat;
    for (model, text) in [("one", "an aardvark walks"), ("two", "a zebra runs"), ("two-b", "nothing here")] {
        provider.expect(Script::sse(samples::text(dialect, &[text])));
        gateway.call(Version::Http1, Request::call(dialect, model, true)).await;
        recorded_of(&gateway, model).await;
    }
    for (query, expected) in [
        ("text=aardvark", vec!["one"]),
        ("text=AARD*%20walks", vec!["one"]),
        ("model=two*", vec!["two-b", "two"]),
        ("policy=guard", vec!["two"]),
        ("outcome=refused,stalled", vec!["two"]),
        ("outcome=completed&model=t*", vec!["two-b"]),
        ("from=1h&to=2000-01-01", vec![]),
        ("from=1h&text=", vec!["two-b", "two", "one"]),
    ] {
        let found = ask(&gateway, &format!("/debug/calls?{query}")).await.json();
        let models: Vec<&str> =
            found["items"].as_array().unwrap().iter().map(|call| call["model"].as_str().unwrap()).collect();
        assert_eq!(models, expected, "{query}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn calls_of_real_clients_are_put_in_their_conversations() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let dialect = Dialect::Anthropic;
    provider.otherwise(Script::sse(samples::text(dialect, &["Sure."])));
    let say = async |said: Value, headers: &[(&str, &str)]| {
        let mut request = Request::stream(dialect);
        request.body = said.to_string().into();
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = gateway.call(Version::Http1, request).await;
        recorded(&gateway, &call_of(&answer)).await
    };
    let user = |text: &str| json!({ "role": "user", "content": text });
    let claude = [("x-claude-code-session-id", "claude-session")];
    let body = |messages: Value| json!({ "model": "m", "max_tokens": 100, "stream": true, "messages": messages });
    let probe = json!({ "model": "m", "max_tokens": 1, "stream": true, "messages": [user("quota")] });
    assert_eq!(say(probe, &claude).await["probe"], "quota");
    say(body(json!([user("first")])), &claude).await;
    let echo = json!({ "role": "assistant", "content": [{ "type": "text", "text": "Sure." }] });
    say(body(json!([user("first"), echo, user("second")])), &claude).await;
    // The id that Claude Code puts into the body, and that of Codex.
    let mut with_user = body(json!([user("x")]));
    with_user["metadata"] = json!({ "user_id": json!({ "session_id": "in-the-body" }).to_string() });
    assert_eq!(say(with_user, &[]).await["session_id"], "in-the-body");
    assert_eq!(say(body(json!([user("x")])), &[("session-id", "codex")]).await["session_id"], "codex");
    let session = ask(&gateway, "/debug/sessions/claude-session").await.json();
    assert_eq!((session["calls"].as_u64(), session["failed"].as_u64()), (Some(2), Some(0)));
    let turns = session["turns"]["items"].as_array().unwrap();
    assert_eq!(turns[0]["messages"], json!([user("first")]));
    assert_eq!(turns[1]["messages"], json!([echo, user("second")]));
    assert_eq!(turns[1]["response"]["content"][0]["text"], "Sure.");
    gateway.stop().await;
}

#[tokio::test]
async fn where_every_call_has_to_be_recorded_one_that_cannot_be_is_refused() {
    let provider = Provider::start().await;
    // Some calls fill the spool, because the database is not there.
    let settings = "recording: { audit: required, spool: 4KiB, postgres: { url: 'postgres://127.0.0.1:1/none' } }";
    let gateway = Gateway::with(&provider).settings(settings).start().await;
    let dialect = Dialect::Anthropic;
    provider.otherwise(Script::sse(samples::text(dialect, &["Hello"])));
    let refused = async {
        loop {
            let answer = gateway.call(Version::Http1, Request::stream(dialect)).await;
            if answer.status != 200 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = within(SOON, "a refusal", refused).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("recording.audit"), "{}", answer.text());
    let ready = ask(&gateway, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["missing"]["recording"].is_string()), (503, &true));
    gateway.stop().await;
    let settings = settings.replace("audit: required, ", "");
    let gateway = Gateway::with(&provider).settings(&settings).start().await;
    let unrecorded = async {
        loop {
            assert_eq!(gateway.call(Version::Http1, Request::stream(dialect)).await.status, 200);
            let metrics = ask(&gateway, "/metrics").await.text();
            if metrics.lines().any(|line| line.starts_with("luthien_unrecorded_calls_total ") && !line.ends_with(" 0"))
            {
                return;
            }
        }
    };
    within(SOON, "a call that is not recorded", unrecorded).await;
    assert_eq!(ask(&gateway, "/readyz").await.json()["recording"]["full"], true);
    let answer = ask(&gateway, "/debug/calls").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    gateway.stop().await;
}
