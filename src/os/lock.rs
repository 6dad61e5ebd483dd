//! Open-file-description locks: they belong to the open file, so they pass from process to process with the
//! descriptor, and end when the last copy of it is closed, by `kill -9` as well.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Takes the lock on a whole file, without waiting. `false` if somebody else holds it. Taking it again through the
/// same open file changes nothing.
///
/// # Errors
/// When the file cannot be locked at all.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether somebody else holds the lock. Asking never takes it.
///
/// # Errors
/// When the file cannot be locked at all.
pub fn is_locked(file: &File) -> io::Result<bool> {
    let mut question = whole_file();
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut question))?;
    Ok(question.l_type != unlocked())
}

/// `F_UNLCK` in the type of the structure's field.
fn unlocked() -> libc::c_short {
    libc::c_short::try_from(libc::F_UNLCK).unwrap_or_default()
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_seen_by_others_and_not_taken_by_asking() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let open =
            || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let (ours, theirs) = (open(), open());
        assert!(!is_locked(&theirs).unwrap());
        assert!(try_lock(&ours).unwrap());
        assert!(try_lock(&ours).unwrap());
        assert!(!is_locked(&ours).unwrap());
        assert!(is_locked(&theirs).unwrap());
        assert!(!try_lock(&theirs).unwrap());
        let copy = ours.try_clone().unwrap();
        drop(ours);
        assert!(is_locked(&theirs).unwrap());
        drop(copy);
        // A process that another test is just starting has a copy of every descriptor until it execs.
        let mut looks = std::iter::repeat_with(|| is_locked(&theirs).unwrap()).take(1_000_000);
        assert!(looks.any(|locked| !locked));
    }
}
