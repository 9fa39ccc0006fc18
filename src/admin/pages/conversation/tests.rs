use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Block, Message, Pairing, Reader, Role, results};

/// What a message says, in short: the role, then each block.
fn told(messages: &[Message]) -> Vec<String> {
    let mut told = Vec::new();
    for message in messages {
        let blocks: Vec<_> = message.blocks.iter().map(block).collect();
        told.push(format!("{}: {}", message.role.name(), blocks.join(" | ")));
    }
    told
}

fn block(shown: &Block) -> String {
    let flat = |text: &str| text.split_whitespace().collect::<String>();
    match shown {
        Block::Text(text) => text.shown.clone(),
        Block::Thinking(text) => format!("(thinking {})", text.shown),
        Block::Refusal(text) => format!("(refusal {})", text.shown),
        Block::Call(call) => {
            let result = call.result.as_ref().map(|result| {
                let blocks: Vec<_> = result.blocks.iter().map(block).collect();
                format!(" -> {}{}", if result.is_error { "!" } else { "" }, blocks.join(" | "))
            });
            let name = if call.by_provider { format!("{}*", call.name) } else { call.name.clone() };
            format!("{}={name}({}){}", call.id, flat(&call.arguments.shown), result.unwrap_or_default())
        }
        Block::Result(result) => {
            let blocks: Vec<_> = result.blocks.iter().map(block).collect();
            format!("-> {} {}", result.id, blocks.join(" | "))
        }
        Block::Media(media) => format!("[{} {}]", media.kind, media.about),
        Block::Unknown(unknown) => format!("<{} {}>", unknown.kind, flat(&unknown.json.shown)),
    }
}

fn messages(items: &Value) -> Vec<String> {
    let mut messages = Reader::new("c").messages(items.as_array().unwrap());
    results(&mut [&mut messages]);
    told(&messages)
}

fn answer(body: &Value) -> Vec<String> {
    let mut messages = Reader::new("c").answer(body);
    results(&mut [&mut messages]);
    told(&messages)
}

#[test]
fn anthropic_messages_are_read() {
    let items = json!([
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "hm", "signature": "s" }, { "type": "redacted_thinking", "data": "x" },
            { "type": "text", "text": "I look" },
            { "type": "tool_use", "id": "t1", "name": "Bash", "input": { "command": "ls" } },
            { "type": "tool_use", "id": "t2", "name": "Read", "input": {} },
        ] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": [{ "type": "text", "text": "no" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAAAAAA" } }] },
            { "type": "tool_result", "tool_use_id": "t1", "content": "a.txt" },
            { "type": "text", "text": "go on" },
            { "type": "document", "title": "paper.pdf", "source": { "type": "url", "url": "https://x/p" } },
        ] },
    ]);
    assert_eq!(
        messages(&items),
        [
            "user: hi",
            "assistant: (thinking hm) | (thinking ) | I look | t1=Bash({\"command\":\"ls\"}) -> a.txt | \
             t2=Read({}) -> !no | [image image/png, 6 B]",
            "user: go on | [document paper.pdf, https://x/p]",
        ]
    );
    let body = json!({ "type": "message", "role": "assistant", "content": [
        { "type": "server_tool_use", "id": "s1", "name": "bash_code_execution", "input": { "command": "ls" } },
        { "type": "bash_code_execution_tool_result", "tool_use_id": "s1",
          "content": { "type": "bash_code_execution_tool_result_error", "error_code": "x" } },
        { "type": "text", "text": "done" },
    ] });
    assert_eq!(
        answer(&body),
        ["assistant: s1=bash_code_execution*({\"command\":\"ls\"}) -> !<bash_code_execution_tool_result_error \
          {\"type\":\"bash_code_execution_tool_result_error\",\"error_code\":\"x\"}> | done"]
    );
}

