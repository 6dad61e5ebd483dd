//! The end of what the job has written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::clock;
use crate::engine::time::Timestamp;
use crate::os::inspect::printable;
use crate::output::{Kind, Line, Parser, Record};
use crate::run::evidence::Output;

/// How much of the file's end is read, bytes: it holds the last line whatever its length.
const BYTES_MAX: u64 = 64 * 1024;
/// How many lines are kept.
const LINES_MAX: usize = 10;

/// The end of an output file; `None` if it cannot be read.
pub(super) fn end(path: &Path) -> Option<Output> {
    let bytes = read_end(path).ok()?;
    let mut ending = Ending::default();
    let mut parser = Parser::default();
    // What is cut at the beginning is no record, and passed over.
    parser.feed(&bytes, |line| {
        if let Line::Record(record) = line {
            ending.take(&record);
        }
    });
    Some(ending.told(clock::now().wall))
}

fn read_end(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let size = length.min(BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, length - size)?;
    Ok(bytes)
}

#[derive(Debug, Default)]
struct Ending {
    lines: Vec<String>,
    /// Whether the last line goes on in the next record.
    is_open: bool,
    last: Option<Timestamp>,
}

impl Ending {
    fn take(&mut self, record: &Record<'_>) {
        if record.kind == Kind::Note {
            return;
        }
        self.last = record.timestamp().or(self.last);
        // Of a line in parts, the first one is kept.
        if !self.is_open {
            self.lines.push(printable(record.content));
        }
        self.is_open = record.kind == Kind::Part;
    }

    fn told(mut self, now: Timestamp) -> Output {
        let since = |last: Timestamp| u64::try_from(now.duration_since(last).as_millis()).unwrap_or(0);
        self.lines.drain(..self.lines.len().saturating_sub(LINES_MAX));
        Output { since_last_ms: self.last.map(since), lines: self.lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_with_their_age_and_without_power() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(end(file.path()), Some(Output { since_last_ms: None, lines: vec![] }));
        let line = |n: u32| format!("2026-03-01T10:00:00Z stdout F line {n}\n");
        let many: String = (0..5000).map(line).collect();
        let last = "2026-03-01T10:00:01Z stderr P \x1b[2J\n2026-03-01T10:00:02Z stderr F more\n";
        std::fs::write(file.path(), many + last).unwrap();
        let output = end(file.path()).unwrap();
        assert_eq!(output.lines.len(), LINES_MAX);
        assert_eq!(&output.lines[8..], ["line 4999", r"\u{1b}[2J"]);
        let age = Ending { last: Some("2026-03-01T10:00:02Z".parse().unwrap()), ..Ending::default() }
            .told("2026-03-01T10:00:31.5Z".parse().unwrap());
        assert_eq!(age.since_last_ms, Some(29_500));
        assert_eq!(end(Path::new("/nowhere")), None);
    }
}
