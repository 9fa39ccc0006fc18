//! Luthien puts programmable policy between AI clients and LLM providers.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dialect;
pub mod envoy;
pub mod extproc;
pub mod journal;
pub mod json;
pub mod lifecycle;
pub mod model;
pub mod pipeline;
pub mod policies;
pub mod policy;
pub mod telemetry;
pub mod wire;

/// The README's Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
