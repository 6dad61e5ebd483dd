//! A stretch of time as a person names it: `--from` and `--to`.

use clap::Args;
use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::error::CliError;
use super::{instant, text};
use crate::engine::time::Timestamp;

/// The two options.
#[derive(Debug, Args)]
pub(crate) struct StretchArgs {
    /// From this instant on: 2026-11-01, '2026-11-01 10:00' or RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// Up to this instant and without it, or for how long: 12h, 7d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) to: Option<String>,
}

/// The instants from one to another, the first one included, the last one not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl StretchArgs {
    /// The stretch they name; without `--to` it is `length` long.
    pub(crate) fn read(
        &self,
        zone: &TimeZone,
        now: Timestamp,
        length: SignedDuration,
    ) -> Result<Stretch, CliError> {
        let from = match &self.from {
            Some(text) => instant::absolute(text, zone)
                .map_err(|source| CliError::Instant { option: "--from", source })?,
            None => now,
        };
        let to = match &self.to {
            Some(text) => instant::or_later(text, zone, from)
                .map_err(|source| CliError::Instant { option: "--to", source })?,
            None => from.saturating_add(length).unwrap_or(Timestamp::MAX),
        };
        if to <= from {
            let shown = |at| text::rfc3339(at, zone);
            return Err(CliError::Backwards { from: shown(from), to: shown(to) });
        }
        Ok(Stretch { from, to })
    }
}

impl Stretch {
    /// In words, on the zone's clock.
    pub(crate) fn describe(&self, zone: &TimeZone) -> String {
        let name = zone.iana_name().unwrap_or("local time");
        format!("from {} to {} ({name})", text::local(self.from, zone), text::local(self.to, zone))
    }

    /// The last instant before it: what comes after that is in it.
    pub(crate) fn before(&self) -> Timestamp {
        self.from.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(from: Option<&str>, to: Option<&str>) -> Result<Stretch, CliError> {
        let args = StretchArgs { from: from.map(str::to_owned), to: to.map(str::to_owned) };
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        args.read(&seoul, "2026-11-01T01:00:00Z".parse().unwrap(), SignedDuration::from_hours(24))
    }

    #[test]
    fn a_stretch_is_named_by_instants_or_by_its_length() {
        let stretch = |from: &str, to: &str| Stretch { from: from.parse().unwrap(), to: to.parse().unwrap() };
        let day = stretch("2026-11-01T01:00:00Z", "2026-11-02T01:00:00Z");
        assert_eq!(read(None, None).unwrap(), day);
        assert_eq!(read(None, Some("1d")).unwrap(), day);
        assert_eq!(read(Some("2026-11-01 10:00"), Some("2026-11-02 10:00")).unwrap(), day);
    }

    #[test]
    fn a_stretch_that_is_none_is_refused_with_what_to_do() {
        for (from, to) in [(None, Some("2026-10-01")), (Some("2026-11-02"), Some("0s"))] {
            let error = read(from, to).unwrap_err();
            assert_eq!(error.code(), 2);
            assert!(error.help().unwrap().contains("--to 7d"), "{error}");
        }
        assert!(matches!(read(Some("soon"), None), Err(CliError::Instant { option: "--from", .. })));
        assert!(matches!(read(None, Some("soon")), Err(CliError::Instant { option: "--to", .. })));
    }
}
