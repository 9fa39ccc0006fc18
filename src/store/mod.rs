//! What is recorded of calls, in SQLite or PostgreSQL.
//!
//! [`Store`] is written by one task that [`tail`](Store::tail)s the spool, and read by the admin listener. Both databases
//! have the same tables and the same statements; `migrations/` makes them.

mod bodies;
mod calls;
mod connect;
mod content;
mod forget;
mod nodes;
mod parts;
mod read;
mod rows;
mod search;
mod sessions;
mod tail;
mod words;
mod write;

pub use connect::{OpenError, Place, Postgres};
pub use forget::Keep;
pub use read::{Call, Changed, Cursor, Filter, Page, Sides, Summary, Tokens};
pub use sessions::{Session, Turn};
pub use write::ApplyError;

use sqlx::AnyPool;
use tokio::sync::Mutex;

/// The records.
pub struct Store {
    pool: AnyPool,
    kind: Kind,
    /// Whoever writes. SQLite has one at a time, and does not wait in turn.
    writing: Mutex<()>,
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or not as it should.
    #[error("the store cannot be read: {0}")]
    Database(#[from] sqlx::Error),
    /// It took too long.
    #[error("the store took too long; narrow the question down, as with `from` and `to`")]
    Slow,
    /// What stands there is not what was written.
    #[error("the record is damaged: {0}")]
    Damaged(String),
}

/// Placeholders for `count` values, from the number `first` on.
fn marks(first: usize, count: usize) -> String {
    (first..first + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}
