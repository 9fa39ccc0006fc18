//! What `policy.yaml` says, as types. One field is one key; the doc comment is the reference text.
//!
//! [`compile`](super::compile::compile) makes of it what runs.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{recording::Record, settings::Dialect, units::Duration};
use crate::{model::conversation as model, policy};

/// The rules: which policies run on which calls, in which order.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RulesDocument {
    /// Version of this document's format. Only 1 exists.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// When the tool calls of one answer are released.
    #[serde(default)]
    pub release: Release,
    /// What is done with a field of a request that the dialect of the provider does not have. Absent: hints are left out,
    /// and a request that would mean something else without the field is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lossy: Option<Lossy>,
    /// What is done with requests that rest on what the provider keeps, or have it keep the answer (OpenAI Responses).
    #[serde(default)]
    pub stateful: Stateful,
    /// What is recorded of calls. Default: `recording.level` and `recording.raw` of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// The policies, in the order in which they run; the output of one is the input of the next. With an empty list
    /// every call passes unchanged.
    // Not optional: a file that was cut short while it was written must not switch every policy off.
    pub policies: Vec<PolicyEntry>,
}

/// When the tool calls of one answer are released.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// Each as soon as it is decided.
    #[default]
    Block,
    /// All together, when all of them are decided.
    Turn,
}

/// What is done with a field that another dialect does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lossy {
    /// It is left out, and the answer names it in `x-luthien-dropped`.
    Drop,
    /// The request is refused, also for a hint.
    Refuse,
}

/// What is done with requests that rest on what the provider keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stateful {
    /// They pass. What a policy changed in an answer that the provider keeps is told in the log.
    #[default]
    Allow,
    /// The provider is told to keep nothing (`store: false`); a request that rests on what it keeps is refused.
    RequireStateless,
    /// Only requests pass that say `store: false` and rest on nothing.
    Refuse,
}

/// One policy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyEntry {
    /// Its name in logs, metrics and records. Unique in the document.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The policy type, as `string_replacement`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the type asks for; empty when absent.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Which calls it runs on. Every condition must fit; without conditions it runs on every call.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Whether its decisions take effect.
    #[serde(default)]
    pub mode: Mode,
    /// What happens when it fails.
    #[serde(default)]
    pub on_fault: OnFault,
    /// Time limit of one hook. Default: `timeouts.hook` of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What is recorded of the calls that it runs in, in place of what is recorded of others. Where several that run say
    /// so, the least counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
}

/// Which calls a policy runs on. Each condition is one value or a list of which one must fit.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// The protocol that the client speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<OneOrMany<Dialect>>,
    /// Globs of the model that the client asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<OneOrMany<String>>,
    /// Names of upstreams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<OneOrMany<String>>,
    /// Globs of the request's path, without the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<OneOrMany<String>>,
    /// Globs of the names of client keys. Never fits a client without a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<OneOrMany<String>>,
    /// Header names, each with a regular expression of its value. All must fit.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub header: IndexMap<String, String>,
    /// A CEL expression over `call` that is true or false, as `call.model.startsWith("claude-")`. Must be true besides the
    /// other conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub when: Option<String>,
    /// Globs of tool names. Chooses tool calls, not calls: the policy sees only those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<OneOrMany<String>>,
}

/// One value or a list of values.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(#[schemars(length(min = 1))] Vec<T>),
}

/// Whether a policy's decisions take effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are recorded only; nothing is changed.
    Shadow,
}

/// What happens when a policy fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFault {
    /// The call ends with an error.
    #[default]
    Closed,
    /// The policy is skipped for the rest of the call.
    Open,
}

impl<T> OneOrMany<T> {
    /// The values.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl From<Lossy> for model::Lossy {
    fn from(lossy: Lossy) -> Self {
        match lossy {
            Lossy::Drop => Self::Drop,
            Lossy::Refuse => Self::Refuse,
        }
    }
}

impl From<Stateful> for policy::Stateful {
    fn from(stateful: Stateful) -> Self {
        match stateful {
            Stateful::Allow => Self::Allow,
            Stateful::RequireStateless => Self::RequireStateless,
            Stateful::Refuse => Self::Refuse,
        }
    }
}

impl From<Release> for policy::Release {
    fn from(release: Release) -> Self {
        match release {
            Release::Block => Self::Block,
            Release::Turn => Self::Turn,
        }
    }
}

impl From<Mode> for policy::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforce,
            Mode::Shadow => Self::Shadow,
        }
    }
}

impl From<OnFault> for policy::OnFault {
    fn from(on_fault: OnFault) -> Self {
        match on_fault {
            OnFault::Closed => Self::Closed,
            OnFault::Open => Self::Open,
        }
    }
}

fn one() -> u32 {
    1
}