#[test]
fn chat_messages_are_read() {
    let items = json!([
        { "role": "developer", "content": "be brief" },
        { "role": "user", "content": [{ "type": "text", "text": "see" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAAAAAA" } },
            { "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } },
            { "type": "file", "file": { "file_id": "f1" } }] },
        { "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
            { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{\"a\": 1}" } },
            { "id": "c2", "function": { "name": "g", "arguments": "not json" } },
            { "id": "c3", "type": "custom", "custom": { "name": "h", "input": "raw" } }] },
        { "role": "tool", "tool_call_id": "c2", "content": [{ "type": "text", "text": "two" }] },
        { "role": "tool", "tool_call_id": "c1", "content": "one" },
        { "role": "assistant", "function_call": { "name": "old", "arguments": "{}" }, "content": "" },
        { "role": "function", "name": "old", "content": "was" },
        { "role": "tool", "tool_call_id": "lost", "content": "alone" },
    ]);
    assert_eq!(
        messages(&items),
        [
            "system: be brief",
            "user: see | [image image/png, 6 B] | [audio wav, 3 B] | [document f1]",
            "assistant: (thinking hm) | c1=f({\"a\":1}) -> one | c2=g(notjson) -> two | c3=h(raw)",
            "assistant: old=old({}) -> was",
            "tool: -> lost alone",
        ]
    );
    let choice = |text: &str| json!({ "message": { "role": "assistant", "content": text, "refusal": "no" } });
    let body = json!({ "choices": [choice("a"), choice("b"), { "text": "odd" }] });
    assert_eq!(answer(&body), ["assistant: a | (refusal no)", "assistant: b | (refusal no)"]);
}

#[test]
fn responses_items_are_read() {
    let items = json!([
        { "role": "user", "content": [{ "type": "input_text", "text": "hi" },
            { "type": "input_image", "image_url": "https://x/i.png" }, { "type": "input_file", "filename": "a.pdf", "file_data": "AAAA" }] },
        { "type": "reasoning", "id": "r", "summary": [{ "type": "summary_text", "text": "hm" }] },
        { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "I look" }] },
        { "type": "function_call", "call_id": "f1", "name": "ls", "arguments": "{\"p\":\"/\"}" },
        { "type": "custom_tool_call", "call_id": "f2", "name": "patch", "input": "*** Begin" },
        { "type": "function_call_output", "call_id": "f1", "output": "a.txt" },
        { "type": "custom_tool_call_output", "call_id": "f2", "output": [{ "type": "input_text", "text": "ok" }] },
        { "type": "item_reference", "id": "x" },
    ]);
    assert_eq!(
        messages(&items),
        [
            "user: hi | [image https://x/i.png] | [document a.pdf, 3 B]",
            "assistant: (thinking hm) | I look | f1=ls({\"p\":\"/\"}) -> a.txt | f2=patch(***Begin) -> ok",
            "assistant: <item_reference {\"type\":\"item_reference\",\"id\":\"x\"}>",
        ]
    );
    let body = json!({ "object": "response", "output": [
        { "type": "web_search_call", "id": "w", "status": "completed", "action": { "type": "search", "query": "q" } },
        { "type": "mcp_call", "id": "m", "name": "echo", "arguments": "{}", "output": "1", "error": null },
        { "type": "message", "role": "assistant", "content": [{ "type": "refusal", "refusal": "no" }] },
    ] });
    assert_eq!(
        answer(&body),
        [
            "assistant: w=web_search*({\"action\":{\"type\":\"search\",\"query\":\"q\"}}) | m=echo*({}) -> 1 | (refusal no)"
        ]
    );
}

#[test]
fn whatever_else_comes_is_shown_as_it_is() {
    assert_eq!(answer(&json!("Bad Gateway")), ["assistant: Bad Gateway"]);
    assert_eq!(answer(&json!({ "error": { "x": 1 } })), ["assistant: <error {\"error\":{\"x\":1}}>"]);
    assert_eq!(answer(&json!({ "content": 1 })), ["assistant: <answer {\"content\":1}>"]);
    let odd = json!([1, { "role": 5 }, { "type": "text" }, { "role": "user", "content": [[], null, { "type": [] }] }]);
    let expected = [
        "assistant: <of no known kind 1> | <of no known kind {\"role\":5}> | <text {\"type\":\"text\"}>",
        "user: <of no known kind []> | <of no known kind null> | <of no known kind {\"type\":[]}>",
    ];
    assert_eq!(messages(&odd), expected);
    let body = json!({ "system": [{ "type": "text", "text": "a" }], "instructions": "b" });
    assert_eq!(told(&[Reader::new("c").system(&body).unwrap()]), ["system: a | b"]);
    assert_eq!(Reader::new("c").system(&json!({ "system": "" })), None);
}

