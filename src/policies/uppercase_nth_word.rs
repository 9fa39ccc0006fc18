//! `uppercase_nth_word`: every nth word in upper case, across chunks; white space stays as it is.

use std::{collections::HashMap, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    model::{BlockHead, BlockId, CallHead},
    policy::{BlockText, Context, Edits, Factory, Outcome, Policy, Watch},
};

use super::{PolicyType, build, schema, text};

pub(super) const TYPE: PolicyType = PolicyType {
    name: "uppercase_nth_word",
    summary: "writes every nth word of the answer's text in upper case",
    schema: schema::<Settings>,
    timeout: None,
    build: |config, _| build(config, |settings: Settings| Ok(Arc::new(settings))),
};

/// Every nth word in upper case.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Which words: 1 is every word, 3 every third.
    #[schemars(range(min = 1))]
    n: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { n: 3 }
    }
}

struct NthWord {
    n: u32,
    blocks: HashMap<BlockId, Place>,
}

/// Where in a block's text we are.
#[derive(Default, Clone, Copy)]
struct Place {
    in_word: bool,
    /// How many words have begun since the last one in upper case.
    words: u32,
}

impl Factory for Settings {
    fn begin(&self, _call: &CallHead) -> Box<dyn Policy> {
        Box::new(NthWord { n: self.n.max(1), blocks: HashMap::new() })
    }
}

impl Policy for NthWord {
    fn on_block_start(&mut self, _cx: &mut Context<'_>, block: &BlockHead) -> Watch {
        text::prose_in_deltas(block)
    }

    fn on_delta(&mut self, _cx: &mut Context<'_>, block: &BlockText<'_>, edits: &mut Edits) -> Outcome<usize> {
        let place = self.blocks.entry(block.id).or_default();
        for (at, char) in block.text.get(block.decided..).unwrap_or_default().char_indices() {
            if char.is_whitespace() {
                place.in_word = false;
                continue;
            }
            if !std::mem::replace(&mut place.in_word, true) {
                place.words = place.words % self.n + 1;
            }
            let upper = char.to_uppercase();
            if place.words == self.n && !upper.clone().eq([char]) {
                let at = block.decided + at;
                edits.replace(at..at + char.len_utf8(), upper.to_string());
            }
        }
        Ok(block.text.len())
    }
}
