//! Tool calls under `tool_filter`, as the official SDKs accumulate what is left of them.

use serde_json::{Value, json};

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        gateway::Gateway,
        samples::{self, CALLS},
        sdk::{Job, Mode, Outcome, Sdk},
    },
};

/// A message, reduced to what the dialects have in common.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Message {
    pub(crate) text: String,
    /// Id, name and input of each call.
    pub(crate) calls: Vec<(String, String, Value)>,
    pub(crate) stop: String,
}

/// The calls that a policy leaves, by their places in [`CALLS`].
pub(crate) fn left(places: &[usize]) -> Vec<(String, String, Value)> {
    let call = |place: &usize| {
        let (id, name, arguments) = CALLS[*place];
        (id.to_owned(), name.to_owned(), serde_json::from_str(arguments).unwrap())
    };
    places.iter().map(call).collect()
}

pub(crate) fn message(dialect: Dialect, outcome: &Outcome) -> Message {
    let body = outcome.message.as_ref().unwrap_or_else(|| panic!("the SDK has no message: {outcome:?}"));
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut message = Message::default();
    let input = |arguments: &Value| {
        let input = serde_json::from_str(arguments.as_str().expect("arguments are text"));
        input.expect("arguments are JSON")
    };
    match dialect {
        Dialect::Anthropic => {
            message.stop = word(&body["stop_reason"]);
            for block in body["content"].as_array().expect("content is a list") {
                match block["type"].as_str() {
                    Some("text") => message.text += block["text"].as_str().expect("a text block has text"),
                    Some("tool_use") => {
                        message.calls.push((word(&block["id"]), word(&block["name"]), block["input"].clone()));
                    }
                    _ => panic!("unexpected block {block}"),
                }
            }
        }
        Dialect::OpenaiChat => {
            let choice = &body["choices"][0];
            message.stop = word(&choice["finish_reason"]);
            message.text = word(&choice["message"]["content"]);
            for call in choice["message"]["tool_calls"].as_array().into_iter().flatten() {
                let function = &call["function"];
                message.calls.push((word(&call["id"]), word(&function["name"]), input(&function["arguments"])));
            }
        }
        Dialect::OpenaiResponses => {
            message.stop = word(&body["status"]);
            for item in body["output"].as_array().expect("output is a list") {
                match item["type"].as_str() {
                    Some("message") => {
                        for part in item["content"].as_array().expect("content is a list") {
                            message.text += part["text"].as_str().expect("a part has text");
                        }
                    }
                    Some("function_call") => {
                        message.calls.push((word(&item["call_id"]), word(&item["name"]), input(&item["arguments"])));
                    }
                    _ => panic!("unexpected item {item}"),
                }
            }
        }
    }
    message
}

/// The stop reasons of a message with tool calls and of one without.
pub(crate) fn stops(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        Dialect::Anthropic => ("tool_use", "end_turn"),
        Dialect::OpenaiChat => ("tool_calls", "stop"),
        Dialect::OpenaiResponses => ("completed", "completed"),
    }
}

