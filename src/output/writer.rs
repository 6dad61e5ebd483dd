//! Writing: two streams into one file, one write for each piece that was read from a job.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use nix::errno::Errno;

use super::{RECORD_BYTES_MAX, Stream};
use crate::engine::time::{Monotonic, Now, Timestamp};

/// How long the beginning of a line waits for its end before it is written as a part: a prompt or a progress bar is
/// to be seen, while lines that arrive in pieces stay whole.
const PART_DELAY: Duration = Duration::from_millis(250);

/// Where records go: a file that can be cut back to its last whole record.
pub trait Sink: Write {
    /// Cuts it to this length and goes on from there.
    ///
    /// # Errors
    /// When the disk fails.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Sink for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        use std::io::Seek;
        self.set_len(length)?;
        self.seek(io::SeekFrom::Start(length)).map(|_| ())
    }
}

/// Output that could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// How many bytes of the job's.
    pub bytes: u64,
    /// The last error number, if the system gave one.
    pub errno: Option<i32>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of output", self.bytes)?;
        self.errno.map_or(Ok(()), |code| {
            let errno = Errno::from_raw(code);
            write!(f, " ({errno:?}: {})", errno.desc())
        })
    }
}

/// Writes a run's output file. It never fails: what cannot be written is counted, and the file says how much is
/// missing where it is missing as soon as it can be written again. A full disk must not stop the job.
#[derive(Debug)]
pub struct Writer<S> {
    sink: S,
    /// The length of the file up to its last whole record.
    length: u64,
    buffer: Vec<u8>,
    /// How many of the job's bytes are in the buffer.
    buffered: u64,
    parts: [Part; 2],
    /// Not yet told of in the file.
    untold: Loss,
    lost: Loss,
    received: u64,
}

/// The beginning of a line whose end has not been seen.
#[derive(Debug, Default)]
struct Part {
    bytes: Vec<u8>,
    since: Option<Monotonic>,
}

const NO_LOSS: Loss = Loss { bytes: 0, errno: None };

impl<S: Sink> Writer<S> {
    /// Writes to an empty file.
    #[must_use]
    pub fn new(sink: S) -> Self {
        Self {
            sink,
            length: 0,
            buffer: Vec::new(),
            buffered: 0,
            parts: [Part::default(), Part::default()],
            untold: NO_LOSS,
            lost: NO_LOSS,
            received: 0,
        }
    }

