//! Rounds: every load on every subject in turn, so that a machine that slows down slows all of them.

use std::{path::Path, time::Duration};

use crate::{
    load::{self, Times},
    plan::{Load, Plan, Subject},
    process::{self, Process},
    subject::{Running, free_port},
};

/// What one load on one subject gave, once.
pub(crate) struct Round {
    pub(crate) load: &'static str,
    pub(crate) subject: Subject,
    pub(crate) times: Times,
    pub(crate) cpu: Cpu,
    /// Resident memory of the processor at its largest, and before, in bytes.
    pub(crate) peak: u64,
    pub(crate) before: u64,
}

/// CPU time of each process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) processor: Duration,
    pub(crate) envoy: Duration,
    pub(crate) provider: Duration,
    pub(crate) client: Duration,
}

impl Cpu {
    fn now(running: &Running, provider: &Process) -> Self {
        Self {
            processor: running.processor.as_ref().map_or(Duration::ZERO, Process::cpu),
            envoy: running.envoy.cpu(),
            provider: provider.cpu(),
            client: process::cpu("self"),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            processor: self.processor.saturating_sub(before.processor),
            envoy: self.envoy.saturating_sub(before.envoy),
            provider: self.provider.saturating_sub(before.provider),
            client: self.client.saturating_sub(before.client),
        }
    }
}

/// Runs the whole plan.
pub(crate) async fn run(plan: &Plan, program: &Path) -> Vec<Round> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = free_port();
    let this = std::env::current_exe().expect("this program has a path");
    let mut provider = Process::start(&this, &["provider", &at.to_string()], folder.path().join("provider.log"));
    let mut subjects = Vec::new();
    for subject in &plan.subjects {
        subjects.push(Running::start(*subject, at, program).await);
    }
    let mut rounds = Vec::new();
    for load in &plan.loads {
        for subject in &mut subjects {
            // Connections, caches and allocators are warm from here on.
            measure(load, subject, &provider).await;
        }
        for number in 0..plan.rounds {
            // Nobody always comes first.
            let first = number % subjects.len();
            subjects.rotate_left(first);
            for subject in &mut subjects {
                rounds.push(measure(load, subject, &provider).await);
                subject.check();
                provider.check();
            }
            subjects.rotate_right(first);
            eprintln!("{}: round {} of {}", load.name, number + 1, plan.rounds);
        }
    }
    rounds
}

async fn measure(load: &Load, running: &Running, provider: &Process) -> Round {
    let before = running.processor.as_ref().map_or(0, |processor| {
        processor.reset_peak();
        processor.memory().0
    });
    let begun = Cpu::now(running, provider);
    let times = load::run(load, running.listen).await;
    let cpu = Cpu::now(running, provider).since(begun);
    let peak = running.processor.as_ref().map_or(0, |processor| processor.memory().1);
    Round { load: load.name, subject: running.subject, times, cpu, peak, before }
}
