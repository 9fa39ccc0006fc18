//! Characters and numbers survive in the form that they came in.

use bytes::Bytes;
use luthien::model::Dialect;
use serde_json::{Value, json};

use super::{
    super::{reader::sse, support::stream_of, validator},
    made::stream,
    nobody, others, pairs, run, run_body, said,
};

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
