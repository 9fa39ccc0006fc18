//! What the process tells about itself: names, metrics, log.

pub mod log;
pub mod metrics;
pub mod names;
