//! One policy over one stream.
//!
//! Events wait in one queue, in order: a hold holds everything behind it. A held event keeps its origin, so that a block
//! that was held and then kept leaves as the bytes that it came in.

mod deltas;
mod whole;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    task::{Context as Wakeup, Poll},
};

use futures::{Stream, future::BoxFuture, stream::FuturesUnordered};

use crate::{
    journal::Fact,
    model::{Block, BlockHead, BlockId, Body, Event, Extra, Piece, Request, Stop, StopReason},
    policy::{Ending, Fate, Outcome, Watch},
};

use self::{deltas::Deltas, whole::Whole};
use super::{
    hook::Hook,
    runner::{Now, Runner, Stopped},
};

/// One policy over one stream.
pub(super) struct Stage {
    runner: Runner,
    queue: VecDeque<Held>,
    blocks: BTreeMap<BlockId, Watched>,
    pending: FuturesUnordered<BoxFuture<'static, Answer>>,
    choices: HashMap<u32, bool>,
    reason: Option<StopReason>,
    end: End,
    /// Bytes of text that wait.
    held: usize,
}

/// An event and what it waits for.
struct Held {
    piece: Piece,
    waits: Waits,
}

/// What an event waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Only for those before it.
    Turn,
    /// For its text to be decided.
    Deltas(BlockId),
    /// For its block to be decided.
    Whole(BlockId),
    /// For all the text of its block, of which it says some already.
    Echo(BlockId),
    /// For the end of that part of its block, whose text it repeats.
    Repeat(BlockId, u32),
    /// For the end of the answer to be decided.
    End,
    /// For everything: the body is over.
    Eof,
}

enum Watched {
    Deltas(Deltas),
    Whole(Whole),
}

/// Where the end of the answer stands.
enum End {
    /// Not yet in sight.
    Ahead,
    /// It is here and waits for the last decisions.
    Reached,
    /// Its hook runs.
    Deciding,
    /// Decided: these blocks stand before it.
    Decided(Vec<Block>),
}

/// A decision that came later.
enum Answer {
    Block(BlockId, Hook, Outcome<Fate>),
    End(Hook, Outcome<Ending>),
    /// On the request, of which this came, in shadow mode.
    Request(Box<Request>, Hook, Box<Outcome<Request>>),
}

impl Stage {
    pub(super) fn new(mut runner: Runner) -> Self {
        let pending: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
        if let Some((request, late)) = runner.take_late() {
            pending.push(Box::pin(async move {
                let (hook, outcome) = late.await;
                Answer::Request(Box::new(request), hook, Box::new(outcome))
            }));
        }
        Self {
            runner,
            queue: VecDeque::new(),
            blocks: BTreeMap::new(),
            pending,
            choices: HashMap::new(),
            reason: None,
            end: End::Ahead,
            held: 0,
        }
    }

    /// Which policy it is.
    pub(super) fn policy(&self) -> Arc<str> {
        self.runner.name()
    }

    /// Bytes of text that wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Whether it could change or stop anything.
    pub(super) fn enforces(&self) -> bool {
        self.runner.enforces()
    }

