//! What people report broken in other gateways, and what each provider refuses.

use luthien::model::{
    Dialect::{self, AnthropicMessages as A, OpenaiChat as C, OpenaiResponses as R},
    conversation::Lossy,
};
use serde_json::{Value, json};

use super::support::{convert, sent, sent_to, value};

fn chat(messages: &Value) -> Value {
    json!({ "messages": messages })
}

fn messages(messages: &Value) -> Value {
    json!({ "max_tokens": 9000, "messages": messages })
}

fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
}

fn roles(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap_or_default()).collect()
}

#[test]
fn results_are_gathered_behind_the_calls_even_when_others_spoke_in_between() {
    let body = chat(&json!([
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": "", "tool_calls": [call("a", "f", "{}"), call("b", "f", "{}")] },
        { "role": "system", "content": "hurry" },
        { "role": "tool", "tool_call_id": "b", "content": "2" },
        { "role": "user", "content": "meanwhile" },
        { "role": "tool", "tool_call_id": "a", "content": "1" },
    ]));
    let out = value(C, A, &body);
    assert_eq!(roles(&out["messages"]), ["user", "assistant", "user"]);
    let ids: Vec<_> =
        out["messages"][2]["content"].as_array().unwrap().iter().map(|b| b["tool_use_id"].clone()).collect();
    assert_eq!(ids, [json!("a"), json!("b"), Value::Null]);
    assert_eq!(out["system"], "hurry");
    let out = value(C, R, &body);
    let kinds: Vec<_> = out["input"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "message",
            "function_call",
            "function_call",
            "function_call_output",
            "function_call_output",
            "message",
            "message"
        ]
    );
}

#[test]
fn chat_results_stand_directly_behind_the_calls() {
    let body = messages(&json!([
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "a", "name": "f", "input": {} },
            { "type": "tool_use", "id": "b", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "text", "text": "first" }, { "type": "tool_result", "tool_use_id": "b" },
            { "type": "tool_result", "tool_use_id": "a", "is_error": true,
              "content": [{ "type": "image", "source": { "type": "url", "url": "http://x/a.png" } }] }] },
    ]));
    let out = value(A, C, &body);
    assert_eq!(roles(&out["messages"]), ["user", "assistant", "tool", "tool", "user", "user"]);
    assert_eq!(out["messages"][2]["tool_call_id"], "a");
    let failed = out["messages"][2]["content"].as_str().unwrap();
    assert!(failed.starts_with("Error: [This part of the result follows"), "{failed}");
    assert_eq!(out["messages"][3]["content"], "");
    assert_eq!(out["messages"][4]["content"][1]["image_url"]["url"], "http://x/a.png");
    assert_eq!(out["messages"][5]["content"], "first");
}

#[test]
fn empty_texts_go() {
    let out = value(
        C,
        A,
        &chat(&json!([
            { "role": "user", "content": [{ "type": "text", "text": "" }, { "type": "text", "text": "x" }] },
            { "role": "assistant", "content": "" },
            { "role": "user", "content": " \n" },
            { "role": "assistant", "content": "y" },
            { "role": "user", "content": "z" },
        ])),
    );
    assert_eq!(
        out["messages"],
        json!([
            { "role": "user", "content": "x" }, { "role": "assistant", "content": "y" }, { "role": "user", "content": "z" },
        ])
    );
}

#[test]
fn neighbours_of_one_side_become_one_message() {
    let out = value(
        R,
        A,
        &json!({ "input": [
        { "role": "user", "content": "a" }, { "role": "user", "content": "b" },
        { "type": "function_call", "call_id": "1", "name": "f", "arguments": "" },
        { "type": "function_call", "call_id": "2", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "1", "output": "" },
        { "type": "function_call_output", "call_id": "2", "output": "y" },
    ] }),
    );
    assert_eq!(roles(&out["messages"]), ["user", "assistant", "user"]);
    assert_eq!(out["messages"][1]["content"][0]["input"], json!({}));
}

