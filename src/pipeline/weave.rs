//! Events become frames again.
//!
//! A frame whose events all come back untouched, and whose numbering is still right, leaves as the bytes that it came in.
//! Everything else is patched or written by the dialect's encoder. A frame leaves when its last event is decided.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::{
    dialect::{self, Encoder, WireError},
    journal::Fact,
    model::{Body, Dialect, Event, Piece, Slot},
    wire::Frame,
};

use super::convert::Converter;

/// Weaves frames from events.
pub(super) struct Weaver {
    form: Form,
    frames: VecDeque<InFlight>,
    /// What a frame that has left used for its pieces, for the next one.
    spare: Vec<Piece>,
    next: u64,
    held: usize,
    /// The end of a stream has left.
    ended: bool,
    out: Output,
}

/// How answers are written.
enum Form {
    Stream(Box<dyn Encoder>),
    /// A whole body, with Luthien's id of the call.
    Body(Dialect, Arc<str>),
    /// In another dialect than the provider's.
    Converted(Box<Converter>),
}

/// A frame some of whose events are still on their way.
struct InFlight {
    frame: Frame,
    pieces: Vec<Piece>,
    missing: usize,
}

/// Bytes for the client.
#[derive(Default)]
pub(super) struct Output {
    chunks: Vec<Bytes>,
    /// What the last frame lacks before another may follow.
    missing_end: &'static [u8],
    /// Bytes of our own making, which the provider's flow control does not bound.
    synthetic: usize,
}

impl Weaver {
    pub(super) fn stream(encoder: Box<dyn Encoder>) -> Self {
        Self::new(Form::Stream(encoder))
    }

    pub(super) fn body(dialect: Dialect, call: Arc<str>) -> Self {
        Self::new(Form::Body(dialect, call))
    }

    pub(super) fn converted(converter: Converter) -> Self {
        Self::new(Form::Converted(Box::new(converter)))
    }

    fn new(form: Form) -> Self {
        Self {
            form,
            frames: VecDeque::new(),
            spare: Vec::new(),
            next: 0,
            held: 0,
            ended: false,
            out: Output::default(),
        }
    }

    /// Takes note of a frame and returns its events as pieces.
    pub(super) fn begin(&mut self, frame: Frame, events: &mut Vec<(Event, Slot)>) -> impl Iterator<Item = Piece> {
        let number = self.next;
        self.next += 1;
        self.held += frame.raw().len();
        let of = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let pieces = std::mem::take(&mut self.spare);
        self.frames.push_back(InFlight { frame, pieces, missing: events.len() });
        (0..).zip(events.drain(..)).map(move |(part, (event, slot))| Piece {
            origin: Some(crate::model::Origin { frame: number, part, of, slot }),
            body: Body::Kept(event),
        })
    }

    /// Takes a decided piece.
    pub(super) fn push(&mut self, piece: Piece) {
        if let Form::Converted(converter) = &mut self.form {
            let mut out = Vec::new();
            piece.event().into_iter().for_each(|event| converter.push(event, &mut out));
            self.ended |= converter.has_ended();
            // What becomes of the provider's bytes is bounded by them.
            let grown = if piece.origin.is_none() { out.len() } else { 0 };
            self.out.push_changed(out, grown);
            return self.arrived(&piece);
        }
        let Some(front) = self.frames.front_mut() else { return self.write(&piece) };
        let is_body = matches!(self.form, Form::Body(..));
        match piece.origin {
            // Between the frames, unless the front one is begun: then it stands within.
            None if front.pieces.is_empty() && !is_body => self.write(&piece),
            None => front.pieces.push(piece),
            Some(_) => {
                front.missing -= 1;
                front.pieces.push(piece);
                if front.missing == 0
                    && let Some(whole) = self.frames.pop_front()
                {
                    self.held -= whole.frame.raw().len();
                    self.emit(&whole);
                    self.spare = whole.pieces;
                    self.spare.clear();
                }
            }
        }
    }

    /// Writes bytes that stand for the provider's whole body.
    pub(super) fn put(&mut self, bytes: Vec<u8>) {
        self.out.push_changed(bytes, 0);
    }

    /// The provider's body is over, and complete.
    pub(super) fn finish(&mut self) {
        if let Form::Converted(converter) = &mut self.form {
            let mut out = Vec::new();
            converter.finish(&mut out);
            self.ended |= converter.has_ended();
            self.out.push_changed(out, 0);
        }
    }

    /// Whether the end of the stream has left. Nothing may stand behind it.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Ends the stream with an error. What is on its way is lost.
    pub(super) fn error(&mut self, error: &WireError) {
        self.discard();
        if let Some(encoder) = self.encoder() {
            let mut out = Vec::new();
            encoder.error(error, &mut out);
            self.out.push(out);
        }
    }