    /// Whether a hook is running.
    pub(super) fn is_deciding(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What happened since the last time.
    pub(super) fn take_facts(&mut self) -> Vec<Fact> {
        self.runner.take_facts()
    }

    /// Takes an event; what may leave goes to `out`.
    pub(super) fn push(&mut self, piece: Piece, made: &mut BlockIds, out: &mut VecDeque<Piece>) -> Result<(), Stopped> {
        let waits = match piece.event() {
            Some(event) if !self.runner.is_skipped() => self.watch(event)?,
            Some(_) | None => Waits::Turn,
        };
        self.held += size(&piece);
        self.queue.push_back(Held { piece, waits });
        self.release(made, out)
    }

    /// Takes up decisions that have come. Ready: something may have left.
    pub(super) fn poll(
        &mut self,
        wakeup: &mut Wakeup<'_>,
        made: &mut BlockIds,
        out: &mut VecDeque<Piece>,
    ) -> Poll<Result<(), Stopped>> {
        let mut any = false;
        while let Poll::Ready(Some(answer)) = std::pin::Pin::new(&mut self.pending).poll_next(wakeup) {
            any = true;
            match answer {
                Answer::Block(id, hook, outcome) => {
                    self.runner.resume(hook);
                    self.decide(id, outcome)?;
                }
                Answer::End(hook, outcome) => {
                    self.runner.resume(hook);
                    self.decide_end(outcome)?;
                }
                Answer::Request(before, hook, outcome) => {
                    self.runner.resume(hook);
                    match *outcome {
                        Ok(after) => self.runner.note_request(&before, &after),
                        Err(halt) => self.settle("request", Err(halt))?,
                    }
                }
            }
        }
        if any { Poll::Ready(self.release(made, out)) } else { Poll::Pending }
    }

    /// Tells the policy of an event and says what the event waits for.
    fn watch(&mut self, event: &Event) -> Result<Waits, Stopped> {
        Ok(match event {
            Event::Start(start) => {
                let outcome = self
                    .runner
                    .hook("on_response_start", |policy, cx| policy.on_response_start(cx, start))
                    .and_then(|inner| inner);
                self.settle("response", outcome)?;
                Waits::Turn
            }
            Event::Open(id, head) => self.open(*id, head)?,
            Event::Name(id, name) => self.name(*id, name),
            Event::Delta(id, text) => match self.blocks.get_mut(id) {
                Some(Watched::Deltas(block)) => {
                    let outcome = block.push(text, &mut self.runner);
                    self.settle_block(*id, outcome)?;
                    Waits::Deltas(*id)
                }
                Some(Watched::Whole(block)) => {
                    if let Some(part) = block.push(text) {
                        let told = self.runner.about(Some(*id)).hook("on_part", |policy, cx| policy.on_part(cx, part));
                        let on = block.kind_name();
                        self.settle(on, told.and_then(|inner| inner))?;
                    }
                    Waits::Whole(*id)
                }
                None => Waits::Turn,
            },
            Event::Extra(id, extra) => match self.blocks.get_mut(id) {
                Some(Watched::Whole(_)) => Waits::Whole(*id),
                Some(Watched::Deltas(_)) if *extra == Extra::Echo => Waits::Echo(*id),
                Some(Watched::Deltas(block)) if *extra == Extra::Repeat => Waits::Repeat(*id, block.part()),
                Some(Watched::Deltas(block)) => {
                    if *extra == Extra::Break {
                        block.next_part();
                    }
                    Waits::Turn
                }
                None => Waits::Turn,
            },
            Event::Close(id) => self.complete(*id, true)?,
            Event::Stop(stop) => self.stop(stop)?,
            Event::End => self.reach_end()?,
            Event::Error(_) | Event::Eof => {
                self.cut()?;
                Waits::Eof
            }
            Event::Usage(_) | Event::Ping | Event::Opaque => Waits::Turn,
        })
    }

    fn open(&mut self, id: BlockId, head: &BlockHead) -> Result<Waits, Stopped> {
        self.choices.entry(head.choice).or_default();
        if !self.runner.may_watch(head) {
            return Ok(Waits::Turn);
        }
        let watch =
            match self.runner.about(Some(id)).hook("on_block_start", |policy, cx| policy.on_block_start(cx, head)) {
                Ok(watch) => watch,
                Err(halt) => {
                    self.settle(head.kind.name(), Err(halt))?;
                    Watch::Ignore
                }
            };
        Ok(match watch {
            Watch::Ignore => Waits::Turn,
            Watch::Deltas => {
                self.blocks.insert(id, Watched::Deltas(Deltas::new(id, head.clone())));
                Waits::Turn
            }
            Watch::Whole | Watch::Parts => {
                let is_told = watch == Watch::Parts;
                self.blocks.insert(id, Watched::Whole(Whole::new(head.clone(), is_told)));
                Waits::Whole(id)
            }
        })
    }

    fn name(&mut self, id: BlockId, name: &str) -> Waits {
        match self.blocks.get_mut(&id) {
            Some(Watched::Whole(block)) => {
                block.name(name);
                Waits::Whole(id)
            }
            Some(Watched::Deltas(block)) => {
                block.name(name);
                Waits::Turn
            }
            None => Waits::Turn,
        }
    }

    /// A block is over: `whole`, or cut off.
    fn complete(&mut self, id: BlockId, whole: bool) -> Result<Waits, Stopped> {
        match self.blocks.get_mut(&id) {
            None => Ok(Waits::Turn),
            Some(Watched::Deltas(block)) => {
                let outcome = block.finish(&mut self.runner);
                self.settle_block(id, outcome)?;
                Ok(Waits::Turn)
            }
            Some(Watched::Whole(block)) => {
                let block = block.finish(whole);
                if block.kind.tool_name().is_some_and(|name| !self.runner.may_watch_tool(name)) {
                    self.decide(id, Ok(Fate::Keep))?;
                    return Ok(Waits::Whole(id));
                }
                match self.runner.about(Some(id)).step("on_block", |policy, cx| policy.on_block(cx, block)) {
                    Now::Ready(outcome) => self.decide(id, outcome)?,
                    Now::Later(future) => self.pending.push(Box::pin(async move {
                        let (hook, outcome) = future.await;
                        Answer::Block(id, hook, outcome)
                    })),
                }
                Ok(Waits::Whole(id))
            }
        }
    }

    fn stop(&mut self, stop: &Stop) -> Result<Waits, Stopped> {
        self.choices.insert(stop.choice, true);
        if let (Some(reason), 0) = (&stop.reason, stop.choice) {
            self.reason = Some(reason.clone());
        }
        // The hook is called once, when every choice that has begun has stopped.
        if self.choices.values().all(|stopped| *stopped) { self.reach_end() } else { Ok(Waits::End) }
    }

    fn reach_end(&mut self) -> Result<Waits, Stopped> {
        if matches!(self.end, End::Ahead) {
            self.end = End::Reached;
            self.decide_end_when_due()?;
        }
        Ok(Waits::End)
    }

    /// The end waits for every other decision.
    fn decide_end_when_due(&mut self) -> Result<(), Stopped> {
        if !matches!(self.end, End::Reached) || !self.pending.is_empty() {
            return Ok(());
        }
        if self.runner.is_skipped() {
            self.end = End::Decided(Vec::new());
            return Ok(());
        }
        self.end = End::Deciding;
        let ending = Ending::new(self.reason.clone());
        match self.runner.about(None).step("on_response_end", |policy, cx| policy.on_response_end(cx, ending)) {
            Now::Ready(outcome) => self.decide_end(outcome),
            Now::Later(future) => {
                self.pending.push(Box::pin(async move {
                    let (hook, outcome) = future.await;
                    Answer::End(hook, outcome)
                }));
                Ok(())
            }
        }
    }

    fn decide_end(&mut self, outcome: Outcome<Ending>) -> Result<(), Stopped> {
        let added = match outcome {
            Ok(ending) => ending.into_added(),
            Err(halt) => {
                self.settle("response", Err(halt))?;
                Vec::new()
            }
        };
        for block in &added {
            self.runner.decided(block.kind.name(), None, "add");
        }
        self.end = End::Decided(added);
        Ok(())
    }

    fn decide(&mut self, id: BlockId, outcome: Outcome<Fate>) -> Result<(), Stopped> {
        if let Some(Watched::Whole(block)) = self.blocks.get_mut(&id) {
            let on = block.kind_name();
            match outcome {
                Ok(fate) => match self.runner.spend(block.growth(&fate)) {
                    Ok(()) => {
                        if let Some(decision) = block.decide(fate) {
                            self.runner.decided(on, Some(id), decision);
                        }
                    }
                    // What was to stand there does not fit. The block does not leave for that, and the policy goes on
                    // deciding on the others.
                    Err(halt) => {
                        if block.withhold(&fate) {
                            self.runner.decided(on, Some(id), "drop");
                        }
                        self.runner.settle_one(on, halt)?;
                    }
                },
                Err(halt) => self.settle(on, Err(halt))?,
            }
        }
        self.decide_end_when_due()
    }

    /// The body is over: what is still open is all there will ever be of it.
    fn cut(&mut self) -> Result<(), Stopped> {
        let mut open: Vec<BlockId> =
            self.blocks.iter().filter(|(_, block)| block.is_open()).map(|(id, _)| *id).collect();
        open.sort_unstable();
        for id in open {
            self.complete(id, false)?;
        }
        // An answer that did not come to its end has no end to decide on.
        if matches!(self.end, End::Ahead) {
            self.end = End::Decided(Vec::new());
        }
        Ok(())
    }

    fn settle(&mut self, on: &'static str, outcome: Outcome<()>) -> Result<(), Stopped> {
        let Err(halt) = outcome else { return Ok(()) };
        self.runner.settle(on, halt)?;
        self.skip();
        Ok(())
    }

    fn settle_block(&mut self, id: BlockId, outcome: Outcome<bool>) -> Result<(), Stopped> {
        let on = match self.blocks.get(&id) {
            Some(Watched::Deltas(block)) => block.kind_name(),
            Some(Watched::Whole(_)) | None => "text",
        };
        if matches!(outcome, Ok(true)) {
            self.runner.decided(on, Some(id), "edit");
        }
        self.settle(on, outcome.map(|_| ()))
    }

    /// The policy failed open: what it has not decided leaves as it came.
    fn skip(&mut self) {
        self.pending.clear();
        for block in self.blocks.values_mut() {
            match block {
                Watched::Deltas(block) => block.skip(),
                Watched::Whole(block) => block.skip(),
            }
        }
        if !matches!(self.end, End::Decided(_)) {
            self.end = End::Decided(Vec::new());
        }
    }

    /// Lets go of everything at the front that is decided.
    fn release(&mut self, made: &mut BlockIds, out: &mut VecDeque<Piece>) -> Result<(), Stopped> {
        self.decide_end_when_due()?;
        while self.queue.front().is_some_and(|held| self.is_decided(held)) {
            let Some(Held { piece, waits }) = self.queue.pop_front() else { break };
            self.held -= size(&piece);
            let closes = match piece.event() {
                Some(Event::Close(id)) => Some(*id),
                _ => None,
            };
            match waits {
                Waits::Turn => {
                    if let Some(Watched::Deltas(block)) = closes.and_then(|id| self.blocks.get_mut(&id)) {
                        out.extend(block.release_rest());
                    }
                    out.push_back(piece);
                }
                Waits::Eof => out.push_back(piece),
                Waits::Deltas(id) => match self.blocks.get_mut(&id) {
                    Some(Watched::Deltas(block)) => out.extend(block.release(piece)),
                    Some(Watched::Whole(_)) | None => out.push_back(piece),
                },
                Waits::Echo(id) => match self.blocks.get(&id) {
                    Some(Watched::Deltas(block)) if block.is_edited() => out.extend(piece.gone()),
                    Some(_) | None => out.push_back(piece),
                },
                Waits::Repeat(id, _) => {
                    if let Some(Watched::Deltas(block)) = self.blocks.get_mut(&id) {
                        out.extend(block.release_rest());
                    }
                    out.push_back(piece);
                }
                Waits::Whole(id) => match self.blocks.get_mut(&id) {
                    Some(Watched::Whole(block)) => block.release(id, piece, made, out),
                    Some(Watched::Deltas(_)) | None => out.push_back(piece),
                },
                Waits::End => {
                    if let End::Decided(added) = &mut self.end {
                        for block in std::mem::take(added) {
                            made.write(&block, out);
                        }
                    }
                    out.push_back(piece);
                }
            }
            if let Some(id) = closes {
                self.blocks.remove(&id);
            }
        }
        Ok(())
    }

    fn is_decided(&self, held: &Held) -> bool {
        match held.waits {
            Waits::Turn => true,
            Waits::Deltas(id) => match self.blocks.get(&id) {
                Some(Watched::Deltas(block)) => block.is_next_decided(),
                Some(Watched::Whole(_)) | None => true,
            },
            Waits::Echo(id) => self.blocks.get(&id).is_none_or(|block| !block.is_open()) || self.runner.is_skipped(),
            Waits::Repeat(id, part) => match self.blocks.get(&id) {
                Some(Watched::Deltas(block)) => !block.is_open() || block.part() > part || self.runner.is_skipped(),
                Some(Watched::Whole(_)) | None => true,
            },
            Waits::Whole(id) => match self.blocks.get(&id) {
                Some(Watched::Whole(block)) => block.is_decided(),
                Some(Watched::Deltas(_)) | None => true,
            },
            Waits::End => matches!(self.end, End::Decided(_)),
            Waits::Eof => self.pending.is_empty(),
        }
    }
}

/// How much text an event holds, in bytes.
fn size(piece: &Piece) -> usize {
    piece.event().and_then(Event::text).map_or(0, |text| text.raw().len())
}

impl Watched {
    fn is_open(&self) -> bool {
        match self {
            Self::Deltas(block) => block.is_open(),
            Self::Whole(block) => block.is_open(),
        }
    }
}

/// Ids for the blocks that policies make, apart from those of the provider's.
pub(super) struct BlockIds(u32);

impl BlockIds {
    pub(super) fn new() -> Self {
        Self(BlockId::FIRST_MADE)
    }

    /// An id that no other block has.
    pub(super) fn next(&mut self) -> BlockId {
        let id = BlockId(self.0);
        self.0 += 1;
        id
    }

    /// Writes the events of a whole block.
    pub(super) fn write(&mut self, block: &Block, out: &mut VecDeque<Piece>) {
        let id = self.next();
        let head = BlockHead { kind: block.kind.clone(), choice: block.choice, index: None };
        out.push_back(Piece::new(Event::Open(id, head.into())));
        if !block.text.is_empty() {
            out.push_back(Piece::new(Event::Delta(id, crate::json::Text::new(&block.text))));
        }
        out.push_back(Piece::new(Event::Close(id)));
    }
}

/// What of a block is still to be said when its text is edited: citations name places in the old text, and an echo repeats
/// it.
fn survives_edit(event: &Event) -> bool {
    !matches!(event, Event::Extra(_, Extra::Citation | Extra::Echo))
}

/// The piece, changed to say `event`.
fn edited(piece: &Piece, event: Event) -> Piece {
    Piece { origin: piece.origin, body: Body::Edited(event) }
}
