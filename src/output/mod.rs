//! A run's output file: its format, its writer, its reader.
//!
//! The format is that of container runtimes (CRI), so that existing log shippers read it as it is:
//!
//! ```text
//! 2026-03-01T10:00:00.123456789Z stdout F a line that a newline ended
//! 2026-03-01T10:00:00.223456789Z stderr P a part of a line, without a newline after it
//! ```
//!
//! **Invariant:** the bytes of a stream are the contents of its records in order, with a newline after each `F` and
//! nothing after each `P`: the file gives back what the job wrote, byte by byte, be it text or not. Lines of our own
//! carry the tag `F:jobd` and belong to no stream. Times never go back, even where the clock does.
//!
//! A file with a limit keeps its beginning and its end. While the job writes on, what lies between is taken away in
//! steps, by punching a hole: what stays keeps its offset, and the disk never holds more than a step above the limit.
//!
//! ```text
//! 2026-03-01T10:00:00.123456789Z stdout F the last line of the beginning
//! 2026-03-01T10:00:00.123456789Z stderr F:jobd  4100000000 bytes of output left out here, over the limit of 100 MB; …
//! (NUL bytes that take no room)
//! 2026-03-01T11:30:00.123456789Z stdout F the first line of the end
//! ```
//!
//! The note is written over with each step, and says at which byte the file goes on. Readers pass over NUL bytes at the
//! beginning of a line; those that read along do it with [`Follow`].

mod amount;
mod excerpt;
mod follow;
mod gap;
mod limit;
mod reader;
mod sink;
mod tail;
mod writer;

pub use amount::Amount;
pub use excerpt::{LastLine, StderrTail, excerpt};
pub use follow::Follow;
pub use gap::note_text;
pub use reader::{Kind, Line, Parser, Record};
pub use sink::Sink;
pub use tail::tail_offset;
pub use writer::{Loss, Writer};

/// The longest content of one record, bytes: a longer line is written in parts. It is the size at which container
/// runtimes split lines too, and so what shippers expect.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;

/// One of the two streams of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stream {
    /// The word in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}
