//! What a process has open.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::locks::{FileLock, parse_lock};
use super::{printable, read};

/// How much of a descriptor's page is read, bytes: what watches ten thousand others says so there line by line.
const PAGE_BYTES_MAX: u64 = 64 * 1024;
/// How many watched descriptors are kept.
const WATCHED_MAX: usize = 64;

/// One open descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    /// Its number.
    pub fd: u32,
    /// A path, or what the kernel says instead: `socket:[4711]`, `pipe:[4712]`, `anon_inode:[eventpoll]`.
    pub target: String,
    /// Whether it is open for reading.
    pub is_read: bool,
    /// Whether it is open for writing.
    pub is_written: bool,
    /// How far it has been read or written.
    pub position: u64,
    /// The descriptors it watches, of one made by `epoll_create`.
    pub watched: Vec<u32>,
    /// The locks that were taken through it.
    pub locks: Vec<FileLock>,
}

/// The numbers of a process's descriptors, in order; none where we may not look.
#[must_use]
pub fn descriptors(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// One descriptor of a process; `None` if it is closed, or we may not look.
#[must_use]
pub fn open_file(pid: u32, fd: u32) -> Option<OpenFile> {
    let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    let page = read(format!("/proc/{pid}/fdinfo/{fd}"), PAGE_BYTES_MAX);
    Some(parse(fd, target.as_os_str().as_bytes(), &String::from_utf8_lossy(&page)))
}

fn parse(fd: u32, target: &[u8], page: &str) -> OpenFile {
    const WRITE_ONLY: u32 = 1;
    const ACCESS: u32 = 3;
    let field = |name: &str| page.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let access =
        field("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok()).unwrap_or_default() & ACCESS;
    let watched =
        page.lines().filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok());
    OpenFile {
        fd,
        target: printable(target),
        is_read: access != WRITE_ONLY,
        is_written: access != 0,
        position: field("pos:").and_then(|position| position.parse().ok()).unwrap_or_default(),
        watched: watched.take(WATCHED_MAX).collect(),
        locks: page.lines().filter_map(|line| parse_lock(line.strip_prefix("lock:")?)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptors_page_tells_access_watches_and_locks() {
        let page = "pos:\t17\nflags:\t02100001\nmnt_id:\t24\nino:\t9\n\
                    tfd:        5 events: 19 data: 5 pos:0 ino:61af sdev:7\n\
                    lock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF\n";
        let file = parse(4, b"/var/lock/a\nb", page);
        assert_eq!((file.target.as_str(), file.position), (r"/var/lock/a\nb", 17));
        assert_eq!((file.is_read, file.is_written), (false, true));
        assert_eq!(file.watched, [5]);
        assert_eq!((file.locks.len(), file.locks[0].pid, file.locks[0].inode), (1, Some(359), 11691));
        let bare = parse(4, b"pipe:[1]", "");
        assert_eq!((bare.is_read, bare.is_written), (true, false));
    }

    #[test]
    fn an_open_file_is_found_by_its_number() {
        use std::os::fd::AsRawFd;
        let file = tempfile::NamedTempFile::new().unwrap();
        let fd = u32::try_from(file.as_raw_fd()).unwrap();
        let own = std::process::id();
        assert!(descriptors(own).contains(&fd));
        let found = open_file(own, fd).unwrap();
        assert_eq!(found.target, file.path().display().to_string());
        assert!(found.is_read && found.is_written);
        assert_eq!(open_file(own, u32::MAX), None);
    }
}
