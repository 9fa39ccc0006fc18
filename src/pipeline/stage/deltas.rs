//! A block that a policy watches as its text comes.

use std::collections::VecDeque;

use crate::{
    json::{Decoder, Edit, Text},
    model::{BlockHead, BlockId, BlockKind, Body, Event, Piece},
    policy::{BlockText, Edits, Outcome, fault},
};

use super::{super::runner::Runner, edited};

/// A block that a policy watches as its text comes.
pub(super) struct Deltas {
    id: BlockId,
    head: BlockHead,
    /// The text from `base` on. Of what is decided only the last part is kept, so that a long text does not grow here.
    text: String,
    /// Where `text` begins in the block's whole text. Every other place here is one in the whole text.
    base: usize,
    decoder: Decoder,
    held: VecDeque<Delta>,
    decided: usize,
    edits: Vec<Edit>,
    /// Edits up to here have been written.
    written: usize,
    complete: bool,
    skipped: bool,
    edited: bool,
    /// How many parts have ended.
    part: u32,
}

/// Where one delta stands in the block's text.
struct Delta {
    start: usize,
    /// `None`: it ends within a character whose second half may follow.
    end: Option<usize>,
    joined: bool,
}

impl Deltas {
    pub(super) fn new(id: BlockId, head: BlockHead) -> Self {
        Self {
            id,
            head,
            text: String::new(),
            base: 0,
            decoder: Decoder::default(),
            held: VecDeque::new(),
            decided: 0,
            edits: Vec::new(),
            written: 0,
            complete: false,
            skipped: false,
            edited: false,
            part: 0,
        }
    }

