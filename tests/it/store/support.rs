//! A store of a test's own, and records for it.

use luthien::{
    record::{Answer, Closing, Entry, Head, Line, Sent, spool::Position},
    store::{Place, Store},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::common::postgres::Postgres;

/// A database with a store in it.
pub(super) struct Database {
    pub(super) store: Store,
    pub(super) place: Place,
    pub(super) postgres: Option<Postgres>,
    pub(super) folder: TempDir,
}

impl Database {
    pub(super) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Sqlite(folder.path().join("luthien.db"));
        Self::with(place, None, folder).await
    }

    pub(super) async fn postgres() -> Self {
        let postgres = Postgres::start();
        let place = Place::postgres(&postgres.url(), None, Some(Postgres::PASSWORD)).unwrap();
        Self::with(place, Some(postgres), tempfile::tempdir().unwrap()).await
    }

    /// The user has another password from now on, and whoever is connected is thrown out.
    pub(super) async fn change_password(&self, password: &str) {
        let mut url: url::Url = self.postgres.as_ref().expect("a PostgreSQL").url().parse().unwrap();
        url.set_password(Some(Postgres::PASSWORD)).unwrap();
        let mut connection = PgConnection::connect(url.as_str()).await.unwrap();
        let change = format!("ALTER USER {} PASSWORD '{password}'", Postgres::USER);
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL";
        for statement in [change, others.to_owned()] {
            connection.execute(AssertSqlSafe(statement)).await.unwrap();
        }
    }

    async fn with(place: Place, postgres: Option<Postgres>, folder: TempDir) -> Self {
        let store = Store::open(&place).unwrap();
        store.migrate().await.unwrap();
        Self { store, place, postgres, folder }
    }

    /// What bodies take, in bytes: with the indexes in SQLite, the rows in PostgreSQL, without the words for the search.
    pub(super) async fn bodies(&self) -> u64 {
        let tables = ["parts", "holes", "nodes", "bodies", "lists"];
        let Some(postgres) = &self.postgres else {
            let mut db = self.sqlite_connection().await;
            let names = tables.map(|table| format!("'{table}'")).join(", ");
            let statement = format!(
                "SELECT SUM(pgsize - unused) FROM dbstat WHERE name IN \
                 (SELECT name FROM sqlite_schema WHERE tbl_name IN ({names}))"
            );
            let sum: i64 = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut db).await.unwrap();
            return sum.unsigned_abs();
        };
        let mut db = postgres_connection(postgres).await;
        let sum = |table: &str| format!("COALESCE((SELECT SUM(pg_column_size(t.*)) FROM {table} t), 0)");
        let statement = format!("SELECT CAST({} AS BIGINT)", tables.map(sum).join(" + "));
        let sum: i64 = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut db).await.unwrap();
        sum.unsigned_abs()
    }

    /// Runs a statement as somebody else would.
    pub(super) async fn execute(&self, statement: &'static str) {
        let Some(postgres) = &self.postgres else {
            sqlx::raw_sql(statement).execute(&mut self.sqlite_connection().await).await.unwrap();
            return;
        };
        sqlx::raw_sql(statement).execute(&mut postgres_connection(postgres).await).await.unwrap();
    }

    async fn sqlite_connection(&self) -> SqliteConnection {
        let Place::Sqlite(path) = &self.place else { unreachable!() };
        SqliteConnection::connect(path.to_str().unwrap()).await.unwrap()
    }

    /// Writes these lines as the spool `s` has them.
    pub(super) async fn write(&self, lines: &[Line]) {
        self.store.apply("s", lines, Position { segment: 1, offset: 1 }).await.unwrap();
    }
}

/// A connection of the test's own.
pub(super) async fn postgres_connection(postgres: &Postgres) -> PgConnection {
    let mut url: url::Url = postgres.url().parse().unwrap();
    url.set_password(Some(Postgres::PASSWORD)).unwrap();
    PgConnection::connect(url.as_str()).await.unwrap()
}

/// When call `number` begins.
pub(super) fn at(number: i64) -> i64 {
    1_790_000_000_000_000 + number * 1_000_000
}

pub(super) fn head(number: i64) -> Head {
    Head {
        at: at(number),
        replica: "r".to_owned(),
        dialect: Some("anthropic_messages".to_owned()),
        path: "/v1/messages".to_owned(),
        model: "claude-x".to_owned(),
        rules: "0123456789ab".to_owned(),
        level: "full".to_owned(),
        ..Head::default()
    }
}

/// The first entry of a call.
pub(super) fn opening(call: &str, head: Head, request: Value) -> Line {
    let entry = Entry { call: call.to_owned(), head: Some(head), request: Some(request.into()), ..Entry::default() };
    Line::Entry(Box::new(entry))
}

/// The last entry of a call.
pub(super) fn ending(call: &str, number: i64, answer: Option<Answer>) -> Line {
    let sent = Sent {
        upstream: "up".to_owned(),
        dialect: "anthropic_messages".to_owned(),
        model: "claude-x".to_owned(),
        ..Sent::default()
    };
    let closing = Closing {
        at: at(number) + 1500,
        outcome: "completed".to_owned(),
        status: 200,
        duration: 1500,
        first_byte: Some(700),
        upstream: "up".to_owned(),
        model: "claude-x".to_owned(),
        input: Some(10),
        output: Some(5),
        cost: Some(0.25),
        ..Closing::default()
    };
    let entry = Entry {
        call: call.to_owned(),
        seq: 1,
        sent: Some(sent),
        answer,
        closing: Some(closing),
        events: json!([{ "type": "policy.decided", "policy": "guard", "call_id": call }]).into(),
        ..Entry::default()
    };
    Line::Entry(Box::new(entry))
}

/// A whole call.
pub(super) fn call(number: i64, head: Head, request: Value, answer: Value) -> [Line; 2] {
    let id = format!("call{number:05}");
    let answer = Answer { original: Some(answer), ..Answer::default() };
    [opening(&id, head, request), ending(&id, number, Some(answer))]
}
