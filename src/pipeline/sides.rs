//! What the provider said and what the client was told, for the record.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::dialect::Transcript;

/// Both sides of an answer. As long as every byte leaves as it came they are one transcript; they part where something else
/// leaves.
pub(super) struct Sides {
    /// What the client was told, and what the provider said as far as that is the same.
    told: Transcript,
    /// What the provider has said beyond that.
    ahead: VecDeque<Bytes>,
    /// What the provider said, once they have parted.
    said: Option<Transcript>,
}

impl Sides {
    /// Sides that are the same so far.
    pub(super) fn same(both: Transcript) -> Self {
        Self { told: both, ahead: VecDeque::new(), said: None }
    }

    /// Sides that speak different dialects.
    pub(super) fn different(said: Transcript, told: Transcript) -> Self {
        Self { told, ahead: VecDeque::new(), said: Some(said) }
    }

    /// The provider said this.
    pub(super) fn said(&mut self, bytes: &Bytes) {
        match &mut self.said {
            Some(said) => said.push(bytes),
            None => self.ahead.push_back(bytes.clone()),
        }
    }

    /// The client was told this.
    pub(super) fn told(&mut self, bytes: &Bytes) {
        if self.said.is_none() {
            if self.is_next(bytes) {
                self.advance(bytes.len());
            } else {
                self.part();
            }
        }
        self.told.push(bytes);
    }

    /// What the provider said, and what the client was told unless that is the same.
    pub(super) fn finish(mut self) -> (Transcript, Option<Transcript>) {
        if !self.ahead.is_empty() {
            self.part();
        }
        match self.said {
            Some(said) => (said, Some(self.told)),
            None => (self.told, None),
        }
    }

    fn is_next(&self, mut bytes: &[u8]) -> bool {
        for chunk in &self.ahead {
            let (len, next) = (chunk.len().min(bytes.len()), bytes);
            if next.get(..len) != chunk.get(..len) {
                return false;
            }
            bytes = next.get(len..).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
        }
        bytes.is_empty()
    }

    fn advance(&mut self, mut len: usize) {
        while let Some(front) = self.ahead.front_mut() {
            let part = front.len().min(len);
            front.advance(part);
            len -= part;
            if !front.is_empty() {
                return;
            }
            self.ahead.pop_front();
        }
    }

    fn part(&mut self) {
        let mut said = self.told.clone();
        for chunk in self.ahead.drain(..) {
            said.push(&chunk);
        }
        self.said = Some(said);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Dialect;

    const LIMIT: usize = 1 << 20;

    fn raw(transcript: Transcript) -> String {
        String::from_utf8(transcript.finish().1.unwrap()).unwrap()
    }

    fn both() -> Transcript {
        Transcript::stream(Dialect::OpenaiChat, LIMIT, true)
    }

    #[test]
    fn what_passes_is_written_down_once() {
        let mut sides = Sides::same(both());
        let chunk = Bytes::from_static(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n");
        sides.said(&chunk);
        sides.said(&chunk);
        sides.told(&chunk.slice(..9));
        sides.told(&[&chunk[9..], &chunk[..]].concat().into());
        let (said, told) = sides.finish();
        assert!(told.is_none());
        assert_eq!(said.finish().0.unwrap()["choices"][0]["message"]["content"], "aa");
    }

    #[test]
    fn what_never_left_was_said_all_the_same() {
        let mut sides = Sides::same(both());
        sides.said(&Bytes::from_static(b"ab"));
        sides.told(&Bytes::from_static(b"a"));
        let (said, told) = sides.finish();
        assert_eq!((raw(said).as_str(), raw(told.unwrap()).as_str()), ("ab", "a"));
    }

    proptest! {
        #[test]
        fn each_side_has_its_own_words(steps in prop::collection::vec((any::<bool>(), "[ab]{0,3}"), 0..12)) {
            let (mut sides, mut said, mut told) = (Sides::same(both()), String::new(), String::new());
            for (is_said, text) in steps {
                let bytes = Bytes::from(text.clone());
                if is_said {
                    said.push_str(&text);
                    sides.said(&bytes);
                } else {
                    told.push_str(&text);
                    sides.told(&bytes);
                }
            }
            let (original, delivered) = sides.finish();
            let delivered = delivered.map_or_else(|| raw(original.clone()), raw);
            prop_assert_eq!((raw(original), delivered), (said, told));
        }
    }
}
