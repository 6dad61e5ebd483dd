//! Writing: two streams into one file, a write or a few for each piece that was read from a job.

use std::fmt;
use std::io;
use std::time::Duration;

use memchr::memchr;
use nix::errno::Errno;

use super::gap::GapNote;
use super::limit::{Cut, Limit};
use super::{Amount, Line, Parser, RECORD_BYTES_MAX, Sink, Stream};
use crate::engine::time::{Monotonic, Now, Timestamp};

/// How much is written at once, bytes: the shortest lines grow to twenty times their size with their times.
const BATCH_BYTES: usize = 128 * 1024;
/// The largest block in which a file system gives room, bytes.
const BLOCK_BYTES_MAX: u64 = 64 * 1024;
/// How far the word at the end of a closed file may be behind, bytes.
const NOTE_STEP: u64 = 1024 * 1024;

/// How long the beginning of a line waits for its end before it is written as a part: a prompt or a progress bar is
/// to be seen, while lines that arrive in pieces stay whole.
const PART_DELAY: Duration = Duration::from_millis(250);

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
/// missing where it is missing as soon as it can be written again. A full disk must not stop the job, and neither must
/// its limit.
#[derive(Debug)]
pub struct Writer<S> {
    sink: S,
    /// The length of the file up to its last whole record.
    length: u64,
    /// How many of the job's bytes have got into it, also those that have been left out since.
    written: u64,
    buffer: Vec<u8>,
    /// How many of the job's bytes are in the buffer.
    buffered: u64,
    parts: [Part; 2],
    /// What the records of a batch begin with.
    at: Timestamp,
    /// Not yet told of in the file.
    untold: Loss,
    lost: Loss,
    received: u64,
    limit: Option<Limit>,
    /// How much of the middle has been left out.
    gap: u64,
    /// Where the file is closed to the job, if its middle cannot be left out.
    closed: Option<Closed>,
}

/// The end of a file from which nothing can be taken away.
#[derive(Debug, Clone, Copy)]
struct Closed {
    /// After how many of the job's bytes.
    after: u64,
    /// How many came later.
    left_out: u64,
    /// How many of them the file tells of.
    told: u64,
}

/// The beginning of a line whose end has not been seen.
#[derive(Debug, Default)]
struct Part {
    bytes: Vec<u8>,
    since: Option<Monotonic>,
}

const NO_LOSS: Loss = Loss { bytes: 0, errno: None };

impl<S: Sink> Writer<S> {
    /// Writes to an empty file, which keeps so many bytes of the job's output: its beginning and its end, and where
    /// the file system cannot take away what is between them, its beginning.
    #[must_use]
    pub fn new(mut sink: S, limit: Option<u64>) -> Self {
        let is_solid = limit.is_some() && sink.punch(0..0).is_err();
        let closed = limit.filter(|_| is_solid).map(|after| Closed { after, left_out: 0, told: 0 });
        Self {
            sink,
            length: 0,
            written: 0,
            buffer: Vec::new(),
            buffered: 0,
            parts: [Part::default(), Part::default()],
            at: Timestamp::MIN,
            untold: NO_LOSS,
            lost: NO_LOSS,
            received: 0,
            limit: limit.map(Limit::new),
            gap: 0,
            closed,
        }
    }

