//! Pieces of bodies in the database, each once.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AnyConnection, Row, any::AnyRow};

use super::{
    Kind, StoreError,
    content::{Hash, Part, Parts},
    rows::each,
};
use crate::record::zip;

/// Pieces of this size are written one by one, in bytes.
const LARGE: usize = 64 << 10;
/// Of so many pieces the words are written at once.
const FEW: usize = 64;
/// What stands before a piece that is compressed, and before one that would not become smaller.
const COMPRESSED: u8 = 1;
const PLAIN: u8 = 0;
/// With 6, recorded requests and answers take 0.2 % less, and 1.6 times as long.
const EFFORT: i32 = 3;

/// Numbers of pieces, or of nodes, by their hashes.
pub(super) type Ids = BTreeMap<Hash, i64>;

/// Writes the pieces that are not there, and returns the numbers of all.
pub(super) async fn intern(db: &mut AnyConnection, kind: Kind, parts: Parts) -> Result<Ids, sqlx::Error> {
    let hashes: Vec<Hash> = parts.keys().copied().collect();
    let mut all = ids(db, "parts", &hashes).await?;
    // In the order of their hashes, so that two that write the same wait for each other and not in a circle.
    let new: Vec<(Hash, Part)> = parts.into_iter().filter(|(hash, _)| !all.contains_key(hash)).collect();
    if new.is_empty() {
        return Ok(all);
    }
    let mut written = Ids::new();
    // Not many large ones at once.
    for pieces in new.chunk_by(|one, next| one.1.content.len().max(next.1.content.len()) < LARGE) {
        let statement = (
            "INSERT INTO parts (hash, size, data) VALUES",
            "(?, ?, ?)",
            "ON CONFLICT (hash) DO NOTHING RETURNING id, hash",
        );
        let rows = each(db, statement, pieces, |query, (hash, part)| {
            let size = i64::try_from(part.content.len()).unwrap_or(i64::MAX);
            query.bind(hash.to_vec()).bind(size).bind(pack(&part.content))
        });
        numbers(&rows.await?, &mut written)?;
    }
    all.extend(&written);
    // Somebody else was faster.
    let missing: Vec<Hash> = hashes.into_iter().filter(|hash| !all.contains_key(hash)).collect();
    all.extend(ids(db, "parts", &missing).await?);
    let new: Vec<(i64, Part)> = new.into_iter().filter_map(|(hash, part)| Some((*written.get(&hash)?, part))).collect();
    let holes: Vec<(i64, i64)> =
        new.iter().flat_map(|(id, part)| part.holes.iter().filter_map(|hole| Some((*id, *all.get(hole)?)))).collect();
    let statement = ("INSERT INTO holes (part, text) VALUES", "(?, ?)", "ON CONFLICT DO NOTHING");
    each(db, statement, &holes, |query, (part, text)| query.bind(*part).bind(*text)).await?;
    let (before, row) = match kind {
        Kind::Sqlite => ("INSERT INTO words (rowid, word) VALUES", "(?, ?)"),
        Kind::Postgres => ("INSERT INTO words (part, words) VALUES", "(?, array_to_tsvector(string_to_array(?, ' ')))"),
    };
    for pieces in new.chunks(FEW) {
        let words: Vec<(i64, String)> = pieces.iter().map(|(id, part)| (*id, part.words())).collect();
        let words: Vec<(i64, String)> = words.into_iter().filter(|(_, words)| !words.is_empty()).collect();
        each(db, (before, row, ""), &words, |query, (id, words)| query.bind(*id).bind(words.clone())).await?;
    }
    Ok(all)
}

/// The numbers of those that are there.
pub(super) async fn ids(db: &mut AnyConnection, table: &'static str, hashes: &[Hash]) -> Result<Ids, sqlx::Error> {
    let mut found = Ids::new();
    let before = format!("SELECT id, hash FROM {table} WHERE hash IN (");
    numbers(&each(db, (&before, "?", ")"), hashes, |query, hash| query.bind(hash.to_vec())).await?, &mut found)?;
    Ok(found)
}

/// Adds numbers and hashes that a statement returned.
pub(super) fn numbers(rows: &[AnyRow], found: &mut Ids) -> Result<(), sqlx::Error> {
    for row in rows {
        if let Ok(hash) = row.try_get::<Vec<u8>, _>(1)?.try_into() {
            found.insert(hash, row.try_get(0)?);
        }
    }
    Ok(())
}

/// What these pieces are, by number.
pub(super) async fn contents(
    db: &mut AnyConnection,
    wanted: &BTreeSet<i64>,
) -> Result<BTreeMap<i64, Vec<u8>>, StoreError> {
    let wanted: Vec<i64> = wanted.iter().copied().collect();
    let statement = ("SELECT id, data FROM parts WHERE id IN (", "?", ")");
    let rows = each(db, statement, &wanted, |query, id| query.bind(*id)).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, unpack(&row.try_get::<Vec<u8>, _>(1)?)?))).collect()
}

/// The texts with these hashes.
pub(super) async fn texts(
    db: &mut AnyConnection,
    wanted: &BTreeSet<Hash>,
) -> Result<BTreeMap<Hash, String>, StoreError> {
    let wanted: Vec<Hash> = wanted.iter().copied().collect();
    let mut found = BTreeMap::new();
    let statement = ("SELECT hash, data FROM parts WHERE hash IN (", "?", ")");
    for row in each(db, statement, &wanted, |query, hash| query.bind(hash.to_vec())).await? {
        let text = unpack(&row.try_get::<Vec<u8>, _>(1)?)?;
        if let Ok(hash) = row.try_get::<Vec<u8>, _>(0)?.try_into() {
            found.insert(hash, String::from_utf8_lossy(&text).into_owned());
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
