//! Configuration: the process settings (`luthien.yaml`) and the rules (`policy.yaml`).
//!
//! Read [`settings::Settings`] first.

pub mod settings;
pub mod units;
