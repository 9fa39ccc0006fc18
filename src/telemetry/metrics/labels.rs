//! The labels of the metrics, each set a type. None takes what a client chooses: a model only by the name that
//! [`Models`](super::models::Models) gives it.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;

/// Labels of [`Metrics::calls`](super::Metrics::calls).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// The dialect, or `none` for a call that passed unread.
    pub dialect: &'static str,
    /// The upstream's name; empty where none was chosen.
    pub upstream: String,
    /// The model that the client asked for, as metrics name it.
    pub model: Arc<str>,
    /// How the call ended.
    pub outcome: &'static str,
}

/// A provider and a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModelLabels {
    /// The upstream's name; empty where none was chosen.
    pub upstream: String,
    /// The model that the client asked for, as metrics name it.
    pub model: Arc<str>,
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UpstreamLabels {
    /// The upstream's name.
    pub upstream: String,
}

/// Labels of [`Metrics::tokens`](super::Metrics::tokens).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TokenLabels {
    /// The upstream's name.
    pub upstream: String,
    /// The model that the client asked for, as metrics name it.
    pub model: Arc<str>,
    /// `input`, `cached` (part of input) or `output`.
    pub direction: &'static str,
}

/// Labels of [`Metrics::chunk_overhead`](super::Metrics::chunk_overhead).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DirectionLabels {
    /// `request` or `response`.
    pub direction: &'static str,
}

/// Labels of [`Metrics::call_wait`](super::Metrics::call_wait).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WaitLabels {
    /// `client`, `policies`, `provider` or `record`.
    pub on: &'static str,
}

/// Labels of [`Metrics::decisions`](super::Metrics::decisions).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    /// The policy's name.
    pub policy: Arc<str>,
    /// What was decided on.
    pub on: &'static str,
    /// The decision.
    pub decision: &'static str,
    /// `enforce`, or `shadow`: it has no effect.
    pub mode: &'static str,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PolicyLabels {
    /// The policy's name.
    pub policy: Arc<str>,
}

/// Labels of [`Metrics::policy_duration`](super::Metrics::policy_duration).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HookLabels {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The hook, as the trait calls it.
    pub hook: &'static str,
}

/// Labels of [`Metrics::judgements`](super::Metrics::judgements).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct JudgeLabels {
    /// Who was asked: the upstream and the model.
    pub judge: String,
    /// `allow`, `block`, `replace` or `fault`.
    pub verdict: &'static str,
    /// `true`: it was known from before.
    pub cached: &'static str,
}

/// A judge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct JudgeLabel {
    /// The upstream and the model.
    pub judge: String,
}

/// Labels of [`Metrics::judge_tokens`](super::Metrics::judge_tokens).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct JudgeTokenLabels {
    /// The upstream and the model.
    pub judge: String,
    /// `input` or `output`.
    pub direction: &'static str,
}

/// Labels of `luthien_circuit_open`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TargetLabels {
    /// Who is asked, as the settings name it.
    pub target: String,
}

/// Labels of [`Metrics::repairs`](super::Metrics::repairs).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WhatLabels {
    /// What was changed.
    pub what: &'static str,
}

/// Labels of [`Metrics::reloads`](super::Metrics::reloads).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabels {
    /// `ok` or `rejected`.
    pub result: &'static str,
}

/// Labels of `luthien_rules_info`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HashLabels {
    /// Hash of the rules.
    pub hash: String,
}

/// Labels of [`Changes::rotations`](super::Changes::rotations).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RotationLabels {
    /// Where the settings name the file, as `upstreams[0].credentials`.
    pub key: String,
    /// `ok` or `rejected`.
    pub result: &'static str,
}

/// Labels of [`Changes::rotation_failing`](super::Changes::rotation_failing).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SecretLabels {
    /// Where the settings name the file, as `upstreams[0].credentials`.
    pub key: String,
}

/// Labels of [`Metrics::limited`](super::Metrics::limited).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabels {
    /// The limit's name in the configuration.
    pub limit: &'static str,
}

/// Labels of [`Metrics::lost_records`](super::Metrics::lost_records).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WhyLabels {
    /// `no_room`: a part of the record was left out. `disk`: the spool could not be written. `unreadable`: what stands in
    /// the spool cannot be read. `refused`: the store refused it; it stands beside the spool.
    pub why: &'static str,
}

/// Labels of `luthien_build_info`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VersionLabels {
    /// The program's version.
    pub version: &'static str,
}
