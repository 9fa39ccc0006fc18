//! Opening a store, and its migrations.

use std::{
    borrow::Cow,
    fmt,
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    AnyPool, Executor, SqlSafeStr,
    any::AnyPoolOptions,
    migrate::{Migration, MigrationType, Migrator},
};
use tokio::sync::Mutex;
use url::Url;

use super::{Kind, Store};

/// How long a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at the same time.
const CONNECTIONS: u32 = 8;

/// Version, description and statements of each migration.
type Migrations = [(i64, &'static str, &'static str)];

const SQLITE: &Migrations = &[
    (1, "records", include_str!("../../migrations/sqlite/0001_records.sql")),
    (2, "traces", include_str!("../../migrations/sqlite/0002_traces.sql")),
];
const POSTGRES: &Migrations = &[
    (1, "records", include_str!("../../migrations/postgres/0001_records.sql")),
    (2, "traces", include_str!("../../migrations/postgres/0002_traces.sql")),
];

/// Where the records are.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a file of SQLite's.
    Sqlite(PathBuf),
    /// In a database of PostgreSQL's.
    Postgres(Postgres),
}

/// A database of PostgreSQL's.
#[derive(Clone)]
pub struct Postgres {
    /// `postgres://HOST:PORT/DATABASE`, with the password in it.
    url: String,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[address]")
    }
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The address is wrong. It is not repeated, because a password may stand in it.
    #[error("the address of the database is no `postgres://HOST:PORT/DATABASE`")]
    Address,
    /// The database does not answer, or not as it should.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// The tables cannot be made.
    #[error("its tables cannot be made: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl Place {
    /// A database of PostgreSQL's, as this user with this password.
    pub fn postgres(url: &str, username: Option<&str>, password: Option<&str>) -> Result<Self, OpenError> {
        let mut url = Url::parse(url).map_err(|_| OpenError::Address)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(OpenError::Address);
        }
        if let Some(username) = username {
            url.set_username(username).map_err(|()| OpenError::Address)?;
        }
        if password.is_some() {
            url.set_password(password).map_err(|()| OpenError::Address)?;
        }
        Ok(Self::Postgres(Postgres { url: url.into() }))
    }
}

impl Store {
    /// Opens the store, without waiting for the database where it is another machine's.
    pub fn open(place: &Place) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let options = AnyPoolOptions::new().acquire_timeout(PATIENCE).max_connections(CONNECTIONS);
        let (pool, kind) = match place {
            Place::Sqlite(path) => {
                private(path).map_err(|error| OpenError::File { path: path.clone(), error })?;
                let options = options.after_connect(|connection, _| {
                    Box::pin(async move {
                        // Before there is a table: pages in which pieces of bodies find room without much between them,
                        // and what is forgotten is given back to the disk.
                        connection.execute("PRAGMA page_size = 8192").await?;
                        connection.execute("PRAGMA auto_vacuum = INCREMENTAL").await?;
                        connection.execute("PRAGMA journal_mode = WAL").await?;
                        connection.execute("PRAGMA synchronous = NORMAL").await?;
                        connection.execute("PRAGMA foreign_keys = ON").await?;
                        connection.execute("PRAGMA busy_timeout = 5000").await?;
                        Ok(())
                    })
                });
                (options.connect_lazy(&sqlite_url(path)?)?, Kind::Sqlite)
            }
            Place::Postgres(Postgres { url }) => (options.connect_lazy(url)?, Kind::Postgres),
        };
        Ok(Self { pool, kind, writing: Mutex::default() })
    }

    /// Connects to `place` from now on, where it is the same database with another password. Connections that are there go on.
    pub fn reconnect(&self, place: &Place) -> Result<(), OpenError> {
        if let Place::Postgres(Postgres { url }) = place {
            self.pool.set_connect_options(url.parse()?);
        }
        Ok(())
    }

    /// Makes the tables, or brings them up to date. Several processes may do so at once.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        let migrations = match self.kind {
            Kind::Sqlite => SQLITE,
            Kind::Postgres => POSTGRES,
        };
        let migrations = migrations.iter().map(|(version, description, statements)| {
            let (description, kind) = (Cow::Borrowed(*description), MigrationType::Simple);
            Migration::new(*version, description, kind, (*statements).into_sql_str(), false)
        });
        let mut migrator = Migrator::with_migrations(migrations.collect());
        // What a newer version has added does not keep this one from running.
        migrator.set_ignore_missing(true);
        migrator.run(&self.pool).await?;
        Ok(())
    }

    /// Ends its connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) fn pool(&self) -> &AnyPool {
        &self.pool
    }
}

/// Makes the file, which only we may read. SQLite makes those beside it alike.
fn private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

fn sqlite_url(path: &Path) -> Result<String, OpenError> {
    let path = std::path::absolute(path).map_err(|error| OpenError::File { path: path.to_owned(), error })?;
    let url = Url::from_file_path(&path).map_err(|()| OpenError::Address)?;
    Ok(format!("sqlite://{}", url.path()))
}
