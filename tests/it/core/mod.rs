//! The pipeline over streams, from bytes to bytes.

mod golden;
mod reader;
mod support;
mod validator;
