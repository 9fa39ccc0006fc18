//! Cuts a body into frames.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use super::Frame;

/// Cuts a body into frames at blank lines.
///
/// Every byte of the body ends up in exactly one frame, in order: the frames put together are the body. A frame within
/// one chunk shares the chunk's memory, one that spans chunks is copied once.
#[derive(Debug, Clone)]
pub struct Framer {
    limit: usize,
    pending: BytesMut,
    state: State,
}

/// A frame grew beyond the limit without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one event of the stream is larger than limits.event ({limit} bytes)")]
pub struct TooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

/// Where the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a line: a line end here is a blank line.
    LineStart,
    /// Inside a line that is not empty.
    InLine,
    /// Behind a CR, which an LF may still belong to.
    AfterCr { blank: bool },
}

impl Framer {
    /// A framer for one body. No frame may be larger than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, pending: BytesMut::new(), state: State::LineStart }
    }

    /// Takes a chunk and adds the frames that it completes to `out`.
    pub fn push(&mut self, chunk: &Bytes, out: &mut Vec<Frame>) -> Result<(), TooLarge> {
        let mut start = 0;
        let mut at = 0;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            if let State::AfterCr { blank } = self.state {
                at += usize::from(rest.first() == Some(&b'\n'));
                self.state = State::LineStart;
                if blank {
                    out.push(self.take(chunk.slice(start..at))?);
                    start = at;
                }
                continue;
            }
            let Some(found) = memchr2(b'\n', b'\r', rest) else {
                self.state = State::InLine;
                break;
            };
            let blank = found == 0 && self.state == State::LineStart;
            at += found + 1;
            if rest.get(found) == Some(&b'\r') {
                self.state = State::AfterCr { blank };
                continue;
            }
            self.state = State::LineStart;
            if blank {
                out.push(self.take(chunk.slice(start..at))?);
                start = at;
            }
        }
        self.pending.extend_from_slice(chunk.get(start..).unwrap_or_default());
        self.check(self.pending.len())
    }

    /// Ends the body. What is left becomes a last frame, so that nothing leaves unseen.
    pub fn finish(&mut self) -> Option<Frame> {
        let ended = self.state == State::AfterCr { blank: true };
        let rest = self.pending.split().freeze();
        (!rest.is_empty()).then(|| Frame::new(rest, ended))
    }

    /// Bytes that wait for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn take(&mut self, last: Bytes) -> Result<Frame, TooLarge> {
        let raw = if self.pending.is_empty() {
            last
        } else {
            self.pending.extend_from_slice(&last);
            self.pending.split().freeze()
        };
        self.check(raw.len())?;
        Ok(Frame::new(raw, true))
    }

    fn check(&self, len: usize) -> Result<(), TooLarge> {
        if len > self.limit { Err(TooLarge { limit: self.limit }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(body: &[u8], size: usize) -> Vec<Frame> {
        let mut framer = Framer::new(1 << 20);
        let mut out = Vec::new();
        for chunk in body.chunks(size) {
            framer.push(&Bytes::copy_from_slice(chunk), &mut out).unwrap();
        }
        out.extend(framer.finish());
        out
    }

    #[test]
    fn cuts_at_blank_lines_of_every_kind() {
        let body = b"data: 1\n\ndata: 2\r\n\r\ndata: 3\r\rdata: 4\n\r\ndata: 5\r\n\n: c\n\n\ndata: 6";
        let whole = frames(body, body.len());
        let raws: Vec<_> = whole.iter().map(|frame| &frame.raw()[..]).collect();
        assert_eq!(
            raws,
            [
                &b"data: 1\n\n"[..],
                b"data: 2\r\n\r\n",
                b"data: 3\r\r",
                b"data: 4\n\r\n",
                b"data: 5\r\n\n",
                b": c\n\n",
                b"\n",
                b"data: 6"
            ]
        );
        assert!(!whole.last().unwrap().is_ended());
        for size in 1..body.len() {
            assert_eq!(frames(body, size), whole, "chunks of {size}");
        }
    }

    #[test]
    fn a_frame_in_one_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"data: 1\n\ndata: 2\n\n");
        let mut out = Vec::new();
        Framer::new(100).push(&chunk, &mut out).unwrap();
        assert_eq!(out[1].raw().as_ptr(), chunk[9..].as_ptr());
    }

    #[test]
    fn a_blank_line_of_cr_at_the_end_of_the_body_ends_its_frame() {
        assert!(frames(b"data: 1\r\r", 3)[0].is_ended());
        assert!(!frames(b"data: 1\r", 3)[0].is_ended());
    }

    #[test]
    fn refuses_a_frame_beyond_the_limit() {
        let mut framer = Framer::new(8);
        let mut out = Vec::new();
        assert_eq!(framer.push(&Bytes::from_static(b"data: 123"), &mut out), Err(TooLarge { limit: 8 }));
        assert_eq!(Framer::new(8).push(&Bytes::from_static(b"data: 1\n\n"), &mut out), Err(TooLarge { limit: 8 }));
    }

    proptest::proptest! {
        #[test]
        fn frames_put_together_are_the_body_at_any_chunking(
            body in "[a\\n\\r: ]{0,60}", cuts in proptest::collection::vec(1_usize..7, 0..60),
        ) {
            let whole = frames(body.as_bytes(), body.len().max(1));
            let mut framer = Framer::new(1 << 20);
            let mut out = Vec::new();
            let mut rest = body.as_bytes();
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                framer.push(&Bytes::copy_from_slice(now), &mut out).unwrap();
                rest = later;
            }
            framer.push(&Bytes::copy_from_slice(rest), &mut out).unwrap();
            out.extend(framer.finish());
            proptest::prop_assert_eq!(&out, &whole);
            let joined: Vec<u8> = out.iter().flat_map(|frame| frame.raw().to_vec()).collect();
            proptest::prop_assert_eq!(joined, body.as_bytes());
        }
    }
}
