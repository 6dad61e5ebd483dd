//! A configuration file's text, and where in it an offset lies.

use std::ops::Range;
use std::path::PathBuf;

use super::diagnostic::Place;

/// How much of a line a report shows, in characters.
const LINE_CHARS_MAX: usize = 160;

/// How many characters before the mark are kept when a line has to be cut.
const LEAD_CHARS: usize = 40;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Source {
    /// The file as reports name it.
    pub(super) path: PathBuf,
    /// All of it.
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
    /// Stretches that hold secrets and are never shown, in order and apart.
    hidden: Vec<Range<usize>>,
    /// Stretches whose syntax is broken, so that nothing can be said about what is missing there.
    damaged: Vec<Range<usize>>,
}

impl Source {
    pub(super) fn new(
        path: PathBuf,
        text: String,
        hidden: Vec<Range<usize>>,
        damaged: Vec<Range<usize>>,
    ) -> Self {
        let hidden = coalesced(hidden);
        let breaks = text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(breaks).collect();
        Self { path, text, starts, hidden, damaged }
    }

    /// Whether an offset lies in a stretch with broken syntax.
    pub(super) fn is_damaged(&self, offset: usize) -> bool {
        self.damaged.iter().any(|range| range.contains(&offset))
    }

    /// Everything a report says about a stretch of the text.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let begin = self.floor(span.start);
        let index = self.starts.partition_point(|&start| start <= begin) - 1;
        let start = self.starts[index];
        let line_end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let line_end = line_end - usize::from(self.text[start..line_end].ends_with('\r'));
        let end = self.floor(span.end).clamp(begin, line_end.max(begin));
        let column = self.text[start..begin].chars().count() + 1;

        let from = if column > LINE_CHARS_MAX / 2 {
            back(&self.text[start..begin], LEAD_CHARS).map_or(start, |lead| begin - lead)
        } else {
            start
        };
        let shown: usize =
            self.text[from..line_end.max(from)].chars().take(LINE_CHARS_MAX).map(char::len_utf8).sum();
        let to = from + shown;
        let (before, marked) = (self.masked(from..begin), self.masked(begin..end.min(to).max(begin)));
        let mark = before.len()..before.len() + marked.len();
        Place {
            file: self.path.clone(),
            line: index + 1,
            column,
            span: span.clone(),
            source_line: format!("{before}{marked}{}", self.masked(end.min(to).max(begin)..to.max(begin))),
            text: marked,
            mark,
            cut: from > start,
        }
    }

    /// A stretch of the text with an asterisk for each character of a secret.
    fn masked(&self, range: Range<usize>) -> String {
        let secret = |at: usize| {
            let after = self.hidden.partition_point(|hidden| hidden.start <= at);
            after.checked_sub(1).is_some_and(|index| self.hidden[index].contains(&at))
        };
        let end = range.end.max(range.start);
        let text = &self.text[range.start..end];
        text.char_indices().map(|(at, c)| if secret(range.start + at) { '*' } else { c }).collect()
    }

    /// The nearest border of a character at or before an offset.
    fn floor(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset.min(self.text.len()))
    }
}

/// The same stretches in order, those that overlap made one.
fn coalesced(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let overlap = next.start <= last.end;
        if overlap {
            last.end = last.end.max(next.end);
        }
        overlap
    });
    ranges
}

/// How many bytes the last `chars` characters of a text take; `None` when it has no more than these.
fn back(text: &str, chars: usize) -> Option<usize> {
    let (at, _) = text.char_indices().rev().nth(chars.checked_sub(1)?)?;
    (at > 0).then_some(text.len() - at)
}
