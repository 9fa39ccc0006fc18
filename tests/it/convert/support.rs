//! One conversion, in short.

use bytes::Bytes;
use luthien::{
    dialect::{ConvertedRequest, Inconvertible, Target, convert_request},
    model::{Dialect, conversation::Lossy},
};
use serde_json::Value;

/// The model that a request goes to, where a test does not care.
pub(crate) fn model(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::AnthropicMessages => "claude-sonnet-4-5",
        Dialect::OpenaiChat => "gpt-4o",
        Dialect::OpenaiResponses => "gpt-5",
    }
}

pub(crate) fn dialect(name: &str) -> Dialect {
    Dialect::ALL.into_iter().find(|dialect| dialect.name() == name).unwrap_or_else(|| panic!("no dialect `{name}`"))
}

pub(crate) fn convert(
    from: Dialect,
    to: Dialect,
    body: &str,
    model: &str,
    lossy: Option<Lossy>,
) -> Result<ConvertedRequest, Inconvertible> {
    convert_request(from, to, &Bytes::copy_from_slice(body.as_bytes()), &Target { model, lossy })
}

/// A conversion that has to go well: the body as text, and what was left out.
pub(crate) fn sent(from: Dialect, to: Dialect, body: &str) -> (String, Vec<String>) {
    sent_to(from, to, body, model(to))
}

pub(crate) fn sent_to(from: Dialect, to: Dialect, body: &str, model: &str) -> (String, Vec<String>) {
    let converted = convert(from, to, body, model, None).unwrap_or_else(|error| panic!("{error}: {body}"));
    (text(&converted.body), converted.dropped)
}

/// The same, read.
pub(crate) fn value(from: Dialect, to: Dialect, body: &Value) -> Value {
    serde_json::from_str(&sent(from, to, &body.to_string()).0).expect("what is sent is JSON")
}

pub(crate) fn text(body: &Bytes) -> String {
    String::from_utf8(body.to_vec()).expect("what is sent is UTF-8")
}
