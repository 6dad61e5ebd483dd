//! The entries of an output file, as they come and for keeps.

use crate::output::{Kind, Line, Parser, Stream, note_text};

/// One entry: a line of the job's, a part of one, or word of jobd's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When it was written, as the file has it.
    pub(crate) at: String,
    pub(crate) stream: Stream,
    pub(crate) kind: Kind,
    /// The bytes, without the line's end.
    pub(crate) text: Vec<u8>,
}

impl Entry {
    /// Whether the line ends here.
    pub(crate) fn is_full(&self) -> bool {
        self.kind != Kind::Part
    }

    /// Whether it is word of jobd's own.
    pub(crate) fn is_note(&self) -> bool {
        self.kind == Kind::Note
    }
}

/// Turns the bytes of an output file into entries, whatever pieces they come in.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    parser: Parser,
}

impl Entries {
    /// The entries that end in this piece. What is no entry is passed on as a line of stdout, so nothing is lost.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.parser.feed(piece, |line| entries.push(entry(line)));
        entries
    }

    /// Where in the file the next piece begins.
    pub(crate) const fn offset(&self) -> u64 {
        self.parser.offset()
    }
}

fn entry(line: Line<'_>) -> Entry {
    match line {
        Line::Record(record) => Entry {
            at: record.at.to_owned(),
            stream: record.stream,
            kind: record.kind,
            text: match record.kind {
                Kind::Note => format!("[jobd] {}", note_text(record.content)).into_bytes(),
                Kind::Full | Kind::Part => record.content.to_owned(),
            },
        },
        Line::Unreadable(bytes) => {
            Entry { at: "-".to_owned(), stream: Stream::Stdout, kind: Kind::Full, text: bytes.to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_kept_and_our_own_word_is_marked() {
        let entries = Entries::default().feed(
            b"rubbish\n2026-11-01T01:00:00Z stderr F:jobd 3 KiB were left out\n2026-11-01T01:00:00Z std",
        );
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].text.as_slice(), entries[0].is_full()), (&b"rubbish"[..], true));
        assert_eq!(
            (entries[1].text.as_slice(), entries[1].is_full()),
            (&b"[jobd] 3 KiB were left out"[..], true)
        );
    }
}
