//! What every test binary may use.

pub(crate) mod kubernetes;
pub(crate) mod postgres;
pub(crate) mod streams;
