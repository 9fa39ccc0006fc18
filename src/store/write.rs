//! What the spool says, into the tables: once, however often it is read.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use sqlx::{AnyConnection, Connection, Row};

use super::{
    Kind, Store,
    content::{Parts, Pieces, split},
    parts::{Ids, intern, list, pack},
};
use crate::record::{Answer, Closing, Entry, Head, Line, Sent, spool::Position};

/// Why lines could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The database is away, or busy: the same lines may be written later.
    #[error("{0}")]
    Away(sqlx::Error),
    /// It would refuse them again.
    #[error("{0}")]
    Refused(sqlx::Error),
}

/// A body that is to be written.
struct Body {
    call: String,
    side: &'static str,
    pieces: Pieces,
}

impl Store {
    /// How far this spool has been written.
    pub async fn position(&self, spool: &str) -> Result<Position, ApplyError> {
        let statement = "SELECT segment, position FROM spools WHERE id = $1";
        let row = sqlx::query(statement).bind(spool).fetch_optional(self.pool()).await?;
        let number = |row: &sqlx::any::AnyRow, column: usize| row.try_get(column).map(|at: i64| at.cast_unsigned());
        Ok(match row {
            Some(row) => Position { segment: number(&row, 0)?, offset: number(&row, 1)? },
            None => Position::default(),
        })
    }

    /// Writes lines of a spool, and that it was written up to `next`: both, or neither.
    pub async fn apply(&self, spool: &str, lines: &[Line], next: Position) -> Result<(), ApplyError> {
        let mut parts = Parts::new();
        let bodies = bodies(lines, &mut parts);
        let _turn = self.writing.lock().await;
        let mut connection = self.pool().acquire().await?;
        let written = self.apply_to(&mut connection, spool, lines, parts, &bodies, next).await;
        if written.is_err() {
            // It may still be within the transaction, where the disk was full.
            connection.close_on_drop();
        }
        Ok(written?)
    }

    async fn apply_to(
        &self,
        connection: &mut AnyConnection,
        spool: &str,
        lines: &[Line],
        parts: Parts,
        bodies: &[Body],
        next: Position,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin_with(self.begin()).await?;
        let ids = intern(&mut transaction, self.kind, parts).await?;
        for line in lines {
            match line {
                Line::Started(at) => interrupt(&mut transaction, spool, *at).await?,
                Line::Entry(entry) => write(&mut transaction, spool, entry).await?,
            }
        }
        for body in bodies {
            write_body(&mut transaction, body, &ids).await?;
        }
        let statement = "INSERT INTO spools (id, segment, position) VALUES ($1, $2, $3) \
                         ON CONFLICT (id) DO UPDATE SET segment = excluded.segment, position = excluded.position";
        sqlx::query(statement)
            .bind(spool)
            .bind(next.segment.cast_signed())
            .bind(next.offset.cast_signed())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// How a transaction begins that writes.
    pub(super) fn begin(&self) -> &'static str {
        match self.kind {
            // So that it waits for its turn now, and is not refused later.
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        }
    }
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        // PostgreSQL's classes 22 and 54: a value that cannot be, or is too large. SQLite's 18 to 20: the same. All else
        // may be otherwise the next time.
        let is_refused = if let sqlx::Error::Database(error) = &error {
            error.code().is_some_and(|code| {
                (code.len() == 5 && (code.starts_with("22") || code.starts_with("54")))
                    || matches!(&*code, "18" | "19" | "20")
            })
        } else {
            matches!(error, sqlx::Error::Encode(_))
        };
        if is_refused { Self::Refused(error) } else { Self::Away(error) }
    }
}

