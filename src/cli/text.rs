//! Times, durations and other people's words, for people.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(crate) use crate::engine::words::size;

/// An instant on the zone's clock: `2026-11-01 10:00:00`.
pub(crate) fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%F %T").to_string()
}

/// An instant in RFC 3339 with the zone's offset: `2026-11-01T10:00:00+09:00`.
pub(crate) fn rfc3339(at: Timestamp, zone: &TimeZone) -> String {
    at.display_with_offset(zone.to_offset(at)).to_string()
}

/// How long something took, as exactly as it matters: `12ms`, `31.2s`, `31m 12s`, `3h 2m`, `2d 4h`.
pub(crate) fn took(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds}ms"),
        1..60 => format!("{seconds}.{}s", milliseconds % 1000 / 100),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// The time from one instant to a later one, as [`took`]; zero if they are the other way round.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> String {
    let duration = Duration::try_from(to.duration_since(from)).unwrap_or_default();
    took(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A limit, exactly and as jobs.toml has it: `30m`, `1h30m`, `1d`.
pub(crate) fn limit(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let mut rest = milliseconds;
    let mut text = String::new();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if rest >= length {
            let _ = write!(text, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    text
}

/// A size, exactly and as jobs.toml has it: `100MB`, `64KiB`.
pub(crate) fn exact_size(bytes: u64) -> String {
    let decimal = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)];
    let binary = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let whole = |&(_, unit): &(&str, u64)| bytes > 0 && bytes.is_multiple_of(unit);
    let (name, unit) =
        decimal.into_iter().chain(binary).filter(whole).max_by_key(|(_, unit)| *unit).unwrap_or(("B", 1));
    format!("{}{name}", bytes / unit)
}

/// Other people's words on one line, without power over the terminal: control characters and those that turn the
/// reading direction are shown by their numbers.
pub(crate) fn inert(text: &str) -> Cow<'_, str> {
    if text.chars().any(steers) { Cow::Owned(escaped(text)) } else { Cow::Borrowed(text) }
}

/// As [`inert`], for bytes that may be no text at all; tabs stay.
pub(crate) fn inert_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for (at, word) in chunk.valid().split('\t').enumerate() {
            if at > 0 {
                out.push('\t');
            }
            out.push_str(&inert(word));
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// A word as a POSIX shell would need it written.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", inert(word).replace('\'', r"'\''"))
    }
}

fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if steers(c) => {
                let _ = write!(out, "{}", c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_on_the_zones_clock() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let at: Timestamp = "2026-11-01T01:00:00.9Z".parse().unwrap();
        assert_eq!(local(at, &seoul), "2026-11-01 10:00:00");
        let at: Timestamp = "2026-11-01T01:00:00Z".parse().unwrap();
        assert_eq!(rfc3339(at, &seoul), "2026-11-01T10:00:00+09:00");
        assert_eq!(rfc3339(at, &TimeZone::UTC), "2026-11-01T01:00:00+00:00");
    }

    #[test]
    fn durations_are_as_exact_as_it_matters() {
        let cases = [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1.0s"),
            (31_249, "31.2s"),
            (59_999, "59.9s"),
            (60_000, "1m 0s"),
            (1_872_000, "31m 12s"),
            (10_920_000, "3h 2m"),
            (187_200_000, "2d 4h"),
        ];
        for (milliseconds, text) in cases {
            assert_eq!(took(milliseconds), text);
        }
        let at: Timestamp = "2026-11-01T01:00:00Z".parse().unwrap();
        assert_eq!(between(at, "2026-11-01T01:31:12Z".parse().unwrap()), "31m 12s");
        assert_eq!(between("2026-11-01T01:31:12Z".parse().unwrap(), at), "0ms");
    }

    #[test]
    fn limits_are_exact() {
        for (milliseconds, text) in
            [(0, "0s"), (500, "500ms"), (90_000, "1m30s"), (5_400_000, "1h30m"), (86_400_000, "1d")]
        {
            assert_eq!(limit(milliseconds), text);
        }
    }

    #[test]
    fn exact_sizes_are_as_jobs_toml_has_them() {
        for (bytes, text) in [
            (0, "0B"),
            (1, "1B"),
            (1500, "1500B"),
            (65_536, "64KiB"),
            (100_000_000, "100MB"),
            (2 << 30, "2GiB"),
            (1_024_000, "1000KiB"),
        ] {
            assert_eq!(exact_size(bytes), text);
        }
    }

    #[test]
    fn words_of_others_have_no_power() {
        assert_eq!(inert("213건 청구서 발행 완료"), "213건 청구서 발행 완료");
        assert_eq!(inert("a\x1b[31mb\nc\u{202e}"), r"a\u{1b}[31mb\nc\u{202e}");
        assert_eq!(inert_bytes(b"a\tb\xff\x07"), "a\tb\\xff\\u{7}");
        assert_eq!(shell_word("a.py"), "a.py");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
