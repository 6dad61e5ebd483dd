//! Files that are there whole or not at all; most of them also after a power cut.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

/// Folders can be passed through by a job of another user on the way to its message file, and not be listed.
const FOLDER_MODE: u32 = 0o711;
/// Files are read by jobd alone.
const FILE_MODE: u32 = 0o600;

/// Writes a file under a temporary name, syncs it, renames it, and syncs its folder.
///
/// # Errors
/// When a step fails; the file is then as it was before.
pub fn write_durably(path: &Path, contents: &[u8]) -> io::Result<()> {
    replace(path, contents, File::sync_all)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Writes a file under a temporary name and renames it: whole or not at all for whoever reads it in this boot.
///
/// # Errors
/// When a step fails; the file is then as it was before.
pub(super) fn write_whole(path: &Path, contents: &[u8]) -> io::Result<()> {
    replace(path, contents, |_| Ok(()))
}

fn replace(path: &Path, contents: &[u8], sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let temporary = temporary_name(path);
    let mut file = create(&temporary)?;
    let written = file.write_all(contents).and_then(|()| sync(&file));
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        // What could not be finished only takes room, on a disk that may have none.
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

/// Makes the entries of a folder durable.
///
/// # Errors
/// When the disk fails.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a folder and those above it down from `root`, which exists. All names but its own are durable then: a new
/// folder among many becomes so when something in it has to be.
///
/// # Errors
/// When one cannot be made. A folder that is there already is no error.
pub fn make_folder(root: &Path, path: &Path) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if parent != root && !parent.is_dir() {
        make_folder(root, parent)?;
        sync_folder(parent.parent().unwrap_or(root))?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        // Whatever umask jobd was started with: a job of another user has to get to its message file.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Room on the disk for a file that must not fail to be written later on.
#[derive(Debug)]
pub struct Reserved {
    file: File,
    path: PathBuf,
}

impl Reserved {
    /// Takes room for a file of up to this many bytes. On a file system that cannot reserve, none is taken.
    ///
    /// # Errors
    /// When the room is not there.
    pub fn new(path: &Path, bytes: u64) -> io::Result<Self> {
        let file = create(&temporary_name(path))?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(Self { file, path: path.to_owned() }),
            Err(error) => Err(error.into()),
        }
    }

    /// Fills the room and gives the file its name, durably. May be called again after an error.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn fill(&self, contents: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.file.write_all_at(contents, 0)?;
        self.file.set_len(u64::try_from(contents.len()).unwrap_or(u64::MAX))?;
        self.file.sync_all()?;
        let temporary = temporary_name(&self.path);
        // A call after one that failed at the very end finds the file under its name already.
        if temporary.exists() {
            fs::rename(temporary, &self.path)?;
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        sync_folder(folder)?;
        // The folder's own name was left to this moment. Where its parent is somebody else's, it is theirs to keep.
        match folder.parent().map_or(Ok(()), sync_folder) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_durably(&path, b"one").unwrap();
        write_durably(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
        assert!(write_durably(&folder.path().join("none/a"), b"x").is_err());
    }

    #[test]
    fn folders_are_made_down_from_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        make_folder(folder.path(), &path).unwrap();
        make_folder(folder.path(), &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FOLDER_MODE);
    }

    #[test]
    fn reserved_room_becomes_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        let reserved = Reserved::new(&path, 4096).unwrap();
        assert!(!path.exists());
        reserved.fill(b"longer").unwrap();
        reserved.fill(b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
