//! The borders between the buckets of histograms, in seconds: close together where answers and alerts differ.

use prometheus_client::metrics::histogram::Histogram;

/// Whole calls, and what they wait for: an answer takes between a moment and the longest that clients bear.
pub(super) fn calls() -> Histogram {
    Histogram::new([0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0])
}

/// Answers of providers and of judges, up to the usual limits.
pub(super) fn answers() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0])
}

/// Silence between two chunks of a stream. Models pause for hundredths of a second, and for minutes when they think.
pub(super) fn gaps() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

/// Work of the gateway's own for a whole call.
pub(super) fn work() -> Histogram {
    Histogram::new([
        0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
        0.5, 1.0,
    ])
}

/// Work of the gateway's own for a chunk.
pub(super) fn chunks() -> Histogram {
    Histogram::new([
        0.000_001,
        0.000_002_5,
        0.000_005,
        0.000_01,
        0.000_025,
        0.000_05,
        0.000_1,
        0.000_25,
        0.000_5,
        0.001,
        0.002_5,
        0.005,
        0.01,
        0.1,
    ])
}

/// Hooks of policies: some only look, some ask a model.
pub(super) fn hooks() -> Histogram {
    Histogram::new([
        0.000_001, 0.000_005, 0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
        5.0, 10.0, 30.0, 60.0,
    ])
}
