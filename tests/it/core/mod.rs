//! The pipeline over streams, from bytes to bytes.

mod golden;
mod random;
mod reader;
mod repairs;
mod support;
mod validator;
