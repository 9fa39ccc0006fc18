//! There and back again: what a table calls lossless comes back as it was.

use luthien::model::Dialect::{self, AnthropicMessages as A, OpenaiChat as C, OpenaiResponses as R};
use serde_json::{Value, json};

use super::support::{convert, sent_to};

/// Sends a request to another dialect and what came of it back, and expects the request.
fn returns(from: Dialect, over: Dialect, body: &Value) {
    let (there, back) = (name(over), name(from));
    let (sent, dropped) = sent_to(from, over, &body.to_string(), there);
    assert!(dropped.is_empty(), "{from:?} over {over:?}: {dropped:?}");
    let converted = convert(over, from, &sent, back, None).unwrap_or_else(|error| panic!("{error}: {sent}"));
    let mut came: Value = serde_json::from_slice(&converted.body).unwrap();
    let mut wanted = body.clone();
    // What the dialect on the way adds: it keeps nothing, tells the tokens, and asks for its thoughts.
    for body in [&mut came, &mut wanted] {
        let object = body.as_object_mut().unwrap();
        for key in ["model", "store", "include", "stream_options"] {
            object.remove(key);
        }
    }
    assert_eq!(came, wanted, "{from:?} over {over:?}, as: {sent}");
}

fn name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::AnthropicMessages => "claude-opus-4-8",
        Dialect::OpenaiChat | Dialect::OpenaiResponses => "gpt-6-astra",
    }
}

fn schema() -> Value {
    json!({ "type": "object", "properties": { "b": { "type": "string" }, "a": { "type": "number" } }, "required": ["b"] })
}

#[test]
fn chat_comes_back() {
    let mut body = json!({
        "messages": [
            { "role": "developer", "content": "Be kind." },
            { "role": "user", "content": [{ "type": "text", "text": "Look:" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
                { "type": "image_url", "image_url": { "url": "https://example.com/a.png" } },
                { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA" } }] },
            { "role": "assistant", "content": "I call.", "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{\"b\":\"x\"}" } },
                { "id": "call_2", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "call_1", "content": "one" },
            { "role": "tool", "tool_call_id": "call_2", "content": [{ "type": "text", "text": "t" }, { "type": "text", "text": "wo" }] },
            { "role": "assistant", "content": "Done." },
            { "role": "developer", "content": "Be brief." },
            { "role": "user", "content": "Thanks." },
        ],
        "max_completion_tokens": 500,
        "tools": [{ "type": "function", "function": { "name": "f", "description": "d", "parameters": schema(), "strict": true } }],
        "tool_choice": { "type": "function", "function": { "name": "f" } },
        "parallel_tool_calls": false,
        "reasoning_effort": "high",
        "service_tier": "default",
        "stream": true,
    });
    returns(C, A, &body);
    body["response_format"] = json!({ "type": "json_schema", "json_schema": { "name": "n", "description": "d", "schema": schema(), "strict": true } });
    body["prompt_cache_key"] = json!("k");
    body["safety_identifier"] = json!("s");
    body["user"] = json!("u");
    body["verbosity"] = json!("low");
    body["tools"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "custom", "custom": { "name": "g", "format": { "type": "grammar",
        "grammar": { "definition": "x", "syntax": "lark" } } } }));
    body["tool_choice"] = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required",
        "tools": [{ "type": "custom", "custom": { "name": "g" } }] } });
    returns(C, R, &body);
}

#[test]
fn messages_come_back() {
    let mut body = json!({
        "max_tokens": 500,
        "system": "Be kind.",
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "Look:" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } },
                { "type": "image", "source": { "type": "url", "url": "https://example.com/a.png" } },
                { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "AAAA" }, "title": "a.pdf" }] },
            { "role": "assistant", "content": [{ "type": "text", "text": "I call." },
                { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "b": "x" } },
                { "type": "tool_use", "id": "toolu_2", "name": "f", "input": {} }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_1", "content": "one" },
                { "type": "tool_result", "tool_use_id": "toolu_2", "content": [{ "type": "text", "text": "t" }, { "type": "text", "text": "wo" }] },
                { "type": "text", "text": "And?" }] },
            { "role": "assistant", "content": "Done." },
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "Thanks." },
        ],
        "tools": [{ "name": "f", "description": "d", "input_schema": schema(), "strict": true }],
        "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "thinking": { "type": "adaptive" },
        "output_config": { "effort": "high" },
        "metadata": { "user_id": "u" },
        "service_tier": "standard_only",
        "stream": true,
    });
    returns(A, C, &body);
    body["thinking"]["display"] = json!("summarized");
    body["messages"][2]["content"][1]["content"] = json!([{ "type": "text", "text": "t" },
        { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } }]);
    returns(A, R, &body);
}

#[test]
fn responses_come_back() {
    let mut body = json!({
        "instructions": "Be kind.",
        "input": [
            { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "Look:" },
                { "type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto" },
                { "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA" }] },
            { "type": "message", "role": "assistant", "content": "I call." },
            { "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{\"b\":1}" },
            { "type": "function_call", "call_id": "call_2", "name": "f", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "call_1", "output": "one" },
            { "type": "function_call_output", "call_id": "call_2", "output": "two" },
            { "type": "message", "role": "assistant", "content": "Done." },
            { "type": "message", "role": "developer", "content": "Be brief." },
            { "type": "message", "role": "user", "content": "Thanks." },
        ],
        "max_output_tokens": 500,
        "tools": [{ "type": "function", "name": "f", "description": "d", "parameters": schema(), "strict": false }],
        "tool_choice": "required",
        "parallel_tool_calls": false,
        "reasoning": { "effort": "high" },
        "service_tier": "default",
        "stream": true,
    });
    returns(R, C, &body);
    body["reasoning"]["summary"] = json!("auto");
    returns(R, A, &body);
}

#[test]
fn sealed_thoughts_come_back_to_their_owner() {
    let body = json!({ "input": [{ "role": "user", "content": "x" },
        { "type": "reasoning", "id": "rs_9", "summary": [{ "type": "summary_text", "text": "hm" }], "encrypted_content": "luthien1.signature.Eq/+=" },
        { "type": "message", "role": "assistant", "content": "y" }, { "role": "user", "content": "z" }] });
    let (sent, _) = sent_to(R, A, &body.to_string(), "claude-opus-5");
    let sent: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(
        sent["messages"][1]["content"][0],
        json!({ "type": "thinking", "thinking": "hm", "signature": "Eq/+=" })
    );
}
