//! What is registered, against what is documented.

use std::{collections::BTreeMap, time::Duration};

use super::*;

/// Metrics that have all been counted, so that each is told.
fn filled() -> Metrics {
    let metrics = Metrics::new(Models::default(), Box::new(|| vec![("upstream:a".to_owned(), true)]));
    let (upstream, model, policy, judge) = (|| "a".to_owned(), || "m".into(), || "p".into(), || "j".to_owned());
    let calls = CallLabels { dialect: "d", upstream: upstream(), model: model(), outcome: "o" };
    metrics.calls.get_or_create(&calls).inc();
    metrics.first_byte.get_or_create(&ModelLabels { upstream: upstream(), model: model() }).observe(1.0);
    metrics.timed("a", model(), &Times::default());
    metrics.chunk_overhead.get_or_create(&DirectionLabels { direction: "request" }).observe(1.0);
    metrics.chunk_gap.get_or_create(&UpstreamLabels { upstream: upstream() }).observe(1.0);
    let decision = DecisionLabels { policy: policy(), on: "text", decision: "edit", mode: "enforce" };
    metrics.decisions.get_or_create(&decision).inc();
    metrics.faults.get_or_create(&PolicyLabels { policy: policy() }).inc();
    metrics.policy_duration.get_or_create(&HookLabels { policy: policy(), hook: "on_block" }).observe(1.0);
    metrics.shadows_lost.get_or_create(&PolicyLabels { policy: policy() }).inc();
    metrics.judgements.get_or_create(&JudgeLabels { judge: judge(), verdict: "allow", cached: "true" }).inc();
    metrics.judge_duration.get_or_create(&JudgeLabel { judge: judge() }).observe(1.0);
    metrics.judge_tokens.get_or_create(&JudgeTokenLabels { judge: judge(), direction: "input" }).inc();
    metrics.judge_cost.get_or_create(&JudgeLabel { judge: judge() }).inc_by(0.5);
    metrics.repairs.get_or_create(&WhatLabels { what: "w" }).inc();
    metrics.tokens.get_or_create(&TokenLabels { upstream: upstream(), model: model(), direction: "input" }).inc();
    metrics.reloads.get_or_create(&ResultLabels { result: "ok" }).inc();
    metrics.limit_reached("limits.calls");
    metrics.lost("disk", 1);
    metrics.rules_are("before");
    metrics.rules_are("now");
    metrics.changes.rotated("admin.token", true);
    metrics
}

/// The names of the labels of a sample, without those of the format itself.
fn labels(sample: &str) -> Vec<&str> {
    let Some((_, rest)) = sample.split_once('{') else { return Vec::new() };
    let (labels, _) = rest.rsplit_once('}').unwrap();
    labels.split(',').map(|label| label.split_once('=').unwrap().0).filter(|name| *name != "le").collect()
}

/// Every metric with its labels, and whether it is a histogram.
fn told(text: &str) -> BTreeMap<String, (Vec<String>, bool)> {
    let mut told = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else { continue };
        let sample = lines.peek().copied().filter(|sample| !sample.starts_with('#'));
        let sample = sample.unwrap_or_else(|| panic!("`{name}` is registered, and the test does not count it"));
        told.insert(name.to_owned(), (labels(sample).into_iter().map(str::to_owned).collect(), kind == "histogram"));
    }
    told
}

/// The table of metrics in the documentation.
fn documented() -> BTreeMap<String, (Vec<String>, bool)> {
    let page = include_str!("../../../docs/configuration.md");
    let (_, section) = page.split_once("\n## Metrics\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').splitn(3, '|').map(str::trim).collect();
        let [name, labels, what] = cells[..] else { panic!("{line}") };
        (words(name).concat(), (words(labels), what.starts_with("histogram")))
    };
    section.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[tokio::test]
async fn the_documentation_has_every_metric_with_its_labels() {
    let (told, documented) = (told(&filled().encode_older()), documented());
    for (name, is) in &told {
        assert_eq!(documented.get(name), Some(is), "docs/configuration.md is wrong about `{name}`");
    }
    let unknown: Vec<_> = documented.keys().filter(|name| !told.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "docs/configuration.md has metrics that are not registered: {unknown:?}");
}

#[test]
fn only_the_rules_in_force_are_told() {
    let text = filled().encode();
    assert!(text.contains("luthien_rules_info{hash=\"now\"} 1\n") && !text.contains("\"before\""), "{text}");
}

#[test]
fn the_time_of_a_call_is_counted_under_what_it_was_spent_on() {
    let metrics = Metrics::default();
    metrics.timed("a", "m".into(), &Times { own: Duration::from_millis(20), ..Times::default() });
    let text = metrics.encode();
    for line in [
        "luthien_overhead_seconds_bucket{le=\"0.025\"} 1\n",
        "luthien_overhead_seconds_bucket{le=\"0.01\"} 0\n",
        "luthien_call_duration_seconds_sum{upstream=\"a\",model=\"m\"} 0.02\n",
        "luthien_call_wait_seconds_count{on=\"record\"} 1\n",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}

#[tokio::test]
async fn tasks_are_told_until_they_end() {
    let (metrics, mut tasks) = (Metrics::default(), tokio::task::JoinSet::new());
    let says = |count: usize| metrics.encode().contains(&format!("luthien_tasks {count}\n"));
    assert!(says(0), "{}", metrics.encode());
    tasks.spawn(std::future::pending::<()>());
    tasks.spawn(std::future::pending());
    assert!(says(2), "{}", metrics.encode());
    tasks.shutdown().await;
    assert!(says(0), "{}", metrics.encode());
}
