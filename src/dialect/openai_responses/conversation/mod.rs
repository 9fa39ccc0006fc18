//! Responses requests as conversations, and conversations as Responses requests.
//!
//! Knows no other dialect.

mod items;
mod read;
mod turns;
mod write;

pub(in crate::dialect) use read::read;
pub(in crate::dialect) use write::write;
