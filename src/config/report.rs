//! Collects mistakes while files are read, and puts them in order at the end.

use std::ops::Range;
use std::path::PathBuf;

use super::diagnostic::{Diagnostic, Severity};
use super::source::Source;

/// The most mistakes that are reported; a file of garbage would else fill the memory with complaints.
pub(super) const MISTAKES_MAX: usize = 1000;

/// A stretch of text in one of the sources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// The index of the source, in the order of reading.
    pub(super) source: usize,
    /// Where the stretch begins, in bytes.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
}

impl Spot {
    pub(super) fn new(source: usize, span: Range<usize>) -> Self {
        Self { source, start: span.start, end: span.end }
    }

    fn span(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// A mistake before its line and column are worked out.
#[derive(Debug)]
pub(super) struct Note {
    severity: Severity,
    spot: Option<Spot>,
    message: String,
    help: Option<String>,
    first: Option<Spot>,
}

impl Note {
    /// Says what would be right.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Points at the other place.
    pub(super) fn first(&mut self, spot: Spot) -> &mut Self {
        self.first = Some(spot);
        self
    }
}

/// All sources, and all that is wrong with them.
#[derive(Debug)]
pub(super) struct Report {
    main: PathBuf,
    sources: Vec<Source>,
    errors: Vec<Note>,
    warnings: Vec<Note>,
    /// How many came after the most that are kept.
    dropped: usize,
}

impl Report {
    pub(super) fn new(main: PathBuf) -> Self {
        Self { main, sources: Vec::new(), errors: Vec::new(), warnings: Vec::new(), dropped: 0 }
    }

    /// The index that the next source will have.
    pub(super) fn next_source(&self) -> usize {
        self.sources.len()
    }

    pub(super) fn add_source(&mut self, source: Source) {
        self.sources.push(source);
    }

    /// Whether nothing can be said about what is missing at this spot.
    pub(super) fn is_damaged(&self, spot: &Spot) -> bool {
        self.sources.get(spot.source).is_some_and(|source| source.is_damaged(spot.start))
    }

    /// Whether more mistakes would not be shown, so that the search for them can end.
    pub(super) fn is_full(&self) -> bool {
        self.errors.len() >= MISTAKES_MAX
    }

    /// Adds a mistake; `None` is the main file as a whole.
    pub(super) fn error(&mut self, spot: impl Into<Option<Spot>>, message: impl Into<String>) -> &mut Note {
        self.add(Severity::Error, spot.into(), message.into())
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, spot: impl Into<Option<Spot>>, message: impl Into<String>) -> &mut Note {
        self.add(Severity::Warning, spot.into(), message.into())
    }

    /// Keeps a note; past the most that are kept, the newest one takes the place of the last.
    fn add(&mut self, severity: Severity, spot: Option<Spot>, message: String) -> &mut Note {
        let notes = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        if notes.len() == MISTAKES_MAX {
            notes.truncate(MISTAKES_MAX - 1);
            self.dropped += 1;
        }
        let at = notes.len();
        notes.push(Note { severity, spot, message, help: None, first: None });
        &mut notes[at]
    }

    /// Everything that was found, in the order of reading, and whether any of it is a mistake.
    pub(super) fn finish(mut self) -> (Vec<Diagnostic>, bool) {
        let failed = !self.errors.is_empty();
        let mut notes = std::mem::take(&mut self.errors);
        notes.append(&mut self.warnings);
        notes.sort_by(|a, b| a.spot.cmp(&b.spot));
        if self.dropped > 0 {
            let (severity, message) = (Severity::Warning, format!("{} more are not shown", self.dropped));
            notes.push(Note { severity, spot: None, message, help: None, first: None });
        }
        (notes.into_iter().map(|note| self.diagnostic(note)).collect(), failed)
    }

    fn diagnostic(&self, note: Note) -> Diagnostic {
        let place = |spot: &Spot| self.sources.get(spot.source).map(|source| source.place(&spot.span()));
        let at = note.spot.as_ref().and_then(place);
        Diagnostic {
            severity: note.severity,
            file: at.as_ref().map_or_else(|| self.main.clone(), |place| place.file.clone()),
            place: at,
            message: note.message,
            help: note.help,
            first: note.first.as_ref().and_then(place),
        }
    }
}
