//! The built-in policies, one file or folder each, and the table of them.

mod blocked_content;
mod breaker;
mod command_guard;
mod debug_log;
pub mod http;
mod judge;
mod llm_judge;
mod noop;
pub mod remote;
mod scan;
pub mod site;
mod string_replacement;
mod template;
mod text;
mod tool_filter;
mod tool_judge;
mod uppercase;
mod uppercase_nth_word;

use std::{sync::Arc, time::Duration};

use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::policy::Factory;

use self::site::Site;

/// A policy type that rules can name.
pub struct PolicyType {
    /// As in `type:`.
    pub name: &'static str,
    /// What it does, one line.
    pub summary: &'static str,
    /// The JSON Schema of its `config`.
    pub schema: fn() -> Schema,
    /// The time that one hook has, where the entry does not say; otherwise that of the settings.
    pub timeout: Option<Duration>,
    /// Builds it from a `config` that fits the schema.
    pub build: fn(&Value, &Site<'_>) -> Built,
}

/// A policy that was built, or every problem with its `config` at once.
pub type Built = Result<Arc<dyn Factory>, Vec<Problem>>;

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
    static ALL: &[PolicyType] = &[
        noop::TYPE,
        debug_log::TYPE,
        uppercase::TYPE,
        uppercase_nth_word::TYPE,
        string_replacement::TYPE,
        blocked_content::TYPE,
        tool_filter::TYPE,
        command_guard::TYPE,
        tool_judge::TYPE,
        llm_judge::TYPE,
        remote::TYPE,
    ];
    ALL
}

impl Problem {
    /// A problem with its place and its remedy.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into(), remedy: remedy.into() }
    }
}

/// The schema of a policy's settings.
fn schema<C: JsonSchema>() -> Schema {
    schema_for!(C)
}

/// Reads a policy's settings and builds it from them.
fn build<C: DeserializeOwned>(config: &Value, build: impl FnOnce(C) -> Built) -> Built {
    match C::deserialize(config) {
        Ok(config) => build(config),
        Err(error) => Err(vec![Problem::new("", error.to_string(), "see the schema of this policy's config")]),
    }
}

/// A policy that needs no settings.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoSettings {}
