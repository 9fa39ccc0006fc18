//! Streams in each dialect, for both benches.

/// Events of a stream that carry text.
pub(crate) const EVENTS: usize = 200;

const WORDS: [&str; 10] = ["Once", " upon", " a", " time", " there", " was", " a", " gate", "way", ","];

/// The events of a stream in the dialect of that name, each with its blank line.
pub(crate) fn events(dialect: &str) -> Vec<String> {
    let words = WORDS.iter().cycle().take(EVENTS);
    match dialect {
        "anthropic_messages" => anthropic(words),
        "openai_chat" => chat(words),
        _ => responses(words),
    }
}

fn named(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn anthropic<'a>(words: impl Iterator<Item = &'a &'a str>) -> Vec<String> {
    let mut events = vec![
        named(
            "message_start",
            r#"{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"m-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":412,"output_tokens":1}}}"#,
        ),
        named(
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
    ];
    events.extend(words.map(|word| {
        let data =
            format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{word}"}}}}"#);
        named("content_block_delta", &data)
    }));
    events.extend([
        named("content_block_stop", r#"{"type":"content_block_stop","index":0}"#),
        named("message_delta", r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":200}}"#),
        named("message_stop", r#"{"type":"message_stop"}"#),
    ]);
    events
}

fn chat<'a>(words: impl Iterator<Item = &'a &'a str>) -> Vec<String> {
    let chunk = |delta: &str, reason: &str| {
        format!(
            "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"system_fingerprint\":\"fp\",\
             \"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{reason}}}]}}\n\n"
        )
    };
    let mut events = vec![chunk(r#"{"role":"assistant","content":"","refusal":null}"#, "null")];
    events.extend(words.map(|word| chunk(&format!(r#"{{"content":"{word}"}}"#), "null")));
    events.extend([chunk("{}", "\"stop\""), "data: [DONE]\n\n".to_owned()]);
    events
}

fn responses<'a>(words: impl Iterator<Item = &'a &'a str>) -> Vec<String> {
    let mut number = 0;
    let mut event = |name: &str, rest: &str| {
        let data = format!(r#"{{"type":"{name}","sequence_number":{number},{rest}}}"#);
        number += 1;
        named(name, &data)
    };
    let response = |status: &str, output: &str| {
        format!(
            r#""response":{{"id":"resp_1","object":"response","created_at":1,"model":"m-1","status":"{status}","error":null,"output":[{output}]}}"#
        )
    };
    let item = |status: &str, content: &str| {
        format!(r#"{{"id":"msg_1","type":"message","role":"assistant","status":"{status}","content":[{content}]}}"#)
    };
    let part = |text: &str| format!(r#"{{"type":"output_text","annotations":[],"text":"{text}"}}"#);
    let words: Vec<&str> = words.copied().collect();
    let text = words.concat();
    let mut events = vec![
        event("response.created", &response("in_progress", "")),
        event("response.in_progress", &response("in_progress", "")),
        event("response.output_item.added", &format!(r#""output_index":0,"item":{}"#, item("in_progress", ""))),
        event(
            "response.content_part.added",
            &format!(r#""item_id":"msg_1","output_index":0,"content_index":0,"part":{}"#, part("")),
        ),
    ];
    for word in words {
        let rest = format!(r#""item_id":"msg_1","output_index":0,"content_index":0,"delta":"{word}","logprobs":[]"#);
        events.push(event("response.output_text.delta", &rest));
    }
    let place = r#""item_id":"msg_1","output_index":0,"content_index":0"#;
    let done = item("completed", &part(&text));
    events.extend([
        event("response.output_text.done", &format!(r#"{place},"text":"{text}","logprobs":[]"#)),
        event("response.content_part.done", &format!(r#"{place},"part":{}"#, part(&text))),
        event("response.output_item.done", &format!(r#""output_index":0,"item":{done}"#)),
        event("response.completed", &response("completed", &done)),
    ]);
    events
}
