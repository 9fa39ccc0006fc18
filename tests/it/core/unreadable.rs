//! Streams that cannot be read pass where no policy could object, and end with an error where one could.

use std::sync::Arc;

use bytes::Bytes;
use luthien::{model::Dialect, policy::Factory, policy::Watch};
use serde_json::json;

use super::{
    reader::{self, Item},
    support::{WatchAll, built_in, rules, run, run_body},
    validator,
};

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n";
const STOP: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":1}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const CHUNK: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"object\":\"response\",\"status\":\"in_progress\",\"error\":null,\"incomplete_details\":null,\"model\":\"m\",\"output\":[],\"usage\":null}}\n\nevent: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"sequence_number\":1,\"response\":{\"id\":\"r\",\"object\":\"response\",\"status\":\"in_progress\",\"error\":null,\"incomplete_details\":null,\"model\":\"m\",\"output\":[],\"usage\":null}}\n\n";
const COMPLETED: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":3,\"response\":{\"id\":\"r\",\"object\":\"response\",\"status\":\"completed\",\"error\":null,\"incomplete_details\":null,\"model\":\"m\",\"output\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1,\"total_tokens\":2}}}\n\n";

const UNREADABLE: [(Dialect, &str); 16] = [
    (Dialect::AnthropicMessages, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\"\n\n"),
    (Dialect::AnthropicMessages, "data: not JSON\n\n"),
    (
        Dialect::AnthropicMessages,
        "data: {\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n",
    ),
    (Dialect::AnthropicMessages, "data: {\"type\":\"content_block_start\",\"index\":0}\n\n"),
    (
        Dialect::AnthropicMessages,
        "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    ),
    (Dialect::OpenaiChat, "data: {\"id\":\"c\",\"choices\":[{\"index\":0\n\n"),
    (Dialect::OpenaiChat, "data: [1]\n\n"),
    (Dialect::OpenaiChat, "data: plain words\n\n"),
    (
        Dialect::OpenaiChat,
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":-1,\"id\":\"x\"}]}}]}\n\n",
    ),
    // One SDK puts the names together, another takes the last.
    (
        Dialect::OpenaiChat,
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\"}}]}}]}\n\n",
    ),
    (Dialect::OpenaiResponses, "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\"\n\n"),
    (Dialect::OpenaiResponses, "data: not JSON\n\n"),
    (Dialect::OpenaiResponses, "data: [1]\n\n"),
    (
        Dialect::OpenaiResponses,
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":2,\"item_id\":\"m\",\"output_index\":3,\"content_index\":0,\"delta\":\"x\"}\n\n",
    ),
    (
        Dialect::OpenaiResponses,
        "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"sequence_number\":2,\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\"}}\n\n",
    ),
    (
        Dialect::OpenaiResponses,
        "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":2,\"output_index\":-1,\"item\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]}}\n\n",
    ),
];

fn around(dialect: Dialect, event: &str) -> Bytes {
    match dialect {
        Dialect::AnthropicMessages => format!("{START}{event}{STOP}"),
        Dialect::OpenaiChat => format!("{CHUNK}{event}{FINISH}"),
        Dialect::OpenaiResponses => format!("{CREATED}{event}{COMPLETED}"),
    }
    .into()
}

#[test]
fn what_cannot_be_read_passes_unless_a_policy_enforces() {
    let looks_on: [Vec<Arc<dyn Factory>>; 3] =
        [Vec::new(), vec![built_in("noop", &json!({}))], vec![built_in("debug_log", &json!({}))]];
    for (dialect, event) in UNREADABLE {
        let body = around(dialect, event);
        for size in [1, 7, usize::MAX] {
            for policies in &looks_on {
                assert_eq!(run(dialect, &rules(policies.clone()), &body, size).out.concat(), body, "{event}");
            }
            let enforcing: Vec<Arc<dyn Factory>> = vec![Arc::new(WatchAll(Watch::Ignore))];
            let out = run(dialect, &rules(enforcing), &body, size).out.concat();
            let before = &body[..String::from_utf8_lossy(&body).find(event).unwrap()];
            assert!(out.starts_with(before), "{event}");
            let rest = String::from_utf8(out[before.len()..].to_vec()).unwrap();
            assert!(rest.contains("cannot be read") && rest.matches("data:").count() == 1, "{event}: {rest}");
            validator::assert_legal(dialect, &out, event);
            assert_eq!(reader::stream(dialect, &out).items.last(), Some(&Item::Error));
        }
    }
}

#[test]
fn events_that_nobody_knows_pass_also_where_a_policy_enforces() {
    let unknown = [
        (Dialect::AnthropicMessages, "event: later\ndata: {\"type\":\"later\",\"index\":7,\"x\":1e3}\n\n"),
        (Dialect::AnthropicMessages, ": a comment\n\n\n\nid: 1\nretry: 5\n\n"),
        (Dialect::AnthropicMessages, "event: ping\n\n"),
        (
            Dialect::OpenaiResponses,
            "event: response.later\ndata: {\"type\":\"response.later\",\"sequence_number\":2,\"x\":1e3}\n\n",
        ),
        (Dialect::OpenaiResponses, "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":2}\n\n"),
        (Dialect::OpenaiResponses, ": a comment\n\n\n\nid: 1\nretry: 5\n\n"),
        (Dialect::OpenaiChat, "event: later\ndata: {\"id\":\"c\",\"later\":[1.50]}\n\n"),
        (Dialect::OpenaiChat, "data: {\"choices\":null}\n\n: x\n\n"),
        (Dialect::OpenaiChat, "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"later\":{\"a\":1}}}]}\n\n"),
    ];
    for (dialect, event) in unknown {
        let body = around(dialect, event);
        for watch in [Watch::Ignore, Watch::Deltas, Watch::Whole] {
            let rules = rules(vec![Arc::new(WatchAll(watch))]);
            for size in [1, 7, usize::MAX] {
                assert_eq!(run(dialect, &rules, &body, size).out.concat(), body, "{event} {watch:?}");
            }
        }
    }
}

#[test]
fn a_body_that_cannot_be_read_passes_unless_a_policy_enforces() {
    for dialect in [Dialect::AnthropicMessages, Dialect::OpenaiChat, Dialect::OpenaiResponses] {
        for body in ["", "plain words", "[]", "{\"type\":\"other\"}", "{\"a\":"] {
            let body = Bytes::from_static(body.as_bytes());
            assert_eq!(run_body(dialect, &rules(vec![built_in("noop", &json!({}))]), &body), body);
            let enforcing = rules(vec![Arc::new(WatchAll(Watch::Ignore))]);
            assert!(run_body(dialect, &enforcing, &body).is_empty(), "{body:?}");
        }
    }
}
