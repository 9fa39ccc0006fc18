//! The built-in policies, one file each, and the table of them.

use std::sync::Arc;

use crate::policy::Factory;

/// A policy type that rules can name.
pub struct PolicyType {
    /// As in `type:`.
    pub name: &'static str,
    /// What it does, one line.
    pub summary: &'static str,
    /// The JSON Schema of its `config`.
    pub schema: fn() -> schemars::Schema,
    /// Builds it from a `config` that fits the schema. Reports every problem at once.
    pub build: fn(&serde_json::Value) -> Result<Arc<dyn Factory>, Vec<Problem>>,
}

/// Something wrong in a policy's `config` that the schema cannot say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer into `config`, as `/patterns/0`.
    pub pointer: String,
    /// What is wrong, with the value.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Every policy type.
pub fn all() -> &'static [PolicyType] {
    &[]
}
