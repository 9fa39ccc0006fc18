//! A denied tool and a forbidden word leave in no form, wherever in a stream a provider puts them.
//!
//! Clients differ in what they make of a strange stream: some join what others replace, some take the first of two
//! members and some the last. So each of these streams must lose its secret, even where only one client would see it.

use std::sync::Arc;

use bytes::Bytes;
use luthien::{model::Dialect, policy::Factory};
use serde_json::json;

use super::support::{built_in, rules, run, run_body, stream_of};

/// What the policies forbid, a denied tool and a word. Where a stream has it in two pieces, the second is the secret.
pub const TOOL: &str = "sesame";
pub const WORD: &str = "FORBIDDEN";

const MESSAGE: &str = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#;
const BLOCK_STOP: &str = r#"{"type":"content_block_stop","index":0}"#;
const TEXT_START: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const END: [&str; 2] = [
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}}"#,
    r#"{"type":"message_stop"}"#,
];

const CHUNKS: [&str; 3] = [
    r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null}]}"#,
    r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "[DONE]",
];

/// A stream of the dialect with these events in its middle.
fn around(dialect: Dialect, middle: &[&str]) -> Bytes {
    let starts = middle.iter().any(|data| data.contains("message_start"));
    let (start, end): (&[&str], &[&str]) = match dialect {
        Dialect::AnthropicMessages if starts => (&[], &END),
        Dialect::AnthropicMessages => (&[MESSAGE], &END),
        Dialect::OpenaiChat => CHUNKS.split_at(1),
        Dialect::OpenaiResponses => unreachable!("its streams are made whole, because their end repeats them"),
    };
    stream_of(dialect, &[start, middle, end].concat())
}

/// A chunk with one choice, of these members.
fn chunk(choice: &str) -> String {
    format!("{{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,{choice}}}]}}")
}

pub fn enforcing() -> Vec<(&'static str, Arc<dyn Factory>)> {
    let blocked = |on_match| built_in("blocked_content", &json!({"patterns": [WORD], "on_match": on_match}));
    vec![
        ("tool_filter", built_in("tool_filter", &json!({"deny": [TOOL]}))),
        ("refuse", blocked("refuse")),
        ("replace_block", blocked("replace_block")),
    ]
}

/// Which policies forbid what a stream hides.
pub fn forbids(policy: &str, hides: &str) -> bool {
    (policy == "tool_filter") == (hides == TOOL)
}

pub fn check(dialect: Dialect, hides: &str, secret: &str, body: &Bytes) {
    for (name, factory) in enforcing().into_iter().filter(|(name, _)| forbids(name, hides)) {
        for size in [1, 64, usize::MAX] {
            let out = run(dialect, &rules(vec![factory.clone()]), body, size).out.concat();
            let out = String::from_utf8(out).unwrap();
            assert!(String::from_utf8_lossy(body).contains(secret));
            assert!(!out.contains(secret), "{name}: {out}\nof {}", String::from_utf8_lossy(body));
            assert!(out.contains("data:"), "{name}: nothing is said\nof {}", String::from_utf8_lossy(body));
        }
    }
}

