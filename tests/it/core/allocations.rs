//! What nobody touches costs no memory of its own: a thousand more events ask for none.

use allocation_counter::measure;
use bytes::Bytes;
use luthien::model::Dialect;
use serde_json::json;

use super::support::{LIMITS, built_in, response, rules, stream_of};

/// The data of a stream's events up to the end of its head, of one delta, and of its end.
fn parts(dialect: Dialect) -> ([Vec<&'static str>; 2], &'static str) {
    match dialect {
        Dialect::AnthropicMessages => (
            [
                vec![
                    r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"usage":{"input_tokens":1}}}"#,
                    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                ],
                vec![
                    r#"{"type":"content_block_stop","index":0}"#,
                    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#,
                    r#"{"type":"message_stop"}"#,
                ],
            ],
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word"}}"#,
        ),
        Dialect::OpenaiChat => (
            [
                vec![
                    r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
                ],
                vec![r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#, "[DONE]"],
            ],
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}"#,
        ),
        Dialect::OpenaiResponses => (
            [
                vec![
                    r#"{"type":"response.created","response":{"id":"r","status":"in_progress","output":[]}}"#,
                    r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"m","type":"message","role":"assistant","content":[]}}"#,
                    r#"{"type":"response.content_part.added","item_id":"m","output_index":0,"content_index":0,"part":{"type":"output_text","text":""}}"#,
                ],
                Vec::new(),
            ],
            r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":" word"}"#,
        ),
    }
}

/// How often memory is asked for while so many deltas come, and leave as they are.
fn asked(dialect: Dialect, policy: Option<(&str, &serde_json::Value)>, deltas: usize) -> u64 {
    let ([head, tail], delta) = parts(dialect);
    let rules = rules(policy.map(|(name, config)| built_in(name, config)).into_iter().collect());
    let frames = |data: &str| stream_of(dialect, &[data]);
    let mut chunks: Vec<Bytes> = head.iter().copied().map(frames).collect();
    chunks.extend((0..deltas).map(|_| frames(delta)));
    chunks.extend(tail.iter().copied().map(frames));
    // Sharing a chunk for the first time is a matter of whoever received it.
    let shared = chunks.clone();
    let mut response = response(dialect, &rules, LIMITS);
    let (mut pushed, mut left) = (0, 0);
    let info = measure(|| {
        for chunk in &chunks {
            pushed += usize::from(response.push(chunk).is_ok());
            drop(response.take_facts());
            left += response.take_output().count();
        }
    });
    assert_eq!((pushed, left), (shared.len(), shared.len()), "{dialect:?}: every frame passes at once");
    info.count_total
}

#[test]
fn an_untouched_event_costs_no_memory() {
    let (nothing, filter) = (json!({}), json!({ "deny": ["bash"] }));
    let policies = [None, Some(("noop", &nothing)), Some(("tool_filter", &filter))];
    for dialect in Dialect::ALL {
        for policy in policies {
            let (some, more) = (asked(dialect, policy, 100), asked(dialect, policy, 1100));
            // What keeps a text, to say it again at its end, doubles its room a few times.
            assert!(
                more <= some + 5,
                "{dialect:?}, {policy:?}: {some} for a hundred deltas, {more} for eleven hundred"
            );
        }
    }
}
