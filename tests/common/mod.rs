//! What every test binary may use.

pub(crate) mod streams;
