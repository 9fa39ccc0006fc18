//! What a run has struck, how calls ended, and what was wrong.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};

use super::{
    check::{Books, Violation, violations},
    ledger::Kind,
    plan::Round,
};

/// A report on one run, or on several.
#[derive(Debug, Default)]
pub(super) struct Report {
    rounds: usize,
    /// By what was struck, alone or not, and the phase.
    struck: BTreeMap<(String, String), usize>,
    /// By the parts of a pair.
    pairs: BTreeMap<String, usize>,
    endings: BTreeMap<Kind, usize>,
    records: usize,
    lost: u64,
    slowest: Duration,
    pub(super) violations: Vec<Violation>,
}

impl Report {
    /// Counts a round.
    pub(super) fn count(&mut self, round: &Round, took: Duration) {
        self.rounds += 1;
        self.slowest = self.slowest.max(took);
        for strike in &round.strikes {
            *self.struck.entry((strike.to_string(), format!("{:?}", round.phase))).or_default() += 1;
        }
        if let [first, second] = round.strikes.as_slice() {
            let (first, second) = (first.part.min(second.part), first.part.max(second.part));
            *self.pairs.entry(format!("{first:?} + {second:?}")).or_default() += 1;
        }
    }

    /// Reads the books.
    pub(super) fn close(&mut self, books: &Books) {
        for account in &books.accounts {
            *self.endings.entry(account.kind()).or_default() += 1;
        }
        self.records = books.stored.len();
        self.lost = books.lost;
        self.violations = violations(books);
    }

    /// Adds another run's.
    pub(super) fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        sum(&mut self.struck, other.struck);
        sum(&mut self.pairs, other.pairs);
        sum(&mut self.endings, other.endings);
        self.records += other.records;
        self.lost += other.lost;
        self.slowest = self.slowest.max(other.slowest);
        self.violations.extend(other.violations);
    }

    /// How many calls ended so.
    pub(super) fn ended(&self, kind: Kind) -> usize {
        self.endings.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        let mut struck: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for ((strike, phase), count) in &self.struck {
            struck.entry(strike).or_default().insert(phase, *count);
        }
        let endings: BTreeMap<String, usize> = self.endings.iter().map(|(kind, n)| (format!("{kind:?}"), *n)).collect();
        json!({
            "rounds": self.rounds,
            "struck": struck,
            "pairs": self.pairs,
            "calls": self.endings.values().sum::<usize>(),
            "endings": endings,
            "records": self.records,
            "lost": self.lost,
            "slowest_round_ms": u64::try_from(self.slowest.as_millis()).unwrap_or(u64::MAX),
            "violations": self.violations.iter().map(Violation::to_string).collect::<Vec<_>>(),
        })
    }
}

fn sum<K: Ord>(all: &mut BTreeMap<K, usize>, more: BTreeMap<K, usize>) {
    for (key, count) in more {
        *all.entry(key).or_default() += count;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} rounds, the slowest took {:.1?}", self.rounds, self.slowest)?;
        writeln!(f, "struck:")?;
        let mut strikes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((strike, phase), count) in &self.struck {
            strikes.entry(strike).or_default().push(format!("{phase} {count}"));
        }
        for (strike, phases) in strikes {
            writeln!(f, "  {strike:<20} {}", phases.join(", "))?;
        }
        let pairs: Vec<String> = self.pairs.iter().map(|(pair, count)| format!("{pair} {count}")).collect();
        writeln!(f, "pairs: {} of 28: {}", pairs.len(), pairs.join(", "))?;
        let endings: Vec<String> = self.endings.iter().map(|(kind, count)| format!("{kind:?} {count}")).collect();
        writeln!(f, "calls: {}, of which {}", self.endings.values().sum::<usize>(), endings.join(", "))?;
        writeln!(f, "records: {}, counted as lost: {}", self.records, self.lost)?;
        writeln!(f, "violations: {}", self.violations.len())?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))
    }
}