/// The bodies in these lines, in pieces.
fn bodies(lines: &[Line], parts: &mut Parts) -> Vec<Body> {
    let mut bodies = Vec::new();
    for line in lines {
        let Line::Entry(entry) = line else { continue };
        let Entry { call, request, sent, answer, .. } = &**entry;
        let sent = sent.as_ref().and_then(|sent| sent.body.as_ref());
        let (original, delivered) =
            answer.as_ref().map(|answer| (answer.original.as_ref(), answer.delivered.as_ref())).unwrap_or_default();
        for (side, body) in [
            ("request", request.as_ref()),
            ("request_sent", sent),
            ("response", original),
            ("response_sent", delivered),
        ] {
            if let Some(body) = body {
                bodies.push(Body { call: call.clone(), side, pieces: split(body.clone(), parts) });
            }
        }
    }
    bodies
}

async fn interrupt(db: &mut AnyConnection, spool: &str, at: i64) -> Result<(), sqlx::Error> {
    let statement = "UPDATE calls SET outcome = 'interrupted', ended_at = $2 WHERE spool = $1 AND outcome IS NULL";
    sqlx::query(statement).bind(spool).bind(at).execute(db).await?;
    Ok(())
}

async fn write(db: &mut AnyConnection, spool: &str, entry: &Entry) -> Result<(), sqlx::Error> {
    let call = entry.call.as_str();
    if let Some(head) = &entry.head {
        begin(db, call, spool, head).await?;
    }
    let events = pack(&serde_json::to_vec(&entry.events).unwrap_or_default());
    let there = sqlx::query("SELECT 1 FROM calls WHERE id = $1").bind(text(call)).fetch_optional(&mut *db).await?;
    // A call that was deleted stays deleted.
    if there.is_none() {
        return Ok(());
    }
    let statement = "INSERT INTO entries (call, seq, events) VALUES ($1, $2, $3) ON CONFLICT (call, seq) DO NOTHING";
    sqlx::query(statement).bind(text(call)).bind(i64::from(entry.seq)).bind(events).execute(&mut *db).await?;
    for policy in policies(&entry.events) {
        let statement = "INSERT INTO decisions (policy, call) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(statement).bind(text(policy)).bind(text(call)).execute(&mut *db).await?;
    }
    if let Some(sent) = &entry.sent {
        sent_to(db, call, sent).await?;
    }
    if let Some(answer) = &entry.answer {
        answered(db, call, answer).await?;
    }
    if let Some(closing) = &entry.closing {
        close(db, call, closing).await?;
    }
    Ok(())
}

async fn begin(db: &mut AnyConnection, call: &str, spool: &str, head: &Head) -> Result<(), sqlx::Error> {
    let statement = "INSERT INTO calls (id, started_at, spool, replica, level, dialect, path, model, client, session, \
                     probe, stream, rules, headers, trace_id) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (id) DO NOTHING";
    let headers = serde_json::to_vec(&head.headers).unwrap_or_default();
    sqlx::query(statement)
        .bind(text(call))
        .bind(head.at)
        .bind(text(spool))
        .bind(text(&head.replica))
        .bind(text(&head.level))
        .bind(head.dialect.as_deref().map(text))
        .bind(text(&head.path))
        .bind(text(&head.model))
        .bind(head.client.as_deref().map(text))
        .bind(head.session.as_deref().map(text))
        .bind(head.probe.as_deref().map(text))
        .bind(i64::from(head.stream))
        .bind(text(&head.rules))
        .bind(pack(&headers))
        .bind(head.trace.as_deref().map(text))
        .execute(&mut *db)
        .await?;
    if let Some(session) = head.session.as_deref().filter(|_| head.probe.is_none()) {
        let statement = "INSERT INTO sessions (id, first_at, last_at) VALUES ($1, $2, $2) ON CONFLICT (id) DO UPDATE SET \
                         first_at = CASE WHEN excluded.first_at < sessions.first_at THEN excluded.first_at \
                         ELSE sessions.first_at END, \
                         last_at = CASE WHEN excluded.last_at > sessions.last_at THEN excluded.last_at \
                         ELSE sessions.last_at END";
        sqlx::query(statement).bind(text(session)).bind(head.at).execute(db).await?;
    }
    Ok(())
}

