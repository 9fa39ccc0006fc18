//! The only code that serves HTTP: health, readiness, metrics, version, live activity.
//!
//! Knows nothing of calls; it reads what they leave behind.

mod activity;
mod guard;
mod routes;

pub use guard::Guard;
pub use routes::{AdminState, probe_router, router, serve};
