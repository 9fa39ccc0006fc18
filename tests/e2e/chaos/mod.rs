//! Faults on purpose: every part is killed, stopped and confused, alone and in pairs, in a chosen phase of calls, and then the
//! books of clients, provider, judge and store are held against each other.
//!
//! What is struck, and when, is dealt from a seed. `make chaos` makes long runs of it.

mod call;
mod check;
mod forged;
mod ledger;
mod load;
mod parts;
mod plan;
mod report;
mod run;

use std::time::{Duration, Instant};

use self::{
    check::Rule,
    ledger::Kind,
    parts::Mode,
    plan::{Fault, Part, Phase, Round, Strike},
    report::Report,
    run::Run,
};

/// Makes a run of these rounds, and says which, so that it can be made again.
async fn run(mode: Mode, rounds: impl IntoIterator<Item = Round>) -> Report {
    let began = Instant::now();
    let mut run = Run::start(mode).await;
    for round in rounds {
        println!("{:6.1?} {round}", began.elapsed());
        run.round(&round).await;
    }
    run.finish(mode).await
}

/// A part of the few rounds of this seed, without a violation.
async fn brief(seed: u64, rounds: std::ops::Range<usize>) {
    let seed = seed_or(seed);
    println!("LUTHIEN_CHAOS_SEED={seed}");
    let rounds = plan::brief(seed).into_iter().skip(rounds.start).take(rounds.len());
    let report = run(Mode::Enforce, rounds).await;
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.ended(Kind::Success) > 0, "{report}");
}

/// The seed that was asked for.
fn seed_or(otherwise: u64) -> u64 {
    number("LUTHIEN_CHAOS_SEED").unwrap_or(otherwise)
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty())?.into_string().expect("a text");
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_every_part_break_no_promise_at_first() {
    brief(1, 0..5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_every_part_break_no_promise_at_last() {
    brief(1, 5..9).await;
}

/// Where policies only look on, the run has to find what they let pass: else its silence would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_policy_keeps_back_is_found() {
    let strikes = vec![Strike { part: Part::Redis, fault: Fault::Kill }];
    let round = Round { phase: Phase::Text, strikes, heals_backwards: false, is_long: false, seed: 1 };
    let report = run(Mode::Shadow, [round]).await;
    let found = report.violations.iter().filter(|violation| violation.rule == Rule::Unfiltered).count();
    assert!(found >= 6, "{report}");
}

/// The same where judges that are away do not keep calls from passing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_judged_is_found() {
    let strikes = vec![Strike { part: Part::Judge, fault: Fault::Kill }];
    // Judges are asked again until the time for it is over.
    let round = Round { phase: Phase::Held, strikes, heals_backwards: false, is_long: true, seed: 1 };
    let report = run(Mode::Open, [round]).await;
    assert!(report.violations.iter().any(|violation| violation.rule == Rule::NotJudged), "{report}");
}

/// The long run of `make chaos`: a run for each seed, which strikes with everything, until the time is over or the rounds are made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as it is told to; `make chaos`"]
async fn long_run() {
    let seed = seed_or(1);
    let most = number("LUTHIEN_CHAOS_ROUNDS").map(|rounds| usize::try_from(rounds).expect("a number of rounds"));
    let span = number("LUTHIEN_CHAOS_SECONDS").or(most.is_none().then_some(600)).map(Duration::from_secs);
    let began = Instant::now();
    let goes_on = |made: usize| most.is_none_or(|most| made < most) && span.is_none_or(|span| began.elapsed() < span);
    let (mut total, mut made) = (Report::default(), 0);
    for seed in seed.. {
        if !goes_on(made) {
            break;
        }
        println!("SEED={seed} ROUNDS={}", plan::ALL);
        let rounds = plan::endless(seed).take(plan::ALL).take_while(|_| {
            let goes_on = goes_on(made);
            made += usize::from(goes_on);
            goes_on
        });
        let report = run(Mode::Enforce, rounds).await;
        if !report.violations.is_empty() {
            println!("with SEED={seed}:\n{report}");
        }
        total.add(report);
    }
    println!("{total}");
    let mut json = total.json();
    json["seed"] = seed.into();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::write(folder.join("chaos.json"), format!("{json:#}\n")).expect("target can be written");
    assert!(total.violations.is_empty(), "{} violations", total.violations.len());
}
