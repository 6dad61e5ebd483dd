//! When a job fires: cron expressions as Debian's cron reads them.
//!
//! **Invariant:** for any zone and instant, `next` and `previous` walk the same sequence of fires in the two
//! directions, and both do a bounded amount of work, whatever the expression.
//!
//! The parts, in reading order: `parse` (a text becomes a rule, or an error with its place), `field` (the grammar of
//! one field), `hashed` (what `H` stands for), `days` and `times` (which days, which seconds of a day: bit sets),
//! `evaluate` (civil time becomes instants, through the zone's changes of offset), `mismatch` (why an instant is none).
//! What the syntax means is told in `docs/schedule.md`.

mod days;
mod evaluate;
mod field;
mod hashed;
mod mismatch;
mod parse;
mod times;

use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::job::JobName;
use evaluate::Calendar;
pub use mismatch::Mismatch;

/// One parsed schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    /// The text with a number for each `H`, if it has any.
    resolved: Option<String>,
    rule: Rule,
}

/// What a schedule's text says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// `@reboot`.
    Reboot,
    /// `@every`: a whole number of seconds, at least 1, counted from the Unix epoch.
    Every(i64),
    /// Five or six fields, or a nickname for them.
    Calendar(Calendar),
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScheduleError {
    /// Which bytes of the text are wrong; its ends lie on borders of characters.
    pub span: Range<usize>,
    /// What is wrong, naming the field and the offending text.
    pub message: String,
    /// What would be right, where that can be said.
    pub help: Option<String>,
}

/// What a change of the clock has to do with a fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockChange {
    /// The clock leaves out the time that the schedule names: it fires at the first whole minute after that.
    Gap {
        /// The first time that is left out and named.
        named: DateTime,
    },
    /// The clock shows the time twice, and the schedule counts only the first.
    FirstPass,
    /// The clock shows the time twice, and the schedule counts both.
    BothPasses {
        /// Whether this is the second.
        second: bool,
    },
}

impl Schedule {
    /// Reads an expression: 5 fields, 6 with seconds ahead, a nickname, `@every 90s` or `@reboot`.
    ///
    /// # Errors
    /// When it is none of these, never fires, or has an `H`, which only a job's name gives a number.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        Self::read(text, None)
    }

    /// Reads an expression of the job of this name, in which `H` may stand.
    ///
    /// # Errors
    /// When it is no schedule, or never fires.
    pub fn parse_for(name: &JobName, text: &str) -> Result<Self, ScheduleError> {
        Self::read(text, Some(name.as_str()))
    }

    fn read(text: &str, name: Option<&str>) -> Result<Self, ScheduleError> {
        let (rule, resolved) = parse::rule(text, name)?;
        Ok(Self { text: text.to_owned(), resolved, rule })
    }

    /// The text it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text with a number for each `H` of it: what it fires by.
    #[must_use]
    pub fn resolved(&self) -> &str {
        self.resolved.as_deref().unwrap_or(&self.text)
    }

    /// Whether it fires at boot and at no instant of the clock.
    #[must_use]
    pub fn is_reboot(&self) -> bool {
        self.rule == Rule::Reboot
    }

    /// Whether it fires at intervals, whatever the time of day.
    #[must_use]
    pub fn is_every(&self) -> bool {
        matches!(self.rule, Rule::Every(_))
    }

    /// The first fire strictly after the instant; `None` when there is none before the calendar's end.
    ///
    /// Fires lie on whole seconds. The search covers 700 years: no schedule that fires at all is silent for longer.
    #[must_use]
    pub fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let from = second_of(after).checked_add(1)?;
        match &self.rule {
            Rule::Reboot => None,
            // The first multiple that is not before `from`.
            Rule::Every(seconds) => instant(from.checked_add(seconds - 1)?.div_euclid(*seconds) * seconds),
            Rule::Calendar(calendar) => calendar.first_at_or_after(zone, instant(from)?),
        }
    }

    /// What a change of the clock has to do with a fire at this instant.
    #[must_use]
    pub fn clock_change(&self, zone: &TimeZone, at: Timestamp) -> Option<ClockChange> {
        match &self.rule {
            Rule::Reboot | Rule::Every(_) => None,
            Rule::Calendar(calendar) => calendar.clock_change(zone, at),
        }
    }

    /// The last fire strictly before the instant; `None` when there is none, or none in 700 years.
    #[must_use]
    pub fn previous(&self, zone: &TimeZone, before: Timestamp) -> Option<Timestamp> {
        let second = second_of(before);
        let upto = if before.subsec_nanosecond() == 0 { second.checked_sub(1)? } else { second };
        match &self.rule {
            Rule::Reboot => None,
            Rule::Every(seconds) => instant(upto.div_euclid(*seconds) * seconds),
            Rule::Calendar(calendar) => calendar.last_at_or_before(zone, instant(upto)?),
        }
    }
}

