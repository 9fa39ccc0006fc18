//! What a stream has said of a text, to hold its repetitions against.
//!
//! The text itself is not kept: it may be long, and it is on its way to the client already.

use sha2::{Digest, Sha256};

use crate::json::{Decoder, Text, Value};

use super::items::{Place, is_value};

/// One text, as far as it was said.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    digest: Sha256,
    decoder: Decoder,
    any: bool,
}

impl Said {
    /// More of the text.
    pub(super) fn push(&mut self, text: &Text) {
        if self.decoder.is_open() || text.raw().contains(&b'\\') {
            let mut decoded = String::new();
            self.decoder.push(text, &mut decoded);
            self.digest.update(&decoded);
        } else {
            // What was written without an escape stands for itself.
            self.digest.update(text.raw());
        }
        self.any |= !text.is_empty();
    }

    /// Whether anything was said.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Whether `place` says the same text.
    pub(super) fn agrees(&self, place: &Place<'_>) -> bool {
        let whole = match place.text {
            None => String::new(),
            Some(text) if is_value(text) => text.raw_str().to_owned(),
            Some(text) => text.as_str().unwrap_or_default().into_owned(),
        };
        let (mut digest, mut decoder, mut rest) = (self.digest.clone(), self.decoder.clone(), String::new());
        decoder.finish(&mut rest);
        digest.update(&rest);
        digest.finalize() == Sha256::digest(&whole)
    }
}

/// The text of a place as an event says it.
pub(super) fn text_of(value: Value<'_>, document: &bytes::Bytes) -> Option<Text> {
    let text = if is_value(value) { Text::new(value.raw_str()) } else { value.text_in(document)? };
    (!text.is_empty()).then_some(text)
}
