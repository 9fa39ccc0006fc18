//! What the process tells about itself: names, metrics.

pub mod metrics;
pub mod names;
