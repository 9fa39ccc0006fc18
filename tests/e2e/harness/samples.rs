//! Small answers of a provider, made by hand in each dialect.

mod responses;

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

/// A stream that says one text, told bit by bit.
#[derive(Debug, Clone)]
pub(crate) struct Text(Told);

#[derive(Debug, Clone)]
enum Told {
    Anthropic,
    OpenaiChat,
    /// Its end repeats what was said.
    OpenaiResponses(responses::Stream),
}

impl Text {
    /// The stream up to and with these pieces; the text is still open.
    pub(crate) fn open(dialect: Dialect, pieces: &[&str]) -> (Self, String) {
        let (told, mut stream) = match dialect {
            Dialect::Anthropic => {
                (Told::Anthropic, message_start() + &block_start(0, &json!({ "type": "text", "text": "" })))
            }
            Dialect::OpenaiChat => (Told::OpenaiChat, chunk(&json!({ "role": "assistant", "content": "" }), None)),
            Dialect::OpenaiResponses => {
                let mut stream = responses::Stream::default();
                let start = stream.start() + &stream.open_text();
                (Told::OpenaiResponses(stream), start)
            }
        };
        let mut text = Self(told);
        for piece in pieces {
            stream += &text.delta(piece);
        }
        (text, stream)
    }

    /// One more piece.
    pub(crate) fn delta(&mut self, piece: &str) -> String {
        match &mut self.0 {
            Told::Anthropic => block_delta(0, &json!({ "type": "text_delta", "text": piece })),
            Told::OpenaiChat => chunk(&json!({ "content": piece }), None),
            Told::OpenaiResponses(stream) => stream.delta(piece),
        }
    }

    /// The end of the text and of the answer.
    pub(crate) fn close(self) -> String {
        match self.0 {
            Told::Anthropic => block_stop(0) + &message_end("end_turn"),
            Told::OpenaiChat => chunk(&json!({}), Some("stop")) + "data: [DONE]\n\n",
            Told::OpenaiResponses(mut stream) => stream.close_text() + &stream.end(),
        }
    }
}

/// A whole stream that says these pieces of text.
pub(crate) fn text(dialect: Dialect, pieces: &[&str]) -> String {
    let (text, stream) = Text::open(dialect, pieces);
    stream + &text.close()
}

/// The same without its end: the text is still open.
pub(crate) fn open_text(dialect: Dialect, pieces: &[&str]) -> String {
    Text::open(dialect, pieces).1
}

/// A whole stream with a text (unless it is empty) and then these tool calls.
///
/// Those of chat are interleaved, the others come one after the other. Arguments are cut in half.
pub(crate) fn tools(dialect: Dialect, text: &str, calls: &[Call]) -> String {
    told(dialect, &[text], calls)
}

/// The same with a text that is told in pieces.
pub(crate) fn told(dialect: Dialect, pieces: &[&str], calls: &[Call]) -> String {
    let has_text = pieces.iter().any(|piece| !piece.is_empty());
    match dialect {
        Dialect::Anthropic => {
            let mut stream = message_start();
            let mut index = 0;
            if has_text {
                stream += &block_start(index, &json!({ "type": "text", "text": "" }));
                for piece in pieces {
                    stream += &block_delta(index, &json!({ "type": "text_delta", "text": piece }));
                }
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
            for piece in pieces.iter().filter(|_| has_text) {
                stream += &chunk(&json!({ "content": piece }), None);
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
        Dialect::OpenaiResponses => {
            let mut told = responses::Stream::default();
            let mut stream = told.start();
            if has_text {
                stream += &told.open_text();
                for piece in pieces {
                    stream += &told.delta(piece);
                }
                stream += &told.close_text();
            }
            for call in calls {
                stream += &told.call(call);
            }
            stream + &told.end()
        }
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
        Dialect::OpenaiResponses => responses::whole(text, calls),
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
