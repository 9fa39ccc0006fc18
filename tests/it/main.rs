//! Integration tests: the core from bytes to bytes, and Envoy's configuration in a real Envoy.

// It always holds here, and tells clippy that helpers are test code as well.
#![cfg(test)]

#[path = "../fakes/kubernetes.rs"]
#[expect(dead_code, reason = "each test binary uses its own share")]
mod api_server;
mod chart;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its own share")]
mod common;
mod compose;
mod convert;
mod core;
mod envoy;
mod examples;
#[path = "../fuzz/mod.rs"]
mod fuzz;
mod kubernetes;
mod layering;
mod policies;
mod proto;
mod security;
mod store;