    /// Takes bytes that a stream has brought.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: Now) {
        self.received += u64::try_from(bytes.len()).unwrap_or(0);
        self.begin(now.wall);
        let head = head(now.wall, stream);
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut after = rest;
            // Reading from a slice cannot fail; it is std's way to the platform's fast search for a byte.
            let found = after.skip_until(b'\n').unwrap_or(0);
            let (piece, ended) = match rest[..found].strip_suffix(b"\n") {
                Some(line) => (line, true),
                None => (&rest[..found], false),
            };
            if ended {
                self.finish_line(stream, &head, piece);
            } else {
                self.keep_part(stream, &head, piece, now.monotonic);
            }
            rest = after;
        }
        self.commit();
    }

    /// When [`Writer::flush`] has something to do.
    #[must_use]
    pub fn flush_at(&self) -> Option<Monotonic> {
        self.parts.iter().filter_map(|part| part.since).min().map(|since| since.after(PART_DELAY))
    }

    /// Writes the beginnings of lines that have waited long enough.
    pub fn flush(&mut self, now: Now) {
        self.flush_parts(now, |since| since.after(PART_DELAY) <= now.monotonic);
    }

    /// Writes what is left: the job will write no more.
    pub fn finish(&mut self, now: Now) {
        self.flush_parts(now, |_| true);
    }

    /// How many bytes the job wrote, lost ones included.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// What could not be written.
    #[must_use]
    pub const fn lost(&self) -> Loss {
        self.lost
    }

    /// The file.
    #[must_use]
    pub const fn sink(&self) -> &S {
        &self.sink
    }

    fn flush_parts(&mut self, now: Now, due: impl Fn(Monotonic) -> bool) {
        self.begin(now.wall);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let part = &mut self.parts[stream as usize];
            if part.since.is_some_and(&due) {
                part.since = None;
                let bytes = std::mem::take(&mut part.bytes);
                self.record(&head(now.wall, stream), b"P ", &bytes);
            }
        }
        self.commit();
    }

    /// The end of a line, with its beginning if that has been kept.
    fn finish_line(&mut self, stream: Stream, head: &[u8], end: &[u8]) {
        let part = &mut self.parts[stream as usize];
        part.since = None;
        if part.bytes.is_empty() {
            let last = self.long_parts(head, end);
            self.record(head, b"F ", last);
            return;
        }
        let mut line = std::mem::take(&mut part.bytes);
        line.extend_from_slice(end);
        let last = self.long_parts(head, &line);
        self.record(head, b"F ", last);
        line.clear();
        // Its room is kept for the next one.
        self.parts[stream as usize].bytes = line;
    }

    fn keep_part(&mut self, stream: Stream, head: &[u8], beginning: &[u8], now: Monotonic) {
        let mut bytes = std::mem::take(&mut self.parts[stream as usize].bytes);
        bytes.extend_from_slice(beginning);
        let written = bytes.len() - self.long_parts(head, &bytes).len();
        bytes.drain(..written);
        let part = &mut self.parts[stream as usize];
        part.since = if written == 0 { part.since.or(Some(now)) } else { Some(now) };
        part.bytes = bytes;
    }

    /// Writes as many full parts as a line has, and returns the rest, which fits into one record.
    fn long_parts<'a>(&mut self, head: &[u8], line: &'a [u8]) -> &'a [u8] {
        let mut rest = line;
        while rest.len() > RECORD_BYTES_MAX {
            let (part, after) = rest.split_at(border(rest));
            self.record(head, b"P ", part);
            rest = after;
        }
        rest
    }

    fn record(&mut self, head: &[u8], tag: &[u8], content: &[u8]) {
        for piece in [head, tag, content, b"\n"] {
            self.buffer.extend_from_slice(piece);
        }
        let newline = u64::from(tag == b"F ");
        self.buffered += u64::try_from(content.len()).unwrap_or(0) + newline;
    }

    /// Begins a batch, with word of what is missing before it.
    fn begin(&mut self, at: Timestamp) {
        self.buffer.clear();
        self.buffered = 0;
        if self.untold.bytes > 0 {
            let text = format!("{} could not be written here", self.untold);
            self.buffer.extend_from_slice(&head(at, Stream::Stderr));
            self.buffer.extend_from_slice(format!("F:jobd {text}\n").as_bytes());
        }
    }

    fn commit(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        match self.sink.write_all(&self.buffer) {
            Ok(()) => {
                self.length += u64::try_from(self.buffer.len()).unwrap_or(0);
                self.untold = NO_LOSS;
            }
            Err(error) => {
                // A part of the batch may have been written. Should even cutting fail, a reader finds a torn record
                // and passes over it.
                let _ = self.sink.cut(self.length);
                for loss in [&mut self.untold, &mut self.lost] {
                    loss.bytes += self.buffered;
                    loss.errno = error.raw_os_error();
                }
            }
        }
    }
}

/// `<RFC 3339, nanoseconds> <stream> `, the same for all records of a batch.
fn head(at: Timestamp, stream: Stream) -> Vec<u8> {
    format!("{at:.9} {} ", stream.as_str()).into_bytes()
}

