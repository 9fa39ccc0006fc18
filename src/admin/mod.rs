//! The admin listener: pages, live activity, health, readiness, metrics.
//!
//! Knows nothing of calls; it reads what they leave behind. `access` says who may, `pages` what a browser gets, and
//! `reply` what all answers have in common.

mod about;
mod access;
mod activity;
mod assets;
mod debug;
mod log_level;
mod pages;
mod probes;
mod reply;
mod routes;
mod serve;

pub use about::About;
pub use access::Access;
pub use routes::{AdminState, probe_router, router};
pub use serve::serve;
