//! What one side of an answer said, for the record.

use bytes::Bytes;
use serde_json::Value;

use super::Assembler;
use crate::{
    json::{self, Kind},
    model::Dialect,
    wire::Framer,
};

/// Values are read so deep; what stands deeper is text.
const DEEPEST: usize = 100;

/// What one side of an answer said.
#[derive(Debug, Clone)]
pub struct Transcript {
    form: Form,
    /// The bytes, where they are wanted as well.
    raw: Option<Vec<u8>>,
    /// The most that is kept, in bytes.
    limit: usize,
}

#[derive(Debug, Clone)]
enum Form {
    Stream(Framer, Box<Assembler>),
    Body(Vec<u8>),
    /// It would take more than it may.
    TooLong,
}

/// What stands for an answer that is too long.
const TOO_LONG: &str = "[not recorded: longer than `limits.response_body`]";

impl Transcript {
    /// A stream of this dialect; with the bytes, if `raw`. No more than `limit` bytes are kept.
    pub fn stream(dialect: Dialect, limit: usize, raw: bool) -> Self {
        let form = Form::Stream(Framer::new(limit), Box::new(Assembler::new(dialect)));
        Self { form, raw: raw.then(Vec::new), limit }
    }

    /// One body; with the bytes, if `raw`. No more than `limit` bytes are kept.
    pub fn body(limit: usize, raw: bool) -> Self {
        Self { form: Form::Body(Vec::new()), raw: raw.then(Vec::new), limit }
    }

    /// Takes what was said next.
    pub fn push(&mut self, bytes: &Bytes) {
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(bytes);
        }
        match &mut self.form {
            Form::Stream(framer, assembler) => {
                let mut whole = Vec::new();
                // What is too long for the answer was not said either.
                let _ = framer.push(bytes, &mut whole);
                for frame in &whole {
                    assembler.take(frame);
                }
            }
            Form::Body(body) => body.extend_from_slice(bytes),
            Form::TooLong => {}
        }
        if self.size() > self.limit {
            *self = Self { form: Form::TooLong, raw: None, limit: self.limit };
        }
    }

    /// Roughly how many bytes it keeps.
    pub fn size(&self) -> usize {
        let kept = match &self.form {
            Form::Stream(framer, assembler) => framer.pending() + assembler.size(),
            Form::Body(body) => body.len(),
            Form::TooLong => 0,
        };
        kept + self.raw.as_ref().map_or(0, Vec::len)
    }

    /// What was said, and its bytes. What is no JSON is text.
    pub fn finish(self) -> (Option<Value>, Option<Vec<u8>>) {
        let said = match self.form {
            Form::Stream(mut framer, mut assembler) => {
                framer.finish().iter().for_each(|frame| assembler.take(frame));
                assembler.finish()
            }
            Form::TooLong => Some(Value::String(TOO_LONG.to_owned())),
            Form::Body(body) if body.is_empty() => None,
            Form::Body(body) => Some(json(&body)),
        };
        (said, self.raw)
    }
}

/// The JSON of a body. What is none is text.
pub fn json(body: &[u8]) -> Value {
    let text = || Value::String(String::from_utf8_lossy(body).into_owned());
    let lenient = || json::Value::parse(body).map_or_else(|_| text(), |value| read(value, DEEPEST));
    serde_json::from_slice(body).unwrap_or_else(|_| lenient())
}

/// A value that `serde_json` does not take, with halves of surrogate pairs, numbers beyond every range, or too deep: as near
/// to it as can be, the rest as text.
fn read(value: json::Value<'_>, depth: usize) -> Value {
    match value.kind() {
        Kind::Object if depth > 0 => {
            let members = value.members().map(|member| (member.key.into_owned(), read(member.value, depth - 1)));
            Value::Object(members.collect())
        }
        Kind::Array if depth > 0 => value.items().map(|item| read(item, depth - 1)).collect(),
        Kind::String => Value::String(value.as_str().unwrap_or_default().into_owned()),
        Kind::Object | Kind::Array | Kind::Number | Kind::Bool | Kind::Null => {
            let raw = value.raw();
            let text = || Value::String(String::from_utf8_lossy(raw).into_owned());
            serde_json::from_slice(raw).unwrap_or_else(|_| text())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::json as read;

    #[test]
    fn what_serde_does_not_take_is_read_as_near_as_can_be() {
        assert_eq!(read(br#"{"a":[1,"x"]}"#), json!({ "a": [1, "x"] }));
        assert_eq!(
            read(br#"{"a":["\ud83d!","\u0073k-"],"f":1e400,"b":true}"#),
            json!({ "a": ["\u{fffd}!", "sk-"], "f": "1e400", "b": true })
        );
        assert_eq!(read(b"no JSON"), json!("no JSON"));
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        assert!(read(deep.as_bytes()).is_array());
    }
}
