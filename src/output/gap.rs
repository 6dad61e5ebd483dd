//! Word of what has been left out, in the file itself.
//!
//! The note stands where the gap begins. Its two numbers have a fixed width, so that they are written over as the gap
//! grows, and it never crosses a page: no signal ends a write within one, so that a note is there whole or not at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};

use super::amount::Amount;
use super::limit::Cut;
use super::reader::{Kind, Record};
use super::writer::head;
use super::{RECORD_BYTES_MAX, Stream};
use crate::engine::time::Timestamp;

/// What precedes the number of a note's last field, and ends the part of it that is for people.
const GOES_ON: &str = "; the file goes on at byte ";
/// The digits of the largest number.
const NUMBER_WIDTH: usize = 20;
/// No write within such a piece of a file is ended half-way.
const PAGE: u64 = 4096;
/// How far before a hole the note about it may begin: within the same block of the file system, or ahead of it.
const BEFORE_HOLE: u64 = 128 * 1024;

/// A note as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GapNote {
    /// Where it goes: where the gap begins, or in the next page if it does not fit into this one.
    place: u64,
    line: Vec<u8>,
}

impl GapNote {
    /// About so many of the job's bytes, missing from `gap.start` on.
    pub(super) fn new(cut: &Cut, limit: u64) -> Self {
        let text = format!(
            "F:jobd {:>NUMBER_WIDTH$} bytes of output left out here, over the limit of {}{GOES_ON}{:>NUMBER_WIDTH$}\n",
            cut.left_out,
            Amount(limit),
            cut.gap.end,
        );
        let line = [head(cut.at, Stream::Stderr), text.into_bytes()].concat();
        let from = cut.gap.start;
        let fits = from % PAGE + u64::try_from(line.len()).unwrap_or(PAGE) <= PAGE;
        Self { place: if fits { from } else { from.next_multiple_of(PAGE) }, line }
    }

    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.place + u64::try_from(self.line.len()).unwrap_or(0)
    }

    /// What to write where, in this order: who finds the last number to be of now can trust the first.
    pub(super) fn writes(&self) -> [(u64, &[u8]); 2] {
        let (first, second) = self.line.split_at(self.line.len() - NUMBER_WIDTH - 1);
        [(self.place, first), (self.place + u64::try_from(first.len()).unwrap_or(0), second)]
    }
}

/// The note of a gap that nobody has written one about.
pub(super) fn unwritten(at: &str, goes_on_at: u64) -> Vec<u8> {
    format!("{at} stderr F:jobd output left out here{GOES_ON}{goes_on_at}\n").into_bytes()
}

/// A note as it is to be handed out, and where the file goes on. A writer that was killed may have taken away more than
/// it could tell of.
pub(super) fn put_right(file: &File, mut line: Vec<u8>, told: u64) -> io::Result<(Vec<u8>, u64)> {
    let goes_on_at = next_record(file, told)?.unwrap_or(told);
    if goes_on_at != told {
        line.truncate(line.len().saturating_sub(NUMBER_WIDTH + 1));
        line.extend(format!("{goes_on_at:>NUMBER_WIDTH$}\n").into_bytes());
    }
    Ok((line, goes_on_at))
}

/// Where the file goes on behind the gap that this record tells of, if it does.
pub(super) fn goes_on_at(record: &Record<'_>) -> Option<u64> {
    if record.kind != Kind::Note {
        return None;
    }
    let text = std::str::from_utf8(record.content).ok()?;
    text.rsplit_once(GOES_ON)?.1.trim_start().parse().ok()
}

