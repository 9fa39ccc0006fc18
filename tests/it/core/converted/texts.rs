//! Characters and numbers survive in the form that they came in.

use bytes::Bytes;
use luthien::model::Dialect;
use serde_json::{Value, json};

use super::{
    super::{reader::sse, support::stream_of, validator},
    nobody, others, pairs, run, run_body, said,
};

/// A stream whose text, thinking and arguments come in these fragments, each the content of a JSON string.
pub fn stream(from: Dialect, thinking: &[&str], text: &[&str], arguments: &[&str]) -> Bytes {
    let mut data: Vec<String> = Vec::new();
    let mut push = |event: String| data.push(event);
    match from {
        Dialect::AnthropicMessages => {
            push(r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#.to_owned());
            let blocks = [
                (r#"{"type":"thinking","thinking":"","signature":""}"#, "thinking_delta", "thinking", thinking),
                (r#"{"type":"text","text":""}"#, "text_delta", "text", text),
                (
                    r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#,
                    "input_json_delta",
                    "partial_json",
                    arguments,
                ),
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
            push(
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#.to_owned(),
            );
            push(r#"{"type":"message_stop"}"#.to_owned());
        }
        Dialect::OpenaiChat => {
            let chunk = |delta: &str, finish: &str| {
                format!(
                    r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#
                )
            };
            push(chunk(r#"{"role":"assistant"}"#, "null"));
            for (key, fragments) in [("reasoning_content", thinking), ("content", text)] {
                fragments.iter().for_each(|fragment| push(chunk(&format!(r#"{{"{key}":"{fragment}"}}"#), "null")));
            }
            push(chunk(
                r#"{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}}]}"#,
                "null",
            ));
            for fragment in arguments {
                push(chunk(
                    &format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{fragment}"}}}}]}}"#),
                    "null",
                ));
            }
            push(chunk("{}", r#""tool_calls""#));
            push("[DONE]".to_owned());
        }
        Dialect::OpenaiResponses => {
            let response = |status: &str, output: &str| {
                format!(
                    r#"{{"id":"resp_1","object":"response","created_at":1,"status":"{status}","error":null,"incomplete_details":null,"model":"m","output":{output},"usage":null}}"#
                )
            };
            push(format!(
                r#"{{"type":"response.created","sequence_number":0,"response":{}}}"#,
                response("in_progress", "[]")
            ));
            let [thought, said, called] = [thinking, text, arguments].map(|fragments| fragments.concat());
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
                push(format!(
                    r#"{{"type":"response.output_item.added","output_index":{index},"item":{{{head},{empty}}}}}"#
                ));
                for fragment in fragments {
                    push(format!(r#"{{"type":"{kind}","output_index":{index}{part},"delta":"{fragment}"}}"#));
                }
                push(format!(
                    r#"{{"type":"response.output_item.done","output_index":{index},"item":{{{head},{whole}}}}}"#
                ));
                output.push(format!("{{{head},{whole}}}"));
            }
            push(format!(
                r#"{{"type":"response.completed","response":{}}}"#,
                response("completed", &format!("[{}]", output.join(",")))
            ));
        }
    }
    stream_of(from, &data.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn halves_of_a_character_are_joined() {
    for (from, to) in pairs() {
        for fragments in
            [[r"a\ud83d", r"\ude00b"], [r"\ud83d", r"\ude00\ud83d\ude00"], [r"\uD83D\ude00\uD83D", r"\uDE00"]]
        {
            let arguments = [r#"{\"a\":\""#, fragments[0], fragments[1], r#"\"}"#];
            let body = stream(from, &fragments, &fragments, &arguments);
            for size in [1, usize::MAX] {
                let out = run(from, to, &nobody(), &body, size).out.concat();
                let what = format!("{from:?} for {to:?}: {}", String::from_utf8_lossy(&out));
                validator::assert_legal(to, &out, &what);
                // What decodes one event at a time finds no half: this reader takes none.
                for event in sse::events(&out).iter().filter(|event| event.data != "[DONE]") {
                    serde_json::from_str::<Value>(&event.data).unwrap_or_else(|error| panic!("{error}: {what}"));
                }
                let said = said::stream(to, &out);
                let whole = said.text();
                assert!(whole.contains('😀') && !whole.contains('\u{fffd}'), "{what}");
                assert_eq!(
                    (said.thinking().concat(), said.calls()[0].2),
                    (whole.clone(), &*format!(r#"{{"a":"{whole}"}}"#)),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn a_half_that_stays_alone_is_said_as_it_is() {
    for (from, to) in pairs() {
        let body = stream(from, &["a"], &[r"a\ud83d", "b", r"\ud83d"], &["{}"]);
        let out = run(from, to, &nobody(), &body, 7).out.concat();
        assert_eq!(said::stream(to, &out).text(), "a\u{fffd}b\u{fffd}", "{from:?} for {to:?}");
        validator::assert_legal(to, &out, "a lone half");
    }
}

/// Arguments that a parser that knows only doubles, or sorts keys, would change.
const ARGUMENTS: &str = r#"{"z":1e3,"n":9007199254740993,"b":123456789012345678901234567890,"f":1.0,"a":-0.0,"s":"\u0041\ud83d \\ \/","k":[{}]}"#;

#[test]
fn arguments_keep_their_text() {
    for (from, to) in pairs() {
        let escaped = json!(ARGUMENTS).to_string();
        let escaped = &escaped[1..escaped.len() - 1];
        let (one, two) = escaped.split_at(escaped.find("9007").unwrap() + 3);
        let out = run(from, to, &nobody(), &stream(from, &["a"], &["b"], &[one, two]), 7).out.concat();
        assert_eq!(said::stream(to, &out).calls()[0].2, ARGUMENTS, "{from:?} for {to:?}");
        validator::assert_legal(to, &out, "arguments");
    }
}

#[test]
fn arguments_keep_their_text_in_bodies() {
    let string = json!(ARGUMENTS);
    for from in Dialect::ALL {
        let body = match from {
            Dialect::AnthropicMessages => format!(
                r#"{{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{{"type":"tool_use","id":"t","name":"f","input":{ARGUMENTS}}}],"stop_reason":"tool_use","usage":{{}}}}"#
            ),
            Dialect::OpenaiChat => format!(
                r#"{{"id":"c","choices":[{{"index":0,"message":{{"role":"assistant","content":null,"tool_calls":[{{"id":"t","type":"function","function":{{"name":"f","arguments":{string}}}}}]}},"finish_reason":"tool_calls"}}]}}"#
            ),
            Dialect::OpenaiResponses => format!(
                r#"{{"id":"resp_1","status":"completed","output":[{{"type":"function_call","id":"fc","call_id":"t","name":"f","arguments":{string}}}]}}"#
            ),
        };
        for to in others(from) {
            let out = run_body(from, to, &nobody(), &Bytes::from(body.clone()));
            let wanted = if to == Dialect::AnthropicMessages { ARGUMENTS.to_owned() } else { string.to_string() };
            let out = String::from_utf8(out.to_vec()).unwrap();
            assert!(out.contains(&wanted), "{from:?} for {to:?}: {out}");
        }
    }
}

#[test]
fn arguments_that_are_no_object_are_never_an_empty_one() {
    let (broken, cut) = (r#"{\"a\": tru"#, r#"{\"a\":"#);
    for (arguments, reason, end) in
        [(broken, "tool_calls", None), (r"[1]", "tool_calls", None), (cut, "length", Some(said::End::Cut))]
    {
        let body = format!(
            r#"{{"id":"c","choices":[{{"index":0,"message":{{"role":"assistant","content":null,"tool_calls":[{{"id":"t","type":"function","function":{{"name":"f","arguments":"{arguments}"}}}}]}},"finish_reason":"{reason}"}}]}}"#
        );
        let out = run_body(Dialect::OpenaiChat, Dialect::AnthropicMessages, &nobody(), &Bytes::from(body));
        let found = (!out.is_empty()).then(|| said::body(Dialect::AnthropicMessages, &out).end);
        assert_eq!(found, end, "{arguments}: {}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn paragraphs_of_thinking_are_kept_apart() {
    let item = |summary: &str| {
        format!(
            r#"{{"id":"resp_1","status":"completed","model":"m","output":[{{"type":"reasoning","id":"rs_1","summary":{summary}}},{{"type":"reasoning","id":"rs_2","summary":[{{"type":"summary_text","text":"three"}}]}}]}}"#
        )
    };
    let body = Bytes::from(item(r#"[{"type":"summary_text","text":"one"},{"type":"summary_text","text":"two"}]"#));
    let out = run_body(Dialect::OpenaiResponses, Dialect::AnthropicMessages, &nobody(), &body);
    assert_eq!(said::body(Dialect::AnthropicMessages, &out).thinking(), ["one\n\ntwo", "three"]);
    let out = run_body(Dialect::OpenaiResponses, Dialect::OpenaiChat, &nobody(), &body);
    assert_eq!(said::body(Dialect::OpenaiChat, &out).thinking(), ["one\n\ntwo\n\nthree"]);
    let data = [
        format!(r#"{{"type":"response.created","response":{}}}"#, item("[]")),
        format!(r#"{{"type":"response.completed","response":{}}}"#, String::from_utf8_lossy(&body)),
    ];
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let body = stream_of(Dialect::OpenaiResponses, &data);
    let said = |to| said::stream(to, &run(Dialect::OpenaiResponses, to, &nobody(), &body, 7).out.concat());
    assert_eq!(said(Dialect::AnthropicMessages).thinking(), ["one\n\ntwo", "three"]);
    assert_eq!(said(Dialect::OpenaiChat).thinking(), ["one\n\ntwo\n\nthree"]);
}
