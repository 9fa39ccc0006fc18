//! Luthien puts programmable policy between AI clients and LLM providers.

pub mod config;
pub mod policies;
pub mod policy;
