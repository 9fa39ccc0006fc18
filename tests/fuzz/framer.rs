//! Cutting a body into frames.

use bytes::Bytes;
use luthien::wire::{Frame, Framer};

use super::input::Input;
use crate::core::{random::lot, reader::sse};

const LIMIT: usize = 1 << 20;

/// The first byte chooses the chunks, the rest is a body.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let cut = input.byte();
    let body = input.bytes();
    let whole = frames(&body, |_| usize::MAX);
    assert_eq!(frames(&body, |_| 1), whole, "byte by byte");
    let by_lot = frames(&body, |at| 1 + usize::try_from(lot((cut, at)) % 9).unwrap_or_default());
    assert_eq!(by_lot, whole, "chunks by lot");

    let together: Vec<u8> = whole.iter().flat_map(|frame| frame.raw().to_vec()).collect();
    assert_eq!(together, body, "the frames are the body");
    let (last, before) = whole.split_last().map_or((None, &[][..]), |(last, before)| (Some(last), before));
    assert!(before.iter().all(Frame::is_ended), "only the last frame may be without its end");
    assert!(last.is_none_or(|last| !last.raw().is_empty()), "a frame of nothing");

    // What a plain reader makes of it. Readers differ where a line begins with a byte order mark.
    if whole.iter().enumerate().any(|(number, frame)| frame.has_stray_mark(number == 0)) {
        return;
    }
    let mut reader = sse::Reader::default();
    let mut events = reader.push(&body);
    // An LF could still have belonged to a last CR.
    events.extend(if body.ends_with(b"\r") { reader.push(b"\n") } else { Vec::new() });
    let read: Vec<(Option<String>, String)> = events.into_iter().map(|event| (event.name, event.data)).collect();
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let framed: Vec<(Option<String>, String)> = whole
        .iter()
        .filter(|frame| frame.is_ended())
        .filter_map(|frame| Some((frame.event().map(lossy), lossy(&frame.data()?))))
        .collect();
    assert_eq!(framed, read, "another reader");
}

fn frames(body: &Bytes, mut length: impl FnMut(usize) -> usize) -> Vec<Frame> {
    let mut framer = Framer::new(LIMIT);
    let mut out = Vec::new();
    let mut rest = body.clone();
    while !rest.is_empty() {
        let chunk = rest.split_to(length(rest.len()).min(rest.len()));
        if framer.push(&chunk, &mut out).is_err() {
            return Vec::new();
        }
        assert!(framer.pending() <= LIMIT);
    }
    out.extend(framer.finish());
    out
}
