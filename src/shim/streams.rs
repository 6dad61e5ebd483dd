//! What the job writes: two pipes in, one file out.
//!
//! **Invariant:** nothing here fails or waits. What the disk refuses is counted, and a pipe is read only as long as it
//! has something.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use crate::engine::time::{Monotonic, Now};
use crate::os::Output;
use crate::output::{LastLine, StderrTail, Stream, Writer};

/// How much is read from a pipe at once, bytes.
const READ_BYTES: usize = 128 * 1024;
/// How often a pipe is read at the very end: as often as a full one takes, were it larger than we ask for, and not
/// for as long as somebody outside the run goes on writing.
const DRAIN_READS_MAX: usize = 16;

#[derive(PartialEq, Eq)]
enum Read {
    Something,
    Nothing,
}

/// The job's output on its way into the file.
pub(super) struct Streams {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    buffer: Vec<u8>,
    log: Writer<File>,
    last_line: LastLine,
    stderr_tail: StderrTail,
}

/// What has come of the output, when the run is over.
pub(super) struct Account {
    /// Bytes that the job wrote.
    pub(super) received: u64,
    /// Bytes of them that are not in the file, for its limit.
    pub(super) left_out: u64,
    /// The last line of stdout that is not empty.
    pub(super) last_line: Option<String>,
    /// The end of stderr.
    pub(super) error_tail: String,
    /// What one must know of it.
    pub(super) remarks: Vec<String>,
}

impl Streams {
    pub(super) fn new(output: Output, log: Writer<File>) -> Self {
        Self {
            stdout: Some(output.stdout),
            stderr: Some(output.stderr),
            buffer: vec![0; READ_BYTES],
            log,
            last_line: LastLine::default(),
            stderr_tail: StderrTail::default(),
        }
    }

    /// The pipes that somebody can still write to.
    pub(super) fn open(&self) -> impl Iterator<Item = (Stream, &OwnedFd)> {
        let streams = [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)];
        streams.into_iter().filter_map(|(stream, pipe)| Some((stream, pipe.as_ref()?)))
    }

    pub(super) fn are_closed(&self) -> bool {
        self.open().next().is_none()
    }

    /// How much the job has written so far, bytes.
    pub(super) fn received(&self) -> u64 {
        self.log.received()
    }

    /// When [`Streams::flush`] has something to do.
    pub(super) fn flush_at(&self) -> Option<Monotonic> {
        self.log.flush_at()
    }

    /// Writes the beginnings of lines that have waited long enough for their ends.
    pub(super) fn flush(&mut self, now: Now) {
        self.log.flush(now);
    }

    /// Reads one piece, and no more, so that a flood on one stream holds up neither the other nor the limits.
    pub(super) fn read(&mut self, stream: Stream, now: Now) {
        self.read_piece(stream, now);
    }

    fn read_piece(&mut self, stream: Stream, now: Now) -> Read {
        let pipe = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(open) = pipe else {
            return Read::Nothing;
        };
        match nix::unistd::read(open, &mut self.buffer).map_err(io::Error::from) {
            Ok(count @ 1..) => {
                let bytes = &self.buffer[..count];
                self.log.write(stream, bytes, now);
                match stream {
                    Stream::Stdout => self.last_line.feed(bytes),
                    Stream::Stderr => self.stderr_tail.feed(bytes),
                }
                Read::Something
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Read::Nothing
            }
            Ok(0) | Err(_) => {
                *pipe = None;
                Read::Nothing
            }
        }
    }

    /// Takes what is still in the pipes, for the disk may have been too slow for the time there was, and makes the file
    /// durable. Whether somebody still holds a pipe open.
    pub(super) fn finish(&mut self, now: Now) -> bool {
        for stream in [Stream::Stdout, Stream::Stderr] {
            for _ in 0..DRAIN_READS_MAX {
                if self.read_piece(stream, now) == Read::Nothing {
                    break;
                }
            }
        }
        self.log.finish(now);
        // So that a run with a result has all of its output, also after a power cut. If the disk fails here, it has
        // failed before, and that is counted.
        if self.log.received() > 0 {
            let _ = self.log.sink().sync_data();
        }
        !self.are_closed()
    }

    /// To be asked when they are finished.
    pub(super) fn into_account(self) -> Account {
        let lost = self.log.lost();
        let lost = (lost.bytes > 0).then(|| format!("{lost} could not be written"));
        Account {
            received: self.log.received(),
            left_out: self.log.left_out(),
            last_line: self.last_line.message(),
            error_tail: self.stderr_tail.text(),
            remarks: lost.into_iter().chain(self.log.remark()).collect(),
        }
    }
}
