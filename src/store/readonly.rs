//! Reading the database without leaving a trace, whether or not jobd is running.
//!
//! A database with a write-ahead log can't be read safely without looking at the log, and to look at it `SQLite`
//! needs its two side files, which it makes where they are not. So there are two ways:
//!
//! - The log is there: jobd is running, or was killed. The side files exist; read along with them.
//! - It is not: nobody has the database open for writing. The file is read as one that does not change, which makes
//!   no files and takes no locks. Should jobd start meanwhile, the log appears before the file can change, so a look
//!   afterwards tells whether what was read may be believed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::StoreError;

/// Connections that only read. More than a handful would not make one disk faster.
const READERS_MAX: u32 = 4;

/// An open way to the database.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) pool: SqlitePool,
    /// What the file looked like when it was taken as one that does not change.
    still: Option<Look>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    log: bool,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Session {
    /// Opens the database in the way that suits its state.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        // SQLite's own "unable to open database file" hides why; the operating system's answer does not.
        fs::File::open(path).map_err(|source| StoreError::Inaccessible { path: path.to_owned(), source })?;
        let look = Look::at(path)?;
        let still = (!look.log).then_some(look);
        let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(still.is_some());
        Ok(Self { pool: pool(options), still })
    }

    /// Connections beside those of a writer in this process.
    pub(super) fn beside_writer(path: &Path) -> Self {
        Self { pool: pool(SqliteConnectOptions::new().filename(path).read_only(true)), still: None }
    }

    /// Connections that already exist.
    pub(super) const fn over(pool: SqlitePool) -> Self {
        Self { pool, still: None }
    }

    /// Whether what was read up to now is true.
    pub(super) fn holds(&self, path: &Path) -> Result<bool, StoreError> {
        self.still.as_ref().map_or(Ok(true), |still| Ok(*still == Look::at(path)?))
    }
}

impl Look {
    fn at(path: &Path) -> Result<Self, StoreError> {
        let inaccessible = |source| StoreError::Inaccessible { path: path.to_owned(), source };
        let log = side_file(path, "-wal").try_exists().map_err(inaccessible)?;
        let facts = fs::metadata(path).map_err(inaccessible)?;
        Ok(Self { log, bytes: facts.len(), modified: facts.modified().ok() })
    }
}

/// A file that `SQLite` keeps beside the database.
pub(super) fn side_file(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn pool(options: SqliteConnectOptions) -> SqlitePool {
    // A connection stays for good: a pool that retires them wakes an idle jobd up to look for some.
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options)
}
