//! The state directory and who owns it, and what this host is called at first.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::os;

/// Others may pass through to a message file that is theirs, and see nothing.
const STATE_MODE: u32 = 0o711;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// It cannot be made or read.
    #[error("cannot use the state directory {}: give another with --state-dir, or mend it", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another jobd has it.
    #[error(
        "{} belongs to the jobd with pid {holder}: stop that one, or give this one another --state-dir",
        path.display()
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// Its pid, as it wrote it down.
        holder: String,
    },
}

/// Held while a jobd has the state directory; the kernel lets go of it with the process.
#[derive(Debug)]
pub(super) struct StateLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl StateLock {
    /// Makes the directory if it is missing, and takes it.
    pub(super) fn take(state_dir: &Path) -> Result<Self, StateDirError> {
        let unusable = |source| StateDirError::Unusable { path: state_dir.to_owned(), source };
        if !state_dir.is_dir() {
            fs::create_dir_all(state_dir).map_err(unusable)?;
            fs::set_permissions(state_dir, Permissions::from_mode(STATE_MODE)).map_err(unusable)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(state_dir.join("jobd.lock")).map_err(unusable)?;
        if !os::try_lock(&file).map_err(unusable)? {
            let mut holder = String::new();
            // Who holds it is a courtesy; that it is held is what counts.
            let _ = file.read_to_string(&mut holder);
            return Err(StateDirError::Held { path: state_dir.to_owned(), holder: holder.trim().to_owned() });
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable)?;
        Ok(Self(file))
    }
}

/// What the host is called in the history until its store says otherwise.
pub(super) fn default_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        let first = StateLock::take(&state).unwrap();
        let second = StateLock::take(&state).unwrap_err();
        assert!(second.to_string().contains(&format!("pid {}", std::process::id())), "{second}");
        drop(first);
        StateLock::take(&state).unwrap();
    }

    #[test]
    fn a_file_is_no_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(StateLock::take(&file), Err(StateDirError::Unusable { .. })));
    }
}
