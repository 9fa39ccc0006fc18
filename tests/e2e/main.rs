//! End-to-end tests: the built program with a real Envoy, between fake providers and real clients.
#![expect(clippy::disallowed_methods, reason = "tests read the environment that the test script sets")]

#[cfg(test)]
#[path = "../common/mod.rs"]
mod common;
#[cfg(test)]
#[path = "../fakes/mod.rs"]
mod fakes;
#[cfg(test)]
mod harness;

#[cfg(test)]
mod fakes_alone;
