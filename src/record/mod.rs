//! Records of calls on their way to the store.
//!
//! A call drafts [`Entry`] after entry in its [`Recording`]; one worker takes the credentials out and appends them to the
//! [`spool`] on the local disk, which is the write-ahead log: what stands there is recorded, whatever becomes of the process
//! or the store. Knows nothing of databases; the store reads the spool.

mod body;
mod entry;
mod prices;
mod recording;
pub mod spool;
mod worker;
pub mod zip;

pub use body::Body;
pub use entry::{Answer, Closing, Entry, Head, Line, Raw, Sent};
pub use prices::{Price, Prices, PricesError};
pub use recording::{Afterwards, Full, Recorder, Recording, Room, Said, Unwritten, Written, micros};
pub use worker::{Job, Lanes, Taken, Untold, Work, lanes, work};
