//! Opening the database: made whole or not at all, looked at before it is touched, brought up to date.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::readonly::{Session, side_file};
use super::{DATABASE_NAME, Inner, Store, StoreError};

/// Every step of the schema, oldest first: number, name, SQL.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "ledger", include_str!("../../migrations/sqlite/0001_ledger.sql")),
    (2, "accounts", include_str!("../../migrations/sqlite/0002_accounts.sql")),
];

/// The schema this version reads and writes.
const SCHEMA: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// How long a write waits for a lock that another process holds, before it fails as [`StoreError::Locked`].
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Rows that `PRAGMA optimize` looks at in each index when the database is closed; `SQLite`'s own advice.
const ANALYSIS_ROWS: u32 = 400;

impl Store {
    /// Opens the database of a state directory; makes it, and the directory, where there is none yet.
    ///
    /// `default_host` becomes the host's identity in a new database. An existing one keeps its own. That only one jobd
    /// uses a state directory is the caller's to ensure.
    ///
    /// # Errors
    /// When the database can't be opened or made, is damaged, is not jobd's or a newer version's, or is missing where
    /// there are traces of one.
    pub async fn open(state_dir: &Path, default_host: &str) -> Result<Self, StoreError> {
        let path = database_path(state_dir)?;
        if !exists(&path)? {
            create(&path, default_host).await?;
        }
        let session = Session::open(&path)?;
        check_schema(&path, &session, ..=SCHEMA).await?;
        check_pages(&path, &session).await?;
        session.pool.close().await;

        let writer = open_writer(&path).await?;
        migrator().run(&writer).await.map_err(|source| StoreError::migration(&path, source))?;
        let host = sqlx::query_scalar("SELECT host FROM meta")
            .fetch_one(&writer)
            .await
            .map_err(|source| StoreError::new(&path, source))?;
        let readers = Session::beside_writer(&path).pool;
        Ok(Self { inner: Arc::new(Inner { path, host, writer, readers }) })
    }
}

/// The database's path, absolute: `SQLite` would read a relative one that begins with `file:` as a URI.
pub(super) fn database_path(state_dir: &Path) -> Result<PathBuf, StoreError> {
    let path = state_dir.join(DATABASE_NAME);
    std::path::absolute(&path).map_err(|source| StoreError::Inaccessible { path, source })
}

/// Whether the database's file is there.
pub(super) fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|source| StoreError::Inaccessible { path: path.to_owned(), source })
}

/// Refuses a database whose schema this version does not read: readers take [`SCHEMA`] alone, a writer what leads up
/// to it.
pub(super) async fn check_readable(path: &Path, session: &Session) -> Result<(), StoreError> {
    check_schema(path, session, SCHEMA..=SCHEMA).await
}

async fn check_schema(
    path: &Path,
    session: &Session,
    readable: impl std::ops::RangeBounds<i64>,
) -> Result<(), StoreError> {
    let error = |source| StoreError::new(path, source);
    if fs::metadata(path).is_ok_and(|facts| facts.len() == 0) {
        return Err(StoreError::Damaged { path: path.to_owned(), finding: "it is empty".to_owned() });
    }
    let migrated: bool = sqlx::query_scalar(
        "SELECT count(*) = 2 FROM sqlite_schema WHERE name IN ('_sqlx_migrations', 'cron_job_logs')",
    )
    .fetch_one(&session.pool)
    .await
    .map_err(error)?;
    if !migrated {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let found: i64 = sqlx::query_scalar("SELECT ifnull(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&session.pool)
        .await
        .map_err(error)?;
    if readable.contains(&found) {
        return Ok(());
    }
    let path = path.to_owned();
    Err(if found > SCHEMA {
        StoreError::Newer { path, found, known: SCHEMA }
    } else {
        StoreError::Older { path, found, known: SCHEMA }
    })
}

async fn check_pages(path: &Path, session: &Session) -> Result<(), StoreError> {
    let finding: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(&session.pool)
        .await
        .map_err(|source| StoreError::new(path, source))?;
    if finding == "ok" {
        return Ok(());
    }
    // The answer may have several lines, the first of which only names the database.
    let finding = finding.lines().last().unwrap_or_default().to_owned();
    Err(StoreError::Damaged { path: path.to_owned(), finding })
}

/// Makes the database under another name and gives it its own when it is whole, so that a `state.db` that exists is
/// never one that was being made, and an empty one is always a damaged one.
async fn create(path: &Path, host: &str) -> Result<(), StoreError> {
    let state_dir = path.parent().unwrap_or(path);
    let inaccessible = |source| StoreError::Inaccessible { path: state_dir.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(inaccessible)?;
    if let Some(trace) = trace_of_database(path).map_err(inaccessible)? {
        return Err(StoreError::Gone { path: path.to_owned(), trace });
    }

    let new = side_file(path, ".new");
    remove_with_side_files(&new).map_err(inaccessible)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(inaccessible)?;
    let writer = open_writer(&new).await?;
    migrator().run(&writer).await.map_err(|source| StoreError::migration(&new, source))?;
    sqlx::query("INSERT INTO meta (id, host) VALUES (1, ?)")
        .bind(host)
        .execute(&writer)
        .await
        .map_err(|source| StoreError::new(&new, source))?;
    writer.close().await;
    fs::File::open(&new).and_then(|file| file.sync_all()).map_err(inaccessible)?;
    fs::rename(&new, path).map_err(inaccessible)?;
    fs::File::open(state_dir).and_then(|directory| directory.sync_all()).map_err(inaccessible)
}

/// What shows that there was a database here: its log, or a run's folder. Run numbers would begin again at 1 and meet
/// the folders of the runs that had them.
fn trace_of_database(path: &Path) -> io::Result<Option<PathBuf>> {
    let log = side_file(path, "-wal");
    if log.try_exists()? {
        return Ok(Some(log));
    }
    match fs::read_dir(path.with_file_name("runs")) {
        Ok(mut entries) => Ok(entries.next().transpose()?.map(|entry| entry.path())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove_with_side_files(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(side_file(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

async fn open_writer(path: &Path) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .optimize_on_close(true, ANALYSIS_ROWS);
    // The connection stays for good: while it is there, so is the log, by which readers know that jobd is.
    SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|source| StoreError::new(path, source))
}

fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.map(migration).to_vec())
}
