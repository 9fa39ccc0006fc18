//! One block after the other.
//!
//! Some providers open a call while a text is open, and mix the fragments of several calls. Clients of other dialects stop
//! reading there. So the block that is open goes on as it comes, and the others wait for it: a text ends when something else
//! begins, a call when it is complete.

use std::collections::{HashMap, VecDeque};

use crate::model::{BlockHead, BlockId, Event};

/// Puts the events of blocks that overlap one behind the other.
#[derive(Default)]
pub(super) struct Serial {
    live: Option<Live>,
    waiting: VecDeque<Waiting>,
    /// Texts that were ended because something else began, by the id that the provider knows them under.
    ended: HashMap<BlockId, BlockHead>,
    /// The id under which a text goes on that was ended before.
    again: HashMap<BlockId, BlockId>,
    made: u32,
    held: usize,
}

struct Live {
    id: BlockId,
    head: BlockHead,
}

/// A block that waits for its turn.
struct Waiting {
    id: BlockId,
    head: BlockHead,
    events: Vec<Event>,
    closed: bool,
}

impl Serial {
    /// Ids for the second halves of texts, apart from those of the provider's and of policies.
    const FIRST: u32 = 1 << 30;

    /// Bytes of text that wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes an event of a block; what may be written goes to `out`.
    pub(super) fn push(&mut self, id: BlockId, event: Event, out: &mut Vec<Event>) {
        if let Event::Open(_, head) = event {
            return self.open(id, *head, out);
        }
        let is_close = matches!(event, Event::Close(_));
        let id = match (self.again.get(&id).copied(), self.ended.get(&id).cloned()) {
            (Some(again), _) => again,
            (None, Some(_)) if is_close => return,
            (None, Some(head)) => self.reopen(id, head, out),
            (None, None) => id,
        };
        let event = with_id(event, id);
        if self.live.as_ref().is_some_and(|live| live.id == id) {
            out.push(event);
            if is_close {
                self.live = None;
                self.next(out);
            }
        } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.id == id && !waiting.closed) {
            self.held += event.text().map_or(0, |text| text.raw().len());
            waiting.closed |= is_close;
            waiting.events.push(event);
        }
    }

    /// The answer is over: everything that waits has its turn.
    pub(super) fn finish(&mut self, out: &mut Vec<Event>) {
        while self.live.is_some() || !self.waiting.is_empty() {
            if let Some(live) = self.live.take() {
                out.push(Event::Close(live.id));
            }
            self.next(out);
        }
    }

    fn open(&mut self, id: BlockId, head: BlockHead, out: &mut Vec<Event>) {
        match self.live.take() {
            Some(live) if live.head.kind.tool_name().is_some() => {
                self.live = Some(live);
                self.waiting.push_back(Waiting { id, head, events: Vec::new(), closed: false });
                return;
            }
            Some(live) => {
                out.push(Event::Close(live.id));
                self.end(live);
            }
            None => {}
        }
        self.ended.remove(&id);
        self.again.remove(&id);
        out.push(Event::Open(id, head.clone().into()));
        self.live = Some(Live { id, head });
    }

    /// A text is ended early; more of it becomes another text.
    fn end(&mut self, live: Live) {
        let known = self.again.iter().find(|(_, again)| **again == live.id).map(|(id, _)| *id);
        let id = known.unwrap_or(live.id);
        self.again.remove(&id);
        self.ended.insert(id, live.head);
    }

    fn reopen(&mut self, id: BlockId, head: BlockHead, out: &mut Vec<Event>) -> BlockId {
        let again = BlockId(Self::FIRST + self.made);
        self.made += 1;
        self.ended.remove(&id);
        self.again.insert(id, again);
        self.open(again, BlockHead { index: None, ..head }, out);
        again
    }

    /// The next block has its turn, and every complete one before it.
    fn next(&mut self, out: &mut Vec<Event>) {
        while self.live.is_none()
            && let Some(Waiting { id, head, events, closed }) = self.waiting.pop_front()
        {
            let texts = events.iter().filter_map(Event::text).map(|text| text.raw().len());
            self.held -= texts.sum::<usize>();
            out.push(Event::Open(id, head.clone().into()));
            out.extend(events);
            if !closed {
                self.live = Some(Live { id, head });
            }
        }
        // A text that nothing follows yet waits for nobody; one that something follows ends here.
        if self.live.as_ref().is_some_and(|live| live.head.kind.tool_name().is_none())
            && !self.waiting.is_empty()
            && let Some(live) = self.live.take()
        {
            out.push(Event::Close(live.id));
            self.end(live);
            self.next(out);
        }
    }
}

/// The event, about another block.
fn with_id(event: Event, id: BlockId) -> Event {
    match event {
        Event::Open(_, head) => Event::Open(id, head),
        Event::Name(_, name) => Event::Name(id, name),
        Event::Delta(_, text) => Event::Delta(id, text),
        Event::Extra(_, extra) => Event::Extra(id, extra),
        Event::Close(_) => Event::Close(id),
        event @ (Event::Start(_)
        | Event::Stop(_)
        | Event::Usage(_)
        | Event::Error(_)
        | Event::End
        | Event::Ping
        | Event::Opaque
        | Event::Eof) => event,
    }
}
