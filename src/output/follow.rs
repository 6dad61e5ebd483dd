//! Reading a file that may still be written, and that may lose its middle meanwhile.

use std::fs::File;
use std::io;
use std::ops::Range;

use memchr::{memchr_iter, memrchr};

use super::{gap, sink};

/// The most that is read at once, bytes; much more than a record has.
const PIECE_BYTES: u64 = 64 * 1024;

/// A reader that stands somewhere in an output file. What it hands out are whole records, and in place of what is left
/// out the note about it, behind which it stands where that note says: who reads on from an offset that is reckoned
/// from the pieces, as a [`Parser`](super::Parser) does it, misses nothing and gets nothing twice.
///
/// **Invariant:** no record is handed out of which a part had been taken away when it was read.
#[derive(Debug)]
pub struct Follow {
    file: File,
    offset: u64,
}

impl Follow {
    /// Stands at this offset of the file, where a record begins.
    #[must_use]
    pub const fn new(file: File, offset: u64) -> Self {
        Self { file, offset }
    }

    /// The next piece, none at the present end. `is_over` is whether the writer had ended before the call: a last line
    /// that is torn is handed out as it is then.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self, is_over: bool) -> io::Result<Vec<u8>> {
        loop {
            let before = sink::announced(&self.file, self.offset)?;
            if let Some(gap) = before.as_ref().filter(|gap| gap.start <= self.offset) {
                return self.pass(gap);
            }
            let mut piece = gap::read_up_to(&self.file, self.offset, PIECE_BYTES)?;
            match (before, sink::announced(&self.file, self.offset)?) {
                // The writer ended in between, and what it has left behind stands still from now on.
                (Some(_), None) => continue,
                // Taken away while it was read.
                (_, Some(gap)) if gap.start <= self.offset => continue,
                (_, Some(gap)) => piece.truncate(usize_of(gap.start - self.offset).min(piece.len())),
                (None, None) => {}
            }
            if piece.first() != Some(&0) {
                return self.take(piece, is_over);
            }
            match self.skip_nul()? {
                Some(note) if note.is_empty() => {}
                Some(note) => return Ok(note),
                None => return Ok(Vec::new()),
            }
        }
    }

    /// Passes over what is being taken away. Its note is told as it stands if it is about this very gap.
    fn pass(&mut self, gap: &Range<u64>) -> io::Result<Vec<u8>> {
        self.offset = gap.end;
        match gap::note_at(&self.file, gap.start)? {
            Some((note, goes_on_at)) if goes_on_at == gap.end => Ok(note),
            _ => Ok(gap::unwritten(&gap::time_at(&self.file, gap.end)?, gap.end)),
        }
    }

    /// Passes over NUL bytes to the next record, if there is one, with word of it unless that has been handed out just
    /// now.
    fn skip_nul(&mut self) -> io::Result<Option<Vec<u8>>> {
        let from = self.offset;
        let Some(to) = gap::next_record(&self.file, from)? else { return Ok(None) };
        self.offset = to;
        // Between the records and the note about the gap there may be a few.
        if let Some((note, told)) = gap::note_at(&self.file, from)? {
            let (note, goes_on_at) = gap::put_right(&self.file, note, told)?;
            self.offset = goes_on_at;
            return Ok(Some(note));
        }
        if gap::is_told_before(&self.file, from)? {
            return Ok(Some(Vec::new()));
        }
        let found = gap::find(&self.file)?.filter(|found| found.place < from && from < found.goes_on_at);
        Ok(Some(match found {
            Some(found) => gap::put_right(&self.file, found.line, found.goes_on_at)?.0,
            None => gap::unwritten(&gap::time_at(&self.file, to)?, to),
        }))
    }

    /// Hands out whole lines, up to the first gap.
    fn take(&mut self, mut piece: Vec<u8>, is_over: bool) -> io::Result<Vec<u8>> {
        let whole = memrchr(b'\n', &piece).map(|newline| newline + 1);
        let is_torn = whole.is_none() && (is_over || piece.len() == usize_of(PIECE_BYTES));
        let whole = if is_torn { piece.len() } else { whole.unwrap_or(0) };
        piece.truncate(first_gap(&piece).min(whole));
        let note = gap::last_line(&piece).and_then(|line| Some((line.len(), gap::told(line)?)));
        let Some((length, told)) = note else {
            self.offset += u64::try_from(piece.len()).unwrap_or(0);
            return Ok(piece);
        };
        let line = piece.split_off(piece.len() - length);
        let (line, goes_on_at) = gap::put_right(&self.file, line, told)?;
        self.offset = goes_on_at;
        piece.extend(line);
        Ok(piece)
    }
}

