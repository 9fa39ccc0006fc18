//! A policy for tests that need one and not what it does.

use crate::{
    model::CallHead,
    policy::{Factory, Policy},
};

/// Makes itself; changes nothing.
pub(crate) struct Idle;

impl Factory for Idle {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        Box::new(Self)
    }
}

impl Policy for Idle {}
