//! An answer that is no stream, put together from its events.

use crate::{
    dialect::{self, Built, Recipient, Whole},
    json::{Decoder, Text},
    model::{Block, BlockKind, Dialect, Event, Extra},
};

/// An answer as far as it has come.
pub(super) struct Building {
    dialect: Dialect,
    recipient: Recipient,
    whole: Whole,
    decoder: Decoder,
    /// The provider's answer does not say in which order its blocks came.
    is_unordered: bool,
}

impl Building {
    pub(super) fn new(from: Dialect, to: Dialect, recipient: Recipient) -> Self {
        let is_unordered = from == Dialect::OpenaiChat;
        Self { dialect: to, recipient, whole: Whole::default(), decoder: Decoder::default(), is_unordered }
    }

    /// Whether what has come can be said in the client's dialect.
    pub(super) fn can_be_said(&self) -> bool {
        dialect::can_be_whole(self.dialect, &self.whole)
    }

    /// Takes an event; with the last one the answer is written.
    pub(super) fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.whole.start = (**start).clone(),
            Event::Open(_, head) => {
                let block = Block { kind: head.kind.clone(), choice: 0, text: String::new(), complete: true };
                self.whole.blocks.push(Built::new(block));
                self.decoder = Decoder::default();
            }
            Event::Delta(_, text) => self.say(text),
            Event::Extra(_, extra) => self.note(extra),
            Event::Close(_) => {
                if let Some(built) = self.whole.blocks.last_mut() {
                    self.decoder.finish(&mut built.block.text);
                }
            }
            Event::Stop(stop) => {
                self.whole.reason.clone_from(&stop.reason);
                self.whole.usage = stop.usage;
            }
            Event::End => {
                // A message of Chat Completions has no order: what the model thought came first.
                self.whole.blocks.sort_by_key(|built| self.is_unordered && built.block.kind != BlockKind::Thinking);
                out.extend(dialect::whole(self.dialect, &self.recipient, &self.whole));
            }
            Event::Error(error) => out.extend(dialect::error_body(self.dialect, error, &self.recipient.call)),
            Event::Name(..) | Event::Usage(_) | Event::Ping | Event::Opaque | Event::Eof => {}
        }
    }

    fn note(&mut self, extra: &Extra) {
        let Some(built) = self.whole.blocks.last_mut() else { return };
        match extra {
            Extra::Break if built.block.kind == BlockKind::Thinking => self.say(&Text::new("\n\n")),
            Extra::Signature(sealed) => built.sealed = Some(sealed.decode().into_owned()),
            Extra::Namespace(namespace) => built.namespace = Some(namespace.clone()),
            Extra::Break
            | Extra::Refuses
            | Extra::Citation
            | Extra::Echo
            | Extra::Repeat
            | Extra::FreeText
            | Extra::Other => {}
        }
    }

    fn say(&mut self, text: &Text) {
        if let Some(built) = self.whole.blocks.last_mut() {
            self.decoder.push(text, &mut built.block.text);
        }
    }
}
