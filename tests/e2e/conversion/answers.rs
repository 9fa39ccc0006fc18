//! What a provider answers, told once and written in each dialect as its provider writes it: as a stream and as JSON.

use serde_json::{Value, json};

use crate::common::streams::Dialect;

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) parts: Vec<Part>,
    pub(super) tokens: Tokens,
    /// In a chat stream, fragments of the calls come in turns.
    pub(super) interleaved: bool,
}

/// A part of an answer. A text is written in as many deltas as it has pieces.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Thinking(Vec<&'static str>),
    Text(Vec<&'static str>),
    /// Id, name, arguments as JSON text.
    Call(&'static str, &'static str, &'static str),
}

/// Token counts that do not overlap, except that `reasoning` is a part of `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) fresh: u64,
    pub(super) cached: u64,
    pub(super) written: u64,
    pub(super) output: u64,
    pub(super) reasoning: u64,
}

/// What proves the thinking to the provider that made it; chat has nothing of the kind.
pub(super) const SIGNATURE: &str = "EqoBCkgIARABGAIiQL8x+/proof==";
pub(super) const REASONING_ID: &str = "rs_0a1b2c";
pub(super) const ENCRYPTED: &str = "gAAAAABqaR3-encrypted_proof==";

/// The answers all say this about themselves.
const CREATED: u64 = 1_795_000_000;

impl Tokens {
    fn openai_input(self) -> u64 {
        self.fresh + self.cached + self.written
    }
}

impl Said {
    pub(super) fn has_calls(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Call(..)))
    }

    /// The whole stream in which `model` says this.
    pub(super) fn stream(&self, dialect: Dialect, model: &str) -> String {
        match dialect {
            Dialect::Anthropic => messages::stream(self, model),
            Dialect::OpenaiChat => chat::stream(self, model),
            Dialect::OpenaiResponses => responses::stream(self, model),
        }
    }

    /// The body in which `model` says this.
    pub(super) fn whole(&self, dialect: Dialect, model: &str) -> String {
        match dialect {
            Dialect::Anthropic => messages::whole(self, model),
            Dialect::OpenaiChat => chat::whole(self, model),
            Dialect::OpenaiResponses => responses::whole(self, model),
        }
        .to_string()
    }
}

/// The body of a 429.
pub(super) fn rate_limit(dialect: Dialect, message: &str) -> String {
    let body = match dialect {
        Dialect::Anthropic => json!({
            "type": "error", "error": { "type": "rate_limit_error", "message": message, "details": null },
            "request_id": "req_011CSample",
        }),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => json!({
            "error": { "message": message, "type": "tokens", "param": null, "code": "rate_limit_exceeded" },
        }),
    };
    body.to_string()
}

/// A stream that says a text and then fails with this message, as the provider does when it has too much to do.
pub(super) fn breaks(dialect: Dialect, model: &str, text: &'static str, message: &str) -> String {
    let said = Said {
        parts: vec![Part::Text(vec![text])],
        tokens: Tokens { fresh: 5, cached: 0, written: 0, output: 1, reasoning: 0 },
        interleaved: false,
    };
    let stream = said.stream(dialect, model);
    // Up to the end of the text's only delta.
    let delta = stream.find(text).expect("the stream says its text");
    let end = delta + stream[delta..].find("\n\n").expect("a delta is a whole event") + 2;
    let error = match dialect {
        Dialect::Anthropic => {
            let error = json!({ "type": "overloaded_error", "message": message });
            event(&json!({ "type": "error", "error": error, "request_id": "req_011CSample" }))
        }
        Dialect::OpenaiChat => {
            let error = json!({
                "message": message, "type": "server_error", "param": null, "code": "server_is_overloaded",
            });
            format!("data: {}\n\n", json!({ "error": error }))
        }
        Dialect::OpenaiResponses => responses::failed(model, message),
    };
    stream[..end].to_owned() + &error
}

/// An event of Messages or Responses, named by its type.
pub(super) fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("an event has a type"))
}

/// Cuts arguments where a provider would: not at a token's end.
fn fragments(arguments: &str) -> Vec<&str> {
    let middle =
        (arguments.len() / 2..=arguments.len()).find(|at| arguments.is_char_boundary(*at)).unwrap_or(arguments.len());
    let (first, second) = arguments.split_at(middle);
    vec![first, second]
}

