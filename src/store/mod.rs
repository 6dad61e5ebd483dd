//! The embedded database: what the engine decides becomes durable here, and everyone reads it from here.
//!
//! One `SQLite` file, `<state>/state.db`, with one connection that writes and a few that read. The journal is a
//! write-ahead log, flushed at each commit (`synchronous=FULL`): what [`Store::commit`] has answered survives a
//! power cut, so a process may be started on the strength of it.
//!
//! **Invariant:** this is the only module with SQL for the embedded database. A file that can't be read, is not
//! jobd's, or was written by a newer version is refused as it is and never replaced by an empty one. No statement
//! here asks the database for the time: times come as arguments, like everything else.

mod account;
mod backup;
mod commit;
mod error;
mod history;
mod open;
mod outbox;
mod read;
mod readonly;
mod snapshot;
mod text;
mod verdict;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::Sqlite;
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteQueryResult};

pub use backup::BackupError;
pub use error::StoreError;
pub use outbox::{OutboxStatus, Outgoing};
pub use read::{Reader, RunFilter};
pub use verdict::settled;

use crate::engine::time::Timestamp;

/// The name of the database in the state directory.
pub const DATABASE_NAME: &str = "state.db";

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// The database, open for writing. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    host: String,
    /// A pool of one: writes queue up here, where waiting is fair, and not at the file's lock.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// This host's identity: given once when the database was made, whatever the host is called today.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// The database's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Readers of this database, over its own connections.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::of_store(self)
    }

    /// Closes the database: the write-ahead log is folded into the file. A store that is merely dropped loses nothing
    /// either.
    pub async fn close(&self) {
        // The last connection to go folds the log, and only one that may write can.
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }

    /// Notes that jobd is there at this instant, with nothing else to write: now and then, and when it leaves.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn heartbeat(&self, last_seen: Timestamp) -> Result<(), StoreError> {
        self.write(sqlx::query("UPDATE meta SET last_seen = ?").bind(text::stamp(last_seen))).await?;
        Ok(())
    }

    /// One statement, a transaction of its own.
    async fn write(&self, query: Query<'_>) -> Result<SqliteQueryResult, StoreError> {
        let mut connection = self.inner.writer.acquire().await.map_err(|error| self.error(error))?;
        query.execute(&mut *connection).await.map_err(|error| self.error(error))
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        StoreError::new(&self.inner.path, error)
    }
}