/// Has both SDKs ask for the three calls under `config`, streamed and not, in every dialect, and hands each message to
/// `check`.
async fn check(config: &str, text: &str, check: impl Fn(Dialect, Message, &str)) {
    let provider = Provider::start().await;
    let policy = format!("policies: [{{ name: tools, type: tool_filter, config: {config} }}]\n");
    let gateway = Gateway::with(&provider).policy(&policy).start().await;
    let mut jobs = Vec::new();
    for dialect in Dialect::ALL {
        for (mode, model) in [(Mode::Stream, "stream"), (Mode::Json, "whole")] {
            let model = format!("{}-{model}", dialect.folder());
            let script = match mode {
                Mode::Json => Script::json(samples::whole(dialect, text, &CALLS)),
                Mode::Stream | Mode::Both => {
                    Script::sse_in_pieces(samples::tools(dialect, text, &CALLS).as_bytes(), 33)
                }
            };
            provider.on_model(&model, script);
            jobs.push((dialect, mode, Job::new(dialect, &gateway.url(), mode, &model)));
        }
    }
    let calls: Vec<Job> = jobs.iter().map(|(_, _, job)| job.clone()).collect();
    for sdk in Sdk::BOTH {
        for ((dialect, mode, _), outcome) in jobs.iter().zip(sdk.run(&calls).await) {
            let context = format!("{dialect:?}, {mode:?}, {sdk:?}");
            assert_eq!(outcome.helper_error, None, "{context}");
            check(*dialect, message(*dialect, &outcome), &context);
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn allowed_calls_all_arrive() {
    check(r#"{ deny: ["format_*"] }"#, "Working.", |dialect, message, context| {
        let stop = stops(dialect).0.to_owned();
        let wanted = Message { text: "Working.".to_owned(), calls: left(&[0, 1, 2]), stop };
        assert_eq!(message, wanted, "{context}");
    })
    .await;
}

#[tokio::test]
async fn one_of_three_parallel_calls_is_dropped() {
    check(r#"{ deny: ["rm*"] }"#, "Working.", |dialect, message, context| {
        let stop = stops(dialect).0.to_owned();
        assert_eq!(message, Message { text: "Working.".to_owned(), calls: left(&[0, 2]), stop }, "{context}");
    })
    .await;
}

#[tokio::test]
async fn all_calls_are_dropped_and_the_answer_is_a_whole_one() {
    check(r#"{ deny: ["*"] }"#, "Working.", |dialect, message, context| {
        assert!(message.text.starts_with("Working."), "{context}: {message:?}");
        assert_eq!((message.calls, message.stop.as_str()), (vec![], stops(dialect).1), "{context}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_of_nothing_but_dropped_calls_is_not_empty() {
    check(r#"{ deny: ["*"] }"#, "", |dialect, message, context| {
        // An assistant turn without any content is refused when the client sends it back.
        assert_ne!(message.text, "", "{context}");
        assert_eq!((message.calls, message.stop.as_str()), (vec![], stops(dialect).1), "{context}");
    })
    .await;
}

#[tokio::test]
async fn a_call_is_replaced_by_a_text() {
    check(r#"{ deny: ["rm*"], message: "Not with me." }"#, "Working.", |dialect, message, context| {
        assert!(
            message.text.starts_with("Working.") && message.text.contains("Not with me."),
            "{context}: {message:?}"
        );
        assert_eq!((message.calls, message.stop.as_str()), (left(&[0, 2]), stops(dialect).0), "{context}");
    })
    .await;
}

#[tokio::test]
async fn a_replaced_block_keeps_its_place() {
    let provider = Provider::start().await;
    let policy =
        r#"policies: [{ name: tools, type: tool_filter, config: { deny: ["rm*"], message: "Not with me." } }]"#;
    let gateway = Gateway::with(&provider).policy(policy).start().await;
    for (dialect, field, [text, call]) in [
        (Dialect::Anthropic, "content", ["text", "tool_use"]),
        (Dialect::OpenaiResponses, "output", ["message", "function_call"]),
    ] {
        provider.otherwise(Script::sse(samples::tools(dialect, "Working.", &CALLS)));
        for sdk in Sdk::BOTH {
            let outcome = sdk.run_one(Job::new(dialect, &gateway.url(), Mode::Stream, "m")).await;
            let content = outcome.message.expect("the SDK has a message")[field].clone();
            let kinds: Vec<_> = content.as_array().unwrap().iter().map(|block| block["type"].clone()).collect();
            assert_eq!(kinds, [text, call, text, call]);
            if dialect == Dialect::Anthropic {
                assert_eq!(content[2], json!({ "type": "text", "text": "Not with me." }));
            } else {
                assert_eq!(content[2]["content"][0]["text"], "Not with me.");
                // A client sends its history back by ids, so two items must not share one.
                assert_ne!(content[2]["id"], content[0]["id"]);
                assert!(content[2]["id"].as_str().is_some_and(|id| id.starts_with("msg_")), "{content}");
            }
        }
    }
    gateway.stop().await;
}
