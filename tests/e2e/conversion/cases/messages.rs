//! Streams of Messages.

use serde_json::{Value, json};

use super::{Case, End, Wanted, calls, ends, says};
use crate::{common::streams::Dialect, conversion::answers::event};

#[expect(clippy::too_many_lines, reason = "a table, with the words that it is written in")]
pub(super) fn cases() -> Vec<Case> {
    let case = |name, frames: &[Value], wanted| Case {
        name,
        upstream: Dialect::Anthropic,
        stream: frames.iter().map(event).collect(),
        wanted,
    };
    let start = || {
        let usage = json!({ "input_tokens": 100, "cache_read_input_tokens": 900, "output_tokens": 1 });
        let message = json!({
            "id": "msg_case", "type": "message", "role": "assistant", "model": "m", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage,
        });
        vec![json!({ "type": "message_start", "message": message })]
    };
    let block = |index: u64, block: Value, deltas: &[Value]| {
        let delta = |delta: &Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
        let begin = json!({ "type": "content_block_start", "index": index, "content_block": block });
        let end = json!({ "type": "content_block_stop", "index": index });
        [vec![begin], deltas.iter().map(delta).collect(), vec![end]].concat()
    };
    let text = |index, text: &str| {
        block(index, json!({ "type": "text", "text": "" }), &[json!({ "type": "text_delta", "text": text })])
    };
    let thought = |index, text: &str| {
        let deltas = [
            json!({ "type": "thinking_delta", "thinking": text }),
            json!({ "type": "signature_delta", "signature": "Eq==" }),
        ];
        let deltas = if text.is_empty() { &deltas[1..] } else { &deltas };
        block(index, json!({ "type": "thinking", "thinking": "", "signature": "" }), deltas)
    };
    let call = |index: u64, name: &str| {
        let id = format!("toolu_{index}");
        json!({ "type": "tool_use", "id": id, "name": name, "input": {} })
    };
    let piece = |json: &str| json!({ "type": "input_json_delta", "partial_json": json });
    let stop = |reason: &str| {
        let delta = json!({ "stop_reason": reason, "stop_sequence": null });
        vec![
            json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 7 } }),
            json!({ "type": "message_stop" }),
        ]
    };
    let ping = || vec![json!({ "type": "ping" })];
    let searched = |index: u64| {
        let call = json!({ "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {} });
        let result = json!({ "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [] });
        [block(index, call, &[piece("{\"query\":\"x\"}")]), block(index + 1, result, &[])].concat()
    };
    let error = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "It broke." } });
    let already =
        block(0, json!({ "type": "text", "text": "One" }), &[json!({ "type": "text_delta", "text": " two" })]);
    let empty = block(0, json!({ "type": "text", "text": "" }), &[]);
    let redacted = block(0, json!({ "type": "redacted_thinking", "data": "Eq==" }), &[]);
    let early =
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 5 } });
    let x = r#"{"x":1}"#;
    vec![
        case(
            "a call without fragments",
            &[start(), block(0, call(0, "f"), &[]), stop("tool_use")].concat(),
            calls("", &[("f", "{}")]),
        ),
        case(
            "a call with empty fragments",
            &[start(), block(0, call(0, "f"), &[piece(""), piece("")]), stop("tool_use")].concat(),
            calls("", &[("f", "{}")]),
        ),
        case(
            "cached tokens once",
            &[start(), text(0, "One"), stop("end_turn")].concat(),
            Wanted { tokens: Some([100, 900, 7]), ..says("One") },
        ),
        case(
            "counts told twice",
            &[start(), text(0, "One"), vec![early], stop("end_turn")].concat(),
            Wanted { tokens: Some([100, 900, 7]), ..says("One") },
        ),
        case(
            "a server's tool is no call",
            &[start(), text(0, "One"), searched(1), text(3, " two"), stop("end_turn")].concat(),
            says("One two"),
        ),
        case(
            "a server's tool before a call",
            &[start(), searched(0), block(2, call(2, "f"), &[piece(x)]), stop("tool_use")].concat(),
            calls("", &[("f", x)]),
        ),
        case("tool_use, without calls", &[start(), text(0, "None."), stop("tool_use")].concat(), says("None.")),
        case(
            "an empty text before a call",
            &[start(), empty, block(1, call(1, "f"), &[piece(x)]), stop("tool_use")].concat(),
            calls("", &[("f", x)]),
        ),
        case("text in the start of a block", &[start(), already, stop("end_turn")].concat(), says("One two")),
        case(
            "pings everywhere",
            &[ping(), start(), ping(), text(0, "One"), ping(), stop("end_turn")].concat(),
            says("One"),
        ),
        case(
            "thinking twice",
            &[start(), thought(0, "ab"), text(1, "One"), thought(2, "c"), text(3, " two"), stop("end_turn")].concat(),
            Wanted { thinking: vec!["ab", "c"], ..says("One two") },
        ),
        case(
            "thinking that is not shown",
            &[start(), thought(0, ""), text(1, "One"), stop("end_turn")].concat(),
            says("One"),
        ),
        case("redacted thinking", &[start(), redacted, text(1, "One"), stop("end_turn")].concat(), says("One")),
        case("cut off by a limit", &[start(), text(0, "One"), stop("max_tokens")].concat(), ends("One", End::Length)),
        case("a pause", &[start(), text(0, "One"), stop("pause_turn")].concat(), ends("One", End::Length)),
        case("refused", &[start(), text(0, "One"), stop("refusal")].concat(), ends("One", End::Refused)),
        case(
            "an error in mid-stream",
            &[start(), text(0, "One"), vec![error.clone()]].concat(),
            ends("One", End::Fails("It broke.")),
        ),
        case("an error first", &[error], ends("", End::Fails("It broke."))),
        case("truncated", &[start(), text(0, "One")].concat(), ends("One", End::Fails("ended"))),
    ]
}
