//! Errors in the shape that each dialect's SDKs read.

use serde_json::Value;

use super::{
    client::{Answer, End},
    sse,
};
use crate::common::streams::Dialect;

/// What an error says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) kind: String,
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
    let name = (dialect == Dialect::Anthropic).then_some("error");
    assert_eq!(last.name.as_deref(), name, "the stream ends with {last:?}");
    assert!(events.iter().all(|event| event.data != "[DONE]"), "a stream that failed says that it is done");
    read(dialect, &last.json())
}

fn read(dialect: Dialect, body: &Value) -> Told {
    if dialect == Dialect::Anthropic {
        assert_eq!(body["type"], "error", "{body}");
    }
    let word = |name: &str| {
        let word = body["error"][name].as_str().unwrap_or_default();
        assert!(!word.is_empty(), "the error has no {name}: {body}");
        word.to_owned()
    };
    Told { kind: word("type"), message: word("message") }
}
