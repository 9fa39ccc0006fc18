//! A recorded answer: its form, its protocol, and how it is cut.

use std::num::NonZeroUsize;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    model::Dialect,
    wire::{Frame, Framer},
};

/// What a provider answered.
pub(super) struct Recording {
    pub(super) bytes: Bytes,
    pub(super) dialect: Dialect,
    pub(super) is_stream: bool,
    /// The model that answered, as far as the recording says it.
    pub(super) model: String,
    frames: Vec<Frame>,
}

impl Recording {
    /// Reads a recording; `dialect` is the one that it is said to be in. `Err`: what it cannot be taken for.
    pub(super) fn of(bytes: Bytes, dialect: Option<Dialect>) -> Result<Self, String> {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii_start();
        let Some(first) = text.first() else { return Err("the recording is empty".to_owned()) };
        let is_stream = !matches!(first, b'{' | b'[');
        let mut frames = Vec::new();
        if is_stream {
            let mut cutter = Framer::new(usize::MAX);
            // Without a limit there is nothing to be too large.
            let _ = cutter.push(&bytes, &mut frames);
            frames.extend(cutter.finish());
            if !frames.iter().any(|frame| frame.data().is_some()) {
                return Err("this is neither an event stream (`data: …`) nor a JSON body".to_owned());
            }
        }
        let said: Vec<Value> = if is_stream {
            frames.iter().filter_map(|frame| serde_json::from_slice(&frame.data()?).ok()).collect()
        } else {
            serde_json::from_slice(&bytes).into_iter().collect()
        };
        let dialect = dialect.map_or_else(|| detected(&said), Ok)?;
        let model = said.iter().find_map(model_of).unwrap_or_default().to_owned();
        Ok(Self { bytes, dialect, is_stream, model, frames })
    }

    /// How many events it has.
    pub(super) fn events(&self) -> usize {
        self.frames.iter().filter(|frame| frame.data().is_some()).count()
    }

    /// The chunks in which it comes.
    pub(super) fn chunks(&self, size: Option<NonZeroUsize>) -> Vec<Bytes> {
        match size {
            Some(size) => self.bytes.chunks(size.get()).map(|chunk| self.bytes.slice_ref(chunk)).collect(),
            None if self.frames.iter().map(|frame| frame.raw().len()).sum::<usize>() == self.bytes.len() => {
                self.frames.iter().map(|frame| frame.raw().clone()).collect()
            }
            None => vec![self.bytes.clone()],
        }
    }
}

fn detected(said: &[Value]) -> Result<Dialect, String> {
    let mut found: Vec<Dialect> = Vec::new();
    for dialect in said.iter().filter_map(said_in) {
        if !found.contains(&dialect) {
            found.push(dialect);
        }
    }
    let names = |dialects: &[Dialect]| dialects.iter().map(|dialect| dialect.name()).collect::<Vec<_>>().join(", ");
    match found.as_slice() {
        [only] => Ok(*only),
        [] => {
            Err(format!("it does not say which protocol it is in; add --dialect with one of {}", names(&Dialect::ALL)))
        }
        several => Err(format!("it speaks more than one protocol ({}); say which with --dialect", names(several))),
    }
}

/// The model that an event or a body names.
fn model_of(value: &Value) -> Option<&str> {
    let holders = [Some(value), value.get("message"), value.get("response")];
    let mut names = holders.into_iter().flatten().filter_map(|holder| holder.get("model")?.as_str());
    names.find(|name| !name.is_empty())
}

/// The only protocol in which this could be said.
fn said_in(value: &Value) -> Option<Dialect> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let (kind, object) = (text("type"), text("object"));
    if object.starts_with("chat.completion") || value.get("choices").is_some_and(Value::is_array) {
        Some(Dialect::OpenaiChat)
    } else if object == "response" || kind.starts_with("response.") {
        Some(Dialect::OpenaiResponses)
    } else if kind == "message" || kind.starts_with("message_") || kind.starts_with("content_block_") {
        Some(Dialect::AnthropicMessages)
    } else {
        None
    }
}
