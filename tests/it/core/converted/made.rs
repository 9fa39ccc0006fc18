//! One answer in each dialect: a thought, a text and a call, in fragments.

use bytes::Bytes;
use luthien::model::Dialect;

use super::super::support::stream_of;

/// A stream whose text, thinking and arguments come in these fragments, each the content of a JSON string.
pub fn stream(from: Dialect, thinking: &[&str], text: &[&str], arguments: &[&str]) -> Bytes {
    let data = match from {
        Dialect::AnthropicMessages => messages(thinking, text, arguments),
        Dialect::OpenaiChat => chat(thinking, text, arguments),
        Dialect::OpenaiResponses => responses(thinking, text, arguments),
    };
    stream_of(from, &data.iter().map(String::as_str).collect::<Vec<_>>())
}

fn messages(thinking: &[&str], text: &[&str], arguments: &[&str]) -> Vec<String> {
    let mut data = Vec::new();
    let mut push = |event: String| data.push(event);
    push(r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#.to_owned());
    let blocks = [
        (r#"{"type":"thinking","thinking":"","signature":""}"#, "thinking_delta", "thinking", thinking),
        (r#"{"type":"text","text":""}"#, "text_delta", "text", text),
        (r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#, "input_json_delta", "partial_json", arguments),
    ];
    for (index, (block, kind, key, fragments)) in blocks.into_iter().enumerate() {
        push(format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#));
        for fragment in fragments {
            push(format!(
                r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{key}":"{fragment}"}}}}"#
            ));
        }
        push(format!(r#"{{"type":"content_block_stop","index":{index}}}"#));
    }
    push(r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#.to_owned());
    push(r#"{"type":"message_stop"}"#.to_owned());

    data
}

fn chat(thinking: &[&str], text: &[&str], arguments: &[&str]) -> Vec<String> {
    let mut data = Vec::new();
    let mut push = |event: String| data.push(event);
    let chunk = |delta: &str, finish: &str| {
        format!(
            r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#
        )
    };
    push(chunk(r#"{"role":"assistant"}"#, "null"));
    for (key, fragments) in [("reasoning_content", thinking), ("content", text)] {
        for fragment in fragments {
            push(chunk(&format!(r#"{{"{key}":"{fragment}"}}"#), "null"));
        }
    }
    push(chunk(
        r#"{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}}]}"#,
        "null",
    ));
    for fragment in arguments {
        push(chunk(&format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{fragment}"}}}}]}}"#), "null"));
    }
    push(chunk("{}", r#""tool_calls""#));
    push("[DONE]".to_owned());

    data
}

fn responses(thinking: &[&str], text: &[&str], arguments: &[&str]) -> Vec<String> {
    let mut data = Vec::new();
    let mut push = |event: String| data.push(event);
    let response = |status: &str, output: &str| {
        format!(
            r#"{{"id":"resp_1","object":"response","created_at":1,"status":"{status}","error":null,"incomplete_details":null,"model":"m","output":{output},"usage":null}}"#
        )
    };
    push(format!(r#"{{"type":"response.created","sequence_number":0,"response":{}}}"#, response("in_progress", "[]")));
    let [thought, said, called] = [thinking, text, arguments].map(<[&str]>::concat);
    let items = [
        (
            r#""type":"reasoning","id":"rs_1""#,
            format!(r#""summary":[{{"type":"summary_text","text":"{thought}"}}]"#),
            r#""summary":[]"#,
            "response.reasoning_summary_text.delta",
            r#","summary_index":0"#,
            thinking,
        ),
        (
            r#""type":"message","id":"msg_1","role":"assistant""#,
            format!(r#""content":[{{"type":"output_text","text":"{said}","annotations":[]}}]"#),
            r#""content":[]"#,
            "response.output_text.delta",
            r#","content_index":0"#,
            text,
        ),
        (
            r#""type":"function_call","id":"fc_1","call_id":"t","name":"f""#,
            format!(r#""arguments":"{called}""#),
            r#""arguments":"""#,
            "response.function_call_arguments.delta",
            "",
            arguments,
        ),
    ];
    let mut output = Vec::new();
    for (index, (head, whole, empty, kind, part, fragments)) in items.into_iter().enumerate() {
        push(format!(r#"{{"type":"response.output_item.added","output_index":{index},"item":{{{head},{empty}}}}}"#));
        for fragment in fragments {
            push(format!(r#"{{"type":"{kind}","output_index":{index}{part},"delta":"{fragment}"}}"#));
        }
        push(format!(r#"{{"type":"response.output_item.done","output_index":{index},"item":{{{head},{whole}}}}}"#));
        output.push(format!("{{{head},{whole}}}"));
    }
    push(format!(
        r#"{{"type":"response.completed","response":{}}}"#,
        response("completed", &format!("[{}]", output.join(",")))
    ));

    data
}
