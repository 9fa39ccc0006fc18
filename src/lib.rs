//! Luthien puts programmable policy between AI clients and LLM providers.

pub mod cli;
pub mod config;
pub mod demo;
pub mod envoy;
pub mod policies;
pub mod policy;
