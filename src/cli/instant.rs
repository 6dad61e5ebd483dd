//! Instants as a person types them.

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The text names no instant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InstantError {
    /// It is none of the forms.
    #[error("'{0}' is no time: write 2026-11-01T10:00:00+09:00, '2026-11-01 10:00' or 2026-11-01")]
    Unreadable(String),
    /// It is none of the forms, a time ago included.
    #[error("'{0}' is no time: write 2026-11-01, '2026-11-01 10:00', RFC 3339, or how long ago: 2h, 7d")]
    UnreadableAgo(String),
    /// It is none of the forms, a length of time included.
    #[error("'{0}' is no time: write 2026-11-01, '2026-11-01 10:00', RFC 3339, or for how long: 12h, 7d")]
    UnreadableLength(String),
    /// The clock was never at it, or twice.
    #[error(
        "'{0}' did not happen, or happened twice, in {1}: write it with its offset, as in 2026-11-01T10:00:00+09:00"
    )]
    Ambiguous(String, String),
}

/// The instant a text names: RFC 3339, or a local date and time, or a date for its beginning.
pub(crate) fn absolute(text: &str, zone: &TimeZone) -> Result<Timestamp, InstantError> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let ambiguous =
        || InstantError::Ambiguous(text.to_owned(), zone.iana_name().unwrap_or("this zone").to_owned());
    if let Ok(date) = text.parse::<civil::Date>()
        && text.len() == "2026-11-01".len()
    {
        // A day begins at its first instant, also where midnight is skipped.
        return date.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).map_err(|_| ambiguous());
    }
    match text.parse::<civil::DateTime>() {
        Ok(local) => {
            zone.to_ambiguous_zoned(local).unambiguous().map(|z| z.timestamp()).map_err(|_| ambiguous())
        }
        Err(_) => Err(InstantError::Unreadable(text.to_owned())),
    }
}

/// As [`absolute`], or so long before `now`: `2h`, `7d`, `1h30m`.
pub(crate) fn or_ago(text: &str, zone: &TimeZone, now: Timestamp) -> Result<Timestamp, InstantError> {
    let unreadable = || InstantError::UnreadableAgo(text.to_owned());
    match span(text) {
        Some(ago) => now.checked_sub(ago).map_err(|_| unreadable()),
        None => absolute(text, zone).map_err(|error| match error {
            InstantError::Unreadable(_) => unreadable(),
            other => other,
        }),
    }
}

/// As [`absolute`], or so long after `from`: `12h`, `7d`.
pub(crate) fn or_later(text: &str, zone: &TimeZone, from: Timestamp) -> Result<Timestamp, InstantError> {
    let unreadable = || InstantError::UnreadableLength(text.to_owned());
    match span(text) {
        Some(span) => from.checked_add(span).map_err(|_| unreadable()),
        None => absolute(text, zone).map_err(|error| match error {
            InstantError::Unreadable(_) => unreadable(),
            other => other,
        }),
    }
}

/// The day that a text names, if it names one: from its first instant to the next day's.
pub(crate) fn day(text: &str, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let date = text.parse::<civil::Date>().ok().filter(|_| text.len() == "2026-11-01".len())?;
    let begins = |date: civil::Date| date.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).ok();
    Some((begins(date)?, begins(date.tomorrow().ok()?)?))
}

/// Whole numbers with the units `d h m s`, each a duration of its own: `2h`, `1d12h`.
pub(crate) fn span(text: &str) -> Option<SignedDuration> {
    let mut seconds: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..unit_at].parse().ok()?;
        let unit = match rest.as_bytes()[unit_at] {
            b'd' => 86_400,
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[unit_at + 1..];
    }
    (!text.is_empty()).then(|| SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn instants_are_read_in_the_zone() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let now = utc("2026-11-01T12:00:00Z");
        let read = |text| or_ago(text, &seoul, now).unwrap();
        assert_eq!(read("2026-11-01T10:00:00+09:00"), utc("2026-11-01T01:00:00Z"));
        assert_eq!(read("2026-11-01T10:00:00Z"), utc("2026-11-01T10:00:00Z"));
        assert_eq!(read("2026-11-01 10:00"), utc("2026-11-01T01:00:00Z"));
        assert_eq!(read("2026-11-01"), utc("2026-10-31T15:00:00Z"));
        assert_eq!(read("2h"), utc("2026-11-01T10:00:00Z"));
        assert_eq!(read("1d1h30m"), utc("2026-10-31T10:30:00Z"));
        assert_eq!(or_later("7d", &seoul, now), Ok(utc("2026-11-08T12:00:00Z")));
        assert_eq!(or_later("2026-11-02", &seoul, now), Ok(utc("2026-11-01T15:00:00Z")));
    }

    #[test]
    fn a_day_lasts_as_long_as_its_zone_says() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let (from, until) = day("2026-11-01", &zone).unwrap();
        assert_eq!((from, until), (utc("2026-11-01T04:00:00Z"), utc("2026-11-02T05:00:00Z")));
        for text in ["2026-11-01 10:00", "2026-11-01T10:00:00Z", "2h", "", "2026-02-30"] {
            assert_eq!(day(text, &zone), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        let new_york = TimeZone::get("America/New_York").unwrap();
        for text in ["", "soon", "5", "2026-13-01", "99999999999999999999d", "9999999999d"] {
            let error = or_ago(text, &new_york, Timestamp::UNIX_EPOCH).unwrap_err();
            assert_eq!(error, InstantError::UnreadableAgo(text.to_owned()));
            let error = or_later(text, &new_york, Timestamp::UNIX_EPOCH).unwrap_err();
            assert_eq!(error, InstantError::UnreadableLength(text.to_owned()));
        }
        for text in ["2026-03-08 02:30", "2026-11-01 01:30"] {
            let error = absolute(text, &new_york).unwrap_err();
            assert_eq!(error, InstantError::Ambiguous(text.to_owned(), "America/New_York".to_owned()));
        }
    }
}
