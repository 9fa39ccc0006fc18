//! Configuration: the process settings (`luthien.yaml`) and the rules (`policy.yaml`).
//!
//! Read [`settings::Settings`] first.

pub mod check;
pub mod document;
pub mod environment;
mod mask;
mod phrase;
pub mod report;
pub mod schema;
pub mod settings;
pub mod units;
mod yaml;
