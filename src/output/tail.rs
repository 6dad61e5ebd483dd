//! Where the last lines of the file begin, without reading the rest of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::gap::{self, without_nul};
use super::{Kind, RECORD_BYTES_MAX, Record};

/// How much is read at once, bytes, from the end towards the beginning.
const BLOCK_BYTES: u64 = 64 * 1024;
/// What no record comes near, bytes.
const LINE_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;

/// The offset of the record from which on the file holds the last `lines` lines that the job wrote. A line in parts
/// counts once; where both streams have long lines at once, the first line shown may lack its beginning. What has been
/// left out is passed over, and its note counts as a line.
///
/// # Errors
/// When the file cannot be read.
pub fn tail_offset(file: &File, lines: usize) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut walk = Walk { left: lines, offset: length, is_last: true };
    // Bytes of the file from `start` on whose beginning of line lies before it.
    let (mut start, mut head) = (length, Vec::new());
    while start > 0 {
        let size = start.min(BLOCK_BYTES);
        start -= size;
        let mut block = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_exact_at(&mut block, start)?;
        block.append(&mut head);
        let mut end = block.len();
        while let Some(newline) = block[..end].iter().rposition(|&byte| byte == b'\n') {
            let begin = start + u64::try_from(newline).unwrap_or(0) + 1;
            if walk.is_over(&block[newline + 1..end], begin) {
                return Ok(walk.offset);
            }
            end = newline;
        }
        block.truncate(end);
        if block.len() > LINE_BYTES_MAX && block.first() == Some(&0) {
            // No record is that long: what is ahead of this one has been left out.
            if walk.is_over(&block, start) {
                return Ok(walk.offset);
            }
            block.clear();
            start = gap::find(file)?.map_or(start, |found| found.end().min(start));
        }
        head = block;
    }
    walk.is_over(&head, 0);
    Ok(walk.offset)
}

struct Walk {
    /// How many more lines are wanted.
    left: usize,
    /// Where those found so far begin.
    offset: u64,
    /// Whether nothing has been found behind.
    is_last: bool,
}

impl Walk {
    /// Looks at the record ahead of those seen so far. A record ends a line unless it is a part; the last part of the
    /// file stands for a line that is being written.
    fn is_over(&mut self, line: &[u8], begin: u64) -> bool {
        let record = without_nul(line);
        if record.is_empty() {
            return false;
        }
        let begin = begin + u64::try_from(line.len() - record.len()).unwrap_or(0);
        let is_part = Record::parse(record).is_some_and(|record| record.kind == Kind::Part);
        if !is_part || self.is_last {
            if self.left == 0 {
                return true;
            }
            self.left -= 1;
        }
        self.is_last = false;
        self.offset = begin;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn tail(text: &str, lines: usize) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let offset = usize::try_from(tail_offset(&file, lines).unwrap()).unwrap();
        text[offset..].to_owned()
    }

    #[test]
    fn the_last_lines_are_found_and_parts_count_with_their_end() {
        let line = |tag: &str, text: &str| format!("2026-01-01T00:00:00.000000000Z stdout {tag} {text}\n");
        let text = [line("F", "1"), line("P", "2a"), line("F", "2b"), line("F", "3"), line("P", "4")];
        let all = text.concat();
        assert_eq!(tail(&all, 0), "");
        assert_eq!(tail(&all, 1), text[4]);
        assert_eq!(tail(&all, 2), text[3..].concat());
        assert_eq!(tail(&all, 3), text[1..].concat());
        assert_eq!(tail(&all, 9), all);
        assert_eq!(tail("", 5), "");
    }

    #[test]
    fn lines_across_blocks_are_found() {
        let line = |n: usize| format!("2026-01-01T00:00:00.000000000Z stderr F {n} {}\n", "x".repeat(15_000));
        let lines: Vec<String> = (0..40).map(line).collect();
        assert_eq!(tail(&lines.concat(), 13), lines[27..].concat());
        assert_eq!(tail(&lines.concat(), 40), lines.concat());
    }
}