mod messages {
    use super::{Part, SIGNATURE, Said, Value, event, fragments, json};

    fn usage(said: &Said) -> Value {
        let tokens = said.tokens;
        json!({
            "input_tokens": tokens.fresh,
            "cache_creation_input_tokens": tokens.written,
            "cache_read_input_tokens": tokens.cached,
            "output_tokens": tokens.output,
            "output_tokens_details": { "thinking_tokens": tokens.reasoning },
        })
    }

    pub(super) fn whole(said: &Said, model: &str) -> Value {
        let block = |part: &Part| match part {
            Part::Thinking(pieces) => {
                json!({ "type": "thinking", "thinking": pieces.concat(), "signature": SIGNATURE })
            }
            Part::Text(pieces) => json!({ "type": "text", "text": pieces.concat() }),
            Part::Call(id, name, arguments) => {
                let input: Value = serde_json::from_str(arguments).expect("arguments are JSON");
                json!({ "type": "tool_use", "id": id, "name": name, "input": input, "caller": { "type": "direct" } })
            }
        };
        let mut usage = usage(said);
        usage["service_tier"] = "standard".into();
        json!({
            "model": model, "id": "msg_01SampleOfWhole", "type": "message", "role": "assistant",
            "content": said.parts.iter().map(block).collect::<Vec<_>>(),
            "stop_reason": if said.has_calls() { "tool_use" } else { "end_turn" },
            "stop_sequence": null, "stop_details": null, "usage": usage,
        })
    }

    pub(super) fn stream(said: &Said, model: &str) -> String {
        let mut first = usage(said);
        first["output_tokens"] = 1.into();
        first["service_tier"] = "standard".into();
        first.as_object_mut().expect("usage is an object").remove("output_tokens_details");
        let message = json!({
            "model": model, "id": "msg_01SampleOfStream", "type": "message", "role": "assistant", "content": [],
            "stop_reason": null, "stop_sequence": null, "stop_details": null, "usage": first,
        });
        let mut stream = event(&json!({ "type": "message_start", "message": message }));
        for (index, part) in said.parts.iter().enumerate() {
            let (block, deltas) = match part {
                Part::Thinking(pieces) => {
                    let mut deltas: Vec<_> =
                        pieces.iter().map(|piece| json!({ "type": "thinking_delta", "thinking": piece })).collect();
                    deltas.push(json!({ "type": "signature_delta", "signature": SIGNATURE }));
                    (json!({ "type": "thinking", "thinking": "", "signature": "" }), deltas)
                }
                Part::Text(pieces) => {
                    let deltas = pieces.iter().map(|piece| json!({ "type": "text_delta", "text": piece })).collect();
                    (json!({ "type": "text", "text": "" }), deltas)
                }
                Part::Call(id, name, arguments) => {
                    let pieces = [vec![""], fragments(arguments)].concat();
                    let delta = |piece| json!({ "type": "input_json_delta", "partial_json": piece });
                    let caller = json!({ "type": "direct" });
                    (
                        json!({ "type": "tool_use", "id": id, "name": name, "input": {}, "caller": caller }),
                        pieces.into_iter().map(delta).collect(),
                    )
                }
            };
            stream += &event(&json!({ "type": "content_block_start", "index": index, "content_block": block }));
            if index == 0 {
                stream += "event: ping\ndata: {\"type\": \"ping\"}\n\n";
            }
            for delta in deltas {
                stream += &event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }));
            }
            stream += &event(&json!({ "type": "content_block_stop", "index": index }));
        }
        let reason = if said.has_calls() { "tool_use" } else { "end_turn" };
        let delta = json!({ "stop_reason": reason, "stop_sequence": null, "stop_details": null });
        stream += &event(&json!({ "type": "message_delta", "delta": delta, "usage": usage(said) }));
        stream + &event(&json!({ "type": "message_stop" }))
    }
}

mod chat {
    use super::{CREATED, Part, Said, Value, fragments, json};

    fn usage(said: &Said) -> Value {
        let tokens = said.tokens;
        json!({
            "prompt_tokens": tokens.openai_input(), "completion_tokens": tokens.output,
            "total_tokens": tokens.openai_input() + tokens.output,
            "prompt_tokens_details": {
                "cached_tokens": tokens.cached, "cache_write_tokens": tokens.written, "audio_tokens": 0,
            },
            "completion_tokens_details": { "reasoning_tokens": tokens.reasoning, "audio_tokens": 0 },
        })
    }

