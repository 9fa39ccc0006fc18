//! What the live activity tells, in its public form.

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::model::{Dialect, Usage};

use super::super::{About, Change, Closed, Fact, Milestone};

/// Something that happened. What stands in texts is told only of calls of which everything is recorded, and without
/// credentials.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Event {
    /// When, as in RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    #[schemars(with = "String")]
    pub time: SystemTime,
    /// The replica that told it. Missing where replicas share nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// Luthien's id of the call. Missing where it is about no call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The model that the client asked for. Missing where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type")]
pub enum What {
    /// A call began.
    #[serde(rename = "call.opened")]
    CallOpened {
        /// The client's protocol. Missing where the path has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        dialect: Option<&'static str>,
        /// The path, without the query.
        path: String,
        /// The name of the client's key.
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<String>,
    },
    /// The request is whole.
    #[serde(rename = "request.received")]
    RequestReceived {
        /// The client's id of the conversation.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
        /// Whether a stream was asked for.
        stream: bool,
        /// The length of the body, in bytes.
        bytes: usize,
    },
    /// The request left for the provider.
    #[serde(rename = "request.sent")]
    RequestSent {
        /// The provider.
        upstream: String,
        /// The protocol in which it was asked.
        dialect: &'static str,
        /// Whether it is not what the client sent.
        changed: bool,
        /// The length of the body, in bytes.
        bytes: usize,
    },
    /// The provider's answer began.
    #[serde(rename = "response.started")]
    ResponseStarted {
        /// The HTTP status.
        status: u16,
    },
    /// All of the answer was handed on.
    #[serde(rename = "response.sent")]
    ResponseSent {
        /// The HTTP status.
        status: u16,
        /// Whether a policy changed something of it.
        changed: bool,
    },
    /// A policy runs in a call.
    #[serde(rename = "policy.started")]
    PolicyStarted {
        /// The policy.
        policy: String,
        /// The policy runs in shadow mode.
        shadow: bool,
    },
    /// A policy decided to change something, or would have.
    #[serde(rename = "policy.decided")]
    PolicyDecided {
        /// The policy.
        policy: String,
        /// The kind of the block, or `request`.
        on: &'static str,
        /// The number of the block in the provider's answer, from 0. Missing: it is about none.
        #[serde(skip_serializing_if = "Option::is_none")]
        block: Option<u32>,
        /// `edit`, `drop`, `replace`, `add`, `answer` or `refuse`.
        decision: &'static str,
        /// The policy runs in shadow mode, and it was not done.
        shadow: bool,
    },
    /// A policy failed.
    #[serde(rename = "policy.faulted")]
    PolicyFaulted {
        /// The policy.
        policy: String,
        /// What went wrong.
        error: String,
        /// `open`: the call went on without it. `closed`: the call ended.
        on_fault: &'static str,
    },
    /// A policy told something.
    #[serde(rename = "policy.emitted")]
    PolicyEmitted {
        /// The policy.
        policy: String,
        /// The policy's word for it.
        event: &'static str,
        /// The details. Empty where texts are not recorded.
        fields: Value,
        /// The policy runs in shadow mode.
        shadow: bool,
    },
    /// A judge said something, or could not.
    #[serde(rename = "judge.verdict")]
    JudgeVerdict {
        /// The policy that asked.
        policy: String,
        /// Who was asked: the upstream and the model.
        judge: String,
        /// The kind of the block.
        on: &'static str,
        /// The tool, where it is a call.
        #[serde(skip_serializing_if = "Option::is_none")]
        tool: Option<String>,
        /// `allow`, `block`, `replace` or `fault`.
        verdict: &'static str,
        /// How likely the block breaks the rules, from 0 to 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        probability: Option<f64>,
        /// Why. Missing where texts are not recorded.
        #[serde(skip_serializing_if = "Option::is_none")]
        explanation: Option<String>,
        /// How long it took, in milliseconds.
        duration_ms: u64,
        /// It was known from before.
        cached: bool,
        /// The tokens that it took.
        usage: Tokens,
        /// What they cost, in US dollars.
        #[serde(skip_serializing_if = "Option::is_none")]
        cost_usd: Option<f64>,
        /// The policy runs in shadow mode.
        shadow: bool,
    },
    /// The provider was silent for too long.
    #[serde(rename = "stream.stalled")]
    StreamStalled {
        /// How long, as the client is told.
        error: String,
    },
    /// A call is over.
    #[serde(rename = "call.closed")]
    CallClosed {
        /// How it ended.
        outcome: &'static str,
        /// The HTTP status. 0: there was none.
        status: u16,
        /// The provider. Empty: none was asked.
        upstream: String,
        /// The client's id of the conversation.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
        /// How long it took, in milliseconds.
        duration_ms: u64,
        /// The tokens that the provider reported.
        usage: Tokens,
        /// Hash of the rules.
        rules: String,
    },
    /// New rules are in force.
    #[serde(rename = "rules.reloaded")]
    RulesReloaded {
        /// Their hash.
        rules: String,
    },
    /// New rules were refused; the old ones stay in force.
    #[serde(rename = "rules.rejected")]
    RulesRejected {
        /// The hash of those in force.
        rules: String,
        /// Why.
        error: String,
    },
    /// Events are missing here: more came than whoever listens could take, or it was away for too long.
    #[serde(rename = "gap")]
    Gap {
        /// How many, as far as it is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        missed: Option<u64>,
    },
}

