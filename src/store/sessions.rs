//! Calls in the order of their conversation.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sqlx::{AnyConnection, Row, any::AnyRow};

use super::{
    Store, StoreError,
    bodies::{Pieces, Wanted, bodies, json, of_calls},
    marks,
    read::{Asking, Cursor, Filter, Page, Summary, Tokens, rfc3339, within},
    write::{is_deed, text},
};

/// A conversation, in short.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Session {
    /// The client's id of it.
    pub session_id: String,
    /// When its first call began, as in RFC 3339.
    pub first_at: String,
    /// When its last call began, as in RFC 3339.
    pub last_at: String,
    /// How many calls it has, without probes.
    pub calls: u64,
    /// How many of them did not end with `completed`.
    pub failed: u64,
    /// The models that were asked for.
    pub models: Vec<String>,
    /// The tokens that providers reported.
    pub usage: Tokens,
    /// What they cost, in US dollars, as far as prices are known. Missing: no price is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// One call of a conversation: what the client said that it had not said before, and what it was told.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Turn {
    /// The call.
    pub call: Summary,
    /// The messages that are new, in the client's dialect.
    pub messages: Vec<Value>,
    /// The answer, as the client got it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Value>,
    /// What policies and judges said.
    pub events: Vec<Value>,
}

/// A list of pieces, from its end.
struct Node {
    parent: Option<i64>,
    part: i64,
}

impl Store {
    /// Conversations, the one that was last active first.
    pub async fn sessions(&self, after: Option<&Cursor>, limit: u16) -> Result<Page<Session>, StoreError> {
        let mut asking = Asking::default();
        asking.after("last_at", after);
        let statement = format!(
            "SELECT id, first_at, last_at FROM sessions {} ORDER BY last_at DESC, id DESC LIMIT {}",
            asking.conditions(),
            limit + 1
        );
        let mut rows = within(asking.query(statement).fetch_all(self.pool())).await?;
        let is_more = rows.len() > usize::from(limit);
        rows.truncate(usize::from(limit));
        let mut items = Vec::new();
        let mut last = None;
        for row in &rows {
            let (id, last_at): (String, i64) = (row.try_get(0)?, row.try_get(2)?);
            items.push(self.sum(&id, row.try_get(1)?, last_at).await?);
            last = Some(Cursor { at: last_at, id });
        }
        Ok(Page { items, next_cursor: last.filter(|_| is_more).map(|last| last.to_string()) })
    }

    /// A conversation, in short. `None`: there is none.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        let query = sqlx::query("SELECT first_at, last_at FROM sessions WHERE id = $1").bind(text(id));
        match within(query.fetch_optional(self.pool())).await? {
            Some(row) => Ok(Some(self.sum(id, row.try_get(0)?, row.try_get(1)?).await?)),
            None => Ok(None),
        }
    }

    /// The calls of a conversation, the newest page first, in the order of time within it.
    pub async fn turns(&self, id: &str, after: Option<&Cursor>, limit: u16) -> Result<Page<Turn>, StoreError> {
        let filter = Filter { session: Some(id.to_owned()), without_probes: true, ..Filter::default() };
        let Page { mut items, next_cursor } = self.list(&filter, after, limit).await?;
        items.reverse();
        if items.is_empty() {
            return Ok(Page { items: Vec::new(), next_cursor });
        }
        let mut db = within(self.pool().acquire()).await?;
        let calls: Vec<String> = items.iter().map(|call| call.call_id.clone()).collect();
        let mut answers = bodies(&mut db, &calls, Wanted::Answers).await?;
        let mut messages = new_messages(&mut db, id, &calls).await?;
        let mut events = decisions(&mut db, &calls).await?;
        let turn = |call: Summary| {
            let mut answer = answers.remove(&call.call_id).unwrap_or_default();
            let response =
                if call.changed.response { answer.remove("response_sent") } else { answer.remove("response") };
            Turn {
                messages: messages.remove(&call.call_id).unwrap_or_default(),
                events: events.remove(&call.call_id).unwrap_or_default(),
                response,
                call,
            }
        };
        Ok(Page { items: items.into_iter().map(turn).collect(), next_cursor })
    }

    async fn sum(&self, id: &str, first_at: i64, last_at: i64) -> Result<Session, StoreError> {
        let statement = "SELECT COUNT(*), COUNT(CASE WHEN outcome <> 'completed' THEN 1 END), \
                         CAST(SUM(input_tokens) AS BIGINT), CAST(SUM(cached_tokens) AS BIGINT), \
                         CAST(SUM(cache_write_tokens) AS BIGINT), CAST(SUM(output_tokens) AS BIGINT), \
                         CAST(SUM(reasoning_tokens) AS BIGINT), SUM(cost) FROM calls WHERE session = $1 AND probe IS NULL";
        let row = within(sqlx::query(statement).bind(text(id)).fetch_one(self.pool())).await?;
        let count = |column: usize| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
        let tokens = |column: usize| row.try_get::<Option<i64>, _>(column).map(|sum| sum.map(i64::unsigned_abs));
        let statement = "SELECT DISTINCT model FROM calls WHERE session = $1 AND probe IS NULL ORDER BY model";
        let models = within(sqlx::query(statement).bind(text(id)).fetch_all(self.pool())).await?;
        Ok(Session {
            session_id: id.to_owned(),
            first_at: rfc3339(first_at),
            last_at: rfc3339(last_at),
            calls: count(0)?,
            failed: count(1)?,
            models: models.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?,
            usage: Tokens {
                input: tokens(2)?,
                cached: tokens(3)?,
                cache_write: tokens(4)?,
                output: tokens(5)?,
                reasoning: tokens(6)?,
            },
            cost_usd: row.try_get(7)?,
        })
    }
}

