//! Chat requests as conversations, and conversations as chat requests.
//!
//! Knows no other dialect.

mod messages;
mod read;
mod turns;
mod write;

pub(in crate::dialect) use read::read;
pub(in crate::dialect) use write::write;
