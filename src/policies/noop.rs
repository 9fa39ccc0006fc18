//! `noop`: passes everything. The default.

use std::sync::Arc;

use crate::{
    model::CallHead,
    policy::{Factory, Policy},
};

use super::{NoSettings, PolicyType, build, schema};

pub(super) const TYPE: PolicyType = PolicyType {
    name: "noop",
    summary: "passes everything",
    schema: schema::<NoSettings>,
    timeout: None,
    build: |config, _| build(config, |_: NoSettings| Ok(Arc::new(Noop))),
};

struct Noop;

impl Factory for Noop {
    fn enforces(&self) -> bool {
        false
    }

    fn begin(&self, _call: &CallHead) -> Box<dyn Policy> {
        Box::new(Self)
    }
}

impl Policy for Noop {}
