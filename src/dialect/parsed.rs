//! A frame, read as far as that is the same in every dialect.

use bytes::Bytes;

use crate::{
    json::{Malformed, Value},
    wire::Said,
};

/// A frame whose data was read as JSON, once for all who look at it.
pub struct Parsed<'a> {
    /// What its `event:` line says.
    pub event: Option<&'a [u8]>,
    /// Its data, and the value that it is. `None`: it has none, and no reader dispatches it.
    pub data: Option<(&'a Bytes, Result<Value<'a>, Malformed>)>,
}

impl<'a> Parsed<'a> {
    /// What was said, read.
    pub fn of(said: &'a Said<'a>) -> Self {
        Self { event: said.event, data: said.data.as_ref().map(|data| (data, Value::parse(data))) }
    }

    /// Whether its name says that it is an error.
    pub fn is_named_error(&self) -> bool {
        self.event == Some(b"error")
    }

    /// The value, if it is JSON.
    pub fn value(&self) -> Option<Value<'a>> {
        self.data.as_ref().and_then(|(_, value)| value.as_ref().ok().copied())
    }
}