    fn finish_reason(said: &Said) -> &'static str {
        if said.has_calls() { "tool_calls" } else { "stop" }
    }

    pub(super) fn whole(said: &Said, model: &str) -> Value {
        let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
        let mut calls = Vec::new();
        for part in &said.parts {
            match part {
                Part::Thinking(pieces) => message["reasoning_content"] = pieces.concat().into(),
                Part::Text(pieces) => message["content"] = pieces.concat().into(),
                Part::Call(id, name, arguments) => calls.push(
                    json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }),
                ),
            }
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        json!({
            "id": "chatcmpl-SampleOfWhole", "object": "chat.completion", "created": CREATED, "model": model,
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(said) }],
            "usage": usage(said), "service_tier": "default", "system_fingerprint": "fp_1",
        })
    }

    /// A call's id, its name, its arguments in two parts.
    type Fragments<'a> = (&'a str, &'a str, Vec<&'a str>);

    pub(super) fn stream(said: &Said, model: &str) -> String {
        let chunk = |choices: Value, usage: Value| {
            let chunk = json!({
                "id": "chatcmpl-SampleOfStream", "object": "chat.completion.chunk", "created": CREATED, "model": model,
                "service_tier": "default", "system_fingerprint": "fp_1", "choices": choices, "usage": usage,
                "obfuscation": "RZdMG9",
            });
            format!("data: {chunk}\n\n")
        };
        let delta = |delta: Value, reason: Value| {
            chunk(json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": reason }]), Value::Null)
        };
        let null = Value::Null;
        let mut stream = delta(json!({ "role": "assistant", "content": "", "refusal": null }), null.clone());
        let mut calls: Vec<Fragments> = Vec::new();
        for part in &said.parts {
            match part {
                Part::Thinking(pieces) => {
                    for piece in pieces {
                        stream += &delta(json!({ "reasoning_content": piece }), null.clone());
                    }
                }
                Part::Text(pieces) => {
                    for piece in pieces {
                        stream += &delta(json!({ "content": piece }), null.clone());
                    }
                }
                Part::Call(id, name, arguments) => calls.push((*id, *name, fragments(arguments))),
            }
        }
        let begin = |(index, (id, name, _)): (usize, &Fragments)| {
            let function = json!({ "name": name, "arguments": "" });
            json!({ "index": index, "id": id, "type": "function", "function": function })
        };
        let goes_on = |half: usize, (index, (_, _, fragments)): (usize, &Fragments)| {
            let function = json!({ "arguments": fragments[half] });
            json!({ "index": index, "function": function })
        };
        let all = || calls.iter().enumerate();
        let fragments: Vec<Value> = if said.interleaved {
            let halves = (0..2).flat_map(|half| all().map(move |call| goes_on(half, call)));
            all().map(begin).chain(halves).collect()
        } else {
            all().flat_map(|call| [begin(call), goes_on(0, call), goes_on(1, call)]).collect()
        };
        for fragment in fragments {
            stream += &delta(json!({ "tool_calls": [fragment] }), null.clone());
        }
        stream += &delta(json!({}), finish_reason(said).into());
        stream + &chunk(json!([]), usage(said)) + "data: [DONE]\n\n"
    }
}

mod responses {
    use super::{CREATED, ENCRYPTED, Part, REASONING_ID, Said, Value, event, fragments, json};

    fn usage(said: &Said) -> Value {
        let tokens = said.tokens;
        json!({
            "input_tokens": tokens.openai_input(),
            "input_tokens_details": { "cached_tokens": tokens.cached, "cache_write_tokens": tokens.written },
            "output_tokens": tokens.output, "output_tokens_details": { "reasoning_tokens": tokens.reasoning },
            "total_tokens": tokens.openai_input() + tokens.output,
        })
    }

    fn response(model: &str, status: &str, output: &[Value], usage: &Value) -> Value {
        json!({
            "id": "resp_0fSample", "object": "response", "created_at": CREATED, "status": status, "background": false,
            "completed_at": null, "error": null, "incomplete_details": null, "instructions": null,
            "max_output_tokens": null, "model": model, "output": output, "parallel_tool_calls": true,
            "previous_response_id": null, "reasoning": { "effort": "low", "summary": null }, "service_tier": "default",
            "store": false, "temperature": 1.0, "text": { "format": { "type": "text" }, "verbosity": "medium" },
            "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled", "usage": usage, "metadata": {},
        })
    }

