//! The demo provider over a real connection: what it sends must have the shape that the providers' SDKs take.

use std::future::Future;

use serde_json::{Value, json};

use super::*;

fn http() -> reqwest::Client {
    crate::policies::http::choose_cryptography();
    reqwest::Client::new()
}

/// Runs `client` against a demo provider on a port of its own.
async fn against<F: Future<Output = ()>>(client: impl FnOnce(String) -> F) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::select! {
        served = serve(listener) => panic!("the server ended: {served:?}"),
        () = client(base) => {}
    }
}

async fn post(url: &str, body: &Value) -> (u16, String) {
    let response = http().post(url).body(body.to_string()).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn messages_body(prompt: &str, stream: bool) -> Value {
    let schema = json!({ "type": "object", "properties": { "command": { "type": "string" } } });
    json!({
        "model": "demo", "max_tokens": 10, "stream": stream,
        "messages": [{ "role": "user", "content": prompt }],
        "tools": [{ "name": "bash", "input_schema": schema }],
    })
}

fn chat_body(prompt: &str, stream: bool) -> Value {
    let schema = json!({ "type": "object", "properties": { "command": { "type": "string" } } });
    json!({
        "model": "demo", "stream": stream,
        "messages": [{ "role": "user", "content": prompt }],
        "tools": [{ "type": "function", "function": { "name": "bash", "parameters": schema } }],
    })
}

/// The data of each event; its name, where it has one, must be the data's type.
fn events(stream: &str) -> Vec<Value> {
    let frames = stream.strip_suffix("\n\n").unwrap().split("\n\n");
    frames
        .map(|frame| {
            let (name, data) = match frame.split_once('\n') {
                Some((name, data)) => (name.strip_prefix("event: "), data),
                None => (None, frame),
            };
            let data = data.strip_prefix("data: ").unwrap();
            let data = if data == "[DONE]" { json!(data) } else { serde_json::from_str::<Value>(data).unwrap() };
            if let Some(name) = name {
                assert_eq!(data["type"], name);
            }
            data
        })
        .collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.dedup();
    kinds
}

#[tokio::test]
async fn an_anthropic_stream_has_its_grammar() {
    against(|base| async move {
        let (status, text) = post(&format!("{base}/v1/messages"), &messages_body("think, use tools", true)).await;
        assert_eq!(status, 200);
        let events = events(&text);
        let block = ["content_block_start", "content_block_delta", "content_block_stop"];
        let expected: Vec<&str> = ["message_start", "ping"]
            .into_iter()
            .chain(block.into_iter().cycle().take(9))
            .chain(["message_delta", "message_stop"])
            .collect();
        assert_eq!(kinds(&events), expected);
        let heads: Vec<&Value> = events.iter().filter_map(|event| event.pointer("/content_block/type")).collect();
        assert_eq!(heads, ["thinking", "text", "tool_use"]);
        let arguments: String = events.iter().filter_map(|e| e.pointer("/delta/partial_json")?.as_str()).collect();
        assert!(serde_json::from_str::<Value>(&arguments).unwrap()["command"].is_string(), "{arguments}");
        assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
    })
    .await;
}

#[tokio::test]
async fn a_chat_stream_has_its_grammar_for_each_choice() {
    against(|base| async move {
        let mut body = chat_body("use tools in parallel", true);
        body["n"] = json!(2);
        body["stream_options"] = json!({ "include_usage": true });
        let (status, text) = post(&format!("{base}/v1/chat/completions"), &body).await;
        assert_eq!(status, 200);
        let mut events = events(&text);
        assert_eq!(events.pop(), Some(json!("[DONE]")));
        let usage = events.pop().unwrap();
        assert_eq!(usage["choices"], json!([]));
        assert!(usage["usage"]["total_tokens"].as_u64().unwrap() > 0);
        for choice in 0..2 {
            let mine: Vec<&Value> =
                events.iter().map(|e| &e["choices"][0]).filter(|c| c["index"] == json!(choice)).collect();
            assert_eq!(mine[0]["delta"]["role"], "assistant");
            assert_eq!(mine[mine.len() - 1]["finish_reason"], "tool_calls");
            for index in 0..2 {
                let fragments = mine.iter().filter_map(|c| c.pointer("/delta/tool_calls/0"));
                let arguments: String = fragments
                    .filter(|call| call["index"] == json!(index))
                    .filter_map(|call| call["function"]["arguments"].as_str())
                    .collect();
                assert!(serde_json::from_str::<Value>(&arguments).unwrap()["command"].is_string(), "{arguments}");
            }
        }
        assert!(events.iter().all(|event| event["usage"].is_null() && event["id"] == events[0]["id"]));
    })
    .await;
}

/// Codex puts its tools into the input, in a namespace, and its shell into a tool that takes a program.
#[tokio::test]
async fn a_tool_that_takes_any_text_is_called_with_one() {
    against(|base| async move {
        let tools = json!([{ "type": "custom", "name": "exec" }, { "type": "function", "name": "wait" }]);
        let other = json!({ "type": "namespace", "name": "clock", "tools": [{ "type": "function", "name": "sleep" }] });
        let namespace = json!({ "type": "namespace", "name": "functions", "tools": tools });
        let added = json!({ "type": "additional_tools", "role": "developer", "tools": [other, namespace] });
        let prompt = json!({ "role": "user", "content": "use a tool" });
        let mut body = json!({ "model": "demo", "stream": true, "input": [added, prompt] });
        let url = format!("{base}/v1/responses");
        let events = events(&post(&url, &body).await.1);
        let call = &events.last().unwrap()["response"]["output"][1];
        assert_eq!((&call["type"], &call["name"]), (&json!("custom_tool_call"), &json!("exec")));
        assert_eq!(call["input"], "text(\"hello from the demo provider\")");
        let deltas = events.iter().filter(|event| event["type"] == "response.custom_tool_call_input.delta");
        let whole: String = deltas.filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(whole, call["input"]);
        let result = json!({ "type": "custom_tool_call_output", "call_id": "c", "output": "hello" });
        body["input"].as_array_mut().unwrap().push(result);
        assert!(post(&url, &body).await.1.contains("The tool answered: hello"));
    })
    .await;
}

#[tokio::test]
async fn a_responses_stream_has_its_grammar() {
    against(|base| async move {
        let tool = json!({ "type": "function", "name": "bash", "parameters": { "properties": { "command": {} } } });
        let mut body = json!({ "model": "demo", "stream": true, "input": "think, use tools", "tools": [tool] });
        let url = format!("{base}/v1/responses");
        let (status, text) = post(&url, &body).await;
        assert_eq!(status, 200);
        let events = events(&text);
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number);
        }
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.completed");
        let output = last["response"]["output"].as_array().unwrap();
        let types: Vec<&Value> = output.iter().map(|item| &item["type"]).collect();
        assert_eq!(types, ["reasoning", "message", "function_call"]);
        for (index, item) in output.iter().enumerate() {
            let mine = |kind: &str| {
                let mut all = events.iter().filter(|e| e["type"] == kind && e["output_index"] == json!(index));
                all.next().unwrap()["item"].clone()
            };
            assert_eq!(mine("response.output_item.added")["id"], item["id"]);
            assert_eq!(&mine("response.output_item.done"), item);
        }
        let text_of = |kind: &str| -> String {
            events.iter().filter(|e| e["type"] == kind).filter_map(|e| e["delta"].as_str()).collect()
        };
        assert_eq!(text_of("response.output_text.delta"), output[1]["content"][0]["text"]);
        assert_eq!(text_of("response.function_call_arguments.delta"), output[2]["arguments"]);

        body["stream"] = json!(false);
        let (_, text) = post(&url, &body).await;
        let whole: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&whole["status"], &whole["output"][2]["name"]), (&json!("completed"), &json!("bash")));

        body["stream"] = json!(true);
        body["input"] = json!([{ "role": "user", "content": [{ "type": "input_text", "text": "error" }] }]);
        let (_, text) = post(&url, &body).await;
        let all = self::events(&text);
        let error = all.last().unwrap();
        assert_eq!(error["error"]["code"], "server_error");
        assert_eq!(error["sequence_number"], all.len() - 1);
        body["input"] = json!([{ "type": "function_call_output", "call_id": "c", "output": "42" }]);
        assert!(post(&url, &body).await.1.contains("The tool answered: 42"));
    })
    .await;
}

