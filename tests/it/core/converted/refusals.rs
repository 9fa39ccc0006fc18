//! Refusals, each in the place that the client's dialect has for them.

use bytes::Bytes;
use luthien::model::Dialect;
use serde_json::{Value, json};

use super::{super::reader::sse, nobody, run, run_body};

const WHY: &str = "I can't help with that.";

/// Every stream and body of a provider that refuses.
fn refusals() -> Vec<(Dialect, String, String)> {
    vec![
        (
            Dialect::AnthropicMessages,
            [
                json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": null, "usage": {"input_tokens": 1, "output_tokens": 1}}}),
                json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "cyber", "explanation": WHY}}, "usage": {"output_tokens": 1}}),
                json!({"type": "message_stop"}),
            ]
            .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
            .concat(),
            json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "cyber", "explanation": WHY}, "usage": {"input_tokens": 1, "output_tokens": 1}}).to_string(),
        ),
        (
            Dialect::OpenaiChat,
            [json!({"role": "assistant", "refusal": "I can't help "}), json!({"refusal": "with that."}), Value::Null]
                .map(|delta| {
                    let finish = if delta.is_null() { json!("stop") } else { Value::Null };
                    let delta = if delta.is_null() { json!({}) } else { delta };
                    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
                    format!("data: {}\n\n", json!({"id": "c", "model": "m", "choices": [choice]}))
                })
                .concat()
                + "data: [DONE]\n\n",
            json!({"id": "c", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": null, "refusal": WHY}, "finish_reason": "stop"}]}).to_string(),
        ),
        (Dialect::OpenaiResponses, responses(), response().to_string()),
    ]
}

fn response() -> Value {
    let part = json!({"type": "refusal", "refusal": WHY});
    let item = json!({"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]});
    json!({"id": "r", "object": "response", "status": "completed", "model": "m", "output": [item], "usage": null})
}

fn responses() -> String {
    let begun = json!({"id": "r", "object": "response", "status": "in_progress", "model": "m", "output": []});
    let at = |kind: &str, more: Value| {
        let mut event = json!({"type": kind, "item_id": "msg_1", "output_index": 0, "content_index": 0});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let item = json!({"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []});
    let part = json!({"type": "refusal", "refusal": ""});
    let events = [
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
        at("response.content_part.added", json!({"part": part})),
        at("response.refusal.delta", json!({"delta": "I can't help "})),
        at("response.refusal.delta", json!({"delta": "with that."})),
        at("response.refusal.done", json!({"refusal": WHY})),
        at("response.content_part.done", json!({"part": {"type": "refusal", "refusal": WHY}})),
        json!({"type": "response.output_item.done", "output_index": 0, "item": response()["output"][0]}),
        json!({"type": "response.completed", "response": response()}),
    ];
    let frame = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(frame).collect()
}

/// What a client reads of a refusal: its text in the place for refusals, and how the answer ends.
fn told(to: Dialect, events: &[Value]) -> (String, Value) {
    let all =
        |pointer: &str| -> String { events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect() };
    let last = |pointer: &str| events.iter().filter_map(|event| event.pointer(pointer)).rfind(|value| !value.is_null());
    match to {
        Dialect::AnthropicMessages => {
            let end = json!([last("/delta/stop_reason"), last("/delta/stop_details/type")]);
            (all("/delta/text"), end)
        }
        Dialect::OpenaiChat => (all("/choices/0/delta/refusal"), last("/choices/0/finish_reason").unwrap().clone()),
        Dialect::OpenaiResponses => {
            let said = all("/delta");
            let response = last("/response").unwrap();
            assert_eq!(response["output"][0]["content"], json!([{"type": "refusal", "refusal": said}]));
            (said, response["status"].clone())
        }
    }
}

fn told_whole(to: Dialect, body: &Value) -> (String, Value) {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    match to {
        Dialect::AnthropicMessages => {
            (text("/content/0/text"), json!([body["stop_reason"], body["stop_details"]["type"]]))
        }
        Dialect::OpenaiChat => (text("/choices/0/message/refusal"), body["choices"][0]["finish_reason"].clone()),
        Dialect::OpenaiResponses => (text("/output/0/content/0/refusal"), body["status"].clone()),
    }
}

#[test]
fn a_refusal_stands_where_the_client_looks_for_it() {
    for (from, stream, body) in refusals() {
        for to in super::others(from) {
            // Only Anthropic's word for it says by itself that the answer was stopped.
            let end = match to {
                Dialect::AnthropicMessages => json!(["refusal", "refusal"]),
                Dialect::OpenaiChat if from == Dialect::AnthropicMessages => json!("content_filter"),
                Dialect::OpenaiChat => json!("stop"),
                Dialect::OpenaiResponses => json!("completed"),
            };
            let wanted = (WHY.to_owned(), end);
            for size in [1, 50, usize::MAX] {
                let out = run(from, to, &nobody(), &Bytes::from(stream.clone()), size).out.concat();
                let events: Vec<Value> =
                    sse::events(&out).iter().filter_map(|event| serde_json::from_str(&event.data).ok()).collect();
                assert_eq!(told(to, &events), wanted, "{from:?} for {to:?}: {}", String::from_utf8_lossy(&out));
            }
            let out = run_body(from, to, &nobody(), &Bytes::from(body.clone()));
            let body: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(told_whole(to, &body), wanted, "{from:?} for {to:?}: {body}");
        }
    }
}
