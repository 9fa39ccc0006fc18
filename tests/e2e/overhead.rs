//! What telemetry costs: the gateway's own work for a call, with traces and without. A measurement, run by `make overhead`.

use std::sync::atomic::Ordering;

use crate::{
    common::streams::Dialect,
    fakes::{collector::Collector, provider::Provider, script::Script},
    harness::{
        SOON,
        client::{Request, Version},
        gateway::{Builder, Gateway},
        samples, within,
    },
};

/// Pairs of rounds, one without traces and one with.
const ROUNDS: usize = 15;
/// Calls in a round.
const CALLS: u32 = 200;
/// The most that telemetry may multiply the gateway's own work by.
const MOST: f64 = 1.15;

/// The sum and the number of what a histogram has observed.
async fn observed(gateway: &Gateway) -> (f64, f64) {
    let metrics = gateway.admin(Request::new("GET", "/metrics")).await.text();
    let read = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    };
    (read("luthien_overhead_seconds_sum "), read("luthien_overhead_seconds_count "))
}

/// The gateway's own work for a call, in seconds, on average over a round.
async fn round(gateway: &Gateway) -> f64 {
    let (sum, count) = observed(gateway).await;
    for _ in 0..CALLS {
        let answer = gateway.call(Version::Http1, Request::stream(Dialect::Anthropic)).await;
        assert_eq!(answer.status, 200);
    }
    let all = async {
        loop {
            let (now, calls) = observed(gateway).await;
            if calls - count >= f64::from(CALLS) {
                return (now - sum) / f64::from(CALLS);
            }
        }
    };
    within(SOON, "the end of every call", all).await
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::test]
#[ignore = "a measurement: make overhead"]
async fn traces_cost_little() {
    let (provider, (collector, spans)) = (Provider::start().await, Collector::counting().await);
    let words = ["Once ", "upon ", "a ", "time "].repeat(10);
    provider.otherwise(Script::sse_in_pieces(samples::text(Dialect::Anthropic, &words).as_bytes(), 400));
    let policy = "policies:\n  - { name: words, type: string_replacement, config: { replacements: { upon: above } } }\n  \
                  - { name: tools, type: command_guard }\n";
    let gateway = || Gateway::with(&provider).policy(policy);
    let traced = |builder: Builder| {
        builder.settings(&format!("telemetry: {{ traces: {{ endpoint: \"{}\" }} }}", collector.endpoint()))
    };
    let (off, on) = (gateway().start().await, traced(gateway()).start().await);
    round(&off).await;
    round(&on).await;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(round(&off).await);
        with.push(round(&on).await);
    }
    let (spans, calls) = (spans.load(Ordering::Relaxed), (ROUNDS + 1) * CALLS as usize);
    assert!(spans > calls, "{spans} spans of {calls} calls");
    let ratios = without.iter().zip(&with).map(|(without, with)| with / without).collect();
    let (without, with, ratio) = (median(without) * 1e6, median(with) * 1e6, median(ratios));
    println!("own work of a call: {without:.0} µs without traces, {with:.0} µs with them, median ratio {ratio:.3}");
    assert!(ratio <= MOST, "traces cost more than {MOST} times");
    off.stop().await;
    on.stop().await;
}
