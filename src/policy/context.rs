//! What a hook knows of its call, and how it tells the operator something.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::model::{BlockId, CallHead, Judgement};

/// What a hook knows of its call.
pub struct Context<'a> {
    call: &'a Arc<CallHead>,
    emitter: &'a Emitter,
    block: Option<BlockId>,
}

/// Tells the operator something, now or when a hook that answers later has its answer.
#[derive(Debug, Clone, Default)]
pub struct Emitter(Arc<Mutex<Vec<Emitted>>>);

/// What a policy tells the operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Emitted {
    /// Something in its own words.
    Event {
        /// A word of the policy's own, as `blocked`.
        event: &'static str,
        /// The details, a JSON object.
        fields: Value,
    },
    /// What a judge said.
    Judged(Judgement),
}

impl<'a> Context<'a> {
    /// A context over what the framework knows.
    pub fn new(call: &'a Arc<CallHead>, emitter: &'a Emitter, block: Option<BlockId>) -> Self {
        Self { call, emitter, block }
    }

    /// The block that the hook is about, named within its answer.
    pub fn block(&self) -> Option<BlockId> {
        self.block
    }

    /// The call: its id, session, client, model, upstream, headers.
    pub fn call(&self) -> &Arc<CallHead> {
        self.call
    }

    /// The time that is left for the whole call. `None`: it is not limited.
    pub fn time_left(&self) -> Option<Duration> {
        self.call.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Tells the operator: the live page, the record and the trace show it. `fields` is a JSON object without secrets.
    pub fn emit(&mut self, event: &'static str, fields: Value) {
        self.emitter.emit(Emitted::Event { event, fields });
    }

    /// The same for a hook that answers later.
    pub fn emitter(&self) -> Emitter {
        self.emitter.clone()
    }
}

impl Emitter {
    /// Tells the operator.
    pub fn emit(&self, emitted: Emitted) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(emitted);
    }

    /// What was told since the last time.
    pub fn take(&self) -> Vec<Emitted> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
