//! The pipeline over streams, from bytes to bytes.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names the cases that it is about")]

mod allocations;
mod assembled;
mod blocked;
mod bodies;
mod converted;
pub(crate) mod corpus;
mod endings;
mod faults;
mod golden;
mod hiding;
pub(crate) mod random;
pub(crate) mod reader;
mod repairs;
mod replacing;
mod responses;
mod scan;
mod selection;
mod shadow;
pub(crate) mod support;
mod transforms;
mod unreadable;
pub(crate) mod validator;
