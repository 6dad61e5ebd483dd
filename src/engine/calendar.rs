//! Days on which a job does not run, or runs on another day: holidays, blackouts, the first and the last day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use super::time::Timestamp;

/// A named set of dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// The key under `[calendars]`.
    pub name: String,
    /// The holidays, each with its name where it has one.
    pub holidays: BTreeMap<Date, Option<String>>,
    /// A fingerprint of the dates: when it changes, so do the fires of jobs that use them.
    pub hash: String,
}

/// What a fire on a holiday does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnHoliday {
    /// It is SKIPPED.
    #[default]
    Skip,
    /// It moves to the same time of the next business day.
    Next,
    /// It moves to the same time of the business day before.
    Previous,
}

/// The calendar of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarRule {
    /// The holidays.
    pub calendar: Arc<Calendar>,
    /// What a fire on a day off does.
    pub on_holiday: OnHoliday,
    /// Whether Saturdays and Sundays are no business days either.
    pub weekends: bool,
}

/// How many days off in a row a fire moves across; on a day that lies deeper in them it is SKIPPED.
const DAYS_OFF_MAX: usize = 366;

impl CalendarRule {
    /// Whether a day is no business day.
    #[must_use]
    pub fn is_off(&self, day: Date) -> bool {
        self.calendar.holidays.contains_key(&day) || (self.weekends && is_weekend(day))
    }

    /// The name of a day off, where it has one.
    #[must_use]
    pub fn name_of(&self, day: Date) -> Option<String> {
        let weekend = || (self.weekends && is_weekend(day)).then(|| format!("{:?}", day.weekday()));
        self.calendar.holidays.get(&day).cloned().flatten().or_else(weekend)
    }

    /// Whether fires of days off move.
    pub(super) fn moves(&self) -> bool {
        self.on_holiday != OnHoliday::Skip
    }

    /// The day on which a fire of this day is.
    pub(super) fn home(&self, day: Date) -> Date {
        if !self.is_off(day) {
            return day;
        }
        match self.on_holiday {
            OnHoliday::Skip => day,
            OnHoliday::Next => self.first_business_day(day, |day| day.tomorrow().ok()),
            OnHoliday::Previous => self.first_business_day(day, |day| day.yesterday().ok()),
        }
    }

    fn first_business_day(&self, day: Date, step: impl Fn(&Date) -> Option<Date>) -> Date {
        let days = std::iter::successors(Some(day), step).take(DAYS_OFF_MAX + 1);
        days.into_iter().find(|day| !self.is_off(*day)).unwrap_or(day)
    }

    /// The days off in a row from whose side fires move onto this day, the nearest first.
    pub(super) fn days_off_beside(&self, day: Date) -> impl Iterator<Item = Date> {
        let back = self.on_holiday == OnHoliday::Next;
        let step = move |day: &Date| if back { day.yesterday().ok() } else { day.tomorrow().ok() };
        std::iter::successors(step(&day), step).take(DAYS_OFF_MAX).take_while(|day| self.is_off(*day))
    }
}

fn is_weekend(day: Date) -> bool {
    matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// A stretch of time in which a job is not started: it begins at each instant of a schedule.
#[derive(Debug, Clone)]
pub struct Blackout {
    /// When it begins, in the job's zone.
    pub schedule: Schedule,
    /// How long it lasts.
    pub duration: Duration,
}

impl Blackout {
    /// When it began and when it is over, if it is in force at an instant.
    #[must_use]
    pub fn around(&self, zone: &TimeZone, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let next = at.checked_add(SignedDuration::from_nanos(1)).ok()?;
        let since = self.schedule.previous(zone, next)?;
        let until = since.saturating_add(self.duration).unwrap_or(Timestamp::MAX);
        (at < until).then_some((since, until))
    }
}

/// The instant of a time of day. What the clock shows twice is the first of both; what it leaves out, the first instant
/// after that.
pub(super) fn moved_to(zone: &TimeZone, day: Date, time: Time) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(day.to_datetime(time));
    let is_left_out = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
    let at = ambiguous.compatible().ok()?;
    if is_left_out {
        let next = at.checked_add(SignedDuration::from_nanos(1)).ok()?;
        return Some(zone.preceding(next).next()?.timestamp());
    }
    Some(at)
}

/// The first instant of a day; `None` beyond the calendar's end.
#[must_use]
pub fn begin_of(zone: &TimeZone, day: Date) -> Option<Timestamp> {
    moved_to(zone, day, Time::MIN)
}

/// The instant before.
pub(super) fn just_before(at: Timestamp) -> Option<Timestamp> {
    at.checked_sub(SignedDuration::from_nanos(1)).ok()
}
