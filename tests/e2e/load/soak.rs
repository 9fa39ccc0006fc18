//! Calls of every kind for a long time: what the gateway takes stays what it was, and in the end nothing is left.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    MIB, quiet, span,
    traffic::{Call, Kind, LARGEST, Lot, rules, teach},
};
use crate::{
    fakes::provider::Provider,
    harness::{gateway::Gateway, process::Usage, within},
};

/// Clients that make call after call.
const CLIENTS: u64 = 24;
/// How much more the last intervals may take than the first, as a part and in bytes: caches fill, and the allocator keeps what
/// one call needed.
const TOLERANCE: (f64, f64) = (0.20, 24.0 * MIB as f64);
/// Connections to Luthien and the provider that Envoy may keep more than before.
const FEW: usize = 40;

/// What was seen at one moment.
#[derive(Debug, Clone, Serialize)]
struct Sample {
    seconds: f64,
    luthien: Usage,
    envoy: Usage,
    in_flight: f64,
    held: f64,
    tasks: f64,
    spool: f64,
}

/// What is written to `target/soak.json`.
#[derive(Debug, Serialize)]
struct Report {
    seed: u64,
    seconds: u64,
    calls: BTreeMap<String, usize>,
    /// Growth of resident memory by least squares, in MiB a minute.
    luthien_slope: f64,
    envoy_slope: f64,
    /// Once everything is quiet: after the first part, and at the end.
    before: Sample,
    after: Sample,
    samples: Vec<Sample>,
}

async fn sample(gateway: &Gateway, began: Instant) -> Sample {
    let [luthien, envoy] = gateway.usage();
    Sample {
        seconds: began.elapsed().as_secs_f64(),
        luthien,
        envoy,
        in_flight: gateway.metric("luthien_calls_in_flight").await,
        held: gateway.metric("luthien_held_bytes").await,
        tasks: gateway.metric("luthien_tasks").await,
        spool: gateway.metric("luthien_spool_bytes").await,
    }
}

/// Lets clients make calls for a while, and looks at the gateway meanwhile. Adds to what was made.
async fn traffic(
    gateway: &Gateway,
    (seed, span, began): (u64, Duration, Instant),
    made: &Arc<Mutex<BTreeMap<Kind, usize>>>,
) -> Vec<Sample> {
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (address, done, made) = (gateway.listen(), Arc::clone(&done), Arc::clone(made));
        clients.spawn(async move {
            let mut lot = Lot(seed ^ (number << 32));
            while !done.load(Ordering::Relaxed) {
                let call = Call::by_lot(&mut lot);
                call.make(address).await.unwrap();
                *made.lock().unwrap().entry(call.kind).or_default() += 1;
            }
        });
    }
    let (mut samples, ends) = (Vec::new(), Instant::now() + span);
    while Instant::now() < ends {
        tokio::select! {
            () = tokio::time::sleep(span / 40) => samples.push(sample(gateway, began).await),
            Some(ended) = clients.join_next() => panic!("with seed {seed}: {:?}", ended.err()),
        }
    }
    done.store(true, Ordering::Relaxed);
    let all = async {
        while clients.join_next().await.transpose().unwrap_or_else(|e| panic!("with seed {seed}: {e:?}")).is_some() {}
    };
    within(Duration::from_mins(2), "the last calls", all).await;
    samples
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// By least squares, for each unit of time.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let up: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let along: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    up / along
}

/// Holds the last third of the samples to the first, and returns the growth in MiB a minute.
fn flat(name: &str, samples: &[Sample], memory: impl Fn(&Sample) -> u64) -> f64 {
    let values: Vec<f64> = samples.iter().map(|sample| memory(sample) as f64).collect();
    let third = values.len() / 3;
    let (first, last) = (median(values[..third].to_vec()), median(values[values.len() - third..].to_vec()));
    println!("  {name}: {:.0} MiB in the first third, {:.0} MiB in the last", first / MIB as f64, last / MIB as f64);
    assert!(last <= first * (1.0 + TOLERANCE.0) + TOLERANCE.1, "{name} grew from {first} to {last} bytes");
    slope(&samples.iter().map(|sample| (sample.seconds / 60.0, memory(sample) as f64 / MIB as f64)).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_every_kind_leave_nothing_behind() {
    let seed = std::env::var_os("LUTHIEN_SEED")
        .map_or(8, |seed| seed.to_str().and_then(|seed| seed.parse().ok()).expect("LUTHIEN_SEED is a number"));
    let span = span().unwrap_or(Duration::from_secs(16));
    let provider = Provider::start().await;
    provider.forget();
    teach(&provider);
    // Nobody but who is meant to falls silent, however busy the machine is.
    let upstream = |name: &str, models: &str, stall: &str| {
        format!(
            "- {{ name: {name}, url: \"{}\", models: [\"{models}\"], timeouts: {{ stall: {stall} }}, dialects: [openai_chat, \
             openai_responses, anthropic_messages] }}\n",
            provider.url()
        )
    };
    let upstreams = upstream("silent", "Stalls-*", "1s") + &upstream("fake", "*", "10m");
    let settings = format!("limits: {{ request_body: {LARGEST}B }}\ntimeouts: {{ keepalive: 10m, drain: 5s }}");
    let gateway = Gateway::with(&provider).upstreams(&upstreams).policy(&rules()).settings(&settings).start().await;
    let (began, made) = (Instant::now(), Arc::default());
    // Caches fill, rings come round, and the allocator learns what it has to keep.
    traffic(&gateway, (seed, span / 4, began), &made).await;
    quiet(&gateway).await;
    let before = sample(&gateway, began).await;
    let samples = traffic(&gateway, (seed + 1, span, began), &made).await;
    quiet(&gateway).await;
    let settled = gateway.metric_is("luthien_tasks", |tasks| tasks <= before.tasks + FEW as f64);
    settled.await;
    let after = sample(&gateway, began).await;
    let made = made.lock().unwrap().clone();
    println!("seed {seed}, {} calls: {made:?}", made.values().sum::<usize>());
    let luthien_slope = flat("Luthien", &samples, |sample| sample.luthien.memory);
    let envoy_slope = flat("Envoy", &samples, |sample| sample.envoy.memory);
    println!(
        "  slopes: {luthien_slope:.2} and {envoy_slope:.2} MiB a minute\n  quiet before: {before:?}\n  quiet after: {after:?}"
    );
    let calls = made.iter().map(|(kind, count)| (format!("{kind:?}"), *count)).collect();
    let (before_files, after_files) =
        ((before.luthien.files, before.envoy.files), (after.luthien.files, after.envoy.files));
    let report = Report { seed, seconds: span.as_secs(), calls, luthien_slope, envoy_slope, before, after, samples };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/soak.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&report).unwrap()).unwrap();
    println!("  report: {}", path.display());
    assert!(made.len() == Kind::ALL.len(), "some kind was never made: {made:?}");
    assert!(
        after_files.0 <= before_files.0 + FEW && after_files.1 <= before_files.1 + FEW,
        "{before_files:?} {after_files:?}"
    );
    let output = gateway.output();
    assert!(!output.contains("panicked") && !output.contains("a call panicked"), "{output}");
    gateway.stop().await;
}
