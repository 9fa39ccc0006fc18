//! What one side of an answer said, for the record.

use bytes::Bytes;
use serde_json::Value;

use super::Assembler;
use crate::{model::Dialect, wire::Framer};

/// What one side of an answer said.
#[derive(Debug)]
pub struct Transcript {
    form: Form,
    /// The bytes, where they are wanted as well.
    raw: Option<Vec<u8>>,
    /// The most that is kept, in bytes.
    limit: usize,
}

#[derive(Debug)]
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
    fn size(&self) -> usize {
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
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}
