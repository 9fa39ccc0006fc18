//! The pipeline over streams, from bytes to bytes.

mod golden;
mod support;
