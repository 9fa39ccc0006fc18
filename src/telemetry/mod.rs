//! What the process tells about itself: names, metrics, log; and where a call's time goes.

pub mod log;
pub mod metrics;
pub mod names;
pub mod stopwatch;