async fn sent_to(db: &mut AnyConnection, call: &str, sent: &Sent) -> Result<(), sqlx::Error> {
    let statement = "UPDATE calls SET upstream = $2, upstream_dialect = $3, upstream_model = $4, request_changed = $5, \
                     dropped = $6 WHERE id = $1";
    let dropped = serde_json::to_vec(&sent.dropped).unwrap_or_default();
    sqlx::query(statement)
        .bind(text(call))
        .bind(text(&sent.upstream))
        .bind(text(&sent.dialect))
        .bind(text(&sent.model))
        .bind(i64::from(sent.changed))
        .bind((!sent.dropped.is_empty()).then(|| pack(&dropped)))
        .execute(db)
        .await?;
    Ok(())
}

async fn answered(db: &mut AnyConnection, call: &str, answer: &Answer) -> Result<(), sqlx::Error> {
    let statement = "UPDATE calls SET response_changed = $2 WHERE id = $1";
    sqlx::query(statement).bind(text(call)).bind(i64::from(answer.changed)).execute(&mut *db).await?;
    let Some(raw) = &answer.raw else { return Ok(()) };
    for (side, bytes) in [("response", &raw.original), ("response_sent", &raw.delivered)] {
        let bytes = STANDARD.decode(bytes).unwrap_or_default();
        if !bytes.is_empty() {
            let statement = "INSERT INTO raws (call, side, data) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            sqlx::query(statement).bind(text(call)).bind(side).bind(pack(&bytes)).execute(&mut *db).await?;
        }
    }
    Ok(())
}

async fn close(db: &mut AnyConnection, call: &str, closing: &Closing) -> Result<(), sqlx::Error> {
    let statement = "UPDATE calls SET ended_at = $2, outcome = $3, error = $4, status = $5, duration = $6, \
                     first_byte = $7, upstream = COALESCE($8, upstream), input_tokens = $9, cached_tokens = $10, \
                     cache_write_tokens = $11, output_tokens = $12, reasoning_tokens = $13, cost = $14 WHERE id = $1";
    let count = |tokens: Option<u64>| tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX));
    sqlx::query(statement)
        .bind(text(call))
        .bind(closing.at)
        .bind(text(&closing.outcome))
        .bind(closing.error.as_deref().map(text))
        .bind(i64::from(closing.status))
        .bind(closing.duration)
        .bind(closing.first_byte)
        .bind(Some(text(&closing.upstream)).filter(|upstream| !upstream.is_empty()))
        .bind(count(closing.input))
        .bind(count(closing.cached))
        .bind(count(closing.cache_write))
        .bind(count(closing.output))
        .bind(count(closing.reasoning))
        .bind(closing.cost)
        .execute(db)
        .await?;
    Ok(())
}

async fn write_body(db: &mut AnyConnection, body: &Body, ids: &Ids) -> Result<(), sqlx::Error> {
    let Body { call, side, pieces } = body;
    let Some(part) = ids.get(&pieces.part) else { return Ok(()) };
    // Nothing of a call that is not there.
    let statement = "INSERT INTO bodies (call, side, part) SELECT id, $2, $3 FROM calls WHERE id = $1 \
                     ON CONFLICT DO NOTHING";
    let statement = sqlx::query(statement).bind(text(call)).bind(*side).bind(*part);
    if statement.execute(&mut *db).await?.rows_affected() == 0 {
        return Ok(());
    }
    for (field, items) in &pieces.lists {
        let Some(node) = list(db, items, ids).await? else { continue };
        let statement = "INSERT INTO lists (call, side, field, node) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        sqlx::query(statement).bind(text(call)).bind(*side).bind(text(field)).bind(node).execute(&mut *db).await?;
    }
    Ok(())
}

/// The policies that did something, as opposed to only running.
fn policies(events: &[Value]) -> BTreeSet<&str> {
    events.iter().filter_map(policy_of).collect()
}

/// The policy that an event says did something, as opposed to only running.
pub(super) fn policy_of(event: &Value) -> Option<&str> {
    event.get("type").filter(|kind| *kind != "policy.started")?;
    event.get("policy")?.as_str()
}

/// A text that every database takes: PostgreSQL knows no NUL.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
