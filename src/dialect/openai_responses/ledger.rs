//! What of each item has left, to write its repetitions from.

use std::collections::HashMap;

use crate::{
    json::{Patch, Span, Text, Value, quote},
    model::{BlockHead, BlockId},
    wire::Frame,
};

use super::{
    decode::ItemHead,
    items::{is_value, places},
    listed::listed,
    write::{Own, array, reasoning_part, summary_part, text_part},
};

/// The items of one answer, in the order of their beginnings.
#[derive(Default)]
pub(super) struct Ledger {
    items: Vec<Sent>,
    places: HashMap<BlockId, usize>,
    /// The items that came, by their `output_index`.
    came: HashMap<u64, usize>,
    /// Bytes kept of what has left.
    kept: usize,
    /// The number of the next item of our own.
    next: u32,
    /// How far the provider's numbers have moved: up for each item added, down for each taken out.
    shift: i64,
    /// Whether the items differ from what came, in number or in text.
    pub(super) changed: bool,
}

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Done,
    /// It was taken out.
    Gone,
}

/// What of one item has left.
pub(super) struct Sent {
    pub(super) block: BlockId,
    /// The `output_index` that it came with. `None`: it is of our own.
    pub(super) came: Option<u32>,
    /// The `output_index` that it has now.
    pub(super) index: u32,
    pub(super) state: State,
    pub(super) edited: bool,
    /// The text of each of its parts, escaped.
    pub(super) parts: Vec<Vec<u8>>,
    /// Which of the parts are refusals.
    pub(super) refusals: Vec<usize>,
    /// The first part that stands in its `content`.
    pub(super) content_from: Option<usize>,
    /// The part that is said was announced by us, and has to be ended by us.
    pub(super) part_is_ours: bool,
    /// The frame that began it.
    pub(super) frame: Option<Frame>,
    /// The last event about it, by its name.
    pub(super) last: Vec<u8>,
    /// An item of our own, and how it ended.
    pub(super) own: Option<Own>,
    pub(super) json: Option<Vec<u8>>,
}

impl Ledger {
    /// An item begins.
    pub(super) fn open(&mut self, block: BlockId, head: &BlockHead, own: Option<Own>) -> u32 {
        self.shift += i64::from(head.index.is_none());
        self.changed |= head.index.is_none();
        let moved = head.index.and_then(|came| u32::try_from(i64::from(came) + self.shift).ok());
        let index = moved.unwrap_or(self.next);
        self.next = index.saturating_add(1);
        self.push(Sent { index, own, parts: vec![Vec::new()], ..Sent::new(block, head, State::Open) });
        index
    }

    /// An item was taken out.
    pub(super) fn drop_item(&mut self, block: BlockId, head: &BlockHead) {
        self.changed = true;
        self.shift -= 1;
        self.push(Sent::new(block, head, State::Gone));
    }

    /// Text of an item leaves.
    pub(super) fn say(&mut self, block: BlockId, text: &Text, edited: bool) {
        let Some(sent) = self.get_mut(block) else { return };
        if let Some(part) = sent.parts.last_mut() {
            part.extend_from_slice(text.raw());
        }
        sent.edited |= edited;
        self.kept += text.raw().len();
        self.changed |= edited;
    }

    /// Text of an item was taken out.
    pub(super) fn leave_out(&mut self, block: BlockId) {
        if let Some(sent) = self.get_mut(block) {
            sent.edited = true;
            self.changed = true;
        }
    }

    /// The next part of an item begins.
    pub(super) fn next_part(&mut self, block: BlockId) {
        if let Some(sent) = self.get_mut(block) {
            sent.parts.push(Vec::new());
        }
    }

    /// An item is complete. Only what differs from what came is needed again.
    pub(super) fn close(&mut self, block: BlockId) {
        let Some(sent) = self.get_mut(block) else { return };
        sent.state = State::Done;
        if !sent.edited && sent.own.is_none() {
            let parts = std::mem::take(&mut sent.parts);
            self.kept -= parts.iter().map(Vec::len).sum::<usize>();
        }
    }

    /// An item began with this frame, whether it has left or not.
    pub(super) fn began(&mut self, block: BlockId, frame: &Frame) {
        if let Some(sent) = self.get_mut(block) {
            sent.frame = Some(frame.clone());
            self.kept += frame.raw().len();
        }
    }

    /// An item has left whole, and looked like this: kept for an answer that we have to end ourselves.
    pub(super) fn ended(&mut self, block: BlockId, item: Vec<u8>) {
        if let Some(sent) = self.get_mut(block) {
            let len = item.len();
            sent.json = Some(item);
            self.kept += len;
        }
    }

    pub(super) fn get(&self, block: BlockId) -> Option<&Sent> {
        self.places.get(&block).and_then(|place| self.items.get(*place))
    }

    pub(super) fn get_mut(&mut self, block: BlockId) -> Option<&mut Sent> {
        self.places.get(&block).and_then(|place| self.items.get_mut(*place))
    }

