//! A copy of the database, whole and of one moment, beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{DATABASE_NAME, Store, StoreError};

/// The folder of the copy, in the state directory.
const FOLDER: &str = "backup";

/// Why there is no new copy. The last one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The disk has no room for it.
    #[error("{} has {free} bytes free, and the copy needs {needed}", folder.display())]
    NoRoom {
        /// Where it was to be.
        folder: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// A file or folder.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Copies the database to `<state>/backup/state.db`, and returns that path. Jobs and readers go on meanwhile; the
    /// copy takes the place of the last one when it is whole and durable.
    ///
    /// # Errors
    /// When the disk has no room for it, or one of the two can't be read or written.
    pub async fn back_up(&self) -> Result<PathBuf, BackupError> {
        let folder = self.inner.path.with_file_name(FOLDER);
        let (copy, unfinished) = (folder.join(DATABASE_NAME), folder.join("unfinished.db"));
        make_room(&self.inner.path, &folder, &unfinished)?;
        let target = unfinished.to_string_lossy().into_owned();
        let mut reader = self.inner.readers.acquire().await.map_err(|error| self.error(error))?;
        sqlx::query("VACUUM INTO ?")
            .bind(target)
            .execute(&mut *reader)
            .await
            .map_err(|error| self.error(error))?;
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| BackupError::Io { action, path, source }
        };
        fs::File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io("sync", &unfinished))?;
        fs::rename(&unfinished, &copy).map_err(io("rename", &unfinished))?;
        fs::File::open(&folder).and_then(|file| file.sync_all()).map_err(io("sync", &folder))?;
        Ok(copy)
    }
}

/// Makes the folder, takes away what a former try has left, and sees whether the copy has room.
fn make_room(database: &Path, folder: &Path, unfinished: &Path) -> Result<(), BackupError> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::Io { action, path, source }
    };
    fs::create_dir_all(folder).map_err(io("make", folder))?;
    if let Err(source) = fs::remove_file(unfinished)
        && source.kind() != io::ErrorKind::NotFound
    {
        return Err(io("remove", unfinished)(source));
    }
    let needed = fs::metadata(database).map_err(io("look at", database))?.len();
    let disk =
        rustix::fs::statvfs(folder).map_err(|error| io("look at the disk of", folder)(error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // The host needs room besides.
    if free < needed.saturating_mul(2) {
        return Err(BackupError::NoRoom { folder: folder.to_owned(), needed, free });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Reader;

    #[tokio::test]
    async fn a_copy_is_a_whole_store_and_takes_the_place_of_the_last_one() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), "web-1").await.unwrap();
        let at: jiff::Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        store.heartbeat(at).await.unwrap();
        let copy = store.back_up().await.unwrap();
        assert_eq!(copy, state.path().join("backup/state.db"));
        // What a copy that was cut short has left behind is in nobody's way.
        fs::write(copy.with_file_name("unfinished.db"), "half a page").unwrap();
        store.heartbeat(at + std::time::Duration::from_mins(1)).await.unwrap();
        assert_eq!(store.back_up().await.unwrap(), copy);
        let reader = Reader::open(copy.parent().unwrap()).await.unwrap();
        assert_eq!(reader.last_seen().await.unwrap(), Some(at + std::time::Duration::from_mins(1)));
        assert_eq!(reader.host(), store.host());
        let left: Vec<_> =
            fs::read_dir(copy.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name == "unfinished.db"), "{left:?}");
    }
}
