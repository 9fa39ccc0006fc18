//! The metrics, in the OpenMetrics text format and in the one that came before it.

mod buckets;
mod changes;
mod collect;
mod labels;
mod models;
mod text;

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
};

pub use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Metric, Registry, Unit},
};

use self::collect::{Breakers, Process, Tasks};
pub use self::{
    changes::Changes,
    collect::Circuits,
    labels::{
        CallLabels, DecisionLabels, DirectionLabels, HashLabels, HookLabels, JudgeLabel, JudgeLabels, JudgeTokenLabels,
        LimitLabels, ModelLabels, PolicyLabels, ResultLabels, RotationLabels, SecretLabels, TargetLabels, TokenLabels,
        UpstreamLabels, VersionLabels, WaitLabels, WhatLabels, WhyLabels,
    },
    models::{Models, OTHER},
};
use super::{names, stopwatch::Times};

/// Histograms, one for each set of labels.
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything that is counted and measured.
pub struct Metrics {
    registry: Registry,
    /// Which models are told apart.
    pub models: Models,
    /// Calls that ended.
    pub calls: Family<CallLabels, Counter>,
    /// Calls in flight.
    pub in_flight: Gauge<i64, AtomicI64>,
    /// From the request to the first byte of the provider's answer.
    pub first_byte: Histograms<ModelLabels>,
    /// The whole call.
    pub call_duration: Histograms<ModelLabels>,
    /// Work of the gateway's own for a call.
    pub overhead: Histogram,
    /// What a call waited for.
    pub call_wait: Histograms<WaitLabels>,
    /// Work of the gateway's own for a message that carries a chunk.
    pub chunk_overhead: Histograms<DirectionLabels>,
    /// From one chunk of a provider's stream to the next.
    pub chunk_gap: Histograms<UpstreamLabels>,
    /// Bytes held back.
    pub held: Gauge<i64, AtomicI64>,
    /// Decisions of policies.
    pub decisions: Family<DecisionLabels, Counter>,
    /// Faults of policies.
    pub faults: Family<PolicyLabels, Counter>,
    /// How long hooks of policies took.
    pub policy_duration: Histograms<HookLabels>,
    /// Policies in shadow mode that were let go before they had decided on everything.
    pub shadows_lost: Family<PolicyLabels, Counter>,
    /// What judges said.
    pub judgements: Family<JudgeLabels, Counter>,
    /// How long they took.
    pub judge_duration: Histograms<JudgeLabel>,
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
    /// Whether the rules document was refused, so that older rules are in force.
    pub rules_rejected: Gauge<i64, AtomicI64>,
    /// Whether the source of the rules cannot be asked.
    pub rules_source_failing: Gauge<i64, AtomicI64>,
    /// The rules in force; see [`Metrics::rules_are`].
    rules_info: Family<HashLabels, Gauge<i64, AtomicI64>>,
    /// What changes while the process runs.
    pub changes: Changes,
    /// What limits turned away.
    pub limited: Family<LimitLabels, Counter>,
    /// Bytes of records that wait for the store.
    pub spool: Gauge<i64, AtomicI64>,
    /// The most of them that there may be.
    pub spool_limit: Gauge<i64, AtomicI64>,
    /// Calls that are not recorded, because there was no room for them.
    pub unrecorded: Counter,
    /// Records that are lost or incomplete.
    pub lost_records: Family<WhyLabels, Counter>,
    /// Records that were written to the store.
    pub stored: Counter,
    /// Times that the store could not be written to.
    pub store_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Models::default(), Box::new(Vec::new))
    }
}

