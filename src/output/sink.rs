//! Where records go, and how the middle of a file is taken away under its readers.
//!
//! **Invariant:** a range is announced before it is taken away. The announcement is a lock on that range, which the
//! writer holds to its end and no reader takes: who asks after a read and finds the place it read from announced may
//! have read torn records, and throws them away. A lock needs no room on a full disk, and `kill -9` ends it.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{FallocateFlags, fallocate};

/// Where records go: a file that can be cut back to its last whole record, and be rid of its middle.
pub trait Sink: Write {
    /// Cuts it to this length and goes on from there.
    ///
    /// # Errors
    /// When the disk fails.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Tells those who read along that this range, and no more, is being taken away or is gone.
    fn announce(&mut self, gap: Range<u64>);

    /// Gives the room of a range back to the disk; it then reads as NUL bytes. An empty range only asks whether that
    /// can be done.
    ///
    /// # Errors
    /// When the file system cannot, or the disk fails.
    fn punch(&mut self, range: Range<u64>) -> io::Result<()>;

    /// Writes over what is at this place, without moving the place where the next record goes.
    ///
    /// # Errors
    /// When the disk fails or is full.
    fn write_over(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
}

impl Sink for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(|_| ())
    }

    fn announce(&mut self, gap: Range<u64>) {
        // Where locks cannot be had, readers that are far behind may be shown a torn record; nothing is lost by it.
        let _ = fcntl(&*self, FcntlArg::F_OFD_SETLK(&lock(libc::F_WRLCK, gap.start, gap.end - gap.start)));
        let _ = fcntl(&*self, FcntlArg::F_OFD_SETLK(&lock(libc::F_UNLCK, gap.end, 0)));
    }

    fn punch(&mut self, range: Range<u64>) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // The kernel refuses a range without bytes; one behind the end of the file has none either.
        let bytes = (range.end - range.start).max(1);
        Ok(fallocate(&*self, flags, range.start, bytes)?)
    }

    fn write_over(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }
}

/// The range that a writer has announced, if any of it is at `offset` or behind.
///
/// # Errors
/// When the file cannot be asked about.
pub(super) fn announced(file: &File, offset: u64) -> io::Result<Option<Range<u64>>> {
    let mut question = lock(libc::F_RDLCK, offset, 0);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut question))?;
    if i32::from(question.l_type) == libc::F_UNLCK {
        return Ok(None);
    }
    let (start, length) = (question.l_start.unsigned_abs(), question.l_len.unsigned_abs());
    Ok(Some(start..start + length))
}

/// A length of 0 is to the end of all offsets.
fn lock(kind: libc::c_int, start: u64, length: u64) -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap_or_default(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: start.try_into().unwrap_or(libc::off_t::MAX),
        l_len: length.try_into().unwrap_or_default(),
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_range_is_seen_by_others_and_ends_with_its_writer() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut writer = File::options().write(true).open(path.path()).unwrap();
        let reader = File::open(path.path()).unwrap();
        assert_eq!(announced(&reader, 0).unwrap(), None);
        writer.announce(100..200);
        writer.announce(100..300);
        for (offset, seen) in [(0, true), (100, true), (299, true), (300, false)] {
            assert_eq!(announced(&reader, offset).unwrap(), seen.then_some(100..300), "{offset}");
        }
        writer.announce(100..200);
        assert_eq!(announced(&reader, 0).unwrap(), Some(100..200));
        drop(writer);
        // A process that another test is just starting has a copy of every descriptor until it execs.
        let mut looks = std::iter::repeat_with(|| announced(&reader, 0).unwrap()).take(1_000_000);
        assert!(looks.any(|gap| gap.is_none()));
    }
}
