//! Sizes as a person writes them: `64KiB`, `100MB`, `2GiB`.

/// The units: the binary ones by 1024, the decimal ones by 1000.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SizeError {
    /// A number stands without its unit.
    #[error("{0:?} has no unit")]
    NoUnit(String),
    /// It has another form than a whole number and a unit.
    #[error("{0:?} is no size")]
    Malformed(String),
    /// Its bytes are past counting.
    #[error("{0:?} is too large")]
    TooLarge(String),
}

/// Reads a size into bytes: a whole number with one unit behind it.
pub(super) fn parse(text: &str) -> Result<u64, SizeError> {
    let shown = || text.chars().take(40).collect::<String>();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    match UNITS.iter().find(|(name, _)| *name == unit) {
        _ if number.is_empty() => Err(SizeError::Malformed(shown())),
        None if unit.is_empty() => Err(SizeError::NoUnit(shown())),
        None => Err(SizeError::Malformed(shown())),
        Some((_, bytes)) => {
            let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*bytes));
            size.ok_or_else(|| SizeError::TooLarge(shown()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SizeError, parse};

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("0B", 0),
            ("64KiB", 65_536),
            ("100MB", 100_000_000),
            ("2GiB", 2_147_483_648),
            ("1TB", 1_000_000_000_000),
            ("16777215TiB", 18_446_742_974_197_923_840),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_with_the_reason() {
        assert_eq!(parse("100"), Err(SizeError::NoUnit("100".into())));
        for text in ["", "MB", "-1MB", "1.5GB", "1 MB", "1M", "1kb", "1mb", "٣MB", "1MBMB"] {
            assert!(matches!(parse(text), Err(SizeError::Malformed(_))), "{text}");
        }
        for text in ["16777216TiB", "99999999999999999999B"] {
            assert!(matches!(parse(text), Err(SizeError::TooLarge(_))), "{text}");
        }
    }
}
