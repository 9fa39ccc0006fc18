//! What the process tells about itself: names, metrics, traces, log; and where a call's time goes.

pub mod log;
pub mod metrics;
pub mod names;
pub mod stopwatch;
pub mod trace;
