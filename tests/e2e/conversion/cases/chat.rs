//! Streams of Chat Completions.

use serde_json::{Value, json};

use super::{Case, End, Wanted, calls, ends, says};
use crate::common::streams::Dialect;

const DONE: &str = "data: [DONE]\n\n";
const NOISE: &str = ": OPENROUTER PROCESSING\n\n";

pub(super) fn cases() -> Vec<Case> {
    let case =
        |name, frames: &[String], wanted| Case { name, upstream: Dialect::OpenaiChat, stream: frames.concat(), wanted };
    let done = || DONE.to_owned();
    let whole = |middle: &[String], reason: &str| [&[role()], middle, &[finish(reason), done()]].concat();
    let usage = "data: {\"id\":\"chatcmpl-case\",\"object\":\"chat.completion.chunk\",\"created\":1795000000,\
                 \"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":7,\
                 \"total_tokens\":1007,\"prompt_tokens_details\":{\"cached_tokens\":900}}}\n\n";
    let [x, y] = [r#"{"x":1}"#, r#"{"y":2}"#];
    let both_at_once = json!({ "content": "Both.", "tool_calls": [
        { "index": 0, "id": "call_0", "type": "function", "function": { "name": "f", "arguments": x } },
        { "index": 1, "id": "call_1", "type": "function", "function": { "name": "g", "arguments": y } },
    ] });
    let no_index = json!({ "tool_calls": [{ "id": "call_0", "function": { "name": "f", "arguments": x } }] });
    let empty = json!({ "content": "", "tool_calls": [] });
    let again = |text: &str| c(&json!({ "role": "assistant", "content": text }), None);
    let error =
        "data: {\"error\":{\"message\":\"It broke.\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";
    vec![
        case(
            "text behind a call",
            &whole(&[t("A"), begins(0, "f", Some("")), goes_on(0, x), t("B")], "tool_calls"),
            calls("AB", &[("f", x)]),
        ),
        case(
            "interleaved calls",
            &whole(
                &[
                    begins(0, "f", Some("")),
                    begins(1, "g", Some("")),
                    goes_on(0, "{\"x\""),
                    goes_on(1, "{\"y\""),
                    goes_on(1, ":2}"),
                    goes_on(0, ":1}"),
                ],
                "tool_calls",
            ),
            calls("", &[("f", x), ("g", y)]),
        ),
        case("stop, with calls", &whole(&[begins(0, "f", Some(x))], "stop"), calls("", &[("f", x)])),
        case("tool_calls, without calls", &whole(&[t("None.")], "tool_calls"), says("None.")),
        case("empty arguments", &whole(&[begins(0, "f", Some(""))], "tool_calls"), calls("", &[("f", "{}")])),
        case("no arguments", &whole(&[begins(0, "f", None)], "tool_calls"), calls("", &[("f", "{}")])),
        case(
            "two empty calls, then one with arguments",
            &whole(&[begins(0, "f", Some("")), begins(1, "f", Some("{}")), begins(2, "g", Some(y))], "tool_calls"),
            calls("", &[("f", "{}"), ("f", "{}"), ("g", y)]),
        ),
        case(
            "content and finish_reason in one chunk",
            &[role(), t("One"), c(&json!({ "content": " two" }), Some("stop")), done()],
            says("One two"),
        ),
        case(
            "text, calls and finish_reason in one chunk",
            &[c(&both_at_once, Some("tool_calls")), done()],
            calls("Both.", &[("f", x), ("g", y)]),
        ),
        case("a call without an index", &whole(&[c(&no_index, None)], "tool_calls"), calls("", &[("f", x)])),
        case("no usage chunk", &whole(&[t("One")], "stop"), says("One")),
        case(
            "cached tokens once",
            &[role(), t("One"), finish("stop"), usage.to_owned(), done()],
            Wanted { tokens: Some([100, 900, 7]), ..says("One") },
        ),
        case("the role in every chunk", &[again("One"), again(" two"), finish("stop"), done()], says("One two")),
        case("no [DONE]", &[role(), t("One"), finish("stop")], says("One")),
        case(
            "reasoning twice",
            &whole(&[thinks("a"), thinks("b"), t("One"), thinks("c"), t(" two")], "stop"),
            Wanted { thinking: vec!["ab", "c"], ..says("One two") },
        ),
        case(
            "empty deltas and empty lists of calls",
            &whole(&[c(&empty, None), t("One"), c(&empty, None)], "stop"),
            says("One"),
        ),
        case(
            "comments between the chunks",
            &[NOISE.to_owned(), role(), NOISE.to_owned(), t("One"), NOISE.to_owned(), finish("stop"), done()],
            says("One"),
        ),
        case("cut off by a limit", &whole(&[t("One")], "length"), ends("One", End::Length)),
        case("refused by a filter", &whole(&[t("One")], "content_filter"), ends("One", End::Refused)),
        case("an error in mid-stream", &[role(), t("One"), error.to_owned()], ends("One", End::Fails("It broke."))),
        case("an error first", &[error.to_owned()], ends("", End::Fails("It broke."))),
        case("truncated in a text", &[role(), t("One")], ends("One", End::Fails("ended"))),
        case("truncated in a call", &[role(), begins(0, "f", Some("{\"x\""))], ends("", End::Fails("ended"))),
    ]
}

/// A chunk.
fn c(delta: &Value, finish_reason: Option<&str>) -> String {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish_reason });
    let chunk = json!({
        "id": "chatcmpl-case", "object": "chat.completion.chunk", "created": 1_795_000_000, "model": "m",
        "choices": [choice],
    });
    format!("data: {chunk}\n\n")
}

fn role() -> String {
    c(&json!({ "role": "assistant", "content": "" }), None)
}

fn t(text: &str) -> String {
    c(&json!({ "content": text }), None)
}

fn thinks(text: &str) -> String {
    c(&json!({ "reasoning_content": text }), None)
}

fn begins(index: u64, name: &str, arguments: Option<&str>) -> String {
    let function = json!({ "name": name, "arguments": arguments });
    let call = json!({ "index": index, "id": format!("call_{index}"), "type": "function", "function": function });
    c(&json!({ "tool_calls": [call] }), None)
}

fn goes_on(index: u64, arguments: &str) -> String {
    c(&json!({ "tool_calls": [{ "index": index, "function": { "arguments": arguments } }] }), None)
}

fn finish(reason: &str) -> String {
    c(&json!({}), Some(reason))
}