    /// Takes bytes that a stream has brought.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: Now) {
        self.received += len(bytes);
        self.begin(now.wall);
        let heads = Heads::new(self.at, stream);
        let mut rest = bytes;
        while let Some(newline) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(newline + 1);
            self.finish_line(stream, &heads, line);
            rest = after;
        }
        if !rest.is_empty() {
            self.keep_part(stream, &heads, rest, now.monotonic);
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
        if let Some(cut) = self.limit.as_mut().and_then(|limit| limit.due_at_the_end(self.written)) {
            self.leave_out(&cut);
        }
        self.tell_of_the_rest(0);
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

    /// How many of the job's bytes are not in the file, for its limit.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.gap + self.closed.map_or(0, |closed| closed.left_out)
    }

    /// That the file does not hold all of the output, for its limit: `4.1 GB of output left out, over the limit of 100
    /// MB`.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let limit = self.limit.as_ref().filter(|_| self.left_out() > 0)?;
        let (left_out, limit) = (Amount(self.left_out()), Amount(limit.bytes()));
        Some(format!("{left_out} of output left out, over the limit of {limit}"))
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
                self.record_part(&Heads::new(self.at, stream), &bytes);
            }
        }
        self.commit();
    }

    /// The end of a line, its newline included, with its beginning if that has been kept.
    fn finish_line(&mut self, stream: Stream, heads: &Heads, end: &[u8]) {
        let part = &mut self.parts[stream as usize];
        part.since = None;
        if part.bytes.is_empty() {
            let last = self.long_parts(heads, end);
            self.record(&heads.full, last, b"", len(last));
            return;
        }
        let mut line = std::mem::take(&mut part.bytes);
        line.extend_from_slice(end);
        let last = self.long_parts(heads, &line);
        self.record(&heads.full, last, b"", len(last));
        line.clear();
        // Its room is kept for the next one.
        self.parts[stream as usize].bytes = line;
    }

    fn keep_part(&mut self, stream: Stream, heads: &Heads, beginning: &[u8], now: Monotonic) {
        let mut bytes = std::mem::take(&mut self.parts[stream as usize].bytes);
        bytes.extend_from_slice(beginning);
        let written = bytes.len() - self.long_parts(heads, &bytes).len();
        bytes.drain(..written);
        let part = &mut self.parts[stream as usize];
        part.since = if written == 0 { part.since.or(Some(now)) } else { Some(now) };
        part.bytes = bytes;
    }

    /// Writes as many full parts as a line has, and returns the rest, which fits into one record.
    fn long_parts<'a>(&mut self, heads: &Heads, line: &'a [u8]) -> &'a [u8] {
        let mut rest = line;
        // A newline at its end takes no room of its own.
        while rest.strip_suffix(b"\n").unwrap_or(rest).len() > RECORD_BYTES_MAX {
            let (part, after) = rest.split_at(border(rest));
            self.record_part(heads, part);
            rest = after;
        }
        rest
    }

    fn record_part(&mut self, heads: &Heads, content: &[u8]) {
        self.record(&heads.part, content, b"\n", len(content));
    }

    /// One line of the file, which holds so many bytes of the job's: its newline is the job's own, or `end`.
    fn record(&mut self, head: &[u8], content: &[u8], end: &[u8], bytes: u64) {
        let before = self.written + self.buffered;
        if let Some(closed) = &mut self.closed
            && (closed.left_out > 0 || before + bytes > closed.after)
        {
            closed.left_out += bytes;
            return;
        }
        if self.buffer.is_empty() {
            self.tell_of_losses();
        }
        if let Some(limit) = &mut self.limit {
            limit.pass(self.length + len(&self.buffer), before, self.at);
        }
        for piece in [head, content, end] {
            self.buffer.extend_from_slice(piece);
        }
        self.buffered += bytes;
        if self.buffer.len() >= BATCH_BYTES {
            self.commit();
        }
    }

    /// Begins a batch. Times never go back within the file: while the wall clock is behind what has been written, that
    /// time is kept.
    fn begin(&mut self, at: Timestamp) {
        self.at = self.at.max(at);
        self.tell_of_losses();
    }

    fn tell_of_losses(&mut self) {
        if self.untold.bytes > 0 && self.closed.is_none_or(|closed| closed.left_out == 0) {
            let text = format!("{} could not be written here", self.untold);
            self.buffer.extend_from_slice(&head(self.at, Stream::Stderr));
            self.buffer.extend_from_slice(format!("F:jobd {text}\n").as_bytes());
        }
    }

    /// Writes the batch.
    fn commit(&mut self) {
        if !self.buffer.is_empty() {
            let (count, error) = write_all(&mut self.sink, &self.buffer);
            // Without an error all of it is whole. With one, whole records stay, since readers have seen them.
            let whole = self.buffer[..count].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let kept = if error.is_none() { self.buffered } else { contents(&self.buffer[..whole]) };
            self.length += len(&self.buffer[..whole]);
            self.written += kept;
            if whole > 0 {
                self.untold = NO_LOSS;
            }
            if let Some(error) = error {
                self.lose(self.buffered - kept, &error);
            }
            self.buffer.clear();
            self.buffered = 0;
        }
        self.keep_the_limit();
    }

    fn lose(&mut self, bytes: u64, error: &io::Error) {
        // Should even cutting fail, a reader finds a torn record and passes over it.
        let _ = self.sink.cut(self.length);
        if let Some(limit) = &mut self.limit {
            limit.forget(self.length);
        }
        for loss in [&mut self.untold, &mut self.lost] {
            loss.bytes += bytes;
            loss.errno = error.raw_os_error();
        }
    }

    fn keep_the_limit(&mut self) {
        self.tell_of_the_rest(NOTE_STEP);
        if let Some(cut) = self.limit.as_mut().and_then(|limit| limit.due(self.written)) {
            self.leave_out(&cut);
        }
    }

    /// Takes the middle away as far as it goes now. First the readers are told, and last the file's own word of it is
    /// put right: killed in between, it is behind by one step, and never ahead of what is missing.
    fn leave_out(&mut self, cut: &Cut) {
        let Some(limit) = self.limit.as_ref().map(Limit::bytes).filter(|_| self.closed.is_none()) else {
            return;
        };
        let note = GapNote::new(cut, limit);
        // A block of which only the end is punched keeps its room, so the one that the last step ended in goes again.
        let again = (cut.fresh.start - cut.fresh.start % BLOCK_BYTES_MAX).max(note.end());
        let from = if cut.fresh == cut.gap { cut.gap.start } else { again.min(cut.fresh.start) };
        self.sink.announce(cut.gap.clone());
        if self.sink.punch(from..cut.fresh.end).is_err() {
            self.sink.announce(cut.gap.start..cut.fresh.start);
            self.closed = Some(Closed { after: self.written, left_out: 0, told: 0 });
            return;
        }
        self.gap = cut.left_out;
        // A note that cannot be written now is written with the next step.
        let _ = self.put(&note);
    }

    /// Says at the end of a closed file how much more came: at once that there was more, and then each time that so
    /// much has been added.
    fn tell_of_the_rest(&mut self, step: u64) {
        let Some((closed, limit)) = self.closed.zip(self.limit.as_ref().map(Limit::bytes)) else { return };
        let untold = closed.left_out - closed.told;
        if untold == 0 || closed.told > 0 && untold < step {
            return;
        }
        let about = |end| {
            let cut = Cut { gap: self.length..end, fresh: 0..0, left_out: closed.left_out, at: self.at };
            GapNote::new(&cut, limit)
        };
        let end = about(0).end();
        let note = about(end);
        if self.put(&note).is_ok() {
            self.closed = Some(Closed { told: closed.left_out, ..closed });
        }
    }

    fn put(&mut self, note: &GapNote) -> io::Result<()> {
        note.writes().into_iter().try_for_each(|(at, bytes)| self.sink.write_over(at, bytes))
    }
}