#[test]
fn in_a_stream_of_messages() {
    let start = |block: &str| format!("{{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{block}}}");
    let delta = |delta: &str| format!("{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{delta}}}");
    let message = |content: &str| MESSAGE.replace("\"content\":[]", &format!("\"content\":{content}"));
    let call = start(r#"{"type":"tool_use","id":"t","name":"sesame","input":{}}"#);
    let cases: Vec<(&str, &str, Vec<String>)> = vec![
        (TOOL, TOOL, vec![call.clone()]),
        (TOOL, TOOL, vec![start(r#"{"type":"tool_use","id":"t","name":" sesame","input":{}}"#)]),
        (TOOL, "sesam", vec![start(r#"{"type":"tool_use","id":"t","name":"sesam\u0065","input":{}}"#)]),
        (TOOL, TOOL, vec![message(r#"[{"type":"tool_use","id":"t","name":"sesame","input":{}}]"#)]),
        (TOOL, TOOL, vec![start(r#"{"type":"tool_use","id":"t","name":"ok","name":"sesame","input":{}}"#)]),
        (TOOL, TOOL, vec![start(r#"{"type":"tool_use","id":"t","name":"sesame","name":"ok","input":{}}"#)]),
        (
            TOOL,
            TOOL,
            vec![start(
                r#"{"type":"text","text":""},"content_block":{"type":"tool_use","id":"t","name":"sesame","input":{}}"#,
            )],
        ),
        (TOOL, TOOL, vec![call.replace("\"index\":0", "\"index\":1.0")]),
        (TOOL, TOOL, vec![TEXT_START.into(), BLOCK_STOP.into(), call.clone()]),
        (TOOL, TOOL, vec![END[0].into(), call.clone(), BLOCK_STOP.into()]),
        (TOOL, TOOL, vec![END[0].into(), END[1].into(), call]),
        (WORD, WORD, vec![start(r#"{"type":"text","text":"a FORBIDDEN b"}"#)]),
        (WORD, WORD, vec![start(r#"{"type":"later","text":"FORBIDDEN"}"#)]),
        (WORD, WORD, vec![message(r#"[{"type":"text","text":"FORBIDDEN"}]"#)]),
        (WORD, WORD, vec![TEXT_START.into(), delta(r#"{"type":"text_delta","text":"x","text":"FORBIDDEN"}"#)]),
        (
            WORD,
            WORD,
            vec![TEXT_START.into(), delta(r#"{"type":"citations_delta","type":"text_delta","text":"FORBIDDEN"}"#)],
        ),
        (
            WORD,
            "IDDEN",
            vec![
                TEXT_START.into(),
                delta(r#"{"type":"text_delta","text":"FORB"}"#),
                delta(r#"{"type":"text_delta","text":"\u0049DDEN"}"#).replace("\\u0049", "I"),
            ],
        ),
        (
            WORD,
            "IDDEN",
            vec![
                TEXT_START.into(),
                delta(r#"{"type":"text_delta","text":"FORB"}"#),
                BLOCK_STOP.into(),
                delta(r#"{"type":"text_delta","text":"IDDEN"}"#),
            ],
        ),
        (
            WORD,
            "IDDEN",
            vec![
                TEXT_START.into(),
                delta(r#"{"type":"text_delta","text":"FORB"}"#),
                BLOCK_STOP.into(),
                start(r#"{"type":"text","text":"IDDEN"}"#),
                BLOCK_STOP.into(),
            ],
        ),
        (
            WORD,
            "ORBIDDEN",
            vec![
                start(r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#),
                delta(r#"{"type":"input_json_delta","partial_json":"{\"a\":\"\\u0046ORBIDDEN"}"#),
                BLOCK_STOP.into(),
            ],
        ),
    ];
    for (hides, secret, middle) in cases {
        let middle: Vec<&str> = middle.iter().map(String::as_str).collect();
        check(Dialect::AnthropicMessages, hides, secret, &around(Dialect::AnthropicMessages, &middle));
    }
}

#[test]
fn in_a_stream_of_chunks() {
    let delta = |delta: &str| chunk(&format!("\"delta\":{delta},\"finish_reason\":null"));
    let call = |function: &str| delta(&format!("{{\"tool_calls\":[{{\"index\":0,\"id\":\"t\",{function}}}]}}"));
    let finish = || chunk(r#""delta":{},"finish_reason":"stop""#);
    let whole = call(r#""type":"function","function":{"name":"sesame","arguments":"{}"}"#);
    let error = |error: &str, chunk: &str| chunk.replacen('{', &format!("{{\"error\":{error},"), 1);
    let cases: Vec<(&str, &str, Vec<String>)> = vec![
        (TOOL, TOOL, vec![whole.clone()]),
        (
            TOOL,
            "same",
            vec![
                call(r#""function":{"name":"se","arguments":""}"#),
                call(r#""function":{"name":"same","arguments":"{}"}"#),
            ],
        ),
        (
            TOOL,
            TOOL,
            vec![
                call(r#""function":{"name":"ls","arguments":""}"#),
                call(r#""function":{"name":"sesame","arguments":"{}"}"#),
            ],
        ),
        (
            TOOL,
            "same",
            vec![
                delta(r#"{"function_call":{"name":"se","arguments":""}}"#),
                delta(r#"{"function_call":{"name":"same","arguments":"{}"}}"#),
            ],
        ),
        (TOOL, TOOL, vec![finish(), whole.clone()]),
        (TOOL, TOOL, vec!["[DONE]".into(), whole.clone()]),
        (TOOL, TOOL, vec![error("\"\"", &whole)]),
        (TOOL, TOOL, vec![error("{}", &whole)]),
        (TOOL, TOOL, vec![error("{\"message\":\"m\"}", &whole)]),
        (
            TOOL,
            TOOL,
            vec![call(
                r#""type":"custom","function":{"name":"ok","arguments":""},"custom":{"name":"sesame","input":"x"}"#,
            )],
        ),
        (TOOL, TOOL, vec![call(r#""function":{"name":"ok","name":"sesame","arguments":"{}"}"#)]),
        (TOOL, TOOL, vec![call(r#""function":{"name":"sesame","name":"ok","arguments":"{}"}"#)]),
        (WORD, WORD, vec![delta(r#"{"content":"FORBIDDEN","content":"x"}"#)]),
        (
            TOOL,
            TOOL,
            vec![chunk(
                r#""delta":{"content":"x"},"delta":{"tool_calls":[{"index":0,"id":"t","function":{"name":"sesame","arguments":"{}"}}]}"#,
            )],
        ),
        (
            TOOL,
            TOOL,
            vec![delta(r#"{"tool_calls":{"index":0,"id":"t","function":{"name":"sesame","arguments":"{}"}}}"#)],
        ),
        (WORD, WORD, vec![delta(r#"{"content":"a FORBIDDEN b"}"#)]),
        (WORD, "BID", vec![delta(r#"{"content":"\u0046OR"}"#), delta(r#"{"content":"BID\u0044EN"}"#)]),
        (WORD, "IDDEN", vec![delta(r#"{"content":"FORB"}"#), finish(), delta(r#"{"content":"IDDEN"}"#)]),
        (WORD, WORD, vec![delta(r#"{"content":["FORBIDDEN"]}"#)]),
        (WORD, WORD, vec![delta(r#"{"content":{"text":"FORBIDDEN"}}"#)]),
        (WORD, WORD, vec![delta(r#"{"refusal":"FORBIDDEN"}"#)]),
        (WORD, WORD, vec![error("false", &delta(r#"{"content":"FORBIDDEN"}"#))]),
        (WORD, WORD, vec![call(r#""function":{"name":"f","arguments":{"a":"FORBIDDEN"}}"#)]),
        (
            WORD,
            "IDDEN",
            vec![
                call(r#""function":{"name":"FORB","arguments":""}"#),
                call(r#""function":{"name":"IDDEN","arguments":"{}"}"#),
            ],
        ),
    ];
    for (hides, secret, middle) in cases {
        let middle: Vec<&str> = middle.iter().map(String::as_str).collect();
        check(Dialect::OpenaiChat, hides, secret, &around(Dialect::OpenaiChat, &middle));
    }
}

/// A byte order mark within a stream: some clients skip it, and read the event whose name it hides.
#[test]
fn behind_a_byte_order_mark() {
    let body = around(
        Dialect::AnthropicMessages,
        &[
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"sesame","input":{}}}"#,
            BLOCK_STOP,
        ],
    );
    let marked = String::from_utf8(body.to_vec()).unwrap().replace("\ndata:", "\n\u{feff}data:");
    check(Dialect::AnthropicMessages, TOOL, TOOL, &marked.into());
}

#[test]
fn in_a_whole_body() {
    let message = |content: &str| {
        format!(
            "{{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":{content},\"stop_reason\":\"end_turn\",\"usage\":{{\"input_tokens\":1,\"output_tokens\":1}}}}"
        )
    };
    let completion = |message: &str| {
        format!(
            "{{\"id\":\"c\",\"object\":\"chat.completion\",\"choices\":[{{\"index\":0,\"message\":{message},\"finish_reason\":\"stop\"}}]}}"
        )
    };
    let (messages, chat) = (Dialect::AnthropicMessages, Dialect::OpenaiChat);
    let cases = [
        (messages, TOOL, message(r#"[{"type":"tool_use","id":"t","name":"sesame","input":{}}]"#)),
        (messages, TOOL, message(r#"[{"type":"tool_use","id":"t","name":"ok","name":"sesame","input":{}}]"#)),
        (messages, TOOL, message(r#"[{"type":"tool_use","id":"t","name":"sesame","name":"ok","input":{}}]"#)),
        (messages, TOOL, message(r#"[],"content":[{"type":"tool_use","id":"t","name":"sesame","input":{}}]"#)),
        (messages, WORD, message(r#"[{"type":"text","text":"FORBIDDEN"}]"#)),
        (messages, WORD, message(r#"[{"type":"later","text":"FORBIDDEN"}]"#)),
        (messages, WORD, message(r#""FORBIDDEN""#)),
        (
            chat,
            TOOL,
            completion(
                r#"{"role":"assistant","content":null,"tool_calls":[{"id":"t","type":"function","function":{"name":"sesame","arguments":"{}"}}]}"#,
            ),
        ),
        (
            chat,
            TOOL,
            completion(r#"{"role":"assistant","content":"x","function_call":{"name":"sesame","arguments":"{}"}}"#),
        ),
        (
            chat,
            TOOL,
            completion(
                r#"{"role":"assistant","tool_calls":{"id":"t","type":"function","function":{"name":"sesame","arguments":"{}"}}}"#,
            ),
        ),
        (chat, WORD, completion(r#"{"role":"assistant","content":"x","content":"FORBIDDEN"}"#)),
        (chat, WORD, completion(r#"{"role":"assistant","content":"FORBIDDEN","content":"x"}"#)),
        (chat, WORD, completion(r#"{"role":"assistant","content":{"text":"FORBIDDEN"}}"#)),
        (chat, WORD, completion(r#"{"role":"assistant","content":"FORBIDDEN"}"#)),
    ];
    for (dialect, hides, body) in cases {
        for (name, factory) in enforcing().into_iter().filter(|(name, _)| forbids(name, hides)) {
            let out = run_body(dialect, &rules(vec![factory]), &body.clone().into());
            assert!(!String::from_utf8_lossy(&out).contains(hides), "{name}: {out:?}\nof {body}");
        }
    }
}