impl Metrics {
    /// Metrics that tell `models` apart, and ask `circuits` who is not to be asked.
    pub fn new(models: Models, circuits: Circuits) -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(Process));
        let own = root.sub_registry_with_prefix(names::PREFIX);
        own.register_collector(Box::new(Breakers(circuits)));
        own.register_collector(Box::new(Tasks));
        let build: Family<VersionLabels, Gauge> = Family::default();
        build.get_or_create(&VersionLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        own.register(names::BUILD_INFO, "The program, always 1", build);
        let (seconds, bytes) = (Some(Unit::Seconds), Some(Unit::Bytes));
        let (seconds, bytes, usd) = (seconds.as_ref(), bytes.as_ref(), Unit::Other("usd".to_owned()));
        Self {
            models,
            calls: add(own, names::CALLS, "Calls that ended", None, Family::default()),
            in_flight: add(own, names::CALLS_IN_FLIGHT, "Calls in flight", None, Gauge::default()),
            first_byte: add(
                own,
                names::TIME_TO_FIRST_BYTE,
                "From the request to the first byte of the provider's answer",
                seconds,
                histograms(buckets::answers),
            ),
            call_duration: add(own, names::CALL_DURATION, "Whole calls", seconds, histograms(buckets::calls)),
            overhead: add(own, names::OVERHEAD, "Work of the gateway's own for a call", seconds, buckets::work()),
            call_wait: add(own, names::CALL_WAIT, "What a call waited for", seconds, histograms(buckets::calls)),
            chunk_overhead: add(
                own,
                names::CHUNK_OVERHEAD,
                "Work of the gateway's own for a chunk",
                seconds,
                histograms(buckets::chunks),
            ),
            chunk_gap: add(
                own,
                names::CHUNK_GAP,
                "From one chunk of a provider's stream to the next",
                seconds,
                histograms(buckets::gaps),
            ),
            held: add(own, names::HELD_BYTES, "Bytes held back", bytes, Gauge::default()),
            decisions: add(own, names::DECISIONS, "Decisions of policies", None, Family::default()),
            faults: add(own, names::FAULTS, "Faults of policies", None, Family::default()),
            policy_duration: add(
                own,
                names::POLICY_DURATION,
                "How long hooks of policies took",
                seconds,
                histograms(buckets::hooks),
            ),
            shadows_lost: add(
                own,
                names::SHADOWS_LOST,
                "Policies in shadow mode that were let go before they had decided",
                None,
                Family::default(),
            ),
            judgements: add(own, names::JUDGEMENTS, "What judges said", None, Family::default()),
            judge_duration: add(
                own,
                names::JUDGE_DURATION,
                "How long judges took",
                seconds,
                histograms(buckets::answers),
            ),
            judge_tokens: add(own, names::JUDGE_TOKENS, "Tokens that judges took", None, Family::default()),
            judge_cost: add(
                own,
                names::JUDGE_COST,
                "What judges cost by the prices in the rules",
                Some(&usd),
                Family::default(),
            ),
            repairs: add(own, names::REPAIRS, "Changes that keep an answer legal", None, Family::default()),
            tokens: add(own, names::TOKENS, "Tokens that providers reported", None, Family::default()),
            reloads: add(own, names::RULES_RELOADS, "Loads of the rules", None, Family::default()),
            rules_rejected: add(own, names::RULES_REJECTED, "1: rules were refused", None, Gauge::default()),
            rules_source_failing: add(own, names::RULES_SOURCE_FAILING, "1: nobody answers", None, Gauge::default()),
            rules_info: add(own, names::RULES_INFO, "The rules in force", None, Family::default()),
            changes: Changes::register(own),
            limited: add(own, names::LIMITED, "Calls that a limit turned away or ended", None, Family::default()),
            spool: add(own, names::SPOOL, "Records that wait for the store", bytes, Gauge::default()),
            spool_limit: add(own, names::SPOOL_LIMIT, "The most that may wait for the store", bytes, Gauge::default()),
            unrecorded: add(own, names::UNRECORDED, "Calls without room to record them", None, Counter::default()),
            lost_records: add(own, names::LOST_RECORDS, "Records that are lost or incomplete", None, Family::default()),
            stored: add(own, names::STORED, "Records that were written to the store", None, Counter::default()),
            store_failures: add(
                own,
                names::STORE_FAILURES,
                "Times that the store could not be written to",
                None,
                Counter::default(),
            ),
            registry: root,
        }
    }

    /// All of it, as `application/openmetrics-text`.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut out, &self.registry);
        out
    }

    /// All of it, in the text format that came before.
    pub fn encode_older(&self) -> String {
        text::older(&self.encode())
    }

    /// A call is over, and this is where its time went.
    pub fn timed(&self, upstream: &str, model: Arc<str>, times: &Times) {
        let labels = ModelLabels { upstream: upstream.to_owned(), model };
        self.call_duration.get_or_create(&labels).observe(times.all().as_secs_f64());
        self.overhead.observe(times.own.as_secs_f64());
        for (on, wait) in times.waits() {
            self.call_wait.get_or_create(&WaitLabels { on: on.name() }).observe(wait.as_secs_f64());
        }
    }

    /// The rules in force have this hash.
    pub fn rules_are(&self, hash: &str) {
        let labels = HashLabels { hash: hash.to_owned() };
        // Those that were in force before are not told any more.
        if self.rules_info.get(&labels).is_none() {
            self.rules_info.clear();
        }
        self.rules_info.get_or_create(&labels).set(1);
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

/// Registers a metric.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, unit: Option<&Unit>, metric: M) -> M {
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit.clone(), metric.clone()),
        None => registry.register(name, help, metric.clone()),
    }
    metric
}

fn histograms<L: Clone + Eq + Hash>(new: fn() -> Histogram) -> Histograms<L> {
    Family::new_with_constructor(new)
}

#[cfg(test)]
mod tests;
