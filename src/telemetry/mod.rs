//! What the process tells about itself: names, metrics, traces, log.

pub mod log;
pub mod metrics;
pub mod names;
pub mod trace;
