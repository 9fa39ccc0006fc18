//! The names in dashboards and alerts, against those that exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::harness::prometheus::Prometheus;

use super::{boards, expressions};

/// Where every name of ours stands.
const NAMES: &str = include_str!("../../../src/telemetry/names.rs");
/// What lines of the log say.
const LOG: &str = include_str!("../../../src/journal/log.rs");
/// Labels of streams in Loki, by deploy/observability/alloy.
const STREAMS: [&str; 2] = ["service", "level"];
/// What collection takes out of lines, as structured metadata.
const METADATA: [&str; 3] = ["call_id", "trace_id", "span_id"];

/// What Prometheus knows: every metric with its labels.
pub(super) struct Known {
    series: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    /// Asks a Prometheus that has scraped a run. What did not happen in it stands in the documentation, which is held to the
    /// registry.
    pub(super) async fn read(prometheus: &Prometheus) -> Self {
        let mut series: BTreeMap<String, BTreeSet<String>> = documented();
        for sample in
            prometheus.ask("/api/v1/series?match[]=%7Bjob%3D~%22.%2B%22%7D").await.unwrap().as_array().unwrap()
        {
            let labels = sample.as_object().unwrap();
            let known = series.entry(labels["__name__"].as_str().unwrap().to_owned()).or_default();
            known.extend(labels.keys().filter(|label| *label != "__name__").cloned());
        }
        // Every scraped one has the first two, and in Kubernetes the others.
        for labels in series.values_mut() {
            labels.extend(["job", "instance", "namespace", "service"].map(str::to_owned));
        }
        Self { series }
    }

    /// Each metric is there, its name is one of ours or Envoy's, and each label is one of the metrics'.
    pub(super) fn check(&self, place: &str, expression: &str) {
        let names = expressions::promql(expression);
        assert!(!names.metrics.is_empty(), "{place}: no metric in {expression}");
        let mut labels = BTreeSet::new();
        for metric in &names.metrics {
            let known = self.series.get(metric).unwrap_or_else(|| panic!("{place}: there is no metric `{metric}`"));
            labels.extend(known);
            if let Some(own) = metric.strip_prefix("luthien_") {
                let is_named = literals().any(|name| own.starts_with(name));
                assert!(is_named, "{place}: `{metric}` has no name in telemetry/names");
            }
        }
        for label in &names.labels {
            assert!(labels.contains(label), "{place}: no metric of it has the label `{label}`: {expression}");
        }
    }
}

/// The metrics of the documentation's table, histograms with their parts.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = include_str!("../../../docs/configuration.md");
    let (_, section) = page.split_once("\n## Metrics\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let mut series = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `luthien_") || line.starts_with("| `process_")) {
        let cells: Vec<&str> = line.trim_matches('|').splitn(3, '|').collect();
        let (name, labels) = (words(cells[0]).pop_first().unwrap(), words(cells[1]));
        if cells[2].trim_start().starts_with("histogram") {
            let bucket = labels.iter().cloned().chain(["le".to_owned()]).collect();
            series.insert(format!("{name}_bucket"), bucket);
            series.insert(format!("{name}_sum"), labels.clone());
            series.insert(format!("{name}_count"), labels);
        } else {
            series.insert(name, labels);
        }
    }
    series
}

/// Every name in `telemetry/names`.
fn literals() -> impl Iterator<Item = &'static str> {
    NAMES.lines().filter(|line| line.trim_start().starts_with("pub const")).filter_map(|line| line.split('"').nth(1))
}

pub(super) fn check_logql(place: &str, expression: &str, fields: &BTreeSet<String>) {
    let (streams, conditions) = expressions::logql(expression);
    for (label, value) in streams {
        assert!(STREAMS.contains(&label.as_str()), "{place}: streams have no label `{label}`");
        for one in value.split('|').filter(|_| label == "service") {
            assert!(["luthien", "envoy"].contains(&one), "{place}: there is no service `{one}`");
        }
    }
    for (field, value) in conditions {
        let is_known = fields.contains(&field) || METADATA.contains(&field.as_str());
        assert!(is_known, "{place}: no line of the log has `{field}`, only {fields:?}");
        for message in value.split('|').filter(|_| field == "message") {
            assert!(LOG.contains(&format!("\"{message}\"")), "{place}: no line of the log says `{message}`");
        }
    }
}

pub(super) fn check_traceql(place: &str, expression: &str) {
    let (spans, attributes) = expressions::traceql(expression);
    for name in spans.iter().chain(&attributes) {
        let is_known = literals().any(|known| known == name) || name.starts_with("gen_ai.");
        assert!(is_known, "{place}: `{name}` has no name in telemetry/names");
    }
}

/// The columns of tables that are made of log lines.
pub(super) fn check_columns(fields: &BTreeSet<String>) {
    let mut columns = BTreeSet::new();
    for (_, board) in boards::all() {
        for panel in boards::panels(&board).into_iter().filter(|panel| panel["datasource"]["uid"] == "loki") {
            for step in panel["transformations"].as_array().into_iter().flatten() {
                let names = step["options"]["include"]["names"].as_array().into_iter().flatten();
                columns.extend(names.map(|name| name.as_str().unwrap().to_owned()));
                let order = step["options"]["indexByName"].as_object().into_iter().flatten();
                columns.extend(order.map(|(name, _)| name.clone()));
            }
        }
    }
    assert!(columns.remove("Time") && !columns.is_empty());
    for column in columns {
        let is_known = fields.contains(&column) || METADATA.contains(&column.as_str());
        assert!(is_known, "no line of the log has `{column}`, only {fields:?}");
    }
}

/// An alert says where to read on: a page, and a heading on it.
pub(super) fn leads_to_documentation(alert: &str, docs: &str) {
    let (page, anchor) = docs.split_once('#').unwrap_or((docs, ""));
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page));
    let text = text.unwrap_or_else(|error| panic!("{alert}: {docs}: {error}"));
    let slug = |heading: &str| heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    let mut headings = text.lines().filter(|line| line.starts_with('#')).map(slug);
    assert!(anchor.is_empty() || headings.any(|heading| heading == anchor), "{alert}: {page} has no heading {anchor}");
}
