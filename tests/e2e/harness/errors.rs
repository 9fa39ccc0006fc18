//! Errors in the shape that each dialect's SDKs read.

use serde_json::{Value, json};

use super::{
    client::{Answer, End},
    sse::{self, Event},
};
use crate::common::streams::Dialect;

/// What an error says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// Its type. A response that failed has none: there, the code.
    pub(crate) kind: String,
    /// A word for programs, in OpenAI's dialects.
    pub(crate) code: Option<String>,
    pub(crate) message: String,
}

/// The error that an HTTP answer carries. Fails when the answer is not whole JSON in the dialect's shape.
pub(crate) fn in_body(dialect: Dialect, answer: &Answer) -> Told {
    assert_eq!(answer.end, End::Clean);
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/json"), "{} with content type {kind:?}: {}", answer.status, answer.text());
    read(dialect, &answer.json())
}

/// The error that ends a stream. Fails when the stream did not end cleanly, or its last event is not the dialect's error.
pub(crate) fn at_end(dialect: Dialect, answer: &Answer) -> Told {
    assert_eq!(answer.end, End::Clean, "{}", answer.text());
    assert_eq!(answer.status, 200);
    let events = sse::events(&answer.body);
    let last = events.last().unwrap_or_else(|| panic!("the stream has no event: {}", answer.text()));
    assert!(events.iter().all(|event| event.data != "[DONE]"), "a stream that failed says that it is done");
    let name = match dialect {
        Dialect::Anthropic => Some("error"),
        Dialect::OpenaiChat => None,
        Dialect::OpenaiResponses => return failed_response(&events),
    };
    assert_eq!(last.name.as_deref(), name, "the stream ends with {last:?}");
    read(dialect, &last.json())
}

/// A stream of Responses fails with the response that it began with, or with a bare error where it has not begun.
fn failed_response(events: &[Event]) -> Told {
    let [first, .., last] = events else {
        let [only] = events else { panic!("no event") };
        assert_eq!(only.name.as_deref(), Some("error"), "{only:?}");
        assert_eq!(only.json()["type"], "error", "{only:?}");
        return read(Dialect::OpenaiResponses, &only.json());
    };
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event.json()["sequence_number"], number, "{event:?}");
        assert_eq!(event.name.as_deref(), event.json()["type"].as_str());
    }
    assert_eq!(last.name.as_deref(), Some("response.failed"), "the stream ends with {last:?}");
    let (begun, mut failed) = (first.json()["response"].clone(), last.json()["response"].clone());
    let error = failed["error"].take();
    assert_eq!((&failed["status"], &failed["output"]), (&"failed".into(), &json!([])), "{failed}");
    failed["status"] = begun["status"].clone();
    assert_eq!(failed, begun, "another response failed than began");
    let (code, message) = (word(&error, "code"), word(&error, "message"));
    Told { kind: code.clone(), code: Some(code), message }
}

fn read(dialect: Dialect, body: &Value) -> Told {
    let error = &body["error"];
    let code = if dialect == Dialect::Anthropic {
        assert_eq!(body["type"], "error", "{body}");
        None
    } else {
        Some(word(error, "code"))
    };
    Told { kind: word(error, "type"), code, message: word(error, "message") }
}

fn word(error: &Value, name: &str) -> String {
    let word = error[name].as_str().unwrap_or_default();
    assert!(!word.is_empty(), "the error has no {name}: {error}");
    word.to_owned()
}
