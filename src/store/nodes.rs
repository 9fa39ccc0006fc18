//! Lists of pieces in the database: each node is the list of its parent with one piece more, each once.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use sqlx::AnyConnection;

use super::{
    content::Hash,
    parts::{Ids, ids, numbers},
    rows::each,
};

/// A list with one piece more.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// The list without it.
    parent: Option<Hash>,
    /// The piece.
    part: i64,
}

/// The last node of each list. What of them is not there is written.
pub(super) async fn intern(
    db: &mut AnyConnection,
    lists: &[&[Hash]],
    parts: &Ids,
) -> Result<Vec<Option<i64>>, sqlx::Error> {
    let mut nodes: BTreeMap<Hash, Node> = BTreeMap::new();
    let mut ends: Vec<Option<Hash>> = Vec::with_capacity(lists.len());
    for list in lists {
        let mut end = None;
        for item in *list {
            let Some(part) = parts.get(item) else { continue };
            let mut hash = Sha256::new();
            if let Some(parent) = end {
                hash.update(parent);
            }
            hash.update(item);
            let parent = end.replace(hash.finalize().into());
            nodes.extend(end.map(|hash| (hash, Node { parent, part: *part })));
        }
        ends.push(end);
    }
    let hashes: Vec<Hash> = nodes.keys().copied().collect();
    let mut all = ids(db, "nodes", &hashes).await?;
    // In the order of their hashes, as pieces are.
    nodes.retain(|hash, _| !all.contains_key(hash));
    let new: Vec<(Hash, Node)> = nodes.into_iter().collect();
    let statement = (
        "INSERT INTO nodes (hash, parent, part) VALUES",
        "(?, ?, ?)",
        "ON CONFLICT (hash) DO NOTHING RETURNING id, hash",
    );
    let rows = each(db, statement, &new, |query, (hash, node)| {
        query.bind(hash.to_vec()).bind(node.parent.and_then(|parent| all.get(&parent).copied())).bind(node.part)
    });
    let mut written = Ids::new();
    numbers(&rows.await?, &mut written)?;
    let before = std::mem::take(&mut all);
    all.extend(&before);
    all.extend(&written);
    // Somebody else was faster.
    let missing: Vec<Hash> = hashes.into_iter().filter(|hash| !all.contains_key(hash)).collect();
    all.extend(ids(db, "nodes", &missing).await?);
    // Parents that were written with them had no number yet.
    let orphans: Vec<(i64, i64)> = new
        .iter()
        .filter_map(|(hash, node)| {
            let parent = node.parent.filter(|parent| !before.contains_key(parent))?;
            Some((*written.get(hash)?, *all.get(&parent)?))
        })
        .collect();
    let statement =
        ("UPDATE nodes SET parent = known.column2 FROM (VALUES", "(?, ?)", ") AS known WHERE id = known.column1");
    each(db, statement, &orphans, |query, (node, parent)| query.bind(*node).bind(*parent)).await?;
    Ok(ends.into_iter().map(|end| all.get(&end?).copied()).collect())
}
