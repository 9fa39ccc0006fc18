//! Responses answers made for one purpose, whole or with something wrong in one of the places that say a thing.

mod asked;
mod attacks;
mod edits;
pub mod endings;
mod hiding;
mod overlapping;
mod repeats;
mod silent;
mod wrong;

use bytes::Bytes;
use serde_json::{Value, json};

/// An item with the events that say it. They have neither their number nor the item's place yet.
#[derive(Debug, Clone)]
pub struct Made {
    pub events: Vec<String>,
    /// The item as it is at its end.
    pub item: String,
}

/// Stands for the item's place.
const PLACE: &str = "\"@place\"";

/// How many events stand before those of the first item.
pub const BEFORE: usize = 2;

impl Made {
    /// A message of one text. `deltas` and `text` are escaped already.
    pub fn message(id: &str, deltas: &[&str], text: &str) -> Self {
        Self::parts(id, &[("output_text", deltas, text)])
    }

    /// A message of several parts, each of a type, deltas and text.
    pub fn parts(id: &str, parts: &[(&str, &[&str], &str)]) -> Self {
        let mut events = Vec::new();
        let mut content = Vec::new();
        for (at, (kind, deltas, text)) in parts.iter().enumerate() {
            let (name, key) = if *kind == "refusal" { ("refusal", "refusal") } else { ("output_text", "text") };
            let place = format!(r#""item_id":"{id}","output_index":{PLACE},"content_index":{at}"#);
            let rest = if *kind == "refusal" { "" } else { r#","annotations":[],"logprobs":[]"# };
            let logprobs = if *kind == "refusal" { "" } else { r#","logprobs":[]"# };
            let part = |text: &str| format!(r#"{{"type":"{kind}","{key}":"{text}"{rest}}}"#);
            events.push(format!(r#"{{"type":"response.content_part.added",{place},"part":{}}}"#, part("")));
            events.extend(
                deltas
                    .iter()
                    .map(|delta| format!(r#"{{"type":"response.{name}.delta",{place},"delta":"{delta}"{logprobs}}}"#)),
            );
            events.push(format!(r#"{{"type":"response.{name}.done",{place},"{key}":"{text}"{logprobs}}}"#));
            events.push(format!(r#"{{"type":"response.content_part.done",{place},"part":{}}}"#, part(text)));
            content.push(part(text));
        }
        let item = |status: &str, content: &str| {
            format!(r#"{{"id":"{id}","type":"message","status":"{status}","role":"assistant","content":[{content}]}}"#)
        };
        Self::of(&item("in_progress", ""), events, &item("completed", &content.join(",")))
    }

    /// A call of a function. `deltas` are escaped already.
    pub fn call(id: &str, call: &str, name: &str, deltas: &[&str]) -> Self {
        Self::called("function_call", "function_call_arguments", "arguments", [id, call, name], deltas)
    }

    /// A call with free text.
    pub fn custom(id: &str, call: &str, name: &str, deltas: &[&str]) -> Self {
        Self::called("custom_tool_call", "custom_tool_call_input", "input", [id, call, name], deltas)
    }

    fn called(kind: &str, event: &str, key: &str, [id, call, name]: [&str; 3], deltas: &[&str]) -> Self {
        let place = format!(r#""item_id":"{id}","output_index":{PLACE}"#);
        let text = deltas.concat();
        let mut events: Vec<String> = deltas
            .iter()
            .map(|delta| format!(r#"{{"type":"response.{event}.delta",{place},"delta":"{delta}"}}"#))
            .collect();
        events.push(format!(r#"{{"type":"response.{event}.done",{place},"{key}":"{text}"}}"#));
        let item = |status: &str, text: &str| {
            format!(
                r#"{{"id":"{id}","type":"{kind}","status":"{status}","call_id":"{call}","name":"{name}","{key}":"{text}"}}"#
            )
        };
        Self::of(&item("in_progress", ""), events, &item("completed", &text))
    }

    /// A reasoning with one part of its summary for each of the texts.
    pub fn reasoning(id: &str, texts: &[&str]) -> Self {
        let mut events = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let place = format!(r#""item_id":"{id}","output_index":{PLACE},"summary_index":{at}"#);
            let part = |text: &str| format!(r#"{{"type":"summary_text","text":"{text}"}}"#);
            events.push(format!(r#"{{"type":"response.reasoning_summary_part.added",{place},"part":{}}}"#, part("")));
            events.push(format!(r#"{{"type":"response.reasoning_summary_text.delta",{place},"delta":"{text}"}}"#));
            events.push(format!(r#"{{"type":"response.reasoning_summary_text.done",{place},"text":"{text}"}}"#));
            events.push(format!(r#"{{"type":"response.reasoning_summary_part.done",{place},"part":{}}}"#, part(text)));
        }
        let parts: Vec<String> =
            texts.iter().map(|text| format!(r#"{{"type":"summary_text","text":"{text}"}}"#)).collect();
        let item = |summary: &str| {
            format!(r#"{{"id":"{id}","type":"reasoning","summary":[{summary}],"encrypted_content":"gAAA=="}}"#)
        };
        Self::of(&item(""), events, &item(&parts.join(",")))
    }

    /// An item from what it is at first and in the end.
    pub fn of(added: &str, between: Vec<String>, done: &str) -> Self {
        let event = |what: &str, item: &str| {
            format!(r#"{{"type":"response.output_item.{what}","output_index":{PLACE},"item":{item}}}"#)
        };
        let events = [vec![event("added", added)], between, vec![event("done", done)]].concat();
        Self { events, item: done.to_owned() }
    }

    /// With something else at one place of its events.
    pub fn with(mut self, event: usize, from: &str, to: &str) -> Self {
        assert!(self.events[event].contains(from), "{} has no {from}", self.events[event]);
        self.events[event] = self.events[event].replacen(from, to, 1);
        self
    }
}

/// A lifecycle event.
pub fn lifecycle(word: &str, output: &str) -> String {
    let status = if word == "created" { "in_progress" } else { word };
    let (error, details) = match word {
        "failed" => (r#"{"code":"server_error","message":"The model failed"}"#, "null"),
        "incomplete" => ("null", r#"{"reason":"max_output_tokens"}"#),
        _ => ("null", "null"),
    };
    let usage = if word == "completed" { r#"{"input_tokens":1,"output_tokens":2,"total_tokens":3}"# } else { "null" };
    format!(
        r#"{{"type":"response.{word}","response":{{"id":"resp_1","object":"response","created_at":1,"status":"{status}","error":{error},"incomplete_details":{details},"model":"m","output":[{output}],"usage":{usage},"x":1e3}}}}"#
    )
}

/// The events of an answer with these items, each as its data, which the caller may change before they are numbered.
pub fn events(items: &[Made]) -> Vec<String> {
    let mut out = vec![lifecycle("created", ""), lifecycle("in_progress", "")];
    for (place, item) in items.iter().enumerate() {
        out.extend(placed(item, place));
    }
    let output: Vec<&str> = items.iter().map(|item| item.item.as_str()).collect();
    out.push(lifecycle("completed", &output.join(",")));
    out
}

/// The events of an item at its place.
pub fn placed(item: &Made, place: usize) -> Vec<String> {
    item.events.iter().map(|event| event.replace(PLACE, &place.to_string())).collect()
}

/// A stream of these events.
pub fn numbered(events: &[String]) -> Bytes {
    let mut out = Vec::new();
    for (number, data) in events.iter().enumerate() {
        let kind = data.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next()).expect("a type first");
        let head = format!("{{\"type\":\"{kind}\"");
        let data = data.replacen(&head, &format!("{head},\"sequence_number\":{number}"), 1);
        luthien::wire::write_event(Some(kind), data.as_bytes(), &mut out);
    }
    out.into()
}

/// A stream of an answer with these items.
pub fn stream(items: &[Made]) -> Bytes {
    numbered(&events(items))
}

/// An answer with these items that is not streamed.
pub fn body(items: &[&str]) -> Bytes {
    let event = lifecycle("completed", &items.join(","));
    let response =
        event.strip_prefix(r#"{"type":"response.completed","response":"#).and_then(|rest| rest.strip_suffix('}'));
    Bytes::from(response.expect("the form of a lifecycle event").to_owned())
}

/// The data of every event of a stream.
pub fn data(body: &[u8]) -> Vec<Value> {
    let events = super::reader::sse::events(body);
    events.iter().map(|event| super::reader::sse::json(&event.data).unwrap_or_else(|| json!(event.data))).collect()
}

/// The terminal output of a stream.
pub fn output(body: &[u8]) -> Vec<Value> {
    data(body).last().and_then(|last| last["response"]["output"].as_array().cloned()).unwrap_or_default()
}

#[test]
fn what_is_made_is_legal_and_reads_as_it_should() {
    use super::{reader, validator};
    let items = [
        Made::reasoning("rs_1", &["one", "two"]),
        Made::message("msg_1", &["a", "b"], "ab"),
        Made::parts("msg_2", &[("output_text", &["c"], "c"), ("refusal", &["no"], "no")]),
        Made::call("fc_1", "call_1", "ls", &["{\\\"a\\\":", "1}"]),
        Made::custom("ctc_1", "call_2", "patch", &["*** ", "Begin"]),
    ];
    let stream = stream(&items);
    let dialect = luthien::model::Dialect::OpenaiResponses;
    validator::assert_legal(dialect, &stream, "made");
    let read = reader::stream(dialect, &stream);
    let texts: Vec<String> = read.texts().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["onetwo", "ab", "cno", "{\"a\":1}", "*** Begin"]);
    assert!(read.is_whole());
    let items: Vec<&str> = items.iter().map(|item| item.item.as_str()).collect();
    let whole = reader::body(dialect, &body(&items));
    assert_eq!(whole.texts(), read.texts());
    assert_eq!(whole.normal(dialect), read.normal(dialect));
}
