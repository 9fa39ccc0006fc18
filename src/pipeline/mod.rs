//! Bytes in, bytes out: frames, events, policies, repair, frames.
//!
//! [`Response`] runs one answer: it cuts the body into frames, decodes them, sends the events through one `Stage` per
//! policy, repairs the grammar and weaves frames again. A plain loop: no queue between tasks, nothing spawned.
//! [`run_request`] runs the request hooks, [`clock`] keeps the time limits. Knows nothing of Envoy or HTTP.

mod answered;
pub mod clock;
mod convert;
mod gate;
mod hook;
mod repair;
mod request;
mod response;
mod runner;
mod setup;
mod shadow;
mod sides;
mod stage;
mod unselected;
mod weave;

pub use answered::Answered;
pub use request::{RequestRun, run_request};
pub use response::Response;
pub use runner::{Runner, Stopped, recorded, select};
pub use setup::{ResponseLimits, Setup};
pub use shadow::Shadow;
