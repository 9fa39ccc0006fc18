//! The script as a policy.

use std::{
    collections::HashMap,
    pin::Pin,
    task::{Context as Wakeup, Poll},
};

use luthien::{
    model::{Block, BlockHead, CallHead},
    policy::{BlockText, Context, Edits, Ending, Factory, Fate, Outcome, Policy, Step, Watch},
};

use super::{Part, Script, TOOL_ARGUMENTS, lot};

/// A script as a policy. `patience` decides how often a later answer is asked for before it comes.
#[derive(Debug, Clone)]
pub struct Lots {
    pub script: Script,
    pub patience: u64,
}

struct Drawn {
    lots: Lots,
    opened: HashMap<(&'static str, u32), u32>,
    decided: HashMap<(&'static str, u32), u32>,
}

/// Is ready when it has been asked so many times.
struct Asked<T> {
    left: u64,
    value: Option<T>,
}

impl<T: Unpin> Future for Asked<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, wakeup: &mut Wakeup<'_>) -> Poll<T> {
        if self.left == 0 {
            return Poll::Ready(self.value.take().expect("asked once more than needed"));
        }
        self.left -= 1;
        wakeup.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Factory for Lots {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(Drawn { lots: self.clone(), opened: HashMap::new(), decided: HashMap::new() })
    }
}

impl Drawn {
    fn later<T: Send + Unpin + 'static>(&self, of: impl std::hash::Hash, value: T) -> Step<T> {
        match lot((self.lots.patience, of)) % 6 {
            0 | 1 => Step::ready(value),
            left => Step::later(Asked { left: left - 2, value: Some(Ok(value)) }),
        }
    }
}

fn next(counts: &mut HashMap<(&'static str, u32), u32>, of: (&'static str, u32)) -> u32 {
    let count = counts.entry(of).or_default();
    *count += 1;
    *count - 1
}

fn block(part: Part) -> Block {
    match part {
        Part::Tool(id) => Block::tool_call(id, "made", TOOL_ARGUMENTS),
        Part::Text(text) => Block::text(text),
        Part::Itself(_) => unreachable!("only a block has itself"),
    }
}

impl Policy for Drawn {
    fn on_block_start(&mut self, _: &mut Context<'_>, head: &BlockHead) -> Watch {
        let of = (head.kind.name(), head.choice);
        let number = next(&mut self.opened, of);
        self.lots.script.watch((of.0, of.1, number))
    }

    fn on_delta(&mut self, _: &mut Context<'_>, block: &BlockText<'_>, edits: &mut Edits) -> Outcome<usize> {
        let of = (block.head.kind.name(), block.head.choice);
        let (found, decided) = self.lots.script.edits(of, block.text, block.decided, block.complete);
        for (start, end, with) in found {
            edits.replace(start..end, with);
        }
        Ok(decided)
    }

    fn on_block(&mut self, _: &mut Context<'_>, whole: Block) -> Step<Fate> {
        let of = (whole.kind.name(), whole.choice);
        let number = next(&mut self.decided, of);
        let key = (of.0, of.1, number);
        let fate = match self.lots.script.fate(key, &whole.text) {
            None => Fate::Drop,
            Some(parts) if parts == [Part::Itself(None)] => Fate::Keep,
            Some(parts) => Fate::Replace(
                parts
                    .into_iter()
                    .map(|part| match part {
                        Part::Itself(None) => whole.clone(),
                        Part::Itself(Some(text)) => Block { text, ..whole.clone() },
                        made => block(made),
                    })
                    .collect(),
            ),
        };
        self.later(key, fate)
    }

    fn on_response_end(&mut self, _: &mut Context<'_>, mut ending: Ending) -> Step<Ending> {
        for part in self.lots.script.ending() {
            ending.push(block(part));
        }
        self.later("end", ending)
    }
}
