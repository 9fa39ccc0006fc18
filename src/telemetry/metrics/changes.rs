//! What changes while the process runs: secrets, certificates, the settings file.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{RotationLabels, SecretLabels, add};
use crate::telemetry::names;

/// Metrics of what changes while the process runs.
pub struct Changes {
    /// Keys of the settings that a new process would read otherwise.
    pub restart_needed: Gauge<i64, AtomicI64>,
    /// Whether the settings file is wrong.
    pub settings_rejected: Gauge<i64, AtomicI64>,
    /// Certificates and secrets that were read again.
    pub rotations: Family<RotationLabels, Counter>,
    /// Whether one cannot be used, so that an older one is in force.
    pub rotation_failing: Family<SecretLabels, Gauge<i64, AtomicI64>>,
}

impl Changes {
    pub(super) fn register(own: &mut Registry) -> Self {
        Self {
            restart_needed: add(
                own,
                names::RESTART_NEEDED,
                "Keys of the settings file that differ from what is in force",
                None,
                Gauge::default(),
            ),
            settings_rejected: add(
                own,
                names::SETTINGS_REJECTED,
                "1: the settings file is wrong, and a new process would not start",
                None,
                Gauge::default(),
            ),
            rotations: add(
                own,
                names::ROTATIONS,
                "Certificates and secrets that were read again",
                None,
                Family::default(),
            ),
            rotation_failing: add(
                own,
                names::ROTATION_FAILING,
                "1: a certificate or secret cannot be read or used",
                None,
                Family::default(),
            ),
        }
    }

    /// A certificate or secret was read again, or cannot be used. `key` is where the settings name it.
    pub fn rotated(&self, key: &str, is_good: bool) {
        let result = if is_good { "ok" } else { "rejected" };
        self.rotations.get_or_create(&RotationLabels { key: key.to_owned(), result }).inc();
        self.rotation_failing.get_or_create(&SecretLabels { key: key.to_owned() }).set(i64::from(!is_good));
    }
}
