//! Several versions and several processes at one database.

use std::{fs, path::Path};

use futures::future::join_all;
use luthien::store::{Place, Store};

use super::support::postgres_connection;
use crate::common::postgres::Postgres;

/// All pods of a new release may start at the same time, before anybody has made a table.
#[tokio::test]
async fn processes_that_start_at_once_all_find_their_tables() {
    let postgres = Postgres::start();
    let place = Place::postgres(&postgres.url(), None, Some(Postgres::PASSWORD)).unwrap();
    let stores: Vec<Store> = (0..8).map(|_| Store::open(&place).unwrap()).collect();
    for migrated in join_all(stores.iter().map(Store::migrate)).await {
        migrated.unwrap();
    }
    let mut db = postgres_connection(&postgres).await;
    let versions: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations ORDER BY version").fetch_all(&mut db).await.unwrap();
    let made = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres")).unwrap().count();
    assert_eq!(versions, (1..=i64::try_from(made).unwrap()).collect::<Vec<_>>());
    for store in stores {
        store.close().await;
    }
}

/// What a migration may do: nothing that the version before stumbles over, which runs beside this one for a while.
#[test]
fn migrations_only_add() {
    let mut seen = 0;
    for kind in ["sqlite", "postgres"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(kind);
        for file in fs::read_dir(folder).unwrap().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            // Before it there was nothing.
            if name.starts_with("0001_") {
                continue;
            }
            let text = fs::read_to_string(file.path()).unwrap();
            let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
            for statement in lines.join(" ").split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
                let words = statement.to_uppercase();
                let adds = words.starts_with("CREATE TABLE ")
                    || words.starts_with("CREATE INDEX ")
                    || (words.starts_with("ALTER TABLE ") && words.contains(" ADD COLUMN "));
                assert!(adds, "{kind}/{name}: the version before may need what this takes away: {statement}");
                let demands =
                    words.starts_with("ALTER TABLE ") && words.contains("NOT NULL") && !words.contains("DEFAULT");
                assert!(!demands, "{kind}/{name}: the version before does not write this column: {statement}");
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}
