//! The pipeline over streams, from bytes to bytes.

mod blocked;
mod bodies;
mod corpus;
mod endings;
mod faults;
mod golden;
mod random;
mod reader;
mod repairs;
mod replacing;
mod support;
mod transforms;
mod unreadable;
mod validator;
