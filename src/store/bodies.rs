//! Bodies of calls, put together again.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use sqlx::{
    Any, AnyConnection, AssertSqlSafe, Row,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use super::{
    StoreError,
    content::{self, Hash, join},
    marks,
    parts::{contents, texts, unpack},
    read::within,
    write::text,
};

/// Pieces of bodies, with the texts that were taken out of them.
pub(super) struct Pieces {
    parts: BTreeMap<i64, Value>,
    texts: BTreeMap<Hash, String>,
}

impl Pieces {
    /// These pieces.
    pub(super) async fn read(db: &mut AnyConnection, wanted: &BTreeSet<i64>) -> Result<Self, StoreError> {
        let mut parts = BTreeMap::new();
        let mut holes: Vec<Hash> = Vec::new();
        for (id, content) in contents(db, wanted).await? {
            let value = serde_json::from_slice(&content).map_err(|error| StoreError::Damaged(error.to_string()))?;
            content::holes(&value, &mut holes);
            parts.insert(id, value);
        }
        let texts = texts(db, &holes.into_iter().collect()).await?;
        Ok(Self { parts, texts })
    }

    /// An item of a list.
    pub(super) fn item(&self, id: i64) -> Value {
        self.body(id, BTreeMap::new())
    }

    /// A body with its lists.
    fn body(&self, id: i64, mut lists: BTreeMap<String, Vec<Value>>) -> Value {
        join(self.parts.get(&id).cloned().unwrap_or_default(), "", &self.texts, &mut lists)
    }
}

/// Bodies by call and side.
pub(super) type Bodies = BTreeMap<String, BTreeMap<String, Value>>;

/// Which bodies of a call: those that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    Answers,
}

/// A statement whose values are the ids of these calls.
pub(super) fn of_calls(statement: String, calls: &[String]) -> Query<'static, Any, AnyArguments> {
    calls.iter().fold(sqlx::query(AssertSqlSafe(statement)), |query, call| query.bind(text(call)))
}

/// The bodies of calls.
pub(super) async fn bodies(db: &mut AnyConnection, calls: &[String], wanted: Wanted) -> Result<Bodies, StoreError> {
    let sides = match wanted {
        Wanted::All => "",
        Wanted::Answers => "AND side IN ('response', 'response_sent')",
    };
    let marks = marks(1, calls.len());
    let statement = format!("SELECT call, side, part FROM bodies WHERE call IN ({marks}) {sides}");
    let mut found: Vec<(String, String, i64)> = Vec::new();
    for row in within(of_calls(statement, calls).fetch_all(&mut *db)).await? {
        found.push((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    }
    // From the end of each list to its beginning.
    let statement = format!(
        "WITH RECURSIVE item (last, step, parent, part) AS ( \
         SELECT nodes.id, CAST(0 AS BIGINT), nodes.parent, nodes.part FROM nodes \
         WHERE id IN (SELECT node FROM lists WHERE call IN ({marks}) {sides}) \
         UNION ALL SELECT item.last, item.step + 1, nodes.parent, nodes.part FROM item \
         JOIN nodes ON nodes.id = item.parent) \
         SELECT last, part FROM item ORDER BY last, step DESC"
    );
    let mut items: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for row in within(of_calls(statement, calls).fetch_all(&mut *db)).await? {
        items.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
    }
    let statement = format!("SELECT call, side, field, node FROM lists WHERE call IN ({marks}) {sides}");
    let mut lists: BTreeMap<(String, String), Vec<(String, i64)>> = BTreeMap::new();
    for row in within(of_calls(statement, calls).fetch_all(&mut *db)).await? {
        let key = (row.try_get(0)?, row.try_get(1)?);
        lists.entry(key).or_default().push((row.try_get(2)?, row.try_get(3)?));
    }
    let wanted: BTreeSet<i64> =
        found.iter().map(|(_, _, part)| *part).chain(items.values().flatten().copied()).collect();
    let pieces = Pieces::read(db, &wanted).await?;
    let mut bodies = Bodies::new();
    for (call, side, id) in found {
        let mut own = BTreeMap::new();
        for (field, node) in lists.remove(&(call.clone(), side.clone())).unwrap_or_default() {
            let items = items.get(&node).map(Vec::as_slice).unwrap_or_default();
            own.insert(field, items.iter().map(|id| pieces.item(*id)).collect());
        }
        let body = pieces.body(id, own);
        bodies.entry(call).or_default().insert(side, body);
    }
    Ok(bodies)
}

/// The bytes of a call's answers by side, in base64.
pub(super) async fn raws(db: &mut AnyConnection, call: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let query = sqlx::query("SELECT side, data FROM raws WHERE call = $1").bind(text(call));
    let rows = within(query.fetch_all(db)).await?;
    let raw = |row: &AnyRow| {
        let bytes = unpack(&row.try_get::<Vec<u8>, _>(1)?)?;
        Ok((row.try_get(0)?, STANDARD.encode(bytes)))
    };
    rows.iter().map(raw).collect()
}

/// What happened in a call.
pub(super) async fn events(db: &mut AnyConnection, call: &str) -> Result<Vec<Value>, StoreError> {
    let query = sqlx::query("SELECT events FROM entries WHERE call = $1 ORDER BY seq").bind(text(call));
    let mut events = Vec::new();
    for row in within(query.fetch_all(db)).await? {
        if let Value::Array(more) = json(&row.try_get::<Vec<u8>, _>(0)?)? {
            events.extend(more);
        }
    }
    Ok(events)
}

/// JSON as it is stored.
pub(super) fn json(stored: &[u8]) -> Result<Value, StoreError> {
    serde_json::from_slice(&unpack(stored)?).map_err(|error| StoreError::Damaged(error.to_string()))
}
