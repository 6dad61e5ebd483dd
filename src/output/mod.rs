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
//! carry the tag `F:jobd` and belong to no stream.

mod excerpt;
mod reader;
mod tail;
mod writer;

pub use excerpt::{LastLine, StderrTail, excerpt};
pub use reader::{Kind, Line, Parser, Record};
pub use tail::tail_offset;
pub use writer::{Loss, Sink, Writer};

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