#[test]
fn long_texts_are_cut_with_a_way_to_the_rest() {
    let mut reader = Reader::new("a b");
    let text = reader.text(&"ä".repeat(20_000));
    assert_eq!(text.shown.len(), 20_000);
    let rest = text.rest.unwrap();
    assert_eq!((rest.bytes.as_str(), &*rest.href), ("19.5 KiB", "/debug/calls/a%20b?format=json"));
    // A page has an end, and still says how everything begins.
    let shown: Vec<usize> = (0..100).map(|_| reader.text(&"x".repeat(50_000)).shown.len()).collect();
    assert_eq!((shown[0], shown[99]), (20_000, 400));
    assert!(shown.iter().sum::<usize>() < 1_600_000);
}

#[test]
fn what_was_said_before_is_not_said_again() {
    let mut reader = Reader::new("c");
    let said =
        json!([{ "type": "text", "text": "I look" }, { "type": "tool_use", "id": "t", "name": "ls", "input": {} }]);
    let mut first = reader.answer(&json!({ "content": said }));
    let mut pairing = Pairing::default();
    pairing.said(&first);
    let mut second = reader.messages(&[
        json!({ "role": "assistant", "content": said }),
        json!({ "role": "assistant", "content": "and this is new" }),
        json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": "a.txt" }] }),
        json!({ "role": "user", "content": "I look" }),
    ]);
    pairing.without_echo(&mut second);
    assert_eq!(results(&mut [&mut first, &mut second]), [0, 1]);
    assert_eq!(told(&first), ["assistant: I look | t=ls({}) -> a.txt"]);
    assert_eq!(told(&second), ["assistant: and this is new", "user: I look"]);
    assert_eq!(second[0].role, Role::Assistant);
}

fn any_value() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "text",
        "thinking",
        "tool_use",
        "tool_result",
        "function",
        "function_call",
        "function_call_output",
        "reasoning",
        "web_search_call",
        "image",
        "message",
        "user",
        "assistant",
        "tool",
        "a",
        "data:;base64,",
        "",
    ]);
    let keys = prop::sample::select(vec![
        "type",
        "role",
        "content",
        "text",
        "thinking",
        "id",
        "call_id",
        "tool_use_id",
        "name",
        "input",
        "arguments",
        "output",
        "choices",
        "message",
        "messages",
        "tool_calls",
        "function",
        "summary",
        "source",
        "image_url",
        "data",
        "error",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        words.prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_shape_is_too_odd(body in any_value(), items in prop::collection::vec(any_value(), 0..6)) {
        let mut reader = Reader::new("c");
        let mut answer = reader.answer(&body);
        let mut messages = reader.messages(&items);
        let mut pairing = Pairing::default();
        pairing.said(&answer);
        pairing.without_echo(&mut messages);
        results(&mut [&mut messages, &mut answer]);
        for block in messages.iter().chain(&answer).flat_map(|message| &message.blocks) {
            prop_assert!(askama::Template::render(block).is_ok());
        }
    }
}

#[test]
fn what_comes_from_outside_is_escaped_wherever_it_stands() {
    let hostile = "<script>alert(1)</script>";
    let body = json!({ "content": [
        { "type": "text", "text": hostile }, { "type": "thinking", "thinking": hostile },
        { "type": "refusal", "refusal": hostile },
        { "type": "tool_use", "id": hostile, "name": hostile, "input": { hostile: hostile } },
        { "type": "tool_result", "tool_use_id": hostile, "content": [{ "type": hostile, "x": hostile }] },
        { "type": "image", "source": { "type": "url", "url": hostile } }, { "type": hostile },
    ] });
    let mut answer = Reader::new("c").answer(&body);
    results(&mut [&mut answer]);
    let shown: String = answer[0].blocks.iter().map(|block| askama::Template::render(block).unwrap()).collect();
    assert_eq!(answer[0].blocks.len(), 6);
    assert!(!shown.contains("<script") && shown.matches("&#60;script").count() >= 9, "{shown}");
}