/// Where to split a line that is too long: between two characters if it is UTF-8, and anywhere if it is not.
fn border(line: &[u8]) -> usize {
    const CONTINUATION_BYTES_MAX: usize = 3;
    let is_inside = |&at: &usize| line[at] & 0b1100_0000 == 0b1000_0000;
    let inside = (0..=CONTINUATION_BYTES_MAX).map(|back| RECORD_BYTES_MAX - back).find(|at| !is_inside(at));
    inside.unwrap_or(RECORD_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Line, Parser};
    use super::*;

    /// A disk with room for so many bytes.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room - self.bytes.len());
            if fits == 0 {
                return Err(io::Error::from_raw_os_error(28));
            }
            self.bytes.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Disk {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.bytes.truncate(usize::try_from(length).unwrap());
            Ok(())
        }
    }

    fn at(ms: u64) -> Now {
        Now {
            wall: Timestamp::UNIX_EPOCH + Duration::from_millis(ms),
            monotonic: Monotonic::new(Duration::from_millis(ms)),
        }
    }

    fn writer(room: usize) -> Writer<Disk> {
        Writer::new(Disk { bytes: Vec::new(), room })
    }

    fn text(writer: &Writer<Disk>) -> &str {
        std::str::from_utf8(&writer.sink.bytes).unwrap()
    }

    #[test]
    fn lines_are_whole_and_the_last_fragment_is_a_part() {
        let mut writer = writer(usize::MAX);
        writer.write(Stream::Stdout, b"one\ntw", at(0));
        writer.write(Stream::Stderr, b"bad\r\n\n", at(1));
        writer.write(Stream::Stdout, b"o\nend", at(2));
        writer.finish(at(3));
        let expected = "1970-01-01T00:00:00.000000000Z stdout F one\n\
                        1970-01-01T00:00:00.001000000Z stderr F bad\r\n\
                        1970-01-01T00:00:00.001000000Z stderr F \n\
                        1970-01-01T00:00:00.002000000Z stdout F two\n\
                        1970-01-01T00:00:00.003000000Z stdout P end\n";
        assert_eq!(text(&writer), expected);
        assert_eq!(writer.received(), 17);
    }

    #[test]
    fn a_fragment_that_waits_is_written_after_a_while() {
        let mut writer = writer(usize::MAX);
        writer.write(Stream::Stdout, b"50%", at(0));
        assert_eq!(writer.flush_at(), Some(at(250).monotonic));
        writer.flush(at(249));
        assert_eq!(text(&writer), "");
        writer.flush(at(250));
        assert_eq!(text(&writer), "1970-01-01T00:00:00.250000000Z stdout P 50%\n");
        assert_eq!(writer.flush_at(), None);
    }

    #[test]
    fn a_long_line_is_split_between_characters() {
        let mut writer = writer(usize::MAX);
        let line = format!("a{}\n", "한".repeat(20_000));
        for piece in line.as_bytes().chunks(7_000) {
            writer.write(Stream::Stdout, piece, at(0));
        }
        let mut whole = Vec::new();
        Parser::default().feed(&writer.sink.bytes, |line| {
            let Line::Record(record) = line else { panic!("unreadable") };
            assert!(record.content.len() <= RECORD_BYTES_MAX);
            assert!(std::str::from_utf8(record.content).is_ok());
            record.append_to(&mut whole);
        });
        assert_eq!(whole, line.as_bytes());
    }

    #[test]
    fn a_full_disk_loses_whole_batches_and_says_so_when_there_is_room() {
        let mut writer = writer(60);
        writer.write(Stream::Stdout, b"fits\n", at(0));
        writer.write(Stream::Stdout, b"does not\n", at(1));
        writer.write(Stream::Stdout, b"nor this\n", at(2));
        assert_eq!(writer.lost(), Loss { bytes: 18, errno: Some(28) });
        assert!(text(&writer).ends_with("stdout F fits\n"));
        writer.sink.room = usize::MAX;
        writer.write(Stream::Stdout, b"again\n", at(3));
        let mut records = Vec::new();
        Parser::default().feed(&writer.sink.bytes, |line| {
            let Line::Record(record) = line else { panic!("unreadable") };
            records.push((record.kind, String::from_utf8(record.content.to_vec()).unwrap()));
        });
        let note = "18 bytes of output (ENOSPC: No space left on device) could not be written here";
        let expected = [(Kind::Full, "fits"), (Kind::Note, note), (Kind::Full, "again")];
        assert_eq!(records, expected.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(writer.lost().bytes, 18);
    }
}
