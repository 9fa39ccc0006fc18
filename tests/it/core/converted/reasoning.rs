//! Reasoning that goes to a client of another dialect and comes back with its next request.

use bytes::Bytes;
use luthien::{
    dialect::{Target, convert_request, without_foreign_reasoning},
    model::Dialect::{self, AnthropicMessages as A, OpenaiChat as C, OpenaiResponses as R},
};
use serde_json::{Value, json};

use super::{
    super::{reader::sse, support::stream_of},
    nobody, run, run_body,
};

const SIGNATURE: &str = "EqoBCkYIBxgCIkA/+=.x";

fn model(dialect: Dialect) -> &'static str {
    if dialect == A { "claude-opus-5" } else { "gpt-6-astra" }
}

/// An answer of each kind of reasoning, as a body and as a stream.
fn answers(from: Dialect) -> [Bytes; 2] {
    match from {
        A => {
            let content = json!([
                {"type": "thinking", "thinking": "one", "signature": SIGNATURE},
                {"type": "redacted_thinking", "data": "hidden=="},
                {"type": "thinking", "thinking": "", "signature": "omitted"},
                {"type": "text", "text": "said"},
            ]);
            let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
                "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}});
            let mut data =
                vec![json!({"type": "message_start", "message": {"id": "msg_1", "model": "m", "content": []}})];
            for (index, block) in content.as_array().unwrap().iter().enumerate() {
                let mut empty = block.clone();
                for key in ["thinking", "signature", "text"].into_iter().filter(|key| block[*key].is_string()) {
                    empty[key] = json!("");
                }
                data.push(json!({"type": "content_block_start", "index": index, "content_block": empty}));
                for (key, kind) in
                    [("thinking", "thinking_delta"), ("text", "text_delta"), ("signature", "signature_delta")]
                {
                    let delta = json!({"type": kind, key: block[key]});
                    if block[key].as_str().is_some_and(|text| !text.is_empty()) {
                        data.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
                    }
                }
                data.push(json!({"type": "content_block_stop", "index": index}));
            }
            data.push(
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}),
            );
            data.push(json!({"type": "message_stop"}));
            [message.to_string().into(), streamed(from, &data)]
        }
        R => {
            let output = json!([
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "one"},
                    {"type": "summary_text", "text": "two"}], "encrypted_content": "gAAA.b=="},
                {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "hidden"},
                {"type": "reasoning", "id": "rs_3", "summary": [{"type": "summary_text", "text": "open"}]},
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": "said", "annotations": []}]},
            ]);
            let response = |status: &str, output: &Value| json!({"id": "resp_1", "object": "response", "status": status, "model": "m", "output": output});
            let mut data = vec![json!({"type": "response.created", "response": response("in_progress", &json!([]))})];
            for (index, item) in output.as_array().unwrap().iter().enumerate() {
                data.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
            }
            let whole = response("completed", &output);
            data.push(json!({"type": "response.completed", "response": whole}));
            [whole.to_string().into(), streamed(from, &data)]
        }
        C => unreachable!("chat has no proof of its reasoning"),
    }
}

fn streamed(from: Dialect, data: &[Value]) -> Bytes {
    let data: Vec<String> = data.iter().map(Value::to_string).collect();
    stream_of(from, &data.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What a client keeps of the answer: content blocks, or items.
fn kept(client: Dialect, body: &Bytes) -> Value {
    let body: Value = serde_json::from_slice(body).unwrap();
    match client {
        A => body["content"].clone(),
        R => body["output"].clone(),
        C => json!([body["choices"][0]["message"]]),
    }
}

/// The same of a stream, put together as the SDKs do.
fn kept_of_stream(client: Dialect, out: &[u8]) -> Value {
    let events = sse::events(out);
    let mut blocks: Vec<Value> = Vec::new();
    for event in events.iter().filter(|event| event.data != "[DONE]") {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        if client == R && data["type"] == "response.completed" {
            return data["response"]["output"].clone();
        }
        if data["type"] == "content_block_start" {
            blocks.push(data["content_block"].clone());
        }
        for key in ["thinking", "text", "signature"] {
            if let Some(more) = data["delta"][key].as_str() {
                let block = blocks.last_mut().unwrap();
                block[key] = json!(format!("{}{more}", block[key].as_str().unwrap_or_default()));
            }
        }
    }
    Value::Array(blocks)
}

/// The client's next request.
fn next(client: Dialect, kept: &Value) -> Bytes {
    let body = match client {
        A => json!({"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "content": "q"},
            {"role": "assistant", "content": kept}, {"role": "user", "content": "and?"}]}),
        R => {
            let mut input = vec![json!({"role": "user", "content": "q"})];
            input.extend(kept.as_array().unwrap().iter().cloned());
            input.push(json!({"role": "user", "content": "and?"}));
            json!({"model": "m", "store": false, "input": input})
        }
        C => {
            json!({"model": "m", "messages": [{"role": "user", "content": "q"}, kept[0], {"role": "user", "content": "and?"}]})
        }
    };
    body.to_string().into()
}

/// The reasoning in a request to a provider.
fn reasoning(provider: Dialect, body: &Bytes) -> Vec<Value> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let list = match provider {
        A => body["messages"][1]["content"].clone(),
        R => body["input"].clone(),
        C => body["messages"].clone(),
    };
    let is_reasoning = |item: &&Value| {
        matches!(item["type"].as_str(), Some("thinking" | "redacted_thinking" | "reasoning"))
            || ["reasoning_content", "thinking_blocks"].iter().any(|key| !item[*key].is_null())
    };
    list.as_array().into_iter().flatten().filter(is_reasoning).cloned().collect()
}