#[tokio::test]
async fn without_a_stream_the_body_says_the_same() {
    against(|base| async move {
        let (_, text) = post(&format!("{base}/v1/messages"), &messages_body("hello there", false)).await;
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["stop_reason"], "end_turn");
        assert!(message["content"][0]["text"].as_str().unwrap().ends_with("You said: hello there"), "{text}");
        let (_, text) = post(&format!("{base}/v1/chat/completions"), &chat_body("hello there", false)).await;
        let completion: Value = serde_json::from_str(&text).unwrap();
        let content = &completion["choices"][0]["message"]["content"];
        assert!(content.as_str().unwrap().ends_with("You said: hello there"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn broken_streams_break_as_asked() {
    against(|base| async move {
        let url = format!("{base}/v1/messages");
        let (_, truncated) = post(&url, &messages_body("truncate", true)).await;
        assert_eq!(kinds(&events(&truncated)).last(), Some(&"message_delta"));
        let (_, error) = post(&url, &messages_body("error", true)).await;
        assert_eq!(events(&error).last().unwrap()["error"]["type"], "api_error");
        let chat = format!("{base}/v1/chat/completions");
        let (_, error) = post(&chat, &chat_body("error", true)).await;
        assert_eq!(events(&error).last().unwrap()["error"]["type"], "server_error");
        let (_, truncated) = post(&chat, &chat_body("truncate", true)).await;
        assert!(!truncated.contains("[DONE]") && !truncated.contains(r#""finish_reason":"stop""#), "{truncated}");

        let client = http();
        let reset = client.post(&url).body(messages_body("reset", true).to_string()).send().await.unwrap();
        assert_eq!(reset.status(), 200);
        assert!(reset.text().await.is_err(), "a reset must look like one");

        let mut stall = client.post(&url).body(messages_body("stall", true).to_string()).send().await.unwrap();
        let mut seen = Vec::new();
        // Half of the answer is more than its first event; what follows is silence, which no test can wait out.
        while seen.len() < 600 {
            seen.extend(stall.chunk().await.unwrap().expect("silence, not an end"));
        }
    })
    .await;
}

#[tokio::test]
async fn http_errors_have_the_dialects_shape() {
    against(|base| async move {
        let client = http();
        let response = client
            .post(format!("{base}/v1/messages"))
            .body(messages_body("error 529", true).to_string())
            .send()
            .await
            .unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (529, &"1".parse().unwrap()));
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body["error"]["type"], "overloaded_error");

        let cases = [
            ("/v1/messages", json!({}), 400, "model: Field required"),
            ("/v1/messages", json!("no object"), 400, "model"),
            ("/v1/messages", json!({ "model": "m", "messages": [{}] }), 400, "max_tokens"),
            ("/v1/messages/unknown", json!({}), 404, "does not know"),
            ("/v1/chat/completions", json!({ "model": "m" }), 400, "messages"),
            ("/v1/chat/completions", json!({ "model": "m", "messages": [{}], "n": 0 }), 400, "'n'"),
            ("/v1/nothing", json!({}), 404, "does not know"),
        ];
        for (path, request, expected, message) in cases {
            let (status, text) = post(&format!("{base}{path}"), &request).await;
            let body: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(status, expected, "{path} {text}");
            assert!(body["error"]["message"].as_str().unwrap().contains(message), "{path} {text}");
            assert_eq!(body["type"] == "error", path.starts_with("/v1/messages"), "{path} {text}");
        }
    })
    .await;
}

#[tokio::test]
async fn models_and_token_counts_are_there() {
    against(|base| async move {
        let client = http();
        let url = format!("{base}/v1/models");
        let openai = client.get(&url).send().await.unwrap().text().await.unwrap();
        assert!(openai.contains(r#""object":"list""#), "{openai}");
        let request = client.get(&url).header("anthropic-version", "2023-06-01");
        let anthropic = request.send().await.unwrap().text().await.unwrap();
        assert!(anthropic.contains(r#""has_more":false"#), "{anthropic}");
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        let (status, text) = post(&format!("{base}/v1/messages/count_tokens"), &body).await;
        assert!(status == 200 && text.starts_with(r#"{"input_tokens":"#), "{text}");
    })
    .await;
}

#[test]
fn the_header_and_the_table_name_the_same_words() {
    let header = include_str!("mod.rs");
    for (word, _) in script::WORDS {
        assert!(header.contains(&format!("`{word}`")), "the module header lacks `{word}`");
    }
}
