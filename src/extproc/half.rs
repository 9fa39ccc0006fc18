//! What may follow what, in each direction.

/// Where one direction of an exchange stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    /// Its headers have not come.
    Headers,
    /// Its body comes.
    Body,
    /// It is complete.
    Done,
}

/// A message about one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// Headers; with them the direction may be complete.
    Headers { end: bool },
    /// A part of the body; with it the direction may be complete.
    Body { end: bool },
    /// Trailers: the direction is complete.
    Trailers,
}

/// Envoy sent what cannot be. Answering it would be answered as "spurious", so the call ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{message:?} in {half:?}")]
pub(super) struct Violation {
    half: Half,
    message: Message,
}

impl Half {
    /// The direction after `message`. The one table for both directions.
    pub(super) fn after(self, message: Message) -> Result<Self, Violation> {
        match (self, message) {
            (Self::Headers, Message::Headers { end: false }) | (Self::Body, Message::Body { end: false }) => Ok(Self::Body),
            (Self::Headers, Message::Headers { end: true })
            | (Self::Body, Message::Body { end: true } | Message::Trailers)
            // Envoy is known to send the end of a request body twice.
            | (Self::Done, Message::Body { .. }) => Ok(Self::Done),
            (half, message) => Err(Violation { half, message }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        let messages = [
            Message::Headers { end: false },
            Message::Headers { end: true },
            Message::Body { end: false },
            Message::Body { end: true },
            Message::Trailers,
        ];
        let table = |half: Half| messages.map(|message| half.after(message).ok());
        let (body, done) = (Some(Half::Body), Some(Half::Done));
        assert_eq!(table(Half::Headers), [body, done, None, None, None]);
        assert_eq!(table(Half::Body), [None, None, body, done, done]);
        assert_eq!(table(Half::Done), [None, None, done, done, None]);
    }
}