fn sent(client: Dialect, provider: Dialect, body: &Bytes) -> Bytes {
    let target = Target { model: model(provider), lossy: None };
    convert_request(client, provider, body, &target).unwrap_or_else(|error| panic!("{error}")).body
}

/// What a client of another dialect keeps of each answer of a provider.
fn kept_answers(provider: Dialect, client: Dialect) -> [Value; 2] {
    let [body, stream] = answers(provider);
    [
        kept(client, &run_body(provider, client, &nobody(), &body)),
        kept_of_stream(client, &run(provider, client, &nobody(), &stream, 7).out.concat()),
    ]
}

#[test]
fn thoughts_of_messages_come_back_through_responses() {
    for kept in kept_answers(A, R) {
        let found = reasoning(A, &sent(R, A, &next(R, &kept)));
        let wanted = [
            json!({"type": "thinking", "thinking": "one", "signature": SIGNATURE}),
            json!({"type": "redacted_thinking", "data": "hidden=="}),
            json!({"type": "thinking", "thinking": "", "signature": "omitted"}),
        ];
        assert_eq!(found, wanted, "{kept:#}");
    }
}

#[test]
fn reasoning_of_responses_comes_back_through_messages() {
    for kept in kept_answers(R, A) {
        let found = reasoning(R, &sent(A, R, &next(A, &kept)));
        // What the provider did not seal it does not need again.
        let wanted = [
            json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "one\n\ntwo"}], "encrypted_content": "gAAA.b=="}),
            json!({"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "hidden"}),
        ];
        assert_eq!(found, wanted, "{kept:#}");
    }
}

#[test]
fn reasoning_goes_to_nobody_but_its_owner() {
    for (provider, client) in [(A, R), (R, A), (A, C), (R, C)] {
        let [body, _] = answers(provider);
        let kept_answers = [kept(client, &run_body(provider, client, &nobody(), &body))];
        let kept_answers = if client == C { kept_answers.to_vec() } else { kept_answers_of(provider, client) };
        for kept in kept_answers {
            let request = next(client, &kept);
            // To the client's own provider.
            let (own, _) = without_foreign_reasoning(client, &request);
            let own = String::from_utf8(own.to_vec()).unwrap();
            for secret in ["luthien1.", SIGNATURE, "hidden", "gAAA.b==", "omitted"] {
                assert!(!own.contains(secret), "{provider:?} over {client:?} to {client:?}: {own}");
            }
            // To a third one.
            for third in Dialect::ALL.into_iter().filter(|third| *third != provider && *third != client) {
                let body = sent(client, third, &request);
                let text = String::from_utf8(body.to_vec()).unwrap();
                assert!(reasoning(third, &body).is_empty() && !text.contains("luthien1."), "{text}");
            }
        }
    }
}

fn kept_answers_of(provider: Dialect, client: Dialect) -> Vec<Value> {
    kept_answers(provider, client).to_vec()
}

#[test]
fn what_a_client_did_not_get_from_here_goes_to_no_other_provider() {
    let own = [
        (
            A,
            json!([{"type": "thinking", "thinking": "one", "signature": SIGNATURE}, {"type": "redacted_thinking", "data": "d"}, {"type": "text", "text": "x"}]),
        ),
        (
            R,
            json!([{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
            {"type": "message", "role": "assistant", "content": "x"}]),
        ),
        (
            C,
            json!([{"role": "assistant", "content": "x", "reasoning_content": "one",
            "thinking_blocks": [{"type": "thinking", "thinking": "one", "signature": SIGNATURE}]}]),
        ),
    ];
    for (client, kept) in own {
        let request = next(client, &kept);
        for provider in Dialect::ALL.into_iter().filter(|provider| *provider != client) {
            let body = sent(client, provider, &request);
            assert!(
                reasoning(provider, &body).is_empty(),
                "{client:?} to {provider:?}: {}",
                String::from_utf8_lossy(&body)
            );
        }
        // Its own provider gets it as it is.
        assert_eq!(without_foreign_reasoning(client, &request), (request, Vec::new()));
    }
}

#[test]
fn a_thought_without_a_proof_is_told_and_goes_nowhere() {
    let body = Bytes::from_static(br#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","reasoning_content":"hm","content":"x"},"finish_reason":"stop"}]}"#);
    for client in [A, R] {
        let kept = kept(client, &run_body(C, client, &nobody(), &body));
        assert!(kept.to_string().contains("hm"), "{kept}");
        let request = next(client, &kept);
        let (own, _) = without_foreign_reasoning(client, &request);
        let is_own = reasoning(client, &own);
        assert!(client == R || is_own.is_empty(), "{is_own:?}");
        for provider in Dialect::ALL.into_iter().filter(|provider| *provider != client) {
            assert!(reasoning(provider, &sent(client, provider, &request)).is_empty(), "{client:?} to {provider:?}");
        }
    }
}
