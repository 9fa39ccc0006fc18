//! Pieces of bodies in the database, each once.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::{
    Kind, StoreError,
    content::{Hash, Part, Parts},
    marks,
};
use crate::record::zip;

/// So many values are asked for at once.
const CHUNK: usize = 500;
/// What stands before a piece that is compressed, and before one that would not become smaller.
const COMPRESSED: u8 = 1;
const PLAIN: u8 = 0;
/// As good as it gets without taking long.
const EFFORT: i32 = 6;

/// Numbers of pieces, or of nodes, by their hashes.
pub(super) type Ids = BTreeMap<Hash, i64>;

/// Writes the pieces that are not there, and returns the numbers of all.
pub(super) async fn intern(db: &mut AnyConnection, kind: Kind, parts: Parts) -> Result<Ids, sqlx::Error> {
    let hashes: Vec<Hash> = parts.keys().copied().collect();
    let there = ids(db, "parts", &hashes).await?;
    let mut new = Vec::new();
    // In the order of their hashes, so that two that write the same wait for each other and not in a circle.
    for (hash, part) in parts {
        if !there.contains_key(&hash) && insert(db, &hash, &part).await? {
            new.push((hash, part));
        }
    }
    let mut all = there;
    let missing: Vec<Hash> = hashes.into_iter().filter(|hash| !all.contains_key(hash)).collect();
    all.extend(ids(db, "parts", &missing).await?);
    for (hash, part) in new {
        let Some(id) = all.get(&hash).copied() else { continue };
        for hole in &part.holes {
            let Some(text) = all.get(hole) else { continue };
            let statement = "INSERT INTO holes (part, text) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            sqlx::query(statement).bind(id).bind(*text).execute(&mut *db).await?;
        }
        if !part.words.is_empty() {
            let statement = match kind {
                Kind::Sqlite => "INSERT INTO words (rowid, word) VALUES ($1, $2)",
                Kind::Postgres => {
                    "INSERT INTO words (part, words) VALUES ($1, array_to_tsvector(string_to_array($2, ' ')))"
                }
            };
            sqlx::query(statement).bind(id).bind(part.words).execute(&mut *db).await?;
        }
    }
    Ok(all)
}

async fn insert(db: &mut AnyConnection, hash: &Hash, part: &Part) -> Result<bool, sqlx::Error> {
    let statement = "INSERT INTO parts (hash, size, data) VALUES ($1, $2, $3) ON CONFLICT (hash) DO NOTHING";
    let size = i64::try_from(part.content.len()).unwrap_or(i64::MAX);
    let written = sqlx::query(statement).bind(hash.to_vec()).bind(size).bind(pack(&part.content)).execute(db).await?;
    Ok(written.rows_affected() > 0)
}

/// The numbers of those that are there.
async fn ids(db: &mut AnyConnection, table: &'static str, hashes: &[Hash]) -> Result<Ids, sqlx::Error> {
    let mut found = Ids::new();
    for chunk in hashes.chunks(CHUNK) {
        let statement = format!("SELECT id, hash FROM {table} WHERE hash IN ({})", marks(1, chunk.len()));
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for hash in chunk {
            query = query.bind(hash.to_vec());
        }
        for row in query.fetch_all(&mut *db).await? {
            if let Ok(hash) = row.try_get::<Vec<u8>, _>(1)?.try_into() {
                found.insert(hash, row.try_get(0)?);
            }
        }
    }
    Ok(found)
}

/// The last node of a list of pieces. What of it is not there is written.
pub(super) async fn list(db: &mut AnyConnection, items: &[Hash], parts: &Ids) -> Result<Option<i64>, sqlx::Error> {
    let mut chain: Vec<(Hash, Hash)> = Vec::with_capacity(items.len());
    for item in items {
        let mut hash = Sha256::new();
        if let Some((before, _)) = chain.last() {
            hash.update(before);
        }
        hash.update(item);
        chain.push((hash.finalize().into(), *item));
    }
    let hashes: Vec<Hash> = chain.iter().map(|(hash, _)| *hash).collect();
    let there = ids(db, "nodes", &hashes).await?;
    let mut last = None;
    for (hash, item) in chain {
        last = match (there.get(&hash), parts.get(&item)) {
            (Some(id), _) => Some(*id),
            (None, Some(part)) => Some(node(db, &hash, last, *part).await?),
            (None, None) => last,
        };
    }
    Ok(last)
}

async fn node(db: &mut AnyConnection, hash: &Hash, parent: Option<i64>, part: i64) -> Result<i64, sqlx::Error> {
    // The update changes nothing; it makes the statement return the number also where somebody else was faster.
    let statement = "INSERT INTO nodes (hash, parent, part) VALUES ($1, $2, $3) \
                     ON CONFLICT (hash) DO UPDATE SET part = excluded.part RETURNING id";
    sqlx::query(statement).bind(hash.to_vec()).bind(parent).bind(part).fetch_one(db).await?.try_get(0)
}

/// What these pieces are, by number.
pub(super) async fn contents(
    db: &mut AnyConnection,
    wanted: &BTreeSet<i64>,
) -> Result<BTreeMap<i64, Vec<u8>>, StoreError> {
    let mut found = BTreeMap::new();
    let wanted: Vec<i64> = wanted.iter().copied().collect();
    for chunk in wanted.chunks(CHUNK) {
        let statement = format!("SELECT id, data FROM parts WHERE id IN ({})", marks(1, chunk.len()));
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for id in chunk {
            query = query.bind(*id);
        }
        for row in query.fetch_all(&mut *db).await? {
            found.insert(row.try_get(0)?, unpack(&row.try_get::<Vec<u8>, _>(1)?)?);
        }
    }
    Ok(found)
}

/// The texts with these hashes.
pub(super) async fn texts(
    db: &mut AnyConnection,
    wanted: &BTreeSet<Hash>,
) -> Result<BTreeMap<Hash, String>, StoreError> {
    let mut found = BTreeMap::new();
    let wanted: Vec<Hash> = wanted.iter().copied().collect();
    for chunk in wanted.chunks(CHUNK) {
        let statement = format!("SELECT hash, data FROM parts WHERE hash IN ({})", marks(1, chunk.len()));
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for hash in chunk {
            query = query.bind(hash.to_vec());
        }
        for row in query.fetch_all(&mut *db).await? {
            let text = unpack(&row.try_get::<Vec<u8>, _>(1)?)?;
            if let Ok(hash) = row.try_get::<Vec<u8>, _>(0)?.try_into() {
                found.insert(hash, String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
    Ok(found)
}

/// Bytes as they are stored.
pub(super) fn pack(content: &[u8]) -> Vec<u8> {
    let packed = |tag: u8, content: &[u8]| [&[tag], content].concat();
    match zip::compress(content, EFFORT) {
        Ok(compressed) if compressed.len() < content.len() => packed(COMPRESSED, &compressed),
        Ok(_) | Err(_) => packed(PLAIN, content),
    }
}

/// Bytes as they were.
pub(super) fn unpack(stored: &[u8]) -> Result<Vec<u8>, StoreError> {
    let damaged = || StoreError::Damaged("a piece of a body cannot be unpacked".to_owned());
    match stored.split_first() {
        Some((&PLAIN, content)) => Ok(content.to_vec()),
        Some((&COMPRESSED, content)) => zip::decompress(content).map_err(|_| damaged()),
        Some(_) | None => Err(damaged()),
    }
}