#[test]
fn a_list_that_says_nothing_is_not_sent() {
    let body = json!({ "messages": [{ "role": "user", "content": "x" },
        { "role": "assistant", "content": "y", "tool_calls": [], "annotations": [], "refusal": null, "audio": null,
          "function_call": null }, { "role": "user", "content": "z" }], "tools": [], "stop": [], "n": 1,
        "logprobs": false, "presence_penalty": 0, "frequency_penalty": 0.0, "modalities": ["text"], "logit_bias": {} });
    for to in [A, R] {
        let (out, dropped) = sent(C, to, &body.to_string());
        assert!(!out.contains("[]") && dropped.is_empty(), "{out} {dropped:?}");
    }
}

#[test]
fn thoughts_of_one_provider_never_go_to_another() {
    let thought = |signature: &str| {
        messages(&json!([{ "role": "user", "content": "x" }, { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "hm", "signature": signature }, { "type": "text", "text": "y" }] },
            { "role": "user", "content": "z" }]))
    };
    for signature in ["EqoB", "luthien1.signature.EqoB", ""] {
        for to in [C, R] {
            let (out, dropped) = sent(A, to, &thought(signature).to_string());
            assert!(!out.contains("EqoB") && !out.contains("hm"), "{out}");
            assert_eq!(dropped, ["messages[].content[].thinking"]);
        }
    }
    let item = |encrypted: &str| {
        json!({ "input": [{ "role": "user", "content": "x" }, { "type": "reasoning", "id": "rs_1", "summary": [],
            "encrypted_content": encrypted }, { "role": "user", "content": "z" }] })
    };
    for encrypted in ["gAAA", "luthien1.reasoning.4.rs_1gAAA"] {
        for to in [C, A] {
            let (out, dropped) = sent(R, to, &item(encrypted).to_string());
            assert!(!out.contains("gAAA"), "{out}");
            assert_eq!(dropped, ["input[].reasoning"]);
        }
    }
    let (out, dropped) = sent(R, A, &item("luthien1.redacted.EqoD").to_string());
    assert!(out.contains(r#"{"type":"redacted_thinking","data":"EqoD"}"#) && dropped.is_empty(), "{out}");
}

#[test]
fn an_omitted_thought_keeps_its_empty_text() {
    let body = json!({ "input": [{ "role": "user", "content": "x" }, { "type": "reasoning", "summary": [],
        "encrypted_content": "luthien1.signature.EqoB" }, { "role": "assistant", "content": "y" },
        { "role": "user", "content": "z" }] });
    let (out, _) = sent(R, A, &body.to_string());
    assert!(out.contains(r#"{"type":"thinking","thinking":"","signature":"EqoB"}"#), "{out}");
}

#[test]
fn tools_of_a_provider_are_never_sent_as_tools_of_the_client() {
    let body = json!({ "max_tokens": 9, "messages": [{ "role": "user", "content": "x" }],
        "tools": [{ "type": "bash_20250124", "name": "bash" }], "tool_choice": { "type": "tool", "name": "bash" } });
    let error = convert(A, C, &body.to_string(), "gpt-4o", None).unwrap_err().to_string();
    assert!(error.contains("`tools[bash_20250124]`"), "{error}");
    let converted = convert(A, C, &body.to_string(), "gpt-4o", Some(Lossy::Drop)).unwrap();
    assert_eq!(converted.dropped, ["tools[bash_20250124]", "tool_choice"]);
    assert!(!String::from_utf8_lossy(&converted.body).contains("bash"));
}

#[test]
fn long_and_odd_names_come_back() {
    let long = "mcp__a_server_with_a_long_name__and_a_tool_with_a_name_that_is_longer";
    let body = json!({ "max_tokens": 9, "messages": [{ "role": "user", "content": "x" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "toolu:1", "name": long, "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu:1", "content": "y" }] }],
        "tools": [{ "name": long, "input_schema": { "type": "object" } }],
        "tool_choice": { "type": "tool", "name": long } });
    let converted = convert(A, C, &body.to_string(), "gpt-4o", None).unwrap();
    let out: Value = serde_json::from_slice(&converted.body).unwrap();
    let name = out["tools"][0]["function"]["name"].as_str().unwrap();
    assert_eq!(name.len(), 64);
    assert_eq!(out["messages"][1]["tool_calls"][0]["function"]["name"], name);
    assert_eq!(out["tool_choice"]["function"]["name"], name);
    assert_eq!(converted.tools.client_name(name), (None, long));
    assert_eq!(out["messages"][1]["tool_calls"][0]["id"], out["messages"][2]["tool_call_id"]);
    assert_ne!(out["messages"][2]["tool_call_id"], "toolu:1");
}

#[test]
fn a_wrapped_custom_tool_is_known_as_one() {
    let body = json!({ "input": "x", "tools": [{ "type": "custom", "name": "apply_patch" }],
        "tool_choice": { "type": "custom", "name": "apply_patch" } });
    let converted = convert(R, A, &body.to_string(), "claude-sonnet-4-5", None).unwrap();
    assert!(converted.tools.is_wrapped("apply_patch"));
    let converted = convert(R, C, &body.to_string(), "gpt-5", None).unwrap();
    assert!(converted.tools.is_empty());
}

/// The first argument is the effort that a chat client asks for.
fn thinking(effort: &str, model: &str) -> (Value, Value) {
    let body = json!({ "messages": [{ "role": "user", "content": "x" }], "reasoning_effort": effort });
    let out: Value = serde_json::from_str(&sent_to(C, A, &body.to_string(), model).0).unwrap();
    (out["thinking"].clone(), out["output_config"]["effort"].clone())
}

#[test]
fn effort_becomes_thinking() {
    let adaptive = || json!({ "type": "adaptive" });
    let budget = |tokens: u64| json!({ "type": "enabled", "budget_tokens": tokens });
    for (effort, model, wanted) in [
        ("none", "claude-opus-5", (json!({ "type": "disabled" }), Value::Null)),
        ("minimal", "claude-opus-5", (adaptive(), json!("low"))),
        ("xhigh", "claude-opus-4-8", (adaptive(), json!("xhigh"))),
        ("low", "claude-sonnet-4-5", (budget(1024), Value::Null)),
        ("high", "claude-sonnet-4-5", (budget(4096), Value::Null)),
        ("max", "claude-3-7-sonnet-latest", (budget(16_384), Value::Null)),
    ] {
        assert_eq!(thinking(effort, model), wanted, "{effort} {model}");
    }
}

#[test]
fn thinking_becomes_effort() {
    for (thinking, config, model, wanted) in [
        (json!({ "type": "disabled" }), json!({}), "gpt-5.2", json!("none")),
        (json!({ "type": "disabled" }), json!({}), "gpt-5", json!("minimal")),
        (json!({ "type": "disabled" }), json!({}), "o3", json!("low")),
        (json!({ "type": "disabled" }), json!({}), "llama-4", Value::Null),
        (json!({ "type": "adaptive" }), json!({}), "gpt-5.2", json!("medium")),
        (json!({ "type": "adaptive" }), json!({ "effort": "max" }), "gpt-5.2", json!("xhigh")),
        (json!({ "type": "adaptive" }), json!({ "effort": "max" }), "gpt-6-astra", json!("max")),
        (json!({ "type": "enabled", "budget_tokens": 1024 }), json!({}), "gpt-5", json!("low")),
        (json!({ "type": "enabled", "budget_tokens": 3000 }), json!({}), "gpt-5", json!("medium")),
        (json!({ "type": "enabled", "budget_tokens": 31999 }), json!({}), "gpt-5", json!("high")),
        (json!({ "type": "enabled", "budget_tokens": 31999 }), json!({}), "gpt-4o", Value::Null),
    ] {
        let body = json!({ "max_tokens": 64000, "messages": [{ "role": "user", "content": "x" }], "thinking": thinking,
            "output_config": config });
        let out: Value = serde_json::from_str(&sent_to(A, C, &body.to_string(), model).0).unwrap();
        assert_eq!(out["reasoning_effort"], wanted, "{thinking} {config} {model}");
    }
}

#[test]
fn thinking_waits_when_the_calls_came_without_a_thought() {
    let body = json!({ "messages": [{ "role": "user", "content": "x" },
        { "role": "assistant", "content": null, "tool_calls": [call("a", "f", "{}")] },
        { "role": "tool", "tool_call_id": "a", "content": "1" }], "reasoning_effort": "high" });
    let (out, dropped) = sent_to(C, A, &body.to_string(), "claude-sonnet-4-5");
    assert!(!out.contains("budget_tokens"), "{out}");
    assert_eq!(dropped, ["reasoning_effort"]);
    let (out, _) = sent_to(C, A, &body.to_string(), "claude-opus-5");
    assert!(out.contains("adaptive"), "{out}");
}

#[test]
fn names_and_limits_of_tokens_follow_the_model() {
    let tokens = |from: Dialect, body: &Value, model: &str, key: &str| {
        let to = if from == A { C } else { A };
        let out: Value = serde_json::from_str(&sent_to(from, to, &body.to_string(), model).0).unwrap();
        out[key].clone()
    };
    let body = messages(&json!([{ "role": "user", "content": "x" }]));
    assert_eq!(tokens(A, &body, "gpt-4o", "max_tokens"), 9000);
    assert_eq!(tokens(A, &body, "gpt-5", "max_completion_tokens"), 9000);
    assert_eq!(tokens(A, &body, "o3", "max_completion_tokens"), 9000);
    assert_eq!(tokens(A, &body, "llama-4", "max_tokens"), 9000);
    let body = chat(&json!([{ "role": "user", "content": "x" }]));
    assert_eq!(tokens(C, &body, "claude-sonnet-4-5", "max_tokens"), 64_000);
    assert_eq!(tokens(C, &body, "claude-3-haiku-20240307", "max_tokens"), 4096);
    assert_eq!(tokens(C, &body, "unheard-of", "max_tokens"), 8192);
    let body = json!({ "messages": [{ "role": "user", "content": "x" }], "max_tokens": 100_000 });
    assert_eq!(tokens(C, &body, "claude-sonnet-4-5", "max_tokens"), 64_000);
    assert_eq!(tokens(C, &body, "unheard-of", "max_tokens"), 100_000);
}

#[test]
fn sampling_follows_the_model() {
    let body = json!({ "messages": [{ "role": "user", "content": "x" }], "temperature": 1.7, "top_p": 0.9 });
    for (model, temperature, top_p) in [
        ("claude-opus-4-8", Value::Null, Value::Null),
        ("claude-sonnet-4-5", json!(1), Value::Null),
        ("claude-3-5-haiku-latest", json!(1), json!(0.9)),
    ] {
        let (out, dropped) = sent_to(C, A, &body.to_string(), model);
        let out: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&out["temperature"], &out["top_p"]), (&temperature, &top_p), "{model}");
        assert!(dropped.contains(&"temperature".to_owned()), "{dropped:?}");
    }
}

