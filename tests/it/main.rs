//! Integration tests: the core from bytes to bytes, and Envoy's configuration in a real Envoy.

// `cfg(test)` always holds here; it tells clippy that helpers are test code as well.
#[cfg(test)]
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its own share")]
mod common;
#[cfg(test)]
mod core;
#[cfg(test)]
mod envoy;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod layering;
