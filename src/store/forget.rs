//! Forgetting: what is deleted, and what is too old or too much.

use std::{collections::BTreeSet, time::Duration};

use sqlx::{AnyConnection, Connection, Row};

use super::{Kind, Store, StoreError, write::text};

/// So many calls are forgotten in one transaction.
const BATCH: i64 = 100;
/// In microseconds.
const DAY: i64 = 24 * 3600 * 1_000_000;
/// How often what is too old or too much is looked for.
const PERIOD: Duration = Duration::from_mins(10);

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Calls that began longer ago are forgotten.
    pub age: Duration,
    /// The oldest calls beyond this size are forgotten, in bytes.
    pub size: u64,
}

impl Store {
    /// Forgets a call, and all that nothing else refers to. `false`: there is none.
    pub async fn delete_call(&self, call: &str) -> Result<bool, StoreError> {
        self.delete(&[call.to_owned()]).await.map(|deleted| deleted > 0)
    }

    /// Forgets all calls of a session. How many there were.
    pub async fn delete_session(&self, session: &str) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let statement = "SELECT id FROM calls WHERE session = $1 LIMIT $2";
            let calls = self.calls(sqlx::query(statement).bind(text(session)).bind(BATCH)).await?;
            if calls.is_empty() {
                return Ok(deleted);
            }
            deleted += self.delete(&calls).await?;
        }
    }

    /// Forgets what is too old or too much. `now` is in microseconds since 1970. How many calls that were.
    pub async fn forget(&self, keep: Keep, now: i64) -> Result<u64, StoreError> {
        let age = i64::try_from(keep.age.as_micros()).unwrap_or(i64::MAX);
        let oldest = now.saturating_sub(age);
        let mut forgotten = 0;
        loop {
            let is_too_much = self.size().await? > keep.size;
            let from = if is_too_much { i64::MAX } else { oldest };
            let statement = "SELECT id FROM calls WHERE started_at < $1 ORDER BY started_at, id LIMIT $2";
            let calls = self.calls(sqlx::query(statement).bind(from).bind(BATCH)).await?;
            if calls.is_empty() {
                break;
            }
            forgotten += self.delete(&calls).await?;
        }
        if forgotten > 0 && self.kind == Kind::Sqlite {
            let _turn = self.writing.lock().await;
            sqlx::query("PRAGMA incremental_vacuum").fetch_all(self.pool()).await?;
        }
        Ok(forgotten)
    }

    /// Says of calls that have been open for a day that they are over: their process and its spool are gone.
    pub async fn close_lost(&self, now: i64) -> Result<u64, StoreError> {
        let _turn = self.writing.lock().await;
        let statement = "UPDATE calls SET outcome = 'interrupted' WHERE outcome IS NULL AND started_at < $1";
        let closed = sqlx::query(statement).bind(now.saturating_sub(DAY)).execute(self.pool()).await?;
        Ok(closed.rows_affected())
    }

    /// Forgets what is too old or too much, again and again. Ends never.
    pub async fn keep(&self, keep: Keep, now: impl Fn() -> i64) {
        loop {
            if let Err(error) = self.close_lost(now()).await {
                tracing::debug!(%error, "calls of processes that are gone could not be closed");
            }
            match self.forget(keep, now()).await {
                Ok(0) => {}
                Ok(calls) => tracing::info!(calls, "old records were forgotten"),
                Err(error) => tracing::warn!(%error, "old records could not be forgotten"),
            }
            if let Err(error) = self.tidy().await {
                tracing::warn!(%error, "the index for the search could not be tidied up");
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Joins what the index for the search has in pieces.
    pub async fn tidy(&self) -> Result<(), StoreError> {
        if self.kind == Kind::Sqlite {
            let _turn = self.writing.lock().await;
            sqlx::query("INSERT INTO words (words, rank) VALUES ('merge', 500)").execute(self.pool()).await?;
        }
        Ok(())
    }

    /// How much is stored, in bytes.
    pub async fn size(&self) -> Result<u64, StoreError> {
        let statement = match self.kind {
            Kind::Sqlite => {
                "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count(), pragma_freelist_count(), \
                 pragma_page_size()"
            }
            // The tables' own size stays for a while when rows have gone.
            Kind::Postgres => {
                "SELECT CAST(COALESCE((SELECT SUM(pg_column_size(parts.*)) FROM parts), 0) \
                 + COALESCE((SELECT SUM(pg_column_size(words.*)) FROM words), 0) \
                 + COALESCE((SELECT SUM(pg_column_size(nodes.*)) FROM nodes), 0) \
                 + COALESCE((SELECT SUM(pg_column_size(entries.*)) FROM entries), 0) \
                 + COALESCE((SELECT SUM(pg_column_size(raws.*)) FROM raws), 0) \
                 + COALESCE((SELECT SUM(pg_column_size(calls.*)) FROM calls), 0) AS BIGINT)"
            }
        };
        let size: i64 = sqlx::query(statement).fetch_one(self.pool()).await?.try_get(0)?;
        Ok(size.unsigned_abs())
    }

    async fn calls(
        &self,
        query: sqlx::query::Query<'_, sqlx::Any, sqlx::any::AnyArguments>,
    ) -> Result<Vec<String>, StoreError> {
        let rows = query.fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    async fn delete(&self, calls: &[String]) -> Result<u64, StoreError> {
        let _turn = self.writing.lock().await;
        let mut connection = self.pool().acquire().await?;
        let deleted = self.delete_from(&mut connection, calls).await;
        if deleted.is_err() {
            // It may still be within the transaction.
            connection.close_on_drop();
        }
        Ok(deleted?)
    }

    async fn delete_from(&self, connection: &mut AnyConnection, calls: &[String]) -> Result<u64, sqlx::Error> {
        let mut transaction = connection.begin_with(self.begin()).await?;
        let mut deleted = 0;
        for call in calls {
            deleted += delete(&mut transaction, self.kind, call).await?;
        }
        transaction.commit().await?;
        Ok(deleted)
    }
}

async fn delete(db: &mut AnyConnection, kind: Kind, call: &str) -> Result<u64, sqlx::Error> {
    let mut parts: BTreeSet<i64> = numbers(db, "SELECT part FROM bodies WHERE call = $1", call).await?;
    let nodes = numbers(db, "SELECT node FROM lists WHERE call = $1", call).await?;
    let session =
        sqlx::query("SELECT session FROM calls WHERE id = $1").bind(text(call)).fetch_optional(&mut *db).await?;
    let deleted = sqlx::query("DELETE FROM calls WHERE id = $1").bind(text(call)).execute(&mut *db).await?;
    for mut node in nodes {
        // What no list goes through any more, from its end on.
        let statement = "DELETE FROM nodes WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM nodes child WHERE child.parent = $1) \
                         AND NOT EXISTS (SELECT 1 FROM lists WHERE node = $1) RETURNING parent, part";
        while let Some(row) = sqlx::query(statement).bind(node).fetch_optional(&mut *db).await? {
            parts.insert(row.try_get(1)?);
            match row.try_get::<Option<i64>, _>(0)? {
                Some(parent) => node = parent,
                None => break,
            }
        }
    }
    while let Some(part) = parts.pop_last() {
        let statement = "SELECT 1 FROM parts WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM bodies WHERE part = $1) \
                         AND NOT EXISTS (SELECT 1 FROM nodes WHERE part = $1) \
                         AND NOT EXISTS (SELECT 1 FROM holes WHERE text = $1)";
        if sqlx::query(statement).bind(part).fetch_optional(&mut *db).await?.is_none() {
            continue;
        }
        let texts = sqlx::query("SELECT text FROM holes WHERE part = $1").bind(part).fetch_all(&mut *db).await?;
        for text in texts {
            parts.insert(text.try_get(0)?);
        }
        sqlx::query("DELETE FROM holes WHERE part = $1").bind(part).execute(&mut *db).await?;
        let statement = match kind {
            Kind::Sqlite => "DELETE FROM words WHERE rowid = $1",
            Kind::Postgres => "DELETE FROM words WHERE part = $1",
        };
        sqlx::query(statement).bind(part).execute(&mut *db).await?;
        sqlx::query("DELETE FROM parts WHERE id = $1").bind(part).execute(&mut *db).await?;
    }
    if let Some(session) = session.map(|row| row.try_get::<Option<String>, _>(0)).transpose()?.flatten() {
        let statement = "DELETE FROM sessions WHERE id = $1 AND NOT EXISTS \
                         (SELECT 1 FROM calls WHERE session = $1 AND probe IS NULL)";
        sqlx::query(statement).bind(session).execute(&mut *db).await?;
    }
    Ok(deleted.rows_affected())
}

async fn numbers(db: &mut AnyConnection, statement: &'static str, call: &str) -> Result<BTreeSet<i64>, sqlx::Error> {
    let rows = sqlx::query(statement).bind(text(call)).fetch_all(db).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
