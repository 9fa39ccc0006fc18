//! What a hook knows of its call, and how it tells the operator something.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::model::CallHead;

/// What a hook knows of its call.
pub struct Context<'a> {
    call: &'a CallHead,
    emitted: &'a mut Vec<Emitted>,
}

/// What a policy tells the operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// A word of the policy's own, as `blocked`.
    pub event: &'static str,
    /// The details, a JSON object.
    pub fields: Value,
}

impl<'a> Context<'a> {
    /// A context over what the framework knows.
    pub fn new(call: &'a CallHead, emitted: &'a mut Vec<Emitted>) -> Self {
        Self { call, emitted }
    }

    /// The call: its id, session, client, model, upstream, headers.
    pub fn call(&self) -> &CallHead {
        self.call
    }

    /// The time that is left for the whole call. `None`: it is not limited.
    pub fn time_left(&self) -> Option<Duration> {
        self.call.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Tells the operator: the live page, the record and the trace show it. `fields` is a JSON object without secrets.
    pub fn emit(&mut self, event: &'static str, fields: Value) {
        self.emitted.push(Emitted { event, fields });
    }
}
