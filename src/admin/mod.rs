//! The only code that serves HTTP: health, readiness, metrics, version.
//!
//! Knows nothing of calls; it reads what they leave behind.

mod guard;
mod routes;

pub use guard::Guard;
pub use routes::{AdminState, probe_router, router, serve};
