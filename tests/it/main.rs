//! Integration tests.

// `cfg(test)` always holds here; it tells clippy that helpers are test code as well.
#[cfg(test)]
mod envoy;
