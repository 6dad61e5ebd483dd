//! The two clocks as the engine sees them: arguments, never readings.
//!
//! Schedules live on the wall clock, which people and NTP may set; time limits live on the monotonic clock, which
//! nobody can. They are two types so that one cannot be used for the other.

use std::time::Duration;

pub use jiff::Timestamp;

/// An instant on the monotonic clock (`CLOCK_MONOTONIC`): the time since the host booted, suspend not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// The instant that lies `since_boot` after the clock's zero.
    #[must_use]
    pub const fn new(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// How long the clock has run.
    #[must_use]
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// This instant moved forward; stays at the clock's end instead of overflowing.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// The time from `earlier` to this instant; zero if `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock (`CLOCK_REALTIME`), in UTC.
    pub wall: Timestamp,
    /// The monotonic clock.
    pub monotonic: Monotonic,
    /// How long the host has slept since it booted: the monotonic clock stands still then, and this alone tells a
    /// sleep from a wall clock that was set.
    pub slept: Duration,
}

/// A duration as `jobs.toml` would have it: `30m`, `1h30m`, `90s` as `1m30s`, `1.5s`.
#[must_use]
pub fn describe_duration(duration: Duration) -> String {
    let whole = duration.as_secs();
    if duration.subsec_millis() != 0 && whole < 60 {
        return format!("{}s", f64::from(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)) / 1_000.0);
    }
    let parts = [(whole / 86_400, 'd'), (whole / 3_600 % 24, 'h'), (whole / 60 % 60, 'm'), (whole % 60, 's')];
    let shown: Vec<String> =
        parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_written() {
        let cases = [
            (0, "0s"),
            (1_500, "1.5s"),
            (30_000, "30s"),
            (90_000, "1m30s"),
            (5_400_000, "1h30m"),
            (86_400_000, "1d"),
        ];
        for (millis, text) in cases {
            assert_eq!(describe_duration(Duration::from_millis(millis)), text);
        }
    }
}
