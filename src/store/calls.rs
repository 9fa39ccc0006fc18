//! The rows of calls: what the entries of each say together.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AnyConnection, Row};

use super::{
    parts::pack,
    rows::{Statement, each},
    write::text,
};
use crate::record::{Closing, Entry, Head, Sent};

/// What some entries say of a call.
#[derive(Debug, Clone, Copy, Default)]
struct Said<'e> {
    head: Option<&'e Head>,
    sent: Option<&'e Sent>,
    changed: Option<bool>,
    closing: Option<&'e Closing>,
}

/// What is known when a call begins.
const BEGINNING: &str = "id, started_at, spool, replica, level, dialect, path, model, client, session, probe, stream, \
                         rules, headers, trace_id";
/// What becomes known later.
const LATER: [&str; 18] = [
    "upstream",
    "upstream_dialect",
    "upstream_model",
    "request_changed",
    "dropped",
    "response_changed",
    "ended_at",
    "outcome",
    "error",
    "status",
    "duration",
    "first_byte",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost",
];
/// Values of [`LATER`]. A number with a fraction goes as text: of one that is missing `sqlx::Any` tells PostgreSQL another
/// type, by which it then reads those that are not.
const VALUES: &str = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS DOUBLE PRECISION)";

/// Writes what these entries say of their calls. Returns the calls that are there: one that was deleted stays deleted.
pub(super) async fn write<'e>(
    db: &mut AnyConnection,
    spool: &str,
    entries: &[&'e Entry],
) -> Result<BTreeSet<&'e str>, sqlx::Error> {
    let mut calls: BTreeMap<&str, Said<'_>> = BTreeMap::new();
    for entry in entries {
        let said = calls.entry(&entry.call).or_default();
        said.head = said.head.or(entry.head.as_ref());
        said.sent = entry.sent.as_ref().or(said.sent);
        said.changed = entry.answer.as_ref().map(|answer| answer.changed).or(said.changed);
        said.closing = entry.closing.as_ref().or(said.closing);
    }
    sessions(db, calls.values().filter_map(|said| said.head)).await?;
    let mut there = insert(db, spool, &calls).await?;
    calls.retain(|call, _| !there.contains(call));
    there.extend(update(db, &calls).await?);
    Ok(there)
}

/// Begins the calls whose head is here, and returns those that were not there.
async fn insert<'e>(
    db: &mut AnyConnection,
    spool: &str,
    calls: &BTreeMap<&'e str, Said<'e>>,
) -> Result<BTreeSet<&'e str>, sqlx::Error> {
    let new: Vec<(&str, &Head, Said<'_>)> =
        calls.iter().filter_map(|(call, said)| Some((*call, said.head?, *said))).collect();
    let before = format!("INSERT INTO calls ({BEGINNING}, {}) VALUES", LATER.join(", "));
    let row = format!("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {VALUES})");
    let statement = (&*before, &*row, "ON CONFLICT (id) DO NOTHING RETURNING id");
    let written =
        each(db, statement, &new, |query, (call, head, said)| later(begin(query, call, spool, head), said, true));
    among(calls, &written.await?)
}

/// Says what has become known of calls that are there, and returns them.
async fn update<'e>(
    db: &mut AnyConnection,
    calls: &BTreeMap<&'e str, Said<'e>>,
) -> Result<BTreeSet<&'e str>, sqlx::Error> {
    let known: Vec<(&str, Said<'_>)> = calls.iter().map(|(call, said)| (*call, *said)).collect();
    // What is not known yet stays as it is.
    let set =
        LATER.iter().zip(2..).map(|(column, number)| format!("{column} = COALESCE(said.column{number}, {column})"));
    let before = format!("UPDATE calls SET {} FROM (VALUES", set.collect::<Vec<_>>().join(", "));
    let statement = (&*before, &*format!("(?, {VALUES})"), ") AS said WHERE id = said.column1 RETURNING id");
    let written = each(db, statement, &known, |query, (call, said)| later(query.bind(text(call)), said, false));
    among(calls, &written.await?)
}

/// Those of the calls that a statement returned.
fn among<'e>(
    calls: &BTreeMap<&'e str, Said<'e>>,
    returned: &[sqlx::any::AnyRow],
) -> Result<BTreeSet<&'e str>, sqlx::Error> {
    let returned: BTreeSet<String> = returned.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(calls.keys().copied().filter(|call| returned.contains(&text(call))).collect())
}

async fn sessions(db: &mut AnyConnection, heads: impl Iterator<Item = &Head>) -> Result<(), sqlx::Error> {
    let mut sessions: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for head in heads.filter(|head| head.probe.is_none()) {
        let Some(session) = &head.session else { continue };
        let (first, last) = sessions.entry(text(session)).or_insert((head.at, head.at));
        (*first, *last) = ((*first).min(head.at), (*last).max(head.at));
    }
    let sessions: Vec<_> = sessions.into_iter().collect();
    let behind = "ON CONFLICT (id) DO UPDATE SET \
                  first_at = CASE WHEN excluded.first_at < sessions.first_at THEN excluded.first_at \
                  ELSE sessions.first_at END, \
                  last_at = CASE WHEN excluded.last_at > sessions.last_at THEN excluded.last_at ELSE sessions.last_at END";
    let statement = ("INSERT INTO sessions (id, first_at, last_at) VALUES", "(?, ?, ?)", behind);
    each(db, statement, &sessions, |query, (session, (first, last))| {
        query.bind(session.clone()).bind(*first).bind(*last)
    })
    .await?;
    Ok(())
}

fn begin(query: Statement, call: &str, spool: &str, head: &Head) -> Statement {
    let headers = serde_json::to_vec(&head.headers).unwrap_or_default();
    query
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
}

/// The values of [`LATER`].
fn later(query: Statement, said: &Said<'_>, is_new: bool) -> Statement {
    let Said { sent, changed, closing, .. } = said;
    let dropped = sent.map(|sent| &sent.dropped).filter(|dropped| !dropped.is_empty());
    let upstream = closing.map(|closing| &closing.upstream).filter(|upstream| !upstream.is_empty());
    let upstream = upstream.or(sent.map(|sent| &sent.upstream));
    let count = |tokens: Option<u64>| tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX));
    let tokens = |of: fn(&Closing) -> Option<u64>| count(closing.and_then(of));
    query
        .bind(upstream.map(|upstream| text(upstream)))
        .bind(sent.map(|sent| text(&sent.dialect)))
        .bind(sent.map(|sent| text(&sent.model)))
        .bind(sent.map(|sent| i64::from(sent.changed)).or(is_new.then_some(0)))
        .bind(dropped.map(|dropped| pack(&serde_json::to_vec(dropped).unwrap_or_default())))
        .bind(changed.map(i64::from).or(is_new.then_some(0)))
        .bind(closing.map(|closing| closing.at))
        .bind(closing.map(|closing| text(&closing.outcome)))
        .bind(closing.and_then(|closing| closing.error.as_deref()).map(text))
        .bind(closing.map(|closing| i64::from(closing.status)))
        .bind(closing.map(|closing| closing.duration))
        .bind(closing.and_then(|closing| closing.first_byte))
        .bind(tokens(|closing| closing.input))
        .bind(tokens(|closing| closing.cached))
        .bind(tokens(|closing| closing.cache_write))
        .bind(tokens(|closing| closing.output))
        .bind(tokens(|closing| closing.reasoning))
        .bind(closing.and_then(|closing| closing.cost).map(|cost| cost.to_string()))
}
