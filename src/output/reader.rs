//! Reading: bytes of the file in, records out, in whatever pieces they come.

use memchr::memchr;

use super::gap::goes_on_at;
use super::{RECORD_BYTES_MAX, Stream};
use crate::engine::time::Timestamp;

/// What no line of the file comes near, bytes: so much without a newline is no record.
const LINE_BYTES_MAX: usize = 4 * RECORD_BYTES_MAX;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The end of a line, or all of it: a newline follows.
    Full,
    /// A part of a line: the stream goes on in its next record.
    Part,
    /// Word of our own, no part of the stream.
    Note,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was read from the job, as it stands in the file: RFC 3339, UTC.
    pub at: &'a str,
    /// Where the job wrote it.
    pub stream: Stream,
    /// What it holds.
    pub kind: Kind,
    /// The bytes, without a newline.
    pub content: &'a [u8],
}

/// One line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A record.
    Record(Record<'a>),
    /// Bytes that are none: a power cut may leave such. They are shown as they are, and nothing is left out.
    Unreadable(&'a [u8]),
}

impl<'a> Record<'a> {
    /// Reads one line of the file, without its newline.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        // The head is short, so the search for its three spaces is too.
        let mut fields = line.splitn(4, |&byte| byte == b' ');
        let at = std::str::from_utf8(fields.next()?).ok().filter(|at| at.ends_with('Z'))?;
        let stream = match fields.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let kind = match fields.next()? {
            b"F" => Kind::Full,
            b"P" => Kind::Part,
            b"F:jobd" => Kind::Note,
            _ => return None,
        };
        Some(Self { at, stream, kind, content: fields.next()? })
    }

    /// When it was read from the job; `None` if the file is damaged there. Most readers show the text, and this is the
    /// dearest part of a record.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.at.parse().ok()
    }

    /// Appends what the job wrote, byte by byte.
    pub fn append_to(&self, stream: &mut Vec<u8>) {
        if self.kind != Kind::Note {
            stream.extend_from_slice(self.content);
        }
        if self.kind == Kind::Full {
            stream.push(b'\n');
        }
    }
}

/// Cuts bytes of the file into lines. It holds back what is not a whole line yet, so it can follow a file that grows.
///
/// NUL bytes at the beginning of a line are passed over: the room of what has been left out reads as such.
#[derive(Debug, Default)]
pub struct Parser {
    pending: Vec<u8>,
    offset: u64,
    /// Whether the last line was a note that says where the file goes on: the NUL bytes up to there are reckoned in.
    is_behind_gap: bool,
}

impl Parser {
    /// For bytes that begin at this offset of the file.
    #[must_use]
    pub fn at(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// Takes the next bytes of the file and hands out each line that they complete.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut rest = bytes;
        loop {
            rest = self.skip_nul(rest);
            if rest.is_empty() {
                return;
            }
            let found = memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
            let (line, after) = rest.split_at(found);
            self.offset += u64::try_from(found).unwrap_or(0);
            match line.strip_suffix(b"\n") {
                Some(line) if self.pending.is_empty() => self.hand_out(line, &mut each),
                Some(line) => {
                    let mut whole = std::mem::take(&mut self.pending);
                    whole.extend_from_slice(line);
                    self.hand_out(&whole, &mut each);
                    whole.clear();
                    self.pending = whole;
                }
                None => {
                    self.pending.extend_from_slice(rest);
                    if self.pending.len() > LINE_BYTES_MAX {
                        self.finish(&mut each);
                    }
                }
            }
            rest = after;
        }
    }

    fn skip_nul<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if !self.pending.is_empty() {
            return bytes;
        }
        let count = bytes.iter().take_while(|&&byte| byte == 0).count();
        if !self.is_behind_gap {
            self.offset += u64::try_from(count).unwrap_or(0);
        }
        &bytes[count..]
    }

    fn hand_out(&mut self, line: &[u8], each: &mut impl FnMut(Line<'_>)) {
        let line = classify(line);
        let goes_on_at = match &line {
            Line::Record(record) => goes_on_at(record),
            Line::Unreadable(_) => None,
        };
        self.is_behind_gap = goes_on_at.is_some();
        self.offset = goes_on_at.unwrap_or(self.offset);
        each(line);
    }

    /// The end of the file: what is left has no newline, so it is a record that was being written when the power went.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if !self.pending.is_empty() {
            each(Line::Unreadable(&self.pending));
            self.pending.clear();
        }
    }

    /// How many bytes have been taken and not handed out: the file is to be read again from that far back.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Where in the file the next byte to take stands: behind the last one taken, or where the note says that was
    /// taken last.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

fn classify(line: &[u8]) -> Line<'_> {
    Record::parse(line).map_or(Line::Unreadable(line), Line::Record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::time::{Monotonic, Now};
    use proptest::prelude::*;

    #[test]
    fn a_torn_line_is_handed_out_as_it_is() {
        let mut parser = Parser::default();
        let mut lines = Vec::new();
        let mut each = |line: Line<'_>| match line {
            Line::Record(record) => lines.push(format!("{:?}", record.kind)),
            Line::Unreadable(bytes) => lines.push(String::from_utf8_lossy(bytes).into_owned()),
        };
        parser.feed(
            b"\0\0torn\n\0\x002026-01-01T00:00:00Z stdout F ok\n2026-01-01T00:00:00Z stdout X no\n2026-",
            &mut each,
        );
        assert_eq!(parser.pending(), 5);
        parser.finish(&mut each);
        assert_eq!(lines, ["torn", "Full", "2026-01-01T00:00:00Z stdout X no", "2026-"]);
    }

    fn pieces() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        let byte = prop_oneof![1 => Just(b'\n'), 9 => any::<u8>()];
        prop::collection::vec((any::<bool>(), prop::collection::vec(byte, 0..200)), 0..20)
    }

    proptest! {
        /// Whatever a job writes, in whatever pieces, and however the file is read: the streams come back whole.
        #[test]
        fn streams_come_back_byte_by_byte(pieces in pieces(), step in 1_usize..500) {
            let file = tempfile::tempfile().unwrap();
            let mut writer = super::super::Writer::new(file, None);
            let wall = Timestamp::UNIX_EPOCH;
            let zero = std::time::Duration::ZERO;
            let now = Now { wall, monotonic: Monotonic::new(zero), slept: zero };
            let mut written = [Vec::new(), Vec::new()];
            for (is_err, bytes) in &pieces {
                let stream = if *is_err { Stream::Stderr } else { Stream::Stdout };
                writer.write(stream, bytes, now);
                written[stream as usize].extend_from_slice(bytes);
            }
            writer.finish(now);
            let mut bytes = Vec::new();
            std::io::Seek::rewind(&mut writer.sink()).unwrap();
            std::io::Read::read_to_end(&mut writer.sink(), &mut bytes).unwrap();
            let mut read = [Vec::new(), Vec::new()];
            let mut parser = Parser::default();
            for piece in bytes.chunks(step) {
                parser.feed(piece, |line| match line {
                    Line::Record(record) => record.append_to(&mut read[record.stream as usize]),
                    Line::Unreadable(bytes) => panic!("unreadable: {bytes:?}"),
                });
            }
            prop_assert_eq!(parser.pending(), 0);
            prop_assert_eq!(read, written);
        }
    }
}
