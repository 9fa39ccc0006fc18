//! The metrics, in the OpenMetrics text format.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::names;

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    /// Calls that ended.
    pub calls: Family<CallLabels, Counter>,
    /// Calls in flight.
    pub in_flight: Gauge<i64, AtomicI64>,
    /// From the request to the first byte of the provider's answer.
    pub first_byte: Histogram,
    /// The whole call.
    pub duration: Histogram,
    /// Bytes held back.
    pub held: Gauge<i64, AtomicI64>,
    /// Decisions of policies.
    pub decisions: Family<DecisionLabels, Counter>,
    /// Faults of policies.
    pub faults: Family<PolicyLabels, Counter>,
    /// Policies in shadow mode that were let go before they had decided on everything.
    pub shadows_lost: Family<PolicyLabels, Counter>,
    /// What judges said.
    pub judgements: Family<JudgeLabels, Counter>,
    /// How long they took.
    pub judge_duration: Family<JudgeLabel, Histogram, fn() -> Histogram>,
    /// The tokens that it took.
    pub judge_tokens: Family<JudgeTokenLabels, Counter>,
    /// What they cost.
    pub judge_cost: Family<JudgeLabel, Counter<f64, AtomicU64>>,
    /// Repairs.
    pub repairs: Family<WhatLabels, Counter>,
    /// Tokens.
    pub tokens: Family<TokenLabels, Counter>,
    /// Loads of the rules.
    pub reloads: Family<ResultLabels, Counter>,
    /// What limits turned away.
    pub limited: Family<LimitLabels, Counter>,
    /// Bytes of records that wait for the store.
    pub spool: Gauge<i64, AtomicI64>,
    /// Calls that are not recorded, because there was no room for them.
    pub unrecorded: Counter,
    /// Records that are lost or incomplete.
    pub lost_records: Family<WhyLabels, Counter>,
    /// Records that were written to the store.
    pub stored: Counter,
    /// Times that the store could not be written to.
    pub store_failures: Counter,
}

/// Labels of [`Metrics::lost_records`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WhyLabels {
    /// `no_room`: a part of the record was left out. `disk`: the spool could not be written. `unreadable`: what stands in
    /// the spool cannot be read. `refused`: the store refused it; it stands beside the spool.
    pub why: &'static str,
}

/// Labels of [`Metrics::calls`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// The dialect, or `none` for a call that passed unread.
    pub dialect: &'static str,
    /// The upstream's name; empty where none was chosen.
    pub upstream: String,
    /// How the call ended.
    pub outcome: &'static str,
}

/// Labels of [`Metrics::decisions`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    /// The policy's name.
    pub policy: String,
    /// What was decided on.
    pub on: &'static str,
    /// The decision.
    pub decision: &'static str,
    /// `enforce`, or `shadow`: it has no effect.
    pub mode: &'static str,
}

/// Labels of [`Metrics::faults`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PolicyLabels {
    /// The policy's name.
    pub policy: String,
}

/// Labels of [`Metrics::repairs`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WhatLabels {
    /// What was changed.
    pub what: &'static str,
}

/// Labels of [`Metrics::tokens`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TokenLabels {
    /// The upstream's name.
    pub upstream: String,
    /// `input`, `cached` (part of input) or `output`.
    pub direction: &'static str,
}

/// Labels of [`Metrics::reloads`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabels {
    /// `ok` or `rejected`.
    pub result: &'static str,
}

/// Labels of [`Metrics::judgements`].
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

/// Labels of [`Metrics::judge_tokens`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct JudgeTokenLabels {
    /// The upstream and the model.
    pub judge: String,
    /// `input` or `output`.
    pub direction: &'static str,
}

/// Labels of [`Metrics::limited`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabels {
    /// The limit's name in the configuration.
    pub limit: &'static str,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 18))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(names::PREFIX);
        let seconds = seconds as fn() -> Histogram;
        let metrics = Self {
            calls: Family::default(),
            in_flight: Gauge::default(),
            first_byte: seconds(),
            duration: seconds(),
            held: Gauge::default(),
            decisions: Family::default(),
            faults: Family::default(),
            shadows_lost: Family::default(),
            judgements: Family::default(),
            judge_duration: Family::new_with_constructor(seconds),
            judge_tokens: Family::default(),
            judge_cost: Family::default(),
            repairs: Family::default(),
            tokens: Family::default(),
            reloads: Family::default(),
            limited: Family::default(),
            spool: Gauge::default(),
            unrecorded: Counter::default(),
            lost_records: Family::default(),
            stored: Counter::default(),
            store_failures: Counter::default(),
            registry: Registry::default(),
        };
        registry.register(names::CALLS, "Calls that ended", metrics.calls.clone());
        registry.register(names::CALLS_IN_FLIGHT, "Calls in flight", metrics.in_flight.clone());
        registry.register_with_unit(
            names::TIME_TO_FIRST_BYTE,
            "From the request to the first byte of the provider's answer",
            Unit::Seconds,
            metrics.first_byte.clone(),
        );
        registry.register_with_unit(names::CALL_DURATION, "Whole calls", Unit::Seconds, metrics.duration.clone());
        registry.register_with_unit(names::HELD_BYTES, "Bytes held back", Unit::Bytes, metrics.held.clone());
        registry.register(names::DECISIONS, "Decisions of policies", metrics.decisions.clone());
        registry.register(names::FAULTS, "Faults of policies", metrics.faults.clone());
        registry.register(
            names::SHADOWS_LOST,
            "Policies in shadow mode that were let go before they had decided",
            metrics.shadows_lost.clone(),
        );
        registry.register(names::JUDGEMENTS, "What judges said", metrics.judgements.clone());
        registry.register_with_unit(
            names::JUDGE_DURATION,
            "How long judges took",
            Unit::Seconds,
            metrics.judge_duration.clone(),
        );
        registry.register(names::JUDGE_TOKENS, "Tokens that judges took", metrics.judge_tokens.clone());
        registry.register_with_unit(
            names::JUDGE_COST,
            "What judges cost by the prices in the rules",
            Unit::Other("usd".to_owned()),
            metrics.judge_cost.clone(),
        );
        registry.register(names::REPAIRS, "Changes that keep an answer legal", metrics.repairs.clone());
        registry.register(names::TOKENS, "Tokens that providers reported", metrics.tokens.clone());
        registry.register(names::RULES_RELOADS, "Loads of the rules", metrics.reloads.clone());
        registry.register(names::LIMITED, "Calls that a limit turned away or ended", metrics.limited.clone());
        registry.register_with_unit(
            names::SPOOL,
            "Records that wait for the store",
            Unit::Bytes,
            metrics.spool.clone(),
        );
        registry.register(names::UNRECORDED, "Calls without room to record them", metrics.unrecorded.clone());
        registry.register(names::LOST_RECORDS, "Records that are lost or incomplete", metrics.lost_records.clone());
        registry.register(names::STORED, "Records that were written to the store", metrics.stored.clone());
        registry.register(
            names::STORE_FAILURES,
            "Times that the store could not be written to",
            metrics.store_failures.clone(),
        );
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// All of it, as `application/openmetrics-text`.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut out, &self.registry);
        out
    }

    /// Records are lost or incomplete.
    pub fn lost(&self, why: &'static str, records: usize) {
        self.lost_records.get_or_create(&WhyLabels { why }).inc_by(records as u64);
    }

    /// A limit turned a call away, or ended it.
    pub fn limit_reached(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabels { limit }).inc();
    }
}
