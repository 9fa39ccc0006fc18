//! Requests: what policies see of them, and what is patched.

use std::collections::HashSet;

use bytes::Bytes;
use luthien::{
    dialect::{self, patch_request, request},
    model::{Dialect, Place, Request},
};
use serde_json::Value;

use super::input::Input;
use crate::core::random::lot;

/// Two bytes choose the dialect and what is edited, the rest is the body.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let dialect = input.pick(&Dialect::ALL);
    let seed = input.byte();
    let body = input.bytes();
    if let Ok(value) = serde_json::from_slice::<Value>(&body) {
        let _ = dialect::tell_request(&value);
    }
    let Ok((view, read)) = request(dialect, &body) else { return };
    assert_eq!(patch_request(&body, &read), body, "changed, though nobody changed anything");
    let _ = dialect::estimate(&read);
    let unstored: Result<Value, _> = serde_json::from_slice(&dialect::unstored(&body));
    // A half of a surrogate pair is JSON to us, and no text to the plain reader.
    let Ok(plain) = serde_json::from_slice::<Value>(&body) else { return };
    assert!(plain.is_object(), "a request that is no object");
    assert_eq!(view.model, plain["model"].as_str().unwrap_or_default());
    assert_eq!(view.model, read.model());
    assert_eq!(view.stream, plain["stream"] == true);
    assert_eq!(unstored.expect("JSON")["store"], false);
    sees_everything(dialect, &plain, &read);
    for text in read.texts() {
        let (Place::String(span) | Place::Value(span)) = text.place();
        assert!(span.start <= span.end && body.get(span.start..span.end).is_some(), "a place outside the body");
    }
    edits(dialect, &body, read, seed);
}

/// Every text that stands at one of the known places is among those that policies see.
fn sees_everything(dialect: Dialect, plain: &Value, read: &Request) {
    let seen: HashSet<_> = read.texts().iter().map(luthien::model::RequestText::get).collect();
    let mut said = Vec::new();
    match dialect {
        Dialect::AnthropicMessages => {
            texts(&plain["system"], &["text"], &mut said);
            for message in list(&plain["messages"]) {
                texts(&message["content"], &["text"], &mut said);
                for block in list(&message["content"]).filter(|block| block["type"] == "tool_result") {
                    texts(&block["content"], &["text"], &mut said);
                }
            }
        }
        Dialect::OpenaiChat => {
            list(&plain["messages"]).for_each(|message| texts(&message["content"], &["text", "refusal"], &mut said));
        }
        Dialect::OpenaiResponses => {
            texts(&plain["instructions"], &[], &mut said);
            texts(&plain["input"], &[], &mut said);
            for item in list(&plain["input"]) {
                if item["role"].is_string() && (item["type"].is_null() || item["type"] == "message") {
                    texts(&item["content"], &["input_text", "output_text", "refusal"], &mut said);
                }
                if item["type"] == "function_call_output" {
                    texts(&item["output"], &["input_text"], &mut said);
                }
            }
        }
    }
    for text in said {
        assert!(seen.contains(text), "policies do not see {text:?}");
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text, or the texts of parts of these types.
fn texts<'a>(value: &'a Value, types: &[&str], out: &mut Vec<&'a str>) {
    out.extend(value.as_str().filter(|text| !text.is_empty()));
    for part in list(value).filter(|part| types.iter().any(|of| part["type"] == **of)) {
        let key = if part["type"] == "refusal" { "refusal" } else { "text" };
        out.extend(part[key].as_str().filter(|text| !text.is_empty()));
    }
}

/// Edits of some texts are read again, and all others stay.
fn edits(dialect: Dialect, body: &Bytes, mut read: Request, seed: u8) {
    if seed.is_multiple_of(3) {
        read.set_model("another \"model\"");
    }
    for (at, text) in read.texts_mut().iter_mut().enumerate() {
        if lot((seed, at)).is_multiple_of(2) {
            match text.place() {
                Place::String(_) => text.set(format!("edited {at} \"\\\n\u{2028}é😀")),
                Place::Value(_) => text.set(format!("{{\"edited\":{at}}}")),
            }
        }
    }
    let patched = patch_request(body, &read);
    let again = request(dialect, &patched);
    let (view, again) = again.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&patched)));
    // A body that says no model cannot be made to say one.
    if serde_json::from_slice::<Value>(body).is_ok_and(|plain| plain["model"].is_string()) {
        assert_eq!(view.model, read.model());
    }
    let said = |request: &Request| request.texts().iter().map(|text| text.get().into_owned()).collect::<Vec<_>>();
    assert_eq!(said(&again), said(&read), "other texts than were written: {}", String::from_utf8_lossy(&patched));
}
