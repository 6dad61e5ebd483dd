//! What of a job's output goes into its row: the last line of stdout, the end of stderr.

/// The most that is kept of one line while a job runs, bytes.
const LINE_BYTES_MAX: usize = 2 * 1024;
/// The longest message of a row, characters.
const MESSAGE_CHARS_MAX: usize = 500;
/// The longest end of stderr in a row, bytes.
const TAIL_BYTES_MAX: usize = 60_000;

/// The last non-empty line of a stream, kept while the stream passes.
#[derive(Debug, Default)]
pub struct LastLine {
    complete: Vec<u8>,
    current: Vec<u8>,
}

impl LastLine {
    /// Takes the next bytes of the stream. Only the end of them is looked at.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.rsplit(|&byte| byte == b'\n');
        let unfinished = pieces.next().unwrap_or_default();
        // Backwards from the last newline to the first line that is not empty. The foremost piece continues a line
        // that began earlier.
        let mut pieces = pieces.peekable();
        if pieces.peek().is_none() {
            append(&mut self.current, unfinished);
            return;
        }
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                append(&mut self.current, piece);
                if !is_blank(&self.current) {
                    self.complete = std::mem::take(&mut self.current);
                }
            } else if !is_blank(piece) {
                self.complete.clear();
                append(&mut self.complete, piece);
                break;
            }
        }
        self.current.clear();
        append(&mut self.current, unfinished);
    }

    /// The line, as a message; `None` if the stream had none.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        excerpt(if is_blank(&self.current) { &self.complete } else { &self.current })
    }
}

fn append(line: &mut Vec<u8>, bytes: &[u8]) {
    let room = LINE_BYTES_MAX.saturating_sub(line.len());
    line.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// The last non-empty line of a text, cut to what a row holds; `None` if all of it is empty.
#[must_use]
pub fn excerpt(text: &[u8]) -> Option<String> {
    let line = text.rsplit(|&byte| byte == b'\n').find(|line| !is_blank(line))?;
    let line = &line[..line.len().min(LINE_BYTES_MAX)];
    let line: String = String::from_utf8_lossy(line).trim().chars().take(MESSAGE_CHARS_MAX).collect();
    Some(line)
}

/// The end of a stream, kept while the stream passes.
#[derive(Debug, Default)]
pub struct StderrTail(Vec<u8>);

impl StderrTail {
    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..]);
        // The front is given up only now and then, so that small pieces do not move all of it each time.
        if self.0.len() > 2 * TAIL_BYTES_MAX {
            self.0.drain(..self.0.len() - TAIL_BYTES_MAX);
        }
    }

    /// The end as text, cut between characters; what is no UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        let mut end = &self.0[self.0.len().saturating_sub(TAIL_BYTES_MAX)..];
        // The cut may have gone through a character, of which up to three bytes are left.
        if end.len() < self.0.len() {
            let inside = end.iter().take(3).take_while(|&&byte| byte & 0b1100_0000 == 0b1000_0000).count();
            end = &end[inside..];
        }
        // Replacements are longer than what they replace, so the text is cut once more.
        let text = String::from_utf8_lossy(end);
        let from = text.len().saturating_sub(TAIL_BYTES_MAX);
        let border = (from..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(from);
        text[border..].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(pieces: &[&str]) -> Option<String> {
        let mut line = LastLine::default();
        for piece in pieces {
            line.feed(piece.as_bytes());
        }
        line.message()
    }

    #[test]
    fn the_last_line_that_is_not_empty_is_the_message() {
        assert_eq!(last(&[]), None);
        assert_eq!(last(&["\n \n"]), None);
        assert_eq!(last(&["one\ntwo\n"]).as_deref(), Some("two"));
        assert_eq!(last(&["one\ntwo\n", "\n  \n\n"]).as_deref(), Some("two"));
        assert_eq!(last(&["one\nt", "w", "o\n", "\n"]).as_deref(), Some("two"));
        assert_eq!(last(&["one\nt", "wo"]).as_deref(), Some("two"));
        assert_eq!(last(&["one\n", "three", "\n\nfour\n\n", " "]).as_deref(), Some("four"));
        assert_eq!(last(&["끝났다 \r\n"]).as_deref(), Some("끝났다"));
        assert_eq!(last(&[&"한".repeat(9_000)]).unwrap().chars().count(), 500);
    }

    #[test]
    fn the_end_of_stderr_is_whole_characters() {
        let mut tail = StderrTail::default();
        assert_eq!(tail.text(), "");
        for _ in 0..50_000 {
            tail.feed("끝\n".as_bytes());
        }
        assert!(tail.0.len() <= 2 * TAIL_BYTES_MAX);
        let text = tail.text();
        assert!(text.len() <= TAIL_BYTES_MAX && text.len() > TAIL_BYTES_MAX - 4);
        assert!(!text.contains(char::REPLACEMENT_CHARACTER));
        tail.feed(&vec![0xff; 100_000]);
        assert!(tail.text().len() <= TAIL_BYTES_MAX);
    }
}