    fn item(index: usize, part: &Part) -> Value {
        match part {
            Part::Thinking(pieces) => json!({
                "id": REASONING_ID, "type": "reasoning", "encrypted_content": ENCRYPTED,
                "summary": [{ "type": "summary_text", "text": pieces.concat() }],
            }),
            Part::Text(pieces) => json!({
                "id": format!("msg_{index}"), "type": "message", "status": "completed", "role": "assistant",
                "content": [text(&pieces.concat())],
            }),
            Part::Call(id, name, arguments) => json!({
                "id": format!("fc_{index}"), "type": "function_call", "status": "completed", "arguments": arguments,
                "call_id": id, "name": name,
            }),
        }
    }

    fn text(text: &str) -> Value {
        json!({ "type": "output_text", "annotations": [], "logprobs": [], "text": text })
    }

    pub(super) fn whole(said: &Said, model: &str) -> Value {
        let output: Vec<_> = said.parts.iter().enumerate().map(|(index, part)| item(index, part)).collect();
        response(model, "completed", &output, &usage(said))
    }

    pub(super) fn stream(said: &Said, model: &str) -> String {
        let begun = response(model, "in_progress", &[], &Value::Null);
        let mut events = vec![
            json!({ "type": "response.created", "response": begun }),
            json!({ "type": "response.in_progress", "response": begun }),
        ];
        for (index, part) in said.parts.iter().enumerate() {
            let done = item(index, part);
            let mut begun = done.clone();
            let id = &done["id"];
            let mut inner = Vec::new();
            let mut say = |kind: &str, fields: Value| {
                let mut event = fields;
                event["type"] = format!("response.{kind}").into();
                event["item_id"] = id.clone();
                event["output_index"] = index.into();
                inner.push(event);
            };
            match part {
                Part::Thinking(pieces) => {
                    begun["summary"] = json!([]);
                    begun["encrypted_content"] = "gAAAAABqaR3-not_the_final_one==".into();
                    let part =
                        |text: &str| json!({ "summary_index": 0, "part": { "type": "summary_text", "text": text } });
                    say("reasoning_summary_part.added", part(""));
                    for piece in pieces {
                        say("reasoning_summary_text.delta", json!({ "summary_index": 0, "delta": piece }));
                    }
                    say("reasoning_summary_text.done", json!({ "summary_index": 0, "text": pieces.concat() }));
                    say("reasoning_summary_part.done", part(&pieces.concat()));
                }
                Part::Text(pieces) => {
                    begun["content"] = json!([]);
                    begun["status"] = "in_progress".into();
                    say("content_part.added", json!({ "content_index": 0, "part": text("") }));
                    for piece in pieces {
                        say("output_text.delta", json!({ "content_index": 0, "delta": piece, "logprobs": [] }));
                    }
                    say("output_text.done", json!({ "content_index": 0, "text": pieces.concat(), "logprobs": [] }));
                    say("content_part.done", json!({ "content_index": 0, "part": text(&pieces.concat()) }));
                }
                Part::Call(_, _, arguments) => {
                    begun["arguments"] = "".into();
                    begun["status"] = "in_progress".into();
                    for piece in fragments(arguments) {
                        say("function_call_arguments.delta", json!({ "delta": piece, "obfuscation": "ReLAo" }));
                    }
                    say("function_call_arguments.done", json!({ "arguments": arguments }));
                }
            }
            events.push(json!({ "type": "response.output_item.added", "output_index": index, "item": begun }));
            events.append(&mut inner);
            events.push(json!({ "type": "response.output_item.done", "output_index": index, "item": done }));
        }
        events.push(json!({ "type": "response.completed", "response": whole(said, model) }));
        numbered(events)
    }

    /// The end of a stream that failed after five events.
    pub(super) fn failed(model: &str, message: &str) -> String {
        let mut failed = response(model, "failed", &[], &Value::Null);
        failed["error"] = json!({ "code": "server_error", "message": message });
        event(&json!({ "type": "response.failed", "sequence_number": 5, "response": failed }))
    }

    fn numbered(events: Vec<Value>) -> String {
        let number = |(number, mut data): (usize, Value)| {
            data["sequence_number"] = number.into();
            event(&data)
        };
        events.into_iter().enumerate().map(number).collect()
    }
}
