//! Small answers of a provider, made by hand in each dialect.

use serde_json::{Value, json};

use crate::common::streams::Dialect;

/// A tool call: id, name, arguments as JSON text.
pub(crate) type Call<'a> = (&'a str, &'a str, &'a str);

/// Three calls made at once; the names of two of them begin alike.
pub(crate) const CALLS: [Call; 3] = [
    ("call_a", "read_file", r#"{"path":"/tmp/a"}"#),
    ("call_b", "rm_tree", r#"{"path":"/","force":true}"#),
    ("call_c", "list_files", "{}"),
];

/// A whole stream that says these pieces of text.
pub(crate) fn text(dialect: Dialect, pieces: &[&str]) -> String {
    open_text(dialect, pieces) + &close_text(dialect)
}

/// The same without its end: the text is still open.
pub(crate) fn open_text(dialect: Dialect, pieces: &[&str]) -> String {
    let mut stream = match dialect {
        Dialect::Anthropic => message_start() + &block_start(0, &json!({ "type": "text", "text": "" })),
        Dialect::OpenaiChat => chunk(&json!({ "role": "assistant", "content": "" }), None),
        Dialect::OpenaiResponses => panic!("there are no samples of this dialect"),
    };
    for piece in pieces {
        stream += &text_delta(dialect, piece);
    }
    stream
}

/// One more piece of an open text.
pub(crate) fn text_delta(dialect: Dialect, piece: &str) -> String {
    match dialect {
        Dialect::Anthropic => block_delta(0, &json!({ "type": "text_delta", "text": piece })),
        Dialect::OpenaiChat => chunk(&json!({ "content": piece }), None),
        Dialect::OpenaiResponses => panic!("there are no samples of this dialect"),
    }
}

/// The end of an open text and of the answer.
pub(crate) fn close_text(dialect: Dialect) -> String {
    match dialect {
        Dialect::Anthropic => block_stop(0) + &message_end("end_turn"),
        Dialect::OpenaiChat => chunk(&json!({}), Some("stop")) + "data: [DONE]\n\n",
        Dialect::OpenaiResponses => panic!("there are no samples of this dialect"),
    }
}

/// A whole stream with a text (unless it is empty) and then these tool calls.
///
/// Anthropic's are blocks one after the other; OpenAI's are interleaved, arguments cut in half.
pub(crate) fn tools(dialect: Dialect, text: &str, calls: &[Call]) -> String {
    match dialect {
        Dialect::Anthropic => {
            let mut stream = message_start();
            let mut index = 0;
            if !text.is_empty() {
                stream += &block_start(index, &json!({ "type": "text", "text": "" }));
                stream += &block_delta(index, &json!({ "type": "text_delta", "text": text }));
                stream += &block_stop(index);
                index += 1;
            }
            for (id, name, arguments) in calls {
                stream += &block_start(index, &json!({ "type": "tool_use", "id": id, "name": name, "input": {} }));
                for half in halves(arguments) {
                    stream += &block_delta(index, &json!({ "type": "input_json_delta", "partial_json": half }));
                }
                stream += &block_stop(index);
                index += 1;
            }
            stream + &message_end("tool_use")
        }
        Dialect::OpenaiChat => {
            let mut stream = chunk(&json!({ "role": "assistant", "content": null }), None);
            if !text.is_empty() {
                stream += &chunk(&json!({ "content": text }), None);
            }
            for (index, (id, name, _)) in calls.iter().enumerate() {
                let function = json!({ "name": name, "arguments": "" });
                let call = json!({ "index": index, "id": id, "type": "function", "function": function });
                stream += &chunk(&json!({ "tool_calls": [call] }), None);
            }
            for half in 0..2 {
                for (index, (_, _, arguments)) in calls.iter().enumerate() {
                    let function = json!({ "arguments": halves(arguments)[half] });
                    stream += &chunk(&json!({ "tool_calls": [{ "index": index, "function": function }] }), None);
                }
            }
            stream + &chunk(&json!({}), Some("tool_calls")) + "data: [DONE]\n\n"
        }
        Dialect::OpenaiResponses => panic!("there are no samples of this dialect"),
    }
}

/// The body of an answer that is not streamed, with a text (unless it is empty) and these tool calls.
pub(crate) fn whole(dialect: Dialect, text: &str, calls: &[Call]) -> String {
    let body = match dialect {
        Dialect::Anthropic => {
            let text = (!text.is_empty()).then(|| json!({ "type": "text", "text": text }));
            let calls = calls.iter().map(|(id, name, arguments)| {
                let input: Value = serde_json::from_str(arguments).expect("the sample's arguments are JSON");
                json!({ "type": "tool_use", "id": id, "name": name, "input": input })
            });
            let has_calls = calls.len() > 0;
            json!({
                "id": "msg_01Sample", "type": "message", "role": "assistant", "model": "claude-test",
                "content": text.into_iter().chain(calls).collect::<Vec<_>>(),
                "stop_reason": if has_calls { "tool_use" } else { "end_turn" }, "stop_sequence": null,
                "usage": { "input_tokens": 3, "output_tokens": 5 },
            })
        }
        Dialect::OpenaiChat => {
            let mut message = json!({ "role": "assistant", "content": (!text.is_empty()).then_some(text) });
            if !calls.is_empty() {
                message["tool_calls"] = calls
                    .iter()
                    .map(|(id, name, arguments)| {
                        json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
                    })
                    .collect();
            }
            let reason = if calls.is_empty() { "stop" } else { "tool_calls" };
            json!({
                "id": "chatcmpl-sample", "object": "chat.completion", "created": 1_795_000_000, "model": "gpt-test",
                "choices": [{ "index": 0, "message": message, "finish_reason": reason, "logprobs": null }],
                "usage": { "prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8 },
            })
        }
        Dialect::OpenaiResponses => panic!("there are no samples of this dialect"),
    };
    body.to_string()
}

fn halves(text: &str) -> [&str; 2] {
    let (first, second) = text.split_at(text.len() / 2);
    [first, second]
}

fn message_start() -> String {
    event(&json!({
        "type": "message_start",
        "message": {
            "id": "msg_01Sample", "type": "message", "role": "assistant", "model": "claude-test", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 3, "output_tokens": 1 },
        },
    }))
}

fn block_start(index: usize, block: &Value) -> String {
    event(&json!({ "type": "content_block_start", "index": index, "content_block": block }))
}

fn block_delta(index: usize, delta: &Value) -> String {
    event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }))
}

fn block_stop(index: usize) -> String {
    event(&json!({ "type": "content_block_stop", "index": index }))
}

fn message_end(stop_reason: &str) -> String {
    let delta = json!({ "stop_reason": stop_reason, "stop_sequence": null });
    event(&json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 5 } }))
        + &event(&json!({ "type": "message_stop" }))
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("an event has a type"))
}

fn chunk(delta: &Value, finish_reason: Option<&str>) -> String {
    let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
    let chunk = json!({
        "id": "chatcmpl-sample", "object": "chat.completion.chunk", "created": 1_795_000_000, "model": "gpt-test",
        "choices": [choice],
    });
    format!("data: {chunk}\n\n")
}
