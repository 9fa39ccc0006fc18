//! Configuration: the process settings (`luthien.yaml`) and the rules (`policy.yaml`).
//!
//! Read [`settings::Settings`] first.

pub mod check;
pub mod compile;
pub mod document;
pub mod drift;
pub mod environment;
pub mod extproc;
pub mod folder;
pub mod kubernetes;
pub mod live;
pub mod load;
mod mask;
pub mod overlay;
mod phrase;
pub mod quickstart;
pub mod reach;
pub mod recording;
pub mod reference;
pub mod report;
pub mod rotation;
pub mod routes;
pub mod rules;
pub mod schema;
pub mod secret;
mod semantics;
pub mod settings;
pub mod source;
#[cfg(test)]
pub(crate) mod stub;
pub mod target;
pub mod telemetry;
pub mod units;
pub mod unpoliced;
pub mod watch;
mod yaml;