/// What each of these calls says that no earlier one of its conversation had said. They are in the order of time.
async fn new_messages(
    db: &mut AnyConnection,
    session: &str,
    calls: &[String],
) -> Result<BTreeMap<String, Vec<Value>>, StoreError> {
    // Those before the first of them count as well.
    let statement = "SELECT calls.id, lists.node FROM calls JOIN lists ON lists.call = calls.id \
                     WHERE calls.session = $1 AND calls.probe IS NULL AND lists.side = 'request' \
                     AND lists.field IN ('messages', 'input') ORDER BY calls.started_at, calls.id, lists.field";
    let rows = within(sqlx::query(statement).bind(text(session)).fetch_all(&mut *db)).await?;
    let nodes = nodes(db, session).await?;
    let mut seen = BTreeSet::new();
    let mut new: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in &rows {
        let (call, end): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let mut items = Vec::new();
        let mut at = Some(end);
        while let Some(node) = at.filter(|node| seen.insert(*node)).and_then(|node| nodes.get(&node)) {
            items.push(node.part);
            at = node.parent;
        }
        items.reverse();
        if calls.contains(&call) {
            new.entry(call).or_default().extend(items);
        }
    }
    let wanted: BTreeSet<i64> = new.values().flatten().copied().collect();
    let pieces = Pieces::read(db, &wanted).await?;
    let mut said = texts(db, calls.iter().filter(|call| !new.contains_key(*call)).cloned().collect()).await?;
    said.extend(new.into_iter().map(|(call, items)| (call, items.into_iter().map(|id| pieces.item(id)).collect())));
    Ok(said)
}

/// What calls say that have a text in the place of messages, as Responses may.
async fn texts(db: &mut AnyConnection, calls: Vec<String>) -> Result<BTreeMap<String, Vec<Value>>, StoreError> {
    if calls.is_empty() {
        return Ok(BTreeMap::new());
    }
    let statement =
        format!("SELECT call, part FROM bodies WHERE side = 'request' AND call IN ({})", marks(1, calls.len()));
    let rows = within(of_calls(statement, &calls).fetch_all(&mut *db)).await?;
    let part = |row: &AnyRow| -> Result<(String, i64), sqlx::Error> { Ok((row.try_get(0)?, row.try_get(1)?)) };
    let parts = rows.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let pieces = Pieces::read(db, &parts.iter().map(|(_, part)| *part).collect()).await?;
    let said = |(call, part): (String, i64)| {
        let input = pieces.item(part).get_mut("input").map(Value::take).filter(Value::is_string);
        Some((call, vec![input?]))
    };
    Ok(parts.into_iter().filter_map(said).collect())
}

/// Every node of the lists of messages in a conversation.
async fn nodes(db: &mut AnyConnection, session: &str) -> Result<BTreeMap<i64, Node>, StoreError> {
    let statement = "WITH RECURSIVE reached (id, parent, part) AS ( \
                     SELECT nodes.id, nodes.parent, nodes.part FROM nodes WHERE id IN (SELECT lists.node FROM lists \
                     JOIN calls ON calls.id = lists.call WHERE calls.session = $1 AND calls.probe IS NULL \
                     AND lists.side = 'request' AND lists.field IN ('messages', 'input')) \
                     UNION SELECT nodes.id, nodes.parent, nodes.part FROM nodes \
                     JOIN reached ON nodes.id = reached.parent) SELECT id, parent, part FROM reached";
    let rows = within(sqlx::query(statement).bind(text(session)).fetch_all(db)).await?;
    let node = |row: &AnyRow| Ok((row.try_get(0)?, Node { parent: row.try_get(1)?, part: row.try_get(2)? }));
    rows.iter().map(node).collect()
}

/// What policies and judges said in these calls.
async fn decisions(db: &mut AnyConnection, calls: &[String]) -> Result<BTreeMap<String, Vec<Value>>, StoreError> {
    let statement =
        format!("SELECT call, events FROM entries WHERE call IN ({}) ORDER BY call, seq", marks(1, calls.len()));
    let mut decisions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in within(of_calls(statement, calls).fetch_all(db)).await? {
        let Value::Array(events) = json(&row.try_get::<Vec<u8>, _>(1)?)? else { continue };
        let is_one = |event: &Value| event["policy"].is_string() && event["type"].as_str().is_some_and(is_deed);
        let of_policies = events.into_iter().filter(is_one);
        decisions.entry(row.try_get(0)?).or_default().extend(of_policies);
    }
    Ok(decisions)
}