#[test]
fn who_the_user_is_goes_only_where_it_tells_no_person() {
    let user = |user: &str| {
        let body = json!({ "messages": [{ "role": "user", "content": "x" }], "user": user });
        value(C, A, &body)["metadata"]["user_id"].clone()
    };
    assert_eq!(user("u-17"), "u-17");
    assert_eq!(user("ann@example.com"), Value::Null);
    assert_eq!(user("+49 170 1234567"), Value::Null);
    let body = json!({ "max_tokens": 99, "messages": [{ "role": "user", "content": "x" }],
        "metadata": { "user_id": "{\"device_id\":\"d\",\"account_uuid\":\"a\",\"session_id\":\"s\"}" } });
    let (out, dropped) = sent(A, R, &body.to_string());
    assert!(!out.contains("device_id") && dropped.is_empty(), "{out}");
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out["safety_identifier"].as_str().unwrap().len(), 32);
    assert_ne!(out["safety_identifier"], out["prompt_cache_key"]);
}

#[test]
fn a_cache_mark_goes_where_there_is_one() {
    let mark = |ttl: &str| json!({ "mode": "explicit", "ttl": ttl });
    let parts: Vec<_> = (0..6)
        .map(|at| json!({ "type": "text", "text": at.to_string(), "prompt_cache_breakpoint": mark("12h") }))
        .collect();
    let body = json!({ "messages": [{ "role": "system", "content": [{ "type": "text", "text": "s",
        "prompt_cache_breakpoint": mark("30m") }] }, { "role": "user", "content": parts }] });
    let (out, dropped) = sent(C, A, &body.to_string());
    assert_eq!(out.matches("cache_control").count(), 4, "{out}");
    assert_eq!(dropped, ["messages[].content[].prompt_cache_breakpoint"]);
    assert!(out.contains(r#""cache_control":{"type":"ephemeral","ttl":"1h"}"#), "{out}");
    let (out, dropped) = sent(C, R, &body.to_string());
    assert_eq!((out.matches("prompt_cache_breakpoint").count(), dropped.len()), (7, 0), "{out}");
}

#[test]
fn what_cannot_be_read_is_malformed() {
    for (from, body) in [
        (C, "[]"),
        (C, r#"{"messages":{}}"#),
        (C, r#"{"messages":[{"role":"nobody"}]}"#),
        (C, r#"{"messages":[{"role":"tool","content":"x"}]}"#),
        (C, r#"{"messages":[],"model":"a","model":"b"}"#),
        (A, r#"{"max_tokens":"x","messages":[]}"#),
        (A, r#"{"messages":[{"role":"user","content":7}]}"#),
        (R, r#"{"input":7}"#),
        (R, r#"{"input":[{"type":"function_call","name":"f"}]}"#),
        (C, r#"{"messages":[{"role":"system","content":"x"}]}"#),
        (C, r#"{"messages":[{"role":"user","content":" \n"}]}"#),
    ] {
        let to = if from == A { C } else { A };
        for lossy in [None, Some(Lossy::Drop), Some(Lossy::Refuse)] {
            assert!(convert(from, to, body, "m", lossy).is_err(), "{body}");
        }
    }
}

#[test]
fn metadata_go_where_answers_need_not_be_stored() {
    let (out, dropped) = sent(C, R, r#"{"messages":[{"role":"user","content":"x"}],"metadata":{"a":"b"}}"#);
    assert!(out.contains(r#""metadata":{"a":"b"}"#) && dropped.is_empty(), "{out}");
    let (out, dropped) = sent(R, C, r#"{"input":"x","metadata":{"a":"b"}}"#);
    assert!(!out.contains("metadata"), "{out}");
    assert_eq!(dropped, ["metadata"]);
}

#[test]
fn what_a_client_calls_a_field_fits_a_header() {
    let body = json!({ "messages": [{ "role": "user", "content": "x" }], "a\r\nb: c, d é": 1, "l".repeat(500): 1 });
    let (_, dropped) = sent(C, R, &body.to_string());
    assert_eq!(dropped, ["a__b:_c__d__".to_owned(), "l".repeat(100)]);
}

#[test]
fn what_a_provider_refuses_is_mended_where_nothing_is_lost_by_it() {
    let body = json!({ "max_tokens": 1, "messages": [{ "role": "user", "content": "quota" }] });
    let (out, dropped) = sent(A, R, &body.to_string());
    assert!(out.contains(r#""max_output_tokens":16"#) && dropped == ["max_tokens"], "{out}");
    let image = json!({ "type": "image_url", "image_url": { "url": "data:image/jpg;base64,/9j/" } });
    let body = json!({ "messages": [{ "role": "user", "content": [image] }], "stop": ["\n", "END"] });
    let (out, dropped) = sent(C, A, &body.to_string());
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out["messages"][0]["content"][0]["source"]["media_type"], "image/jpeg");
    assert_eq!((&out["stop_sequences"], dropped), (&json!(["END"]), vec!["stop".to_owned()]));
}

#[test]
fn thoughts_go_back_to_servers_that_refuse_calls_without_them() {
    let body = messages(&json!([
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "hm", "signature": "luthien1.text." },
            { "type": "tool_use", "id": "a", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "a", "content": "1" }] },
    ]));
    for (model, thought) in
        [("deepseek-v4-pro", json!("hm")), ("moonshotai/Kimi-K2", json!("hm")), ("gpt-4o", Value::Null)]
    {
        let (out, dropped) = sent_to(A, C, &body.to_string(), model);
        let out: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(out["messages"][1]["reasoning_content"], thought, "{model}");
        assert_eq!(dropped.is_empty(), !thought.is_null(), "{model}: {dropped:?}");
    }
}

#[test]
fn json_is_asked_for_in_words_where_nothing_holds_the_model_to_it() {
    let mut body = chat(&json!([{ "role": "system", "content": "Be kind." }, { "role": "user", "content": "x" }]));
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let by_schema = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
    for (model, format, wish) in [
        ("claude-opus-5", json!({ "type": "json_object" }), Some("JSON object")),
        ("claude-opus-4", by_schema.clone(), Some("\"properties\"")),
        ("claude-opus-5", by_schema, None),
    ] {
        body["response_format"] = format;
        let (out, dropped) = sent_to(C, A, &body.to_string(), model);
        let out: Value = serde_json::from_str(&out).unwrap();
        match wish {
            Some(wish) => assert!(out["system"][1]["text"].as_str().unwrap().contains(wish), "{out}"),
            None => assert_eq!(out["system"], "Be kind."),
        }
        assert_eq!(out["output_config"].is_null(), wish.is_some(), "{out}");
        let whole = ["response_format", "response_format.json_schema"];
        assert_eq!(dropped.iter().any(|field| whole.contains(&field.as_str())), wish.is_some(), "{dropped:?}");
        assert!(convert(C, A, &body.to_string(), model, Some(Lossy::Refuse)).is_err());
    }
}

#[test]
fn a_file_of_text_is_a_document_of_text() {
    let file = |data: &str| {
        chat(&json!([{ "role": "user", "content": [
            { "type": "file", "file": { "filename": "a.txt", "file_data": data } }] }]))
    };
    let out = value(C, A, &file("data:text/plain;base64,SGVsbG8sIGTDqWw="));
    let source = json!({ "type": "text", "media_type": "text/plain", "data": "Hello, dél" });
    assert_eq!(out["messages"][0]["content"], json!([{ "type": "document", "source": source, "title": "a.txt" }]));
    for data in ["data:text/plain;base64,/w==", "data:application/zip;base64,SGVsbG8="] {
        assert!(convert(C, A, &file(data).to_string(), "claude-opus-5", None).is_err(), "{data}");
    }
}

#[test]
fn what_the_providers_tools_did_before_does_not_end_a_conversation() {
    let ran = messages(&json!([
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": [
            { "type": "server_tool_use", "id": "s", "name": "web_search", "input": { "query": "q" } },
            { "type": "web_search_tool_result", "tool_use_id": "s", "content": [] },
            { "type": "text", "text": "It rains." }] },
        { "role": "user", "content": "y" },
    ]));
    for to in [C, R] {
        let (out, dropped) = sent(A, to, &ran.to_string());
        assert!(out.contains("It rains.") && !out.contains("web_search"), "{out}");
        assert_eq!(
            dropped[..2],
            ["messages[].content[].server_tool_use", "messages[].content[].web_search_tool_result"]
        );
    }
    let ran = json!({ "input": [
        { "type": "web_search_call", "id": "ws_1", "status": "completed", "action": { "type": "search", "query": "q" } },
        { "type": "message", "role": "assistant", "content": "It rains." },
        { "type": "message", "role": "user", "content": "y" }] });
    for to in [C, A] {
        let (out, dropped) = sent(R, to, &ran.to_string());
        assert!(out.contains("It rains.") && !out.contains("search"), "{out}");
        assert_eq!(dropped, ["input[].web_search_call"]);
    }
}