/// Where a line begins with NUL bytes; the length if none does.
fn first_gap(piece: &[u8]) -> usize {
    let begins_line = |&nul: &usize| nul > 0 && piece[nul - 1] == b'\n';
    memchr_iter(0, piece).find(begins_line).unwrap_or(piece.len())
}

fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::thread;
    use std::time::Duration;

    use super::super::{Kind, Line, Parser, Stream, Writer, tail_offset};
    use super::*;
    use crate::engine::time::{Monotonic, Now, Timestamp};

    const LIMIT: u64 = 400_000;
    const NOW: Now =
        Now { wall: Timestamp::UNIX_EPOCH, monotonic: Monotonic::new(Duration::ZERO), slept: Duration::ZERO };

    /// The content of line `n`, by which it is known to be whole: NUL bytes and all.
    fn content(n: usize) -> Vec<u8> {
        let mut line = format!("{n:09}").into_bytes();
        line.extend(
            (0..n % 700).map(|at| if at % 7 == 3 { 0 } else { b'a' + u8::try_from(at % 26).unwrap() }),
        );
        line
    }

    fn number(record: &[u8]) -> usize {
        let n = std::str::from_utf8(&record[..9]).unwrap().parse().unwrap();
        assert!(record == content(n), "line {n} is torn");
        n
    }

    fn write(file: File, lines: Range<usize>) -> Writer<File> {
        let mut writer = Writer::new(file, Some(LIMIT));
        let mut piece = Vec::new();
        for n in lines {
            piece.extend(content(n));
            piece.push(b'\n');
            if piece.len() > 50_000 {
                writer.write(Stream::Stdout, &piece, NOW);
                piece.clear();
            }
        }
        writer.write(Stream::Stdout, &piece, NOW);
        writer.finish(NOW);
        writer
    }

    /// Lines in the order in which they are read, and where a note is between them.
    #[derive(Default)]
    struct Seen {
        parser: Parser,
        lines: Vec<usize>,
        notes: Vec<usize>,
    }

    impl Seen {
        fn take(&mut self, piece: &[u8]) {
            let (lines, notes) = (&mut self.lines, &mut self.notes);
            self.parser.feed(piece, |line| match line {
                Line::Record(record) if record.kind == Kind::Note => notes.push(lines.len()),
                Line::Record(record) => lines.push(number(record.content)),
                Line::Unreadable(bytes) => panic!("unreadable: {:?}", String::from_utf8_lossy(bytes)),
            });
        }

        /// Nothing is missing but where a note says so, and nothing comes twice.
        fn check(&self) {
            for (at, pair) in self.lines.windows(2).enumerate() {
                assert!(pair[0] < pair[1], "{pair:?}");
                assert!(pair[0] + 1 == pair[1] || self.notes.contains(&(at + 1)), "{pair:?} without a note");
            }
        }
    }

    fn read_on(follow: &mut Follow, seen: &mut Seen, is_over: bool) -> ControlFlow<()> {
        let piece = follow.next(is_over).unwrap();
        seen.take(&piece);
        assert_eq!(follow.offset, seen.parser.offset());
        if piece.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    #[test]
    fn a_file_with_a_gap_is_read_from_anywhere() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let writer = write(path.reopen().unwrap(), 0..20_000);
        assert!(writer.left_out() > 6_000_000);
        for writer in [Some(writer), None] {
            let open = || File::open(path.path()).unwrap();
            let mut seen = Seen::default();
            let mut follow = Follow::new(open(), 0);
            let mut offsets = Vec::new();
            while read_on(&mut follow, &mut seen, true).is_continue() {
                offsets.push(follow.offset);
            }
            seen.check();
            assert_eq!((seen.lines[0], seen.lines.last(), seen.notes.len()), (0, Some(&19_999), 1));
            let tail = *offsets.last().unwrap();
            // Whoever stood in what has been left out since is told of it, and goes on at the end.
            for offset in [offsets[2] + 400_000, offsets[2] + 3_000_000] {
                let mut seen = Seen { parser: Parser::at(offset), ..Seen::default() };
                let mut follow = Follow::new(open(), offset);
                while read_on(&mut follow, &mut seen, true).is_continue() {}
                seen.check();
                assert_eq!((seen.notes.as_slice(), seen.lines.last()), (&[0][..], Some(&19_999)), "{offset}");
                assert_eq!(follow.offset, tail);
            }
            drop(writer);
        }
    }

    #[test]
    fn a_note_that_its_writer_could_not_put_right_any_more_is_put_right() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut writer = path.reopen().unwrap();
        drop(write(path.reopen().unwrap(), 0..20_000));
        // Killed behind the last hole and ahead of its note.
        let goes_on_at = gap::find(&writer).unwrap().unwrap().goes_on_at;
        let tail = gap::read_up_to(&writer, goes_on_at, 64 * 1024).unwrap();
        let more = u64::try_from(memchr::memchr(b'\n', &tail[40_000..]).unwrap() + 40_001).unwrap();
        sink::Sink::punch(&mut writer, goes_on_at..goes_on_at + more).unwrap();
        let mut seen = Seen::default();
        let mut follow = Follow::new(File::open(path.path()).unwrap(), 0);
        while read_on(&mut follow, &mut seen, true).is_continue() {}
        seen.check();
        assert_eq!((seen.notes.len(), seen.lines.last()), (1, Some(&19_999)));
    }

    #[test]
    fn the_last_lines_are_found_on_both_sides_of_a_gap() {
        let path = tempfile::NamedTempFile::new().unwrap();
        drop(write(path.reopen().unwrap(), 0..20_000));
        let file = File::open(path.path()).unwrap();
        let mut all = Seen::default();
        let mut follow = Follow::new(file.try_clone().unwrap(), 0);
        while read_on(&mut follow, &mut all, true).is_continue() {}
        let behind = all.lines.len() - all.notes[0];
        for (count, first) in [(1, 19_999), (behind, 20_000 - behind), (behind + 3, all.notes[0] - 2)] {
            let offset = tail_offset(&file, count).unwrap();
            let mut seen = Seen { parser: Parser::at(offset), ..Seen::default() };
            let mut follow = Follow::new(file.try_clone().unwrap(), offset);
            while read_on(&mut follow, &mut seen, true).is_continue() {}
            seen.check();
            assert_eq!(seen.lines[0], first, "{count}");
        }
    }

    #[test]
    fn readers_that_fall_behind_are_never_shown_a_torn_record() {
        const LINES: usize = 30_000;
        let path = tempfile::NamedTempFile::new().unwrap();
        let writer = path.reopen().unwrap();
        let writing = thread::spawn(move || write(writer, 0..LINES).left_out());
        let readers: Vec<_> = (0..3_u64)
            .map(|pause| {
                let file = File::open(path.path()).unwrap();
                thread::spawn(move || {
                    let mut seen = Seen::default();
                    let mut follow = Follow::new(file.try_clone().unwrap(), 0);
                    let _ = read_on(&mut follow, &mut seen, false);
                    // One is behind in any case: the middle goes while it looks away.
                    while pause == 0 && gap::find(&file).unwrap().is_none() {
                        thread::yield_now();
                    }
                    while seen.lines.last() != Some(&(LINES - 1)) {
                        let _ = read_on(&mut follow, &mut seen, false);
                        // A slow reader, of which one reads on from the offset with a new connection each time.
                        thread::sleep(Duration::from_millis(pause));
                        if pause == 2 {
                            follow = Follow::new(file.try_clone().unwrap(), seen.parser.offset());
                        }
                    }
                    seen.check();
                    seen.notes.len()
                })
            })
            .collect();
        assert!(writing.join().unwrap() > 5_000_000);
        let notes: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(notes > 0, "no reader was behind");
    }
}