/// The part of a note's text that is for people, its spaces put in order.
#[must_use]
pub fn note_text(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let said = text.rsplit_once(GOES_ON).map_or(&*text, |(said, _)| said);
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The note that begins at this place or behind the NUL bytes there, with its newline, and where the file goes on.
pub(super) fn note_at(file: &File, from: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
    let bytes = read_up_to(file, from, 2 * PAGE)?;
    let begin = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
    let end = bytes[begin..].iter().position(|&byte| byte == b'\n').map(|length| begin + length + 1);
    Ok(end.and_then(|end| Some((bytes[begin..end].to_owned(), told(&bytes[begin..end])?))))
}

/// The note that ends right before this place, which has been read already then.
pub(super) fn is_told_before(file: &File, place: u64) -> io::Result<bool> {
    let from = place.saturating_sub(PAGE);
    let before = read_up_to(file, from, place - from)?;
    Ok(last_line(&before).and_then(told).is_some())
}

/// The note of a file whose writer has ended, and where the file goes on. It is looked for where its first hole is.
pub(super) fn find(file: &File) -> io::Result<Option<Found>> {
    let hole = match seek(file, SeekFrom::Hole(0)) {
        Ok(hole) if hole < file.metadata()?.len() => hole,
        _ => return Ok(None),
    };
    let from = hole.saturating_sub(BEFORE_HOLE);
    let mut before = read_up_to(file, from, hole - from)?;
    while before.last() == Some(&0) {
        before.pop();
    }
    let Some(line) = last_line(&before).map(without_nul) else { return Ok(None) };
    let place = from + u64::try_from(before.len() - line.len()).unwrap_or(0);
    Ok(told(line).map(|goes_on_at| Found { place, line: line.to_owned(), goes_on_at }))
}

/// A note in the file.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it begins.
    pub(super) place: u64,
    /// It, with its newline.
    pub(super) line: Vec<u8>,
    /// Where the gap ends.
    pub(super) goes_on_at: u64,
}

impl Found {
    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.place + u64::try_from(self.line.len()).unwrap_or(0)
    }
}

/// The first byte at or behind this place that is not NUL.
pub(super) fn next_record(file: &File, from: u64) -> io::Result<Option<u64>> {
    let mut at = from;
    loop {
        // A hole of gigabytes costs nothing. A file system that knows of none goes on where it stands.
        at = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            Err(_) => at,
        };
        let bytes = read_up_to(file, at, BEFORE_HOLE)?;
        if let Some(found) = bytes.iter().position(|&byte| byte != 0) {
            return Ok(Some(at + u64::try_from(found).unwrap_or(0)));
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        at += u64::try_from(bytes.len()).unwrap_or(0);
    }
}

/// When a record was written, for a note that has no time of its own.
pub(super) fn time_at(file: &File, place: u64) -> io::Result<String> {
    let bytes = read_up_to(file, place, u64::try_from(2 * RECORD_BYTES_MAX).unwrap_or(PAGE))?;
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let at = Record::parse(line).map(|record| record.at.to_owned());
    Ok(at.unwrap_or_else(|| format!("{:.9}", Timestamp::UNIX_EPOCH)))
}

/// Reads until the end of the file or so many bytes.
pub(super) fn read_up_to(file: &File, from: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut read = vec![0; usize::try_from(bytes).unwrap_or(0)];
    let mut length = 0;
    while length < read.len() {
        match file.read_at(&mut read[length..], from + u64::try_from(length).unwrap_or(0)) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    read.truncate(length);
    Ok(read)
}

/// The last whole line, with its newline, if the bytes end with one.
pub(super) fn last_line(bytes: &[u8]) -> Option<&[u8]> {
    let body = bytes.strip_suffix(b"\n")?;
    let begin = body.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    Some(&bytes[begin..])
}

/// Where the file goes on, if this line is a note of a gap.
pub(super) fn told(line: &[u8]) -> Option<u64> {
    goes_on_at(&Record::parse(without_nul(line).strip_suffix(b"\n")?)?)
}

/// A line without the NUL bytes ahead of it, which stand between a note and the borders of its page.
pub(super) fn without_nul(line: &[u8]) -> &[u8] {
    let begin = line.iter().position(|&byte| byte != 0).unwrap_or(line.len());
    &line[begin..]
}
