//! The store: the same suite on SQLite and on a real PostgreSQL.

mod conformance;
mod support;
mod upgrades;

use luthien::store::Place;

use self::support::Database;

/// A test for each database.
macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::conformance::$name(super::Database::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::conformance::$name(super::Database::postgres().await).await;
            })*
        }
    };
}

conformance!(
    a_call_is_read_as_it_was_written,
    what_is_written_twice_is_there_once,
    entries_come_in_any_batches,
    a_restart_stands_in_the_middle_of_a_batch,
    open_calls_are_interrupted_by_a_restart,
    lists_are_filtered_and_come_in_pages,
    words_are_found_wherever_they_stand,
    a_long_conversation_is_stored_once_and_read_fast,
    what_is_deleted_takes_with_it_what_nothing_else_refers_to,
    the_old_and_the_too_much_are_forgotten,
    several_write_at_once,
    odd_values_survive,
    migrations_run_once_and_let_a_newer_version_be,
    the_spool_is_written_however_often_the_store_fails,
);

#[tokio::test]
async fn a_new_password_is_used_by_connections_that_begin_later() {
    let db = Database::postgres().await;
    let postgres = db.postgres.as_ref().expect("a PostgreSQL");
    db.change_password("another").await;
    db.store.migrate().await.expect_err("the password that it knows is wrong, and nobody is connected any more");
    let place = Place::postgres(&postgres.url(), None, Some("another")).expect("an address");
    db.store.reconnect(&place).expect("an address");
    db.store.migrate().await.expect("the new password");
}
