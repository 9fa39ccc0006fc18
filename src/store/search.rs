//! Calls in which words stand.

use super::{
    Kind,
    read::Asking,
    words::{Wanted, wanted},
};

/// Only calls with a text in which all of these words stand.
pub(super) fn condition(kind: Kind, query: &str, asking: &mut Asking) {
    let wanted = wanted(query);
    if wanted.is_empty() {
        // Nothing but punctuation stands in no text.
        return asking.and("1 = 0".to_owned());
    }
    // Words are letters and digits only.
    let each = wanted.iter().map(|Wanted { word, is_prefix }| match (kind, is_prefix) {
        (Kind::Sqlite, false) => format!("\"{word}\""),
        (Kind::Sqlite, true) => format!("\"{word}\"*"),
        (Kind::Postgres, false) => format!("'{word}'"),
        (Kind::Postgres, true) => format!("'{word}':*"),
    });
    let (joined, found) = match kind {
        Kind::Sqlite => (" ", "SELECT rowid FROM words WHERE words MATCH"),
        Kind::Postgres => (" & ", "SELECT part FROM words WHERE words @@ CAST"),
    };
    let query = each.collect::<Vec<_>>().join(joined);
    let query = asking.text(&query);
    let query = match kind {
        Kind::Sqlite => query,
        Kind::Postgres => format!("({query} AS tsquery)"),
    };
    // Up from the texts: to the pieces that they were taken out of, to the lists that go through those, to their calls.
    asking.and(format!(
        "id IN (WITH RECURSIVE hit (part) AS ({found} {query}), \
         piece (part) AS (SELECT part FROM hit UNION SELECT holes.part FROM holes JOIN hit ON holes.text = hit.part), \
         reached (node) AS (SELECT id FROM nodes WHERE part IN (SELECT part FROM piece) \
         UNION SELECT nodes.id FROM nodes JOIN reached ON nodes.parent = reached.node) \
         SELECT call FROM lists WHERE node IN (SELECT node FROM reached) \
         UNION SELECT call FROM bodies WHERE part IN (SELECT part FROM piece))"
    ));
}
