//! Streams of Responses.

use serde_json::{Value, json};

use super::{Case, End, Wanted, calls, ends, says};
use crate::{common::streams::Dialect, conversion::answers::event};

#[expect(clippy::too_many_lines, reason = "a table, with the words that it is written in")]
pub(super) fn cases() -> Vec<Case> {
    let case = |name, events: &[Value], wanted| {
        let number = |(number, mut data): (usize, Value)| {
            data["sequence_number"] = number.into();
            event(&data)
        };
        let stream = events.iter().cloned().enumerate().map(number).collect();
        Case { name, upstream: Dialect::OpenaiResponses, stream, wanted }
    };
    let response = |status: &str, output: &[Value]| {
        let usage = json!({
            "input_tokens": 1000, "input_tokens_details": { "cached_tokens": 900 }, "output_tokens": 7,
            "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 1007,
        });
        json!({
            "id": "resp_case", "object": "response", "created_at": 1_795_000_000, "status": status, "model": "m",
            "output": output, "usage": if status == "in_progress" { Value::Null } else { usage }, "error": null,
            "incomplete_details": null, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        })
    };
    let created = || vec![json!({ "type": "response.created", "response": response("in_progress", &[]) })];
    let completed =
        |items: &[Value]| vec![json!({ "type": "response.completed", "response": response("completed", items) })];
    let added =
        |index: u64, item: &Value| json!({ "type": "response.output_item.added", "output_index": index, "item": item });
    let done =
        |index: u64, item: &Value| json!({ "type": "response.output_item.done", "output_index": index, "item": item });
    let call = |index: u64, name: &str, arguments: &str| {
        json!({
            "id": format!("fc_{index}"), "type": "function_call", "status": "completed", "name": name,
            "call_id": format!("call_{index}"), "arguments": arguments,
        })
    };
    let inner = |index: u64, item: &Value, kind: &str, fields: Value| {
        let mut event = fields;
        event["type"] = format!("response.{kind}").into();
        event["item_id"] = item["id"].clone();
        event["output_index"] = index.into();
        event
    };
    let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [] });
    let message = |index: u64, text: &str| {
        json!({
            "id": format!("msg_{index}"), "type": "message", "status": "completed", "role": "assistant",
            "content": [part(text)],
        })
    };
    let opens = |index: u64, text: &str| {
        let item = message(index, text);
        let mut begun = item.clone();
        begun["content"] = json!([]);
        let mut events = vec![
            added(index, &begun),
            inner(index, &item, "content_part.added", json!({ "content_index": 0, "part": part("") })),
        ];
        if !text.is_empty() {
            events.push(inner(index, &item, "output_text.delta", json!({ "content_index": 0, "delta": text })));
        }
        events
    };
    let says_it = |index: u64, text: &str| {
        let item = message(index, text);
        let closes = [
            inner(index, &item, "output_text.done", json!({ "content_index": 0, "text": text })),
            inner(index, &item, "content_part.done", json!({ "content_index": 0, "part": part(text) })),
            done(index, &item),
        ];
        [opens(index, text), closes.to_vec()].concat()
    };
    let x = r#"{"x":1}"#;
    let y = r#"{"y":2}"#;
    let (f, g) = (call(0, "f", x), call(1, "g", y));
    let delta = |index: u64, item: &Value, delta: &str| {
        inner(index, item, "function_call_arguments.delta", json!({ "delta": delta }))
    };
    let arguments_done = inner(0, &f, "function_call_arguments.done", json!({ "arguments": x }));
    let action = json!({ "type": "search", "query": "x" });
    let search = json!({ "id": "ws_0", "type": "web_search_call", "status": "completed", "action": action });
    let hidden = json!({ "id": "rs_0", "type": "reasoning", "summary": [], "encrypted_content": "gAAA==" });
    let keepalive = || vec![json!({ "type": "keepalive" })];
    let mut incomplete = response("incomplete", &[message(0, "One")]);
    incomplete["incomplete_details"] = json!({ "reason": "max_output_tokens" });
    let mut failed = response("failed", &[]);
    failed["error"] = json!({ "code": "server_error", "message": "It broke." });
    let nested = json!({ "type": "server_error", "code": "server_error", "message": "It broke.", "param": null });
    let error = json!({ "type": "error", "error": nested });
    let flat = json!({ "type": "error", "code": "server_error", "message": "It broke.", "param": null });
    let fails = ends("One", End::Fails("It broke."));
    vec![
        case(
            "arguments only in .done",
            &[
                created(),
                vec![added(0, &call(0, "f", "")), arguments_done, done(0, &f)],
                completed(std::slice::from_ref(&f)),
            ]
            .concat(),
            calls("", &[("f", x)]),
        ),
        case(
            "arguments only in the finished item",
            &[created(), vec![added(0, &call(0, "f", "")), done(0, &f)], completed(std::slice::from_ref(&f))].concat(),
            calls("", &[("f", x)]),
        ),
        case(
            "empty arguments",
            &[created(), vec![added(0, &call(0, "f", "")), done(0, &call(0, "f", ""))], completed(&[call(0, "f", "")])]
                .concat(),
            calls("", &[("f", "{}")]),
        ),
        case(
            "items that overlap",
            &[
                created(),
                vec![added(0, &call(0, "f", "")), added(1, &call(1, "g", "")), delta(1, &g, "{\"y\""), delta(0, &f, x)],
                vec![delta(1, &g, ":2}"), done(0, &f), done(1, &g)],
                completed(&[f.clone(), g.clone()]),
            ]
            .concat(),
            calls("", &[("f", x), ("g", y)]),
        ),
        case(
            "an empty text before a call",
            &[
                created(),
                says_it(0, ""),
                vec![added(1, &call(1, "g", "")), delta(1, &g, y), done(1, &g)],
                completed(&[message(0, ""), g.clone()]),
            ]
            .concat(),
            calls("", &[("g", y)]),
        ),
        case(
            "a server's tool is no call",
            &[
                created(),
                vec![added(0, &search), done(0, &search)],
                says_it(1, "One"),
                completed(&[search.clone(), message(1, "One")]),
            ]
            .concat(),
            says("One"),
        ),
        case(
            "reasoning that is not shown",
            &[
                created(),
                vec![added(0, &hidden), done(0, &hidden)],
                says_it(1, "One"),
                completed(&[hidden.clone(), message(1, "One")]),
            ]
            .concat(),
            says("One"),
        ),
        case(
            "keepalives",
            &[created(), keepalive(), says_it(0, "One"), keepalive(), completed(&[message(0, "One")])].concat(),
            says("One"),
        ),
        case(
            "cached tokens once",
            &[created(), says_it(0, "One"), completed(&[message(0, "One")])].concat(),
            Wanted { tokens: Some([100, 900, 7]), ..says("One") },
        ),
        case(
            "cut off by a limit",
            &[created(), says_it(0, "One"), vec![json!({ "type": "response.incomplete", "response": incomplete })]]
                .concat(),
            ends("One", End::Length),
        ),
        case(
            "failed",
            &[created(), opens(0, "One"), vec![json!({ "type": "response.failed", "response": failed })]].concat(),
            fails.clone(),
        ),
        case("an error in mid-stream", &[created(), opens(0, "One"), vec![error]].concat(), fails.clone()),
        case("a flat error in mid-stream", &[created(), opens(0, "One"), vec![flat]].concat(), fails),
        case("truncated", &[created(), opens(0, "One")].concat(), ends("One", End::Fails("ended"))),
    ]
}
