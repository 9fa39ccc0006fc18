//! Integration tests: the core from bytes to bytes, without Envoy.

mod core;
