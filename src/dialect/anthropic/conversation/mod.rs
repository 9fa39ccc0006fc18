//! Messages requests as conversations, and conversations as Messages requests.
//!
//! Knows no other dialect.

mod blocks;
mod read;
mod turns;
mod write;

pub(in crate::dialect) use read::read;
pub(in crate::dialect) use write::write;
