//! What is looked up when somebody asks: the process, its tasks, and who is not to be asked.

use std::{fmt, time::Duration};

use procfs::{
    WithCurrentSystemInfo,
    process::{self, LimitValue},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use tokio::runtime::Handle;

use super::{super::names, labels::TargetLabels};

/// Looks up who could be asked, and whether nobody does because they failed again and again.
pub type Circuits = Box<dyn Fn() -> Vec<(String, bool)> + Send + Sync>;

/// The process, under the names that every exporter gives it. What the system does not tell is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Ok(process) = process::Process::myself() else { return Ok(()) };
        if let Ok(stat) = process.stat() {
            let cpu = ticks(stat.utime + stat.stime).as_secs_f64();
            tell(&mut encoder, names::PROCESS_CPU, "CPU time", Some(&Unit::Seconds), &ConstCounter::new(cpu))?;
            let memory = ConstGauge::new(stat.rss_bytes().get());
            tell(&mut encoder, names::PROCESS_RESIDENT_MEMORY, "Memory", Some(&Unit::Bytes), &memory)?;
            let space = ConstGauge::new(stat.vsize);
            tell(&mut encoder, names::PROCESS_VIRTUAL_MEMORY, "Address space", Some(&Unit::Bytes), &space)?;
            tell(&mut encoder, names::PROCESS_THREADS, "Threads", None, &ConstGauge::new(stat.num_threads))?;
            if let Ok(boot) = procfs::boot_time_secs() {
                let start = ConstGauge::new((Duration::from_secs(boot) + ticks(stat.starttime)).as_secs_f64());
                let help = "When the process began, since 1970";
                tell(&mut encoder, names::PROCESS_START_TIME, help, Some(&Unit::Seconds), &start)?;
            }
        }
        if let Ok(open) = process.fd_count() {
            tell(&mut encoder, names::PROCESS_OPEN_FDS, "Open files and sockets", None, &ConstGauge::new(open))?;
        }
        if let Ok(LimitValue::Value(most)) = process.limits().map(|limits| limits.max_open_files.soft_limit) {
            tell(&mut encoder, names::PROCESS_MAX_FDS, "The most of them", None, &ConstGauge::new(most))?;
        }
        Ok(())
    }
}

/// The system counts time in ticks, usually of a hundredth of a second.
fn ticks(count: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(1000) / procfs::ticks_per_second().max(1))
}

fn tell(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

/// The runtime in which somebody asks. Outside of one nothing is told.
#[derive(Debug)]
pub(super) struct Tasks;

impl Collector for Tasks {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Ok(runtime) = Handle::try_current() else { return Ok(()) };
        let alive = ConstGauge::new(u64::try_from(runtime.metrics().num_alive_tasks()).unwrap_or(u64::MAX));
        tell(&mut encoder, names::TASKS, "Tasks that have not ended", None, &alive)
    }
}

/// Circuit breakers.
pub(super) struct Breakers(pub(super) Circuits);

impl fmt::Debug for Breakers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Breakers")
    }
}

impl Collector for Breakers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let circuits = (self.0)();
        if circuits.is_empty() {
            return Ok(());
        }
        let help = "1: questions are turned away, because too many failed";
        let mut metric = encoder.encode_descriptor(names::CIRCUIT_OPEN, help, None, MetricType::Gauge)?;
        for (target, is_open) in circuits {
            let labels = TargetLabels { target };
            ConstGauge::new(i64::from(is_open)).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
