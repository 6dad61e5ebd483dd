//! A Rust file as the checks see it.

use std::ops::Range;

/// A file, whole, and with what is not code blanked out. All three texts have the same bytes at the same places.
pub(crate) struct Source {
    /// Relative to the package.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Without comments and the insides of literals.
    pub code: String,
    /// Without items under `#[cfg(test)]` as well.
    pub shipped: String,
    /// Where string literals stand, quotes included.
    pub literals: Vec<Range<usize>>,
    /// Where items under `#[cfg(test)]` stand.
    pub tests: Vec<Range<usize>>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, literals) = blank_out(text);
        let tests = tests(&code);
        let mut shipped = code.clone();
        for item in &tests {
            shipped.replace_range(item.clone(), &blank(&code[item.clone()]));
        }
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped, literals, tests }
    }

    /// `path:line: what`, for the byte at an offset.
    pub(crate) fn finding(&self, at: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line_of(&self.text, at))
    }

    /// Whether the file is one of those, or lies in one of those folders.
    pub(crate) fn is_under(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || place.ends_with('/') && self.path.starts_with(place))
    }
}

/// The number of the line, from 1, that the byte is on.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where the whole word stands in the text.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let inside = |byte: Option<&u8>| byte.is_some_and(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = text.as_bytes();
        !inside(at.checked_sub(1).and_then(|before| bytes.get(before))) && !inside(bytes.get(at + word.len()))
    })
}

/// From the first `{` at or after `from` to past its `}`; none where a `;` ends the item before.
pub(crate) fn block(code: &str, from: usize) -> Option<Range<usize>> {
    let bytes = code.as_bytes();
    let mut brackets = 0_usize;
    let open = (from..bytes.len()).find(|&at| {
        match bytes[at] {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        matches!(bytes[at], b'{' | b';') && brackets == 0
    })?;
    if bytes[open] == b';' {
        return None;
    }
    let mut depth = 0_usize;
    let close = (open..bytes.len()).find(|&at| {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    Some(open..close + 1)
}

/// The items under `#[cfg(test)]`.
fn tests(code: &str) -> Vec<Range<usize>> {
    let marks = code.match_indices("#[cfg(test)]").map(|(at, mark)| (at, at + mark.len()));
    marks
        .map(|(at, item)| {
            let statement = || code[item..].find(';').map_or(code.len(), |end| item + end + 1);
            at..block(code, item).map_or_else(statement, |block| block.end)
        })
        .collect()
}

/// Spaces, a byte for a byte; line ends stay.
fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// Blanks out comments and literals; tells where the strings among them were.
fn blank_out(text: &str) -> (String, Vec<Range<usize>>) {
    let mut code = String::with_capacity(text.len());
    let mut literals = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal_or_comment(rest, code.as_bytes().last().copied());
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (gone, after) = rest.split_at(length);
            if !gone.starts_with(['/', '\'']) {
                literals.push(code.len()..code.len() + length);
            }
            code.push_str(&blank(gone));
            rest = after;
        }
    }
    (code, literals)
}

/// How many bytes of comment or literal the text begins with; 0 when it begins with code.
fn literal_or_comment(text: &str, before: Option<u8>) -> usize {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if text.starts_with("//") {
        text.find('\n').unwrap_or(text.len())
    } else if text.starts_with("/*") {
        block_comment(text)
    } else if let Some(inside) = text.strip_prefix('"') {
        1 + quoted(inside, '"')
    } else if !in_word && let Some(length) = raw_string(text) {
        length
    } else if !in_word && text.starts_with('\'') {
        character(text)
    } else {
        0
    }
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match &text.as_bytes()[at..(at + 2).min(text.len())] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length up to and with the closing mark; a backslash takes the next byte along.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == mark => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `r"…"`, `r#"…"#`, with `b` or `c` ahead or not; none for a raw identifier or a mere word.
fn raw_string(text: &str) -> Option<usize> {
    let head = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let body = head.trim_start_matches('#');
    let hashes = head.len() - body.len();
    let inside = body.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&close).map_or(inside.len(), |at| at + close.len());
    Some(text.len() - inside.len() + end)
}

/// The length of a character literal; 0 for a lifetime or a label.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    let Some((_, first)) = chars.next() else { return 0 };
    match chars.next() {
        _ if first == '\\' => 1 + quoted(&text[1..], '\''),
        Some((at, '\'')) => at + 1,
        _ => 0,
    }
}
