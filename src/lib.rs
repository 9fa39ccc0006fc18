//! Luthien puts programmable policy between AI clients and LLM providers.
//!
//! Envoy terminates TLS, routes and connects; over gRPC external processing it streams every body to this service, which
//! runs policies on it and returns the bytes that go on. `ARCHITECTURE.md` tells the whole; this is the way in:
//!
//! 1. [`json`] and [`wire`] keep bytes: JSON and server-sent events that survive untouched.
//! 2. [`model`] has the words: calls, blocks, events. [`dialect`] turns providers' JSON into events and back.
//! 3. [`policy`] is what an author writes against, [`policies`] are those that are built in.
//! 4. [`pipeline`] runs policies over an answer, from bytes to bytes, without Envoy in sight.
//! 5. [`extproc`] drives one call of Envoy's; [`config`] says how; [`envoy`] writes and runs Envoy's side.
//! 6. [`app`] puts the process together, [`cli`] is how it is started.
//!
//! A module imports only from those before it; a test holds it to that.

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
pub mod record;
pub mod redact;
pub mod shared_state;
pub mod store;
pub mod telemetry;
pub mod wire;

/// The README's Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
