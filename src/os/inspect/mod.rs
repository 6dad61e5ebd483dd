//! What the kernel tells of processes that are not ours to halt: what they do, what they have open, whom they wait for.
//!
//! **Invariant:** only what a process cannot withhold is read. Nothing here takes the lock of its memory (its command
//! line, environment and mappings do), and a link is read and never followed: what it points at may be on a server
//! that is gone.

mod files;
mod locks;
mod process;
mod sockets;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use files::{OpenFile, descriptors, open_file};
pub use locks::{FileLock, file_locks, holders};
pub use process::{Call, Io, Stat, Wait, below, io, stat, threads, ticks_per_second, wait};
pub use sockets::{Socket, sockets};

/// The longest name or path that is kept, characters; what is longer ends in `…`.
const TEXT_CHARS_MAX: usize = 200;

/// Text that others chose, cut, with its control characters escaped.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count == TEXT_CHARS_MAX {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The beginning of a file, up to `most` bytes; nothing if it cannot be read.
fn read(path: impl AsRef<Path>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What was read before an error is as good as it was.
        let _ = file.take(most).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_escaped_and_cut() {
        assert_eq!(printable(b"a\nb\x1b[31m"), r"a\nb\u{1b}[31m");
        assert_eq!(printable("한글".as_bytes()), "한글");
        assert_eq!(printable(&[b'x'; 1000]).chars().count(), TEXT_CHARS_MAX + 1);
    }
}
