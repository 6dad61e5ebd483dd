//! Durations as a person writes them: `90s`, `10m`, `1h30m`, `1d`, `500ms`.

use std::time::Duration;

/// The longest duration a configuration may hold.
pub(super) const DURATION_MAX: Duration = Duration::from_hours(365 * 24);

/// The units, from the longest to the shortest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DurationError {
    /// Nothing is there.
    #[error("a duration is empty")]
    Empty,
    /// A number stands where its unit should follow.
    #[error("{0:?} has no unit")]
    NoUnit(String),
    /// A unit, sign, space or fraction that durations do not have.
    #[error("{0:?} is no duration")]
    Malformed(String),
    /// A unit stands twice, or a longer one after a shorter.
    #[error("{0:?} names its units out of order")]
    Order(String),
    /// It is longer than 365 days.
    #[error("{0:?} is longer than 365d")]
    TooLong(String),
}

/// Reads a duration: numbers with the units `d h m s ms`, from the longest to the shortest, each at most once.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let shown = || text.chars().take(40).collect::<String>();
    let (mut rest, mut total, mut units) = (text, 0_u64, UNITS.as_slice());
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        if digits == 0 {
            return Err(DurationError::Malformed(shown()));
        }
        if letters == 0 {
            let end = rest.len() == digits;
            return Err(if end { DurationError::NoUnit(shown()) } else { DurationError::Malformed(shown()) });
        }
        let Some(at) = units.iter().position(|&(name, _)| name == unit) else {
            let known = UNITS.iter().any(|&(name, _)| name == unit);
            return Err(if known {
                DurationError::Order(shown())
            } else {
                DurationError::Malformed(shown())
            });
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(units[at].1));
        total = part.and_then(|part| total.checked_add(part)).unwrap_or(u64::MAX);
        units = &units[at + 1..];
        rest = &rest[digits + letters..];
    }
    let duration = Duration::from_millis(total);
    if duration > DURATION_MAX { Err(DurationError::TooLong(shown())) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::{DurationError, parse};
    use std::time::Duration;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("500ms", 500),
            ("1d2h3m4s5ms", 93_784_005),
            ("0s", 0),
            ("365d", 31_536_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_with_the_reason() {
        let error = |text: &str| parse(text).expect_err(text);
        assert_eq!(error(""), DurationError::Empty);
        assert_eq!(error("30"), DurationError::NoUnit("30".into()));
        for text in ["m", "-1m", "1.5h", "1 h", "5x", "5M", "1h 30m", "٣s", "1h30", " 1h"] {
            let error = error(text);
            assert!(
                matches!(error, DurationError::Malformed(_) | DurationError::NoUnit(_)),
                "{text}: {error}"
            );
        }
        for text in ["30m1h", "1m1m", "1ms1s"] {
            assert!(matches!(error(text), DurationError::Order(_)), "{text}");
        }
        for text in ["366d", "365d1ms", "99999999999999999999s", "18446744073709551615d1s"] {
            assert!(matches!(error(text), DurationError::TooLong(_)), "{text}");
        }
    }
}
