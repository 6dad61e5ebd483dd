//! What can go wrong with the embedded database, and what to do about each.

use std::io;
use std::path::{Path, PathBuf};

use sqlx::migrate::MigrateError;

/// Why the store could not do what was asked. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no database, and the caller only reads.
    #[error(
        "{} does not exist: start jobd with this state directory once, or name another with \
         --state-dir",
        path.display()
    )]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// There is no database, but there are traces of one.
    #[error(
        "{} is gone, but {} is there: refusing to begin an empty history; \
         put the database back from a backup, or move the state directory away to begin anew",
        path.display(), trace.display()
    )]
    Gone {
        /// The database.
        path: PathBuf,
        /// What shows that there was one.
        trace: PathBuf,
    },
    /// The file or its directory can't be opened, made or looked at.
    #[error(
        "cannot open {}: check that it and its directory belong to the user jobd runs \
         as",
        path.display()
    )]
    Inaccessible {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The database can't be opened although its file can.
    #[error(
        "cannot open the database {}: check the permissions and the free space of its \
         directory",
        path.display()
    )]
    Unopened {
        /// The database.
        path: PathBuf,
        /// `SQLite`'s answer.
        #[source]
        source: sqlx::Error,
    },
    /// The file is no whole database.
    #[error(
        "{} is damaged ({finding}); nothing in it was changed: \
         put a backup in its place, or move it away and save what is left with `sqlite3 … .recover`",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        finding: String,
    },
    /// The file is a database, but not jobd's.
    #[error(
        "{} is not a database of jobd; nothing in it was changed: name another state \
         directory",
        path.display()
    )]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A newer version has written it.
    #[error(
        "{} was written by a newer jobd (schema {found}, this version knows {known}); nothing in it was changed: \
         install that version again, or put back a backup from before it",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema's number.
        found: i64,
        /// The newest schema this version knows.
        known: i64,
    },
    /// An older version has written it, and the caller only reads.
    #[error(
        "{} was written by an older jobd (schema {found}, this version reads {known}): \
         start the new jobd once, which brings it up to date",
        path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema's number.
        found: i64,
        /// The only schema this version reads.
        known: i64,
    },
    /// It could not be brought up to date.
    #[error("cannot bring {} up to date; it is as it was: see the cause below", path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// Which step failed.
        #[source]
        source: MigrateError,
    },
    /// The disk is full.
    #[error(
        "cannot write to {}: the disk is full; free some space, nothing else need be \
         done",
        path.display()
    )]
    Full {
        /// The database.
        path: PathBuf,
        /// `SQLite`'s answer.
        #[source]
        source: sqlx::Error,
    },
    /// The file or its file system is read-only.
    #[error(
        "cannot write to {}: it is read-only; check the mount and the owner of the file",
        path.display()
    )]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// `SQLite`'s answer.
        #[source]
        source: sqlx::Error,
    },
    /// Someone else holds the write lock.
    #[error(
        "{} is locked by another process; end it (`fuser {}` names it): \
         a second jobd, or a sqlite3 shell in a transaction",
        path.display(), path.display()
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// `SQLite`'s answer.
        #[source]
        source: sqlx::Error,
    },
    /// The disk does not do as it is told.
    #[error("the disk failed under {}: see the kernel's log (`dmesg`)", path.display())]
    Disk {
        /// The database.
        path: PathBuf,
        /// `SQLite`'s answer.
        #[source]
        source: sqlx::Error,
    },
    /// A row breaks a rule of the schema: an error of the program, not of the user.
    #[error("a change breaks a rule of {}; nothing was written: please report this", path.display())]
    Rejected {
        /// The database.
        path: PathBuf,
        /// The rule.
        #[source]
        source: sqlx::Error,
    },
    /// A value in the database is none that jobd writes.
    #[error("{} holds a value that jobd does not write: correct it, or put back a backup", path.display())]
    Unreadable {
        /// The database.
        path: PathBuf,
        /// The column and the value.
        #[source]
        source: sqlx::Error,
    },
    /// A batch came out of order: an error of the program, not of the user.
    #[error(
        "batch {number} came where {expected} was due in {}; nothing was written: please report \
         this",
        path.display()
    )]
    OutOfOrder {
        /// The database.
        path: PathBuf,
        /// The batch's number.
        number: u64,
        /// The number that was due.
        expected: u64,
    },
    /// Anything else.
    #[error("the database {} failed", path.display())]
    Failed {
        /// The database.
        path: PathBuf,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Sorts an error of the database by what one can do about it.
    pub(super) fn new(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        match &source {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
                Self::Unreadable { path, source }
            }
            // The primary result codes of https://sqlite.org/rescode.html.
            sqlx::Error::Database(_) => match primary_code(&source) {
                Some(5 | 6) => Self::Locked { path, source },
                Some(8) => Self::ReadOnly { path, source },
                Some(10) => Self::Disk { path, source },
                Some(11 | 26) => Self::Damaged { path, finding: source.to_string() },
                Some(13) => Self::Full { path, source },
                Some(14) => Self::Unopened { path, source },
                Some(19) => Self::Rejected { path, source },
                _ => Self::Failed { path, source },
            },
            _ => Self::Failed { path, source },
        }
    }

    /// Sorts an error of a migration likewise.
    pub(super) fn migration(path: &Path, source: MigrateError) -> Self {
        match source {
            MigrateError::Execute(source) => Self::new(path, source),
            source => Self::Migration { path: path.to_owned(), source },
        }
    }
}

/// The low byte of `SQLite`'s extended result code.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}