    /// Ends the stream as a complete answer that ends with `text`. What is on its way is lost. `false`: it cannot be.
    pub(super) fn conclude(&mut self, text: &str) -> bool {
        self.discard();
        let Some(encoder) = self.encoder() else { return false };
        let mut out = Vec::new();
        let concluded = encoder.conclude(text, &mut out);
        if concluded {
            self.out.push(out);
        }
        concluded
    }

    /// Writes a keepalive, between frames.
    pub(super) fn keepalive(&mut self) {
        if let Some(encoder) = self.encoder() {
            let mut out = Vec::new();
            encoder.keepalive(&mut out);
            self.out.push(out);
        }
    }

    /// Bytes of frames that have not left.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Bytes that are kept here beside them.
    pub(super) fn kept(&self) -> usize {
        match &self.form {
            Form::Stream(encoder) => encoder.kept(),
            Form::Body(..) => 0,
            Form::Converted(converter) => converter.held(),
        }
    }

    /// Why a conversion could not be done.
    pub(super) fn failure(&self) -> Option<&'static str> {
        if let Form::Converted(converter) = &self.form { converter.failure() } else { None }
    }

    /// What a conversion left out since the last time.
    pub(super) fn take_facts(&mut self) -> Vec<Fact> {
        match &mut self.form {
            Form::Converted(converter) => converter.take_facts(),
            Form::Stream(_) | Form::Body(..) => Vec::new(),
        }
    }

    /// Bytes of our own making so far.
    pub(super) fn synthetic(&self) -> usize {
        self.out.synthetic
    }

    /// What has been written since the last time.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Bytes> {
        self.out.chunks.drain(..)
    }

    fn discard(&mut self) {
        self.frames.clear();
        self.held = 0;
    }

    fn encoder(&mut self) -> Option<&mut dyn Encoder> {
        if self.ended {
            return None;
        }
        match &mut self.form {
            Form::Stream(encoder) => Some(encoder.as_mut()),
            Form::Body(..) => None,
            Form::Converted(converter) => converter.encoder(),
        }
    }

    /// A piece of a frame has come out: a frame whose last piece has come waits here no longer.
    fn arrived(&mut self, piece: &Piece) {
        if piece.origin.is_none() {
            return;
        }
        if let Some(front) = self.frames.front_mut() {
            front.missing -= 1;
            if front.missing == 0
                && let Some(whole) = self.frames.pop_front()
            {
                self.held -= whole.frame.raw().len();
            }
        }
    }

    fn write(&mut self, piece: &Piece) {
        if let (Form::Stream(encoder), Some(event)) = (&mut self.form, piece.event()) {
            let mut out = Vec::new();
            encoder.write(event, &mut out);
            self.out.push(out);
        }
    }

    fn emit(&mut self, whole: &InFlight) {
        let is_end = |event: &Event| matches!(event, Event::End | Event::Error(_));
        self.ended |= whole.pieces.iter().filter_map(Piece::event).any(is_end);
        let untouched = whole.pieces.iter().all(|piece| matches!(piece.body, Body::Kept(_)));
        match &mut self.form {
            Form::Stream(encoder) => {
                let events = || whole.pieces.iter().filter_map(Piece::event);
                if untouched && events().all(|event| encoder.in_step(event)) {
                    encoder.passed(&whole.frame, &whole.pieces);
                    return self.out.push_raw(&whole.frame);
                }
                let mut out = Vec::new();
                encoder.patch(&whole.frame, &whole.pieces, &mut out);
                let grown = out.len().saturating_sub(whole.frame.raw().len());
                self.out.push_changed(out, grown);
            }
            Form::Converted(_) => {}
            Form::Body(..) if untouched => self.out.push_raw(&whole.frame),
            Form::Body(dialect, call) => {
                let out = dialect::patch_body(*dialect, whole.frame.raw(), &whole.pieces, call);
                let grown = out.len().saturating_sub(whole.frame.raw().len());
                self.out.push_changed(out, grown);
            }
        }
    }
}

impl Output {
    fn push_raw(&mut self, frame: &Frame) {
        self.end_last();
        self.chunks.push(frame.raw().clone());
        self.missing_end = frame.missing_end();
    }

    fn push_changed(&mut self, bytes: Vec<u8>, grown: usize) {
        if !bytes.is_empty() {
            self.end_last();
            self.synthetic += grown;
            self.chunks.push(bytes.into());
        }
    }

    fn push(&mut self, bytes: Vec<u8>) {
        let len = bytes.len();
        self.push_changed(bytes, len);
    }

    fn end_last(&mut self) {
        let missing = std::mem::take(&mut self.missing_end);
        if !missing.is_empty() {
            self.chunks.push(Bytes::from_static(missing));
        }
    }
}