    /// The item that came with that `output_index`.
    pub(super) fn came(&self, index: u64) -> Option<&Sent> {
        self.came.get(&index).and_then(|place| self.items.get(*place))
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &Sent> {
        self.items.iter()
    }

    /// The items again, as they have left.
    pub(super) fn output(&self, output: Value<'_>) -> Vec<u8> {
        let mut written: Vec<(u32, Vec<u8>)> = Vec::new();
        for (sent, item) in self.listed(output).into_iter().zip(output.items()) {
            if let Some(sent) = sent.filter(|sent| sent.state != State::Gone) {
                written.push((sent.index, sent.again(item)));
            }
        }
        let own = self.items.iter().filter(|sent| sent.own.is_some());
        written.extend(own.filter_map(|sent| Some((sent.index, sent.json.clone()?))));
        written.sort_by_key(|(index, _)| *index);
        array(written.into_iter().map(|(_, item)| item))
    }

    /// Which of the items that came each item of `output` is, found as the decoder finds it.
    fn listed(&self, output: Value<'_>) -> Vec<Option<&Sent>> {
        let came: Vec<&Sent> = self.items.iter().filter(|sent| sent.came.is_some()).collect();
        // Without a stream there are no names to go by, and no need: the items are these very ones.
        if came.iter().all(|sent| sent.frame.is_none()) {
            return output.items().zip(0..).map(|(_, place)| self.came(place)).collect();
        }
        let known = came.iter().filter_map(|sent| Some((*sent, sent.item(ItemHead::of)?)));
        let known: Vec<(&Sent, ItemHead)> = known.collect();
        let heads: Vec<ItemHead> = output.items().map(ItemHead::of).collect();
        let places = listed(&known.iter().map(|(_, head)| head).collect::<Vec<_>>(), &heads);
        places.into_iter().map(|place| known.get(place?).map(|(sent, _)| *sent)).collect()
    }

    /// An item of our own that never said anything does not exist.
    pub(super) fn forget(&mut self, block: BlockId) {
        let Some(sent) = self.get_mut(block) else { return };
        let index = sent.index;
        sent.state = State::Gone;
        if index.saturating_add(1) == self.next {
            self.next = index;
            self.shift -= 1;
        }
    }

    /// Bytes kept of what has left.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Every item that is complete.
    pub(super) fn own_output(&self) -> Vec<u8> {
        array(self.items.iter().filter_map(|sent| sent.json.clone()))
    }

    fn push(&mut self, sent: Sent) {
        self.places.insert(sent.block, self.items.len());
        if let Some(came) = sent.came {
            self.came.insert(u64::from(came), self.items.len());
        }
        self.items.push(sent);
    }
}

impl Sent {
    /// Nothing of it has left.
    fn new(block: BlockId, head: &BlockHead, state: State) -> Self {
        Self {
            block,
            came: head.index,
            index: 0,
            state,
            edited: false,
            parts: Vec::new(),
            refusals: Vec::new(),
            content_from: None,
            part_is_ours: false,
            frame: None,
            last: Vec::new(),
            own: None,
            json: None,
        }
    }

    /// The item again, with the text that has left.
    pub(super) fn again(&self, item: Value<'_>) -> Vec<u8> {
        if !self.edited {
            return item.raw().to_vec();
        }
        let start = item.span().start;
        let shift = |span: Span| Span { start: span.start - start, end: span.end - start };
        let mut patch = Patch::default();
        let places = places(item);
        for (number, place) in places.iter().enumerate() {
            let text = self.parts.get(number).map(Vec::as_slice).unwrap_or_default();
            if let Some(old) = place.text {
                patch.replace(shift(old.span()), text_like(old, text));
            }
            clear(place.holder, &shift, &mut patch);
        }
        let kind = item.str_at("type").unwrap_or_default();
        let (key, part) = match &*kind {
            "message" => ("content", text_part as fn(&[u8]) -> _),
            "reasoning" if self.content_from.is_some() => ("content", reasoning_part as fn(&[u8]) -> _),
            "reasoning" => ("summary", summary_part as fn(&[u8]) -> _),
            _ => return patch.apply(item.raw()),
        };
        let more: Vec<Vec<u8>> =
            self.parts.iter().skip(places.len()).filter(|text| !text.is_empty()).map(|text| part(text)).collect();
        if let Some(list) = item.get(key).filter(|_| !more.is_empty()) {
            let end = shift(list.span()).end - 1;
            let comma: &[u8] = if list.items().next().is_none() { b"" } else { b"," };
            patch.replace(Span { start: end, end }, [comma, &more.join(&b","[..])].concat());
        }
        patch.apply(item.raw())
    }
}

/// Annotations and log probabilities speak of the old text.
pub(super) fn clear(holder: Value<'_>, shift: &impl Fn(Span) -> Span, patch: &mut Patch) {
    for key in ["annotations", "logprobs"] {
        if let Some(old) = holder.some(key).filter(|old| old.items().next().is_some()) {
            patch.replace(shift(old.span()), "[]");
        }
    }
}

/// New text in the form of the old: a string, or a JSON value. `text` is escaped.
pub(super) fn text_like(old: Value<'_>, text: &[u8]) -> Vec<u8> {
    if !is_value(old) {
        return [b"\"", text, b"\""].concat();
    }
    let decoded = Text::decode_raw(text);
    if Value::parse(decoded.as_bytes()).is_ok() { decoded.into_owned().into_bytes() } else { quote(&decoded) }
}