/// The whole second the instant lies in, rounded towards the past also before 1970.
fn second_of(instant: Timestamp) -> i64 {
    instant.as_second() - i64::from(instant.subsec_nanosecond() < 0)
}

/// The instant a whole second begins at, if the calendar has it.
fn instant(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn every_is_aligned_to_the_epoch_on_both_sides_of_it() {
        let every = Schedule::parse("@every 90s").unwrap();
        let utc = TimeZone::UTC;
        assert_eq!(every.next(&utc, at("1970-01-01T00:00:00Z")), Some(at("1970-01-01T00:01:30Z")));
        assert_eq!(every.next(&utc, at("1970-01-01T00:01:29.9Z")), Some(at("1970-01-01T00:01:30Z")));
        assert_eq!(every.next(&utc, at("1969-12-31T23:59:59.5Z")), Some(at("1970-01-01T00:00:00Z")));
        assert_eq!(every.previous(&utc, at("1970-01-01T00:00:00Z")), Some(at("1969-12-31T23:58:30Z")));
        assert_eq!(every.previous(&utc, at("1970-01-01T00:00:00.1Z")), Some(at("1970-01-01T00:00:00Z")));
    }

    #[test]
    fn an_instant_between_two_seconds_is_neither_of_them() {
        let schedule = Schedule::parse("* * * * * *").unwrap();
        let utc = TimeZone::UTC;
        let (earlier, later) = (at("1969-12-31T23:59:58Z"), at("1969-12-31T23:59:59Z"));
        assert_eq!(schedule.next(&utc, at("1969-12-31T23:59:58.25Z")), Some(later));
        assert_eq!(schedule.previous(&utc, at("1969-12-31T23:59:58.25Z")), Some(earlier));
        assert_eq!(schedule.next(&utc, earlier), Some(later));
        assert_eq!(schedule.previous(&utc, later), Some(earlier));
    }

    #[test]
    fn a_reboot_schedule_has_no_instants() {
        let schedule = Schedule::parse("@reboot").unwrap();
        assert!(schedule.is_reboot());
        assert_eq!(schedule.next(&TimeZone::UTC, Timestamp::UNIX_EPOCH), None);
        assert_eq!(schedule.previous(&TimeZone::UTC, Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn the_ends_of_the_calendar_are_reached_without_a_fall() {
        let newyork = TimeZone::get("America/New_York").unwrap();
        for text in ["* * * * * *", "30 2 * * *", "0 0 29 2 */7", "@every 1s", "@yearly"] {
            let schedule = Schedule::parse(text).unwrap();
            assert_eq!(schedule.next(&newyork, Timestamp::MAX), None, "{text}");
            assert_eq!(schedule.previous(&newyork, Timestamp::MIN), None, "{text}");
            assert!(schedule.next(&newyork, Timestamp::MIN).is_some(), "{text}");
            assert!(schedule.previous(&newyork, Timestamp::MAX).is_some(), "{text}");
        }
    }
}