    pub(super) fn kind_name(&self) -> &'static str {
        self.head.kind.name()
    }

    pub(super) fn is_open(&self) -> bool {
        !self.complete
    }

    pub(super) fn name(&mut self, more: &str) {
        if let BlockKind::ToolCall { name, .. } = &mut self.head.kind {
            name.push_str(more);
        }
    }

    /// Takes more text and asks the policy. Returns whether this is the first time that it edits the block.
    pub(super) fn push(&mut self, text: &Text, runner: &mut Runner) -> Outcome<bool> {
        let start = self.len();
        let was_open = self.decoder.is_open();
        let joined = self.decoder.push(text, &mut self.text);
        let first_char =
            self.text.get(start - self.base..).and_then(|new| new.chars().next()).map_or(0, char::len_utf8);
        if was_open && (joined || first_char > 0) {
            // The character that the delta before began is whole now: joined, or U+FFFD on its own.
            if let Some(last) = self.held.back_mut() {
                last.end = Some(start + first_char);
            }
        }
        let start = if was_open && !joined { start + first_char } else { start };
        let end = (!self.decoder.is_open()).then_some(self.len());
        self.held.push_back(Delta { start, end, joined });
        self.ask(runner)
    }

    /// There is no more text: asks the policy about the rest. Returns whether this is the first time that it edits the block.
    pub(super) fn finish(&mut self, runner: &mut Runner) -> Outcome<bool> {
        self.complete = true;
        self.decoder.finish(&mut self.text);
        if let Some(last) = self.held.back_mut() {
            last.end = Some(self.base + self.text.len());
        }
        self.ask(runner)
    }

    /// What the policy has not decided leaves as it came.
    pub(super) fn skip(&mut self) {
        self.edits.retain(|edit| edit.range.end <= self.decided);
        self.skipped = true;
    }

    /// Whether anything of the text was changed.
    pub(super) fn is_edited(&self) -> bool {
        self.edited
    }

    /// The number of the part that is being said.
    pub(super) fn part(&self) -> u32 {
        self.part
    }

    /// Another part begins.
    pub(super) fn next_part(&mut self) {
        self.part += 1;
    }

    pub(super) fn is_next_decided(&self) -> bool {
        self.skipped || self.held.front().is_none_or(|delta| delta.end.is_some_and(|end| end <= self.decided))
    }

    /// Lets the next delta go, with the edits that touch it.
    pub(super) fn release(&mut self, piece: Piece) -> Option<Piece> {
        let Some(delta) = self.held.pop_front() else { return Some(piece) };
        let end = delta.end.unwrap_or(self.len());
        let last = self.complete && self.held.is_empty();
        // The first delta that an edit touches says what stands in its place; in the others the range is only removed.
        let mine: Vec<Edit> = self
            .edits
            .iter()
            .enumerate()
            .filter(|(_, edit)| touches(edit, &delta, end, last))
            .map(|(number, edit)| {
                let with = if number >= self.written { edit.with.clone() } else { String::new() };
                Edit { range: edit.range.clone(), with }
            })
            .collect();
        let passed = self.edits.iter().take_while(|edit| touches(edit, &delta, end, last) || edit.range.start < end);
        self.written = self.written.max(passed.count());
        // What lies wholly behind is done with; a character that was cut in two stands in the next delta as well.
        let behind = self.held.front().map_or(end, |next| next.start.min(end));
        let done = self.edits.iter().take(self.written).take_while(|edit| edit.range.end <= behind).count();
        self.edits.drain(..done);
        self.written -= done;
        let (Body::Kept(Event::Delta(_, text)) | Body::Edited(Event::Delta(_, text))) = &piece.body else {
            return Some(piece);
        };
        if mine.is_empty() {
            return Some(piece);
        }
        let text = text.splice(delta.start, delta.joined, &mine);
        if text.is_empty() { piece.gone() } else { Some(edited(&piece, Event::Delta(self.id, text))) }
    }

    /// What the policy added at the very end, when the last delta had left already.
    pub(super) fn release_rest(&mut self) -> Option<Piece> {
        // An edit that touches a delta is said with it.
        if !self.complete || !self.held.is_empty() {
            return None;
        }
        let rest: String = self.edits.get(self.written..)?.iter().map(|edit| edit.with.as_str()).collect();
        self.written = self.edits.len();
        (!rest.is_empty()).then(|| Piece::new(Event::Delta(self.id, Text::new(&rest))))
    }

    /// The length of the whole text so far.
    fn len(&self) -> usize {
        self.base + self.text.len()
    }

    fn ask(&mut self, runner: &mut Runner) -> Outcome<bool> {
        let mut edits = Edits::within(runner.budget());
        let view = BlockText {
            id: self.id,
            head: &self.head,
            text: &self.text,
            decided: self.decided - self.base,
            complete: self.complete,
        };
        let decided = runner.hook("on_delta", |policy, cx| policy.on_delta(cx, &view, &mut edits))??;
        runner.spend(edits.grown())?;
        let mut edits = edits.into_inner();
        self.check(&edits, decided)?;
        for edit in &mut edits {
            edit.range = edit.range.start + self.base..edit.range.end + self.base;
        }
        self.decided = if self.complete { self.len() } else { self.base + decided };
        let is_first = !self.edited && !edits.is_empty();
        self.edited |= is_first;
        self.edits.extend(edits);
        self.forget();
        Ok(is_first)
    }

    /// A policy that asks for what cannot be is at fault, and nothing of it is done. Places are those of the view.
    fn check(&self, edits: &[Edit], decided: usize) -> Outcome<()> {
        let before = self.decided - self.base;
        if decided < before || !self.text.is_char_boundary(decided) {
            return Err(fault(format!("on_delta decided up to {decided}, of {before}..{}", self.text.len())));
        }
        let last = self.edits.last().map_or(0, |edit| edit.range.end.saturating_sub(self.base));
        let mut from = last.max(before);
        for edit in edits {
            let fits = edit.range.start >= from && self.text.get(edit.range.clone()).is_some();
            if !fits {
                return Err(fault(format!("on_delta edits {:?}, of {from}..{}", edit.range, self.text.len())));
            }
            from = edit.range.end;
        }
        Ok(())
    }

    /// Lets go of text that was decided long ago.
    fn forget(&mut self) {
        let decided = self.decided - self.base;
        if decided < FORGET {
            return;
        }
        let mut cut = decided - REMEMBER;
        while !self.text.is_char_boundary(cut) {
            cut -= 1;
        }
        self.text.drain(..cut);
        self.base += cut;
    }
}

/// When this much of a text is decided, …
const FORGET: usize = 64 << 10;
/// … all but this much of it is let go of, in bytes. Policies may look back so far.
const REMEMBER: usize = 4 << 10;

/// Whether an edit touches a delta. An insertion belongs to the text behind it, or to the last delta.
fn touches(edit: &Edit, delta: &Delta, end: usize, last: bool) -> bool {
    if edit.range.is_empty() {
        (delta.start..end).contains(&edit.range.start) || (last && edit.range.start == end)
    } else {
        edit.range.start < end && edit.range.end > delta.start
    }
}
