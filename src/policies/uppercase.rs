//! `uppercase`: text to upper case.

use std::sync::Arc;

use crate::{
    model::{BlockHead, CallHead},
    policy::{BlockText, Context, Edits, Factory, Outcome, Policy, Watch},
};

use super::{NoSettings, PolicyType, build, schema, text};

pub(super) const TYPE: PolicyType = PolicyType {
    name: "uppercase",
    summary: "writes the answer's text in upper case",
    schema: schema::<NoSettings>,
    timeout: None,
    build: |config, _| build(config, |_: NoSettings| Ok(Arc::new(Uppercase))),
};

struct Uppercase;

impl Factory for Uppercase {
    fn begin(&self, _call: &CallHead) -> Box<dyn Policy> {
        Box::new(Self)
    }
}

impl Policy for Uppercase {
    fn on_block_start(&mut self, _cx: &mut Context<'_>, block: &BlockHead) -> Watch {
        text::prose_in_deltas(block)
    }

    fn on_delta(&mut self, _cx: &mut Context<'_>, block: &BlockText<'_>, edits: &mut Edits) -> Outcome<usize> {
        let new = block.text.get(block.decided..).unwrap_or_default();
        let upper = new.to_uppercase();
        if upper != new {
            edits.replace(block.decided..block.text.len(), upper);
        }
        Ok(block.text.len())
    }
}