/// Writes as much as can be written: how much that was, and what ended it, if anything.
fn write_all(sink: &mut impl Sink, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut count = 0;
    while count < bytes.len() {
        match sink.write(&bytes[count..]) {
            Ok(0) => return (count, Some(io::ErrorKind::WriteZero.into())),
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Some(error)),
        }
    }
    (count, None)
}

/// How many of the job's bytes are in these records.
fn contents(records: &[u8]) -> u64 {
    let mut bytes = Vec::new();
    Parser::default().feed(records, |line| {
        if let Line::Record(record) = line {
            record.append_to(&mut bytes);
        }
    });
    len(&bytes)
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// What stands ahead of the records of a batch.
struct Heads {
    full: Vec<u8>,
    part: Vec<u8>,
}

impl Heads {
    fn new(at: Timestamp, stream: Stream) -> Self {
        let head = head(at, stream);
        Self { full: [&head[..], b"F "].concat(), part: [&head[..], b"P "].concat() }
    }
}

/// `<RFC 3339, nanoseconds> <stream> `, the same for all records of a batch.
pub(super) fn head(at: Timestamp, stream: Stream) -> Vec<u8> {
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
    use std::io::Write;
    use std::ops::Range;

    use super::super::{Kind, note_text};
    use super::*;

    /// A disk with room for so many bytes, of a file system that may be able to take the middle of a file away.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
        can_punch: bool,
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

        fn announce(&mut self, _: Range<u64>) {}

        fn punch(&mut self, range: Range<u64>) -> io::Result<()> {
            if !self.can_punch {
                return Err(io::Error::from_raw_os_error(95));
            }
            self.bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].fill(0);
            Ok(())
        }

        fn write_over(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            let at = usize::try_from(at).unwrap();
            self.bytes.resize(self.bytes.len().max(at + bytes.len()), 0);
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }

    fn at(ms: u64) -> Now {
        Now {
            wall: Timestamp::UNIX_EPOCH + Duration::from_millis(ms),
            monotonic: Monotonic::new(Duration::from_millis(ms)),
            slept: Duration::ZERO,
        }
    }

    fn writer(room: usize) -> Writer<Disk> {
        Writer::new(Disk { bytes: Vec::new(), room, can_punch: true }, None)
    }

    fn limited(limit: u64, can_punch: bool) -> Writer<Disk> {
        Writer::new(Disk { bytes: Vec::new(), room: usize::MAX, can_punch }, Some(limit))
    }

    fn records(writer: &Writer<Disk>) -> Vec<(Kind, String)> {
        let mut records = Vec::new();
        Parser::default().feed(&writer.sink.bytes, |line| {
            let Line::Record(record) = line else { panic!("unreadable: {line:?}") };
            records.push((record.kind, String::from_utf8(record.content.to_vec()).unwrap()));
        });
        records
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
    fn a_full_disk_loses_whole_records_and_says_so_when_there_is_room() {
        let mut writer = writer(130);
        writer.write(Stream::Stdout, b"fits\n", at(0));
        writer.write(Stream::Stdout, b"so does\ndoes not\n", at(1));
        writer.write(Stream::Stdout, b"nor this\n", at(2));
        assert_eq!(writer.lost(), Loss { bytes: 18, errno: Some(28) });
        assert!(text(&writer).ends_with("stdout F so does\n"), "{}", text(&writer));
        writer.sink.room = usize::MAX;
        writer.write(Stream::Stdout, b"again\n", at(3));
        let note = "18 bytes of output (ENOSPC: No space left on device) could not be written here";
        let expected =
            [(Kind::Full, "fits"), (Kind::Full, "so does"), (Kind::Note, note), (Kind::Full, "again")];
        assert_eq!(records(&writer), expected.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(writer.lost().bytes, 18);
    }

    #[test]
    fn times_do_not_go_back_with_the_clock() {
        let mut writer = writer(usize::MAX);
        let back = |wall_ms, monotonic_ms| Now { wall: at(wall_ms).wall, ..at(monotonic_ms) };
        writer.write(Stream::Stdout, b"before\n", back(9_000, 0));
        writer.write(Stream::Stdout, b"after\n", back(1_000, 1));
        writer.write(Stream::Stderr, b"later\n", back(9_500, 2));
        let times: Vec<&str> = text(&writer).lines().map(|line| &line[17..20]).collect();
        assert_eq!(times, ["09.", "09.", "09."]);
        assert!(text(&writer).contains("09.500000000Z stderr F later"));
    }

    /// Lines of 100 bytes that are numbered, in pieces as they come from a pipe.
    fn flood(writer: &mut Writer<Disk>, count: usize) {
        let lines: Vec<String> = (0..count).map(|n| format!("{n:099}\n")).collect();
        for piece in lines.concat().as_bytes().chunks(60_000) {
            writer.write(Stream::Stdout, piece, at(0));
        }
        writer.finish(at(1));
    }

    #[test]
    fn over_the_limit_the_beginning_and_the_end_are_kept_and_the_note_adds_up() {
        let mut writer = limited(200_000, true);
        flood(&mut writer, 30_000);
        let records = records(&writer);
        let noted = records.iter().position(|(kind, _)| *kind == Kind::Note).unwrap();
        let number = |(_, text): &(Kind, String)| text.parse::<usize>().unwrap();
        let (first, last) = (number(&records[noted - 1]), number(&records[noted + 1]));
        assert_eq!((number(&records[0]), number(&records[records.len() - 1])), (0, 29_999));
        assert_eq!(first, 999, "the line that fills the first half");
        assert!((28_800..=29_000).contains(&last), "{last}");
        let left_out = u64::try_from((last - first - 1) * 100).unwrap();
        assert_eq!((writer.left_out(), writer.received()), (left_out, 3_000_000));
        let note = note_text(records[noted].1.as_bytes());
        assert_eq!(note, format!("{left_out} bytes of output left out here, over the limit of 200 kB"));
        assert_eq!(writer.remark().unwrap(), "2.7 MB of output left out, over the limit of 200 kB");
        let room = writer.sink.bytes.iter().filter(|&&byte| byte != 0).count();
        assert!(room < 350_000, "{room}");
    }

    #[test]
    fn up_to_the_limit_all_is_kept() {
        let mut writer = limited(3_000_000, true);
        flood(&mut writer, 30_000);
        assert_eq!((writer.left_out(), writer.remark()), (0, None));
        assert_eq!(records(&writer).len(), 30_000);
    }

    #[test]
    fn where_nothing_can_be_taken_away_the_beginning_is_kept() {
        let mut writer = limited(200_000, false);
        flood(&mut writer, 30_000);
        let records = records(&writer);
        assert_eq!(records.len(), 2_001);
        assert_eq!(records[1_999].1, format!("{:099}", 1_999));
        let note = note_text(records[2_000].1.as_bytes());
        assert_eq!(note, "2800000 bytes of output left out here, over the limit of 200 kB");
        assert_eq!(writer.left_out(), 2_800_000);
    }

    #[test]
    fn a_disk_that_ceases_to_take_away_closes_the_file() {
        let mut writer = limited(200_000, true);
        flood(&mut writer, 10_000);
        let before = writer.left_out();
        writer.sink.can_punch = false;
        flood(&mut writer, 30_000);
        let notes: Vec<String> = records(&writer)
            .iter()
            .filter(|(kind, _)| *kind == Kind::Note)
            .map(|(_, text)| text.clone())
            .collect();
        assert_eq!(notes.len(), 2);
        let told: u64 =
            notes.iter().map(|note| note.split_whitespace().next().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(told, writer.left_out());
        assert!(before < told && told < 4_000_000);
    }
}