/// Token counts. Missing: not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tokens {
    /// Read, cached ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// Of these, read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// Written, thinking included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
}

impl What {
    /// Every type, as it stands in `type`.
    pub const TYPES: [&str; 15] = [
        "call.opened",
        "request.received",
        "request.sent",
        "response.started",
        "response.sent",
        "policy.started",
        "policy.decided",
        "policy.faulted",
        "policy.emitted",
        "judge.verdict",
        "stream.stalled",
        "call.closed",
        "rules.reloaded",
        "rules.rejected",
        "gap",
    ];

    /// Its type, as it stands in `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CallOpened { .. } => "call.opened",
            Self::RequestReceived { .. } => "request.received",
            Self::RequestSent { .. } => "request.sent",
            Self::ResponseStarted { .. } => "response.started",
            Self::ResponseSent { .. } => "response.sent",
            Self::PolicyStarted { .. } => "policy.started",
            Self::PolicyDecided { .. } => "policy.decided",
            Self::PolicyFaulted { .. } => "policy.faulted",
            Self::PolicyEmitted { .. } => "policy.emitted",
            Self::JudgeVerdict { .. } => "judge.verdict",
            Self::StreamStalled { .. } => "stream.stalled",
            Self::CallClosed { .. } => "call.closed",
            Self::RulesReloaded { .. } => "rules.reloaded",
            Self::RulesRejected { .. } => "rules.rejected",
            Self::Gap { .. } => "gap",
        }
    }

    /// The policy that it is about.
    pub fn policy(&self) -> Option<&str> {
        match self {
            Self::PolicyStarted { policy, .. }
            | Self::PolicyDecided { policy, .. }
            | Self::PolicyFaulted { policy, .. }
            | Self::PolicyEmitted { policy, .. }
            | Self::JudgeVerdict { policy, .. } => Some(policy),
            Self::CallOpened { .. }
            | Self::RequestReceived { .. }
            | Self::RequestSent { .. }
            | Self::ResponseStarted { .. }
            | Self::ResponseSent { .. }
            | Self::StreamStalled { .. }
            | Self::CallClosed { .. }
            | Self::RulesReloaded { .. }
            | Self::RulesRejected { .. }
            | Self::Gap { .. } => None,
        }
    }

    /// What is told of a fact. `None`: nothing; others say it.
    fn of(fact: &Fact, content: bool) -> Option<Self> {
        Some(match fact {
            Fact::Decided { policy, on, block, decision, shadow } => {
                Self::PolicyDecided { policy: policy.to_string(), on, block: *block, decision, shadow: *shadow }
            }
            Fact::Emitted { policy, event, fields, shadow } => {
                let fields = if content { fields.clone() } else { json!({}) };
                Self::PolicyEmitted { policy: policy.to_string(), event, fields, shadow: *shadow }
            }
            Fact::WouldChange { policy, on, before, after } => {
                let side = |change: &Option<Change>| {
                    let change = change.as_ref()?;
                    Some(json!({ "bytes": change.len(), "text": content.then(|| change.text()) }))
                };
                let fields = json!({ "on": on, "before": side(before), "after": side(after) });
                Self::PolicyEmitted { policy: policy.to_string(), event: "would_change", fields, shadow: true }
            }
            Fact::ShadowLost { policy, why } => {
                let fields = json!({ "why": why });
                Self::PolicyEmitted { policy: policy.to_string(), event: "shadow_lost", fields, shadow: true }
            }
            Fact::Judged { policy, judgement, shadow } => Self::JudgeVerdict {
                policy: policy.to_string(),
                judge: judgement.judge.clone(),
                on: judgement.on,
                tool: judgement.tool.clone(),
                verdict: judgement.verdict,
                probability: judgement.probability,
                explanation: content.then(|| judgement.explanation.clone()),
                duration_ms: milliseconds(judgement.took),
                cached: judgement.cached,
                usage: judgement.usage.into(),
                cost_usd: judgement.cost,
                shadow: *shadow,
            },
            Fact::Faulted { policy, error, open } => Self::PolicyFaulted {
                policy: policy.to_string(),
                error: error.clone(),
                on_fault: if *open { "open" } else { "closed" },
            },
            Fact::Dropped { .. } | Fact::Repaired { .. } => return None,
        })
    }

    /// What is told of a milestone. `None`: nothing; others say it.
    fn at(milestone: &Milestone) -> Option<Self> {
        Some(match milestone {
            Milestone::Opened { dialect, path, client } => {
                Self::CallOpened { dialect: dialect.map(Dialect::name), path: path.clone(), client: client.clone() }
            }
            Milestone::Received { session, stream, bytes } => {
                Self::RequestReceived { session_id: session.clone(), stream: *stream, bytes: *bytes }
            }
            Milestone::Began { policy, shadow } => Self::PolicyStarted { policy: policy.to_string(), shadow: *shadow },
            Milestone::Sent { upstream, dialect, changed, bytes } => Self::RequestSent {
                upstream: upstream.clone(),
                dialect: dialect.name(),
                changed: *changed,
                bytes: *bytes,
            },
            Milestone::Answering { status } => Self::ResponseStarted { status: *status },
            Milestone::Answered { status, changed } => Self::ResponseSent { status: *status, changed: *changed },
            Milestone::Failed { error, outcome: "stalled", .. } => Self::StreamStalled { error: error.clone() },
            Milestone::Closed(closed) => {
                let Closed { upstream, session, status, outcome, duration, usage, rules, .. } = &**closed;
                Self::CallClosed {
                    outcome,
                    status: *status,
                    upstream: upstream.clone(),
                    session_id: session.clone(),
                    duration_ms: milliseconds(*duration),
                    usage: (*usage).into(),
                    rules: rules.clone(),
                }
            }
            Milestone::FieldsDropped { .. }
            | Milestone::KeptUnchanged
            | Milestone::Refused { .. }
            | Milestone::Failed { .. } => return None,
        })
    }
}

impl Event {
    /// Something that happened now, to no call.
    pub fn now(what: What) -> Self {
        Self { time: SystemTime::now(), replica: None, call_id: None, model: None, what }
    }

    /// Something that happened within a call now.
    pub(super) fn of(about: &About, fact: &Fact) -> Option<Self> {
        What::of(fact, about.content).map(|what| Self::about(about, what))
    }

    /// A call came to this now.
    pub(super) fn at(about: &About, milestone: &Milestone) -> Option<Self> {
        What::at(milestone).map(|what| Self::about(about, what))
    }

    fn about(about: &About, what: What) -> Self {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self { call_id: known(&about.call), model: known(&about.model), ..Self::now(what) }
    }
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        Self { input: usage.input, cached: usage.cached, output: usage.output }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}
