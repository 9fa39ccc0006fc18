//! Tool calls in a form that every client reads: with name and id from the beginning, and with arguments that are JSON.

use std::collections::{HashMap, HashSet};

use crate::{
    json::{Decoder, Text, quote},
    model::{BlockHead, BlockId, BlockKind, Event, Extra},
};

/// Gives tool calls what they lack.
pub(super) struct Calls {
    /// Luthien's id of the exchange, from which ids are made.
    exchange: String,
    /// The client's tools that take free text.
    custom_tools: Vec<String>,
    made: u32,
    /// Calls that have begun and not ended.
    open: HashMap<BlockId, Call>,
    /// The ids so far. Some servers say one id twice, and results would go to the wrong call.
    ids: HashSet<String>,
    /// A call ended without a name.
    unnamed: bool,
    /// Bytes that wait here.
    held: usize,
}

struct Call {
    head: BlockHead,
    /// What came of it before its name.
    waits: Option<Vec<Event>>,
    /// Its text, which is free and has to become an argument.
    free: Option<(String, Decoder)>,
    /// Its arguments, unless they are free text.
    json: Option<Balance>,
    /// It ended within its arguments. Some clients would run it with half of them as soon as they are told so.
    is_cut: bool,
}

/// Whether JSON that comes in pieces is closed again.
#[derive(Default)]
struct Balance {
    decoder: Decoder,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Balance {
    fn push(&mut self, text: &Text) {
        let mut decoded = String::new();
        self.decoder.push(text, &mut decoded);
        for byte in decoded.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.depth == 0 && !self.in_string
    }
}

impl Calls {
    pub(super) fn new(exchange: String, custom_tools: Vec<String>) -> Self {
        Self { exchange, custom_tools, made: 0, open: HashMap::new(), ids: HashSet::new(), unnamed: false, held: 0 }
    }

    /// Whether there was any call.
    pub(super) fn any(&self) -> bool {
        self.made > 0
    }

    /// The calls that have begun and not ended, or ended within their arguments, in their order. Those are told of their end
    /// once more where the answer says that it is cut off.
    pub(super) fn open(&self) -> Vec<BlockId> {
        let mut open: Vec<BlockId> = self.open.keys().copied().collect();
        open.sort_unstable();
        open
    }

    /// Whether text of an open call waits here for the rest of it.
    pub(super) fn waits(&self, call: BlockId) -> bool {
        self.open.get(&call).is_some_and(|call| call.waits.is_some() || call.free.is_some())
    }

    /// Whether a call ended without a name, so that nobody can run it.
    pub(super) fn is_any_unnamed(&self) -> bool {
        self.unnamed
    }

    /// Bytes that wait here.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes an event of a block and adds what can be said of it to `out`.
    pub(super) fn take(&mut self, id: BlockId, event: Event, out: &mut Vec<Event>) {
        if let Event::Open(_, head) = event {
            return self.begin(id, BlockHead { index: None, ..*head }, out);
        }
        let Some(call) = self.open.get_mut(&id) else { return out.push(event) };
        let closes = matches!(event, Event::Close(_));
        if let Event::Name(_, name) = &event {
            return self.name(id, name.clone(), out);
        }
        if let Some(waiting) = &mut call.waits {
            self.held += len(&event);
            waiting.push(event);
            self.unnamed |= closes;
            return;
        }
        if let (Event::Delta(_, text), Some(json)) = (&event, &mut call.json) {
            json.push(text);
        }
        let is_half = call.json.as_ref().is_some_and(|json| !json.is_closed());
        if closes && is_half && !std::mem::replace(&mut call.is_cut, true) {
            return;
        }
        match (event, &mut call.free) {
            (Event::Extra(_, Extra::FreeText), free) => {
                call.json = None;
                let is_custom = |name: &str| self.custom_tools.iter().any(|custom| custom == name);
                if !call.head.kind.tool_name().is_some_and(is_custom) {
                    free.get_or_insert_default();
                }
            }
            (Event::Delta(_, text), Some((whole, decoder))) => {
                let before = whole.len();
                decoder.push(&text, whole);
                self.held += whole.len() - before;
            }
            (event, free) => {
                if closes && let Some((whole, _)) = free {
                    self.held -= whole.len();
                    let arguments = [b"{\"input\":", quote(whole).as_slice(), b"}"].concat();
                    out.push(Event::Delta(id, Text::new(&String::from_utf8_lossy(&arguments))));
                }
                out.push(event);
            }
        }
        if closes {
            self.open.remove(&id);
        }
    }

    fn begin(&mut self, id: BlockId, mut head: BlockHead, out: &mut Vec<Event>) {
        if let BlockKind::ToolCall { id: call, name } = &mut head.kind {
            self.made += 1;
            if call.is_empty() || !self.ids.insert(call.clone()) {
                *call = format!("call_{}_{}", self.exchange, self.made);
            }
            let waits = name.is_empty().then(Vec::new);
            let is_waiting = waits.is_some();
            self.open.insert(
                id,
                Call { head: head.clone(), waits, free: None, json: Some(Balance::default()), is_cut: false },
            );
            if is_waiting {
                return;
            }
        }
        out.push(Event::Open(id, head.into()));
    }

    fn name(&mut self, id: BlockId, new: String, out: &mut Vec<Event>) {
        let Some(call) = self.open.get_mut(&id) else { return };
        let Some(waiting) = call.waits.take() else { return };
        if let BlockKind::ToolCall { name, .. } = &mut call.head.kind {
            *name = new;
        }
        out.push(Event::Open(id, call.head.clone().into()));
        self.held -= waiting.iter().map(len).sum::<usize>();
        for event in waiting {
            self.take(id, event, out);
        }
    }
}

fn len(event: &Event) -> usize {
    event.text().map_or(0, |text| text.raw().len())
}
