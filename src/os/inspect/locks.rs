//! Locks on files: who holds them, who waits for them.

use std::fs;

use super::{printable, read};

/// How much of the kernel's list is read, bytes: some ten thousand locks.
const LIST_BYTES_MAX: u64 = 1024 * 1024;
/// How many descriptors are looked at, over all processes, for the one that a lock was taken through.
const LOOKS_MAX: usize = 50_000;
/// The same of one process: one with very many must not hide the others.
const LOOKS_OF_PROCESS_MAX: usize = 1000;
const PAGE_BYTES_MAX: u64 = 4 * 1024;

/// A lock on a file, or the wish for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLock {
    /// What the kernel numbers it by: those who wait have the number of the one they wait for.
    pub number: u64,
    /// Whether it is only waited for.
    pub is_awaited: bool,
    /// `FLOCK`, `POSIX`, `OFDLCK`, `LEASE`.
    pub kind: String,
    /// `READ` or `WRITE`.
    pub mode: String,
    /// Who took it; none for a lock of an open file (`OFDLCK`). Of `FLOCK` the taker may have ended since, and another
    /// process have its descriptor.
    pub pid: Option<u32>,
    /// The file system's number, as the kernel writes it: `fe:00`.
    pub device: String,
    /// The file's number in it.
    pub inode: u64,
}

/// All locks of the host.
#[must_use]
pub fn file_locks() -> Vec<FileLock> {
    let list = read("/proc/locks", LIST_BYTES_MAX);
    String::from_utf8_lossy(&list).lines().filter_map(parse_lock).collect()
}

/// The processes, at most so many, that have a descriptor through which this lock is held. Looks at those of every
/// process it may.
#[must_use]
pub fn holders(lock: &FileLock, most: usize) -> Vec<u32> {
    let is_same = |line: &str| {
        line.strip_prefix("lock:").and_then(parse_lock).is_some_and(|held| {
            (&held.kind, &held.device, held.inode) == (&lock.kind, &lock.device, lock.inode)
        })
    };
    let mut found = Vec::new();
    let mut looks = 0;
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let pages = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
        for page in pages.take(LOOKS_OF_PROCESS_MAX) {
            looks += 1;
            if found.len() == most || looks > LOOKS_MAX {
                return found;
            }
            let page = read(page.path(), PAGE_BYTES_MAX);
            if String::from_utf8_lossy(&page).lines().any(is_same) {
                found.push(pid);
                break;
            }
        }
    }
    found
}

/// `1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF`; with `->` ahead of the kind it is awaited.
pub(super) fn parse_lock(line: &str) -> Option<FileLock> {
    let mut words = line.split_ascii_whitespace().peekable();
    let number = words.next()?.strip_suffix(':')?.parse().ok()?;
    let is_awaited = words.next_if_eq(&"->").is_some();
    let kind = printable(words.next()?.as_bytes());
    let _advisory = words.next()?;
    let mode = printable(words.next()?.as_bytes());
    let pid = words.next()?.parse::<i64>().ok()?;
    let (device, inode) = words.next()?.rsplit_once(':')?;
    Some(FileLock {
        number,
        is_awaited,
        kind,
        mode,
        pid: u32::try_from(pid).ok().filter(|&pid| pid > 0),
        device: printable(device.as_bytes()),
        inode: inode.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_and_waiters_share_a_number() {
        let held = parse_lock("7: FLOCK  ADVISORY  WRITE 359 fe:00:11691 0 EOF").unwrap();
        let awaited = parse_lock("7: -> FLOCK  ADVISORY  WRITE 400 fe:00:11691 0 EOF").unwrap();
        assert_eq!((held.number, held.is_awaited, held.pid), (7, false, Some(359)));
        assert_eq!((awaited.number, awaited.is_awaited, awaited.pid), (7, true, Some(400)));
        assert_eq!((held.device.as_str(), held.inode), ("fe:00", 11691));
        let ofd = parse_lock("1: OFDLCK ADVISORY  READ -1 00:13:5 0 0").unwrap();
        assert_eq!((ofd.pid, ofd.mode.as_str()), (None, "READ"));
        assert_eq!(parse_lock("nonsense"), None);
        assert_eq!(parse_lock(""), None);
    }

    #[test]
    fn a_lock_of_ours_is_listed_and_found_by_its_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("lock")).unwrap();
        file.lock().unwrap();
        let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        let own = Some(std::process::id());
        let found = file_locks().into_iter().find(|lock| lock.inode == inode && lock.pid == own).unwrap();
        assert_eq!((found.kind.as_str(), found.mode.as_str()), ("FLOCK", "WRITE"));
        // A process that another test is just starting has a copy of the descriptor until it execs.
        assert!(holders(&found, 100).contains(&std::process::id()));
    }
}
