//! Statements that write or find many rows at once. What a statement costs before it touches a row is most of what a small
//! record costs: with SQLite two switches between threads, with PostgreSQL a way over the network.

use std::fmt::Write;

use sqlx::{
    Any, AnyConnection, AssertSqlSafe,
    any::{AnyArguments, AnyRow},
    query::Query,
};

/// So many rows go into one statement. SQLite takes 32,766 values in one, PostgreSQL 65,535.
const MOST: usize = 128;

/// A statement and its values.
pub(super) type Statement = Query<'static, Any, AnyArguments>;

/// Runs a statement for these rows, as few times as can be, and returns what it returns. `?` in `row` stands for a value that
/// `bind` adds. The rows stand between `before` and `behind`.
pub(super) async fn each<T>(
    db: &mut AnyConnection,
    (before, row, behind): (&str, &str, &str),
    rows: &[T],
    bind: impl Fn(Statement, &T) -> Statement,
) -> Result<Vec<AnyRow>, sqlx::Error> {
    let mut returned = Vec::new();
    // SQLite takes numbered values for named ones, and searches all names for each.
    let listed = if db.backend_name() == "SQLite" { repeated } else { numbered };
    for chunk in chunks(rows) {
        let statement = AssertSqlSafe(format!("{before} {} {behind}", listed(row, chunk.len())));
        returned.extend(chunk.iter().fold(sqlx::query(statement), &bind).fetch_all(&mut *db).await?);
    }
    Ok(returned)
}

/// In pieces of 128, 64, 32, …: whatever is written, there are few statements to prepare.
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = 1 << rows.len().checked_ilog2()?;
        let (chunk, rest) = rows.split_at_checked(MOST.min(length))?;
        rows = rest;
        Some(chunk)
    })
}

/// So many rows, with commas between them.
fn repeated(row: &str, count: usize) -> String {
    vec![row; count].join(", ")
}

/// The same, with numbers for their values.
fn numbered(row: &str, count: usize) -> String {
    let mut out = String::with_capacity(count * (row.len() + 16));
    let mut number = 0;
    for place in 0..count {
        out.push_str(if place > 0 { ", " } else { "" });
        for (at, part) in row.split('?').enumerate() {
            if at > 0 {
                number += 1;
                // Writing to a text does not fail.
                let _ = write!(out, "${number}");
            }
            out.push_str(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbered_through() {
        assert_eq!(numbered("(?, f(?, ' '))", 2), "($1, f($2, ' ')), ($3, f($4, ' '))");
    }

    #[test]
    fn pieces_are_few_and_of_few_sizes() {
        let rows: Vec<usize> = (0..301).collect();
        let pieces: Vec<&[usize]> = chunks(&rows).collect();
        assert_eq!(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [128, 128, 32, 8, 4, 1]);
        assert_eq!(pieces.concat(), rows);
        assert_eq!(chunks(&rows[..0]).count(), 0);
    }
}
