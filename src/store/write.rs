//! What the spool says, into the tables: once, however often it is read.

use std::{borrow::Cow, collections::BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use sqlx::{AnyConnection, Connection, Row};

use super::{
    Kind, Store, calls,
    content::{Hash, Parts, Pieces, split},
    nodes,
    parts::{Ids, intern, pack},
    rows::each,
};
use crate::record::{Entry, Line, spool::Position};

/// What is there already stays.
const UNLESS_THERE: &str = "ON CONFLICT DO NOTHING";

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
struct Body<'l> {
    call: &'l str,
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
        bodies: &[Body<'_>],
        next: Position,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin_with(self.begin()).await?;
        let ids = intern(&mut transaction, self.kind, parts).await?;
        let mut there = BTreeSet::new();
        let mut entries: Vec<&Entry> = Vec::new();
        for line in lines {
            match line {
                Line::Started(at) => {
                    // What stands before it was open when it began, unless it says that it was over.
                    there.extend(write(&mut transaction, spool, &std::mem::take(&mut entries)).await?);
                    interrupt(&mut transaction, spool, *at).await?;
                }
                Line::Entry(entry) => entries.push(entry),
            }
        }
        there.extend(write(&mut transaction, spool, &entries).await?);
        // Nothing of a call that is not there.
        let bodies: Vec<&Body<'_>> = bodies.iter().filter(|body| there.contains(body.call)).collect();
        write_bodies(&mut transaction, &bodies, &ids).await?;
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
fn bodies<'l>(lines: &'l [Line], parts: &mut Parts) -> Vec<Body<'l>> {
    let mut bodies = Vec::new();
    for line in lines {
        let Line::Entry(entry) = line else { continue };
        let Entry { call, request, sent, answer, .. } = &**entry;
        let sent = sent.as_ref().and_then(|sent| sent.body.as_ref());
        let answer = answer.as_ref();
        let original = answer.and_then(|answer| answer.original.as_ref());
        let delivered = answer.and_then(|answer| answer.delivered.as_ref());
        for (side, body) in [
            ("request", request.as_ref().map(|body| Cow::Owned(body.value()))),
            ("request_sent", sent.map(|body| Cow::Owned(body.value()))),
            ("response", original.map(Cow::Borrowed)),
            ("response_sent", delivered.map(Cow::Borrowed)),
        ] {
            if let Some(body) = body {
                bodies.push(Body { call, side, pieces: split(&body, parts) });
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

/// Writes what the entries say, bodies apart, and returns their calls as far as these are there.
async fn write<'e>(
    db: &mut AnyConnection,
    spool: &str,
    entries: &[&'e Entry],
) -> Result<BTreeSet<&'e str>, sqlx::Error> {
    let there = calls::write(db, spool, entries).await?;
    let entries: Vec<&Entry> = entries.iter().copied().filter(|entry| there.contains(&*entry.call)).collect();
    let statement = ("INSERT INTO entries (call, seq, events) VALUES", "(?, ?, ?)", UNLESS_THERE);
    each(db, statement, &entries, |query, entry| {
        query.bind(text(&entry.call)).bind(i64::from(entry.seq)).bind(pack(entry.events.text()))
    })
    .await?;
    let decisions: BTreeSet<(String, &str)> = entries
        .iter()
        .flat_map(|entry| policies(entry.events.text()).into_iter().map(move |policy| (policy, &*entry.call)))
        .collect();
    let decisions: Vec<_> = decisions.into_iter().collect();
    let statement = ("INSERT INTO decisions (policy, call) VALUES", "(?, ?)", UNLESS_THERE);
    each(db, statement, &decisions, |query, (policy, call)| query.bind(text(policy)).bind(text(call))).await?;
    let raws: Vec<(&str, &str, Vec<u8>)> = entries.iter().flat_map(|entry| raws(entry)).collect();
    let statement = ("INSERT INTO raws (call, side, data) VALUES", "(?, ?, ?)", UNLESS_THERE);
    each(db, statement, &raws, |query, (call, side, bytes)| {
        query.bind(text(call)).bind((*side).to_owned()).bind(pack(bytes))
    })
    .await?;
    Ok(there)
}

/// The bytes of an entry's answer, by side.
fn raws(entry: &Entry) -> impl Iterator<Item = (&str, &'static str, Vec<u8>)> {
    let raw = entry.answer.as_ref().and_then(|answer| answer.raw.as_ref());
    let sides = raw.into_iter().flat_map(|raw| [("response", &raw.original), ("response_sent", &raw.delivered)]);
    let decoded = sides.map(|(side, bytes)| (&*entry.call, side, STANDARD.decode(bytes).unwrap_or_default()));
    decoded.filter(|(_, _, bytes)| !bytes.is_empty())
}

/// Writes bodies of calls that are there.
async fn write_bodies(db: &mut AnyConnection, bodies: &[&Body<'_>], ids: &Ids) -> Result<(), sqlx::Error> {
    let known: Vec<(&Body<'_>, i64)> =
        bodies.iter().filter_map(|body| Some((*body, *ids.get(&body.pieces.part)?))).collect();
    let statement =
        ("INSERT INTO bodies (call, side, part) VALUES", "(?, ?, ?)", "ON CONFLICT DO NOTHING RETURNING call, side");
    let written = each(db, statement, &known, |query, (body, part)| {
        query.bind(text(body.call)).bind(body.side.to_owned()).bind(*part)
    })
    .await?;
    let written: BTreeSet<(String, String)> =
        written.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?;
    // Lists of a body that was there are there as well.
    let new = bodies.iter().filter(|body| written.contains(&(text(body.call), body.side.to_owned())));
    let lists: Vec<(&Body<'_>, &str, &[Hash])> =
        new.flat_map(|body| body.pieces.lists.iter().map(|(field, items)| (*body, &**field, &**items))).collect();
    let items: Vec<&[Hash]> = lists.iter().map(|(_, _, items)| *items).collect();
    let nodes = nodes::intern(db, &items, ids).await?;
    let lists: Vec<_> = lists.into_iter().zip(nodes).filter_map(|(list, node)| Some((list, node?))).collect();
    let statement = ("INSERT INTO lists (call, side, field, node) VALUES", "(?, ?, ?, ?)", UNLESS_THERE);
    each(db, statement, &lists, |query, ((body, field, _), node)| {
        query.bind(text(body.call)).bind(body.side.to_owned()).bind(text(field)).bind(*node)
    })
    .await?;
    Ok(())
}

/// What of an event says whether a policy did something.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    policy: Option<String>,
}

/// The policies that did something, as opposed to only running.
fn policies(events: &[u8]) -> Vec<String> {
    let events: Vec<Event> = serde_json::from_slice(events).unwrap_or_default();
    events.into_iter().filter(|event| is_deed(&event.kind)).filter_map(|event| event.policy).collect()
}

/// Whether an event of this type, if it is of a policy, says that this one did something.
pub(super) fn is_deed(kind: &str) -> bool {
    kind != "policy.started"
}

/// A text that every database takes: PostgreSQL knows no NUL.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
