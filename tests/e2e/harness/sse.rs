//! Reads an event stream that the gateway wrote. It knows LF only: what the tests look at is made that way.

use bytes::Bytes;
use serde_json::Value;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// The `event:` line.
    pub(crate) name: Option<String>,
    /// The `data:` lines, joined.
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("`{}` is not JSON: {error}", self.data))
    }
}

/// The events of a body, without comments. Fails when the body does not end with a whole event.
pub(crate) fn events(body: &Bytes) -> Vec<Event> {
    let text = std::str::from_utf8(body).expect("the stream is UTF-8");
    assert!(text.is_empty() || text.ends_with("\n\n"), "the stream ends inside an event: {text}");
    let values = |event: &str, field: &str| -> Vec<String> {
        event
            .lines()
            .filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .map(|value| value.strip_prefix(' ').unwrap_or(value).to_owned())
            .collect()
    };
    text.split("\n\n")
        .map(|event| Event { name: values(event, "event").pop(), data: values(event, "data").join("\n") })
        .filter(|event| !event.data.is_empty())
        .collect()
}
