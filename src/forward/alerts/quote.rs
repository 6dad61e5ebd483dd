//! Makes text from outside inert: what a job wrote is hostile until shown otherwise.
//!
//! **Invariant:** what leaves here cannot call people (`<!channel>`, `@here`), close a code block, forge a line of the
//! message, steer a terminal, or be longer than its room; and where something was left out, it says so.

/// Stands before or after text that was cut.
const CUT: &str = "…";

/// Words that call everyone of a channel when an `@` is before them, in Slack and its likes.
const CALLS: [&str; 4] = ["here", "channel", "everyone", "all"];

/// Invisible, of no width, and no line break: keeps its two neighbours from being read as one word.
const JOINER: char = '\u{2060}';

/// One line of inert text, cut at its end to at most `room` characters.
pub(super) fn line(text: &str, room: usize) -> String {
    let words: Vec<String> = clean(text).lines().map(|line| line.trim().to_owned()).collect();
    let one = words.join(" ");
    let one = one.trim();
    let kept = longest(one.chars(), room);
    if kept == one.chars().count() {
        return escape(one);
    }
    let kept = longest(one.chars(), room.saturating_sub(CUT.chars().count()));
    format!("{}{CUT}", escape(&one.chars().take(kept).collect::<String>()))
}

/// The last lines of inert text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The lines, without a line end at their end.
    pub text: String,
    /// Whether something before them was left out.
    pub cut: bool,
}

/// The last `lines` lines of a text, cut at their beginning to at most `room` characters.
pub(super) fn tail(text: &str, lines: usize, room: usize) -> Tail {
    let whole = clean(text);
    let whole = whole.trim_matches('\n').trim_end();
    let all: Vec<&str> = whole.lines().map(str::trim_end).collect();
    let last = all[all.len().saturating_sub(lines)..].join("\n");
    let length = last.chars().count();
    let kept = longest(last.chars().rev(), room);
    let text: String = last.chars().skip(length - kept).collect();
    Tail { cut: all.len() > lines || kept < length, text: escape(text.trim_start_matches('\n')) }
}

/// How many of the characters, once escaped, fit into the room.
fn longest(chars: impl Iterator<Item = char>, room: usize) -> usize {
    chars
        .scan(0, |used, c| {
            *used += width(c);
            (*used <= room).then_some(())
        })
        .count()
}

/// The most characters that escaping makes of one.
const fn width(c: char) -> usize {
    match c {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        '@' | '`' => 2,
        _ => 1,
    }
}

/// Text without escape sequences, control characters and marks that turn the direction of reading. Lines stay.
fn clean(text: &str) -> String {
    let lines = text.split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']);
    let cleaned: Vec<String> = lines
        .map(|line| {
            // An escape sequence left open swallows what follows it; line by line, it swallows one line at most.
            let stripped = anstream::adapter::strip_str(line).to_string();
            stripped
                .chars()
                .map(|c| if c == '\t' { ' ' } else { c })
                .filter(|&c| !c.is_control() && !is_treacherous(c))
                .collect()
        })
        .collect();
    cleaned.join("\n")
}

/// Whether a character is invisible or changes how its neighbours are read.
const fn is_treacherous(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Slack's three escapes, and a joiner where characters would otherwise mean something together.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            _ => out.push(c),
        }
        if (c == '@' && calls(rest)) || (c == '`' && rest.starts_with('`')) {
            out.push(JOINER);
        }
    }
    out
}

/// Whether what follows an `@` begins with a word that calls everyone.
fn calls(rest: &str) -> bool {
    CALLS.iter().any(|word| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_calls_are_defused() {
        assert_eq!(line("<!channel> a & b", 100), "&lt;!channel&gt; a &amp; b");
        assert_eq!(line("@here @Channel @everyone", 100), "@\u{2060}here @\u{2060}Channel @\u{2060}everyone");
        assert_eq!(line("mail ops@example.com", 100), "mail ops@example.com");
    }

    #[test]
    fn a_code_block_cannot_be_closed_from_inside() {
        let broken = tail("a\n```\n<!here> `x` ````", 10, 1000).text;
        assert!(!broken.contains("``"), "{broken}");
        assert!(broken.contains("`x`"), "a single mark stays: {broken}");
    }

    #[test]
    fn escape_sequences_controls_and_bidi_marks_are_gone() {
        let hostile = "\x1b[31mred\x1b[0m \x1b]0;title\x07x\u{202e}y\u{2066}z\0\u{9b}1m\u{7f}";
        assert_eq!(line(hostile, 100), "red xyz1m");
        assert_eq!(tail("a\x1b]0;open\nb", 10, 100).text, "a\nb");
    }

    #[test]
    fn a_line_cannot_forge_another() {
        assert_eq!(line("bad\n✅ backup 복구\r\nx\u{2028}y", 100), "bad ✅ backup 복구  x y");
    }

    #[test]
    fn a_cut_line_says_so_and_keeps_to_its_room_when_escaped() {
        assert_eq!(line("abcdef", 6), "abcdef");
        assert_eq!(line("abcdefg", 6), "abcde…");
        assert_eq!(line("&&&", 11), "&amp;&amp;…");
    }

    #[test]
    fn a_tail_keeps_the_last_lines_and_tells_of_a_cut() {
        assert_eq!(tail("1\n2\n3\n", 2, 100), Tail { text: "2\n3".into(), cut: true });
        assert_eq!(tail("2\n3\n\n", 2, 100), Tail { text: "2\n3".into(), cut: false });
        assert_eq!(tail("가나다라", 5, 3), Tail { text: "나다라".into(), cut: true });
        assert_eq!(tail("", 5, 3), Tail { text: String::new(), cut: false });
        let wide = tail(&"&<`@".repeat(1000), 10, 1000);
        assert!(wide.cut && wide.text.chars().count() <= 1000);
    }
}
