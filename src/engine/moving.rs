//! Fires that leave a day off: each instant that a schedule names on one moves to the same time of a business day.
//!
//! **Invariant:** what moves onto a day lies before what moves onto a later one, so that the search for the next fire
//! looks at one business day and the days off beside it, and no further.

use std::cmp::Ordering;

use jiff::SignedDuration;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::calendar::{CalendarRule, OnHoliday, begin_of, just_before, moved_to};
use super::schedule::Schedule;
use super::time::Timestamp;

/// The first fire of the schedule after an instant, where the rule moves those of days off.
pub(super) fn next(
    schedule: &Schedule,
    zone: &TimeZone,
    rule: &CalendarRule,
    after: Timestamp,
) -> Option<Timestamp> {
    Search::new(schedule, zone, rule, after).run()
}

/// The day off that a fire at this instant moved from; `None` where the schedule itself names the instant.
pub(super) fn source(
    schedule: &Schedule,
    zone: &TimeZone,
    rule: &CalendarRule,
    at: Timestamp,
) -> Option<Date> {
    let search = Search::new(schedule, zone, rule, just_before(at)?);
    let home = zone.to_datetime(at).date();
    if rule.home(home) == home && schedule.next(zone, search.after) == Some(at) {
        return None;
    }
    let moves_here = |day: &Date| rule.home(*day) == home && search.first_moved(*day, home) == Some(at);
    rule.days_off_beside(home).find(moves_here)
}

/// A search for the first fire after an instant.
struct Search<'s> {
    schedule: &'s Schedule,
    zone: &'s TimeZone,
    rule: &'s CalendarRule,
    after: Timestamp,
    /// The day of `after`.
    today: Date,
}

impl<'s> Search<'s> {
    fn new(schedule: &'s Schedule, zone: &'s TimeZone, rule: &'s CalendarRule, after: Timestamp) -> Self {
        Self { schedule, zone, rule, after, today: zone.to_datetime(after).date() }
    }

    fn run(&self) -> Option<Timestamp> {
        let mut from = self.beginning()?;
        let mut best: Option<(Date, Timestamp)> = None;
        while let Some(named) = self.schedule.next(self.zone, from) {
            let day = self.zone.to_datetime(named).date();
            let home = self.rule.home(day);
            if best.is_some_and(|(nearest, _)| nearest < home) {
                break;
            }
            if home == day && named <= self.after {
                from = self.after;
                continue;
            }
            let found = if home == day { Some(named) } else { self.first_moved(day, home) };
            if let Some(at) = found
                && best.is_none_or(|(_, nearest)| at < nearest)
            {
                best = Some((home, at));
            }
            // Of each day only the first counts.
            let Some(midnight) = day.tomorrow().ok().and_then(|day| begin_of(self.zone, day)) else { break };
            from = just_before(midnight)?.max(named);
        }
        best.map(|(_, at)| at)
    }

    /// An instant before all that may move behind `after`.
    fn beginning(&self) -> Option<Timestamp> {
        match self.rule.on_holiday {
            OnHoliday::Skip | OnHoliday::Previous => Some(self.after),
            OnHoliday::Next => {
                let first = self.rule.days_off_beside(self.today).last().unwrap_or(self.today);
                just_before(begin_of(self.zone, first)?)
            }
        }
    }

    /// The first instant after `after` that a fire of a day off moves to on the day `home`.
    fn first_moved(&self, day: Date, home: Date) -> Option<Timestamp> {
        let mut since = match home.cmp(&self.today) {
            Ordering::Less => return None,
            Ordering::Equal => Some(self.passed()?),
            Ordering::Greater => None,
        };
        loop {
            let time = self.first_time(day, since)?;
            let at = moved_to(self.zone, home, time)?;
            if at > self.after {
                return Some(at);
            }
            since = Some(time);
        }
    }

    /// The last time of today that has come at `after`; `None` where all have.
    fn passed(&self) -> Option<Time> {
        let time = self.zone.to_datetime(self.after).time();
        if moved_to(self.zone, self.today, time)? >= self.after {
            return Some(time);
        }
        // The clock shows this for the second time: all that it shows twice has come.
        let next = self.after.checked_add(SignedDuration::from_nanos(1)).ok()?;
        let change = self.zone.preceding(next).next()?.timestamp();
        let shown = self.zone.to_datetime(just_before(change)?);
        (shown.date() == self.today).then(|| shown.time())
    }

    /// The first time of a day that the schedule names there, after the time `since`.
    fn first_time(&self, day: Date, since: Option<Time>) -> Option<Time> {
        let end =
            self.zone.to_ambiguous_timestamp(day.tomorrow().ok()?.to_datetime(Time::MIN)).later().ok()?;
        let mut begin = begin_of(self.zone, day)?;
        let mut first: Option<Time> = None;
        // Only between two changes of the clock are times of day in the order of instants.
        while begin < end {
            let change = self.zone.following(begin).next().map_or(end, |change| change.timestamp().min(end));
            let offset = self.zone.to_offset(begin);
            let passed = since.and_then(|since| offset.to_timestamp(day.to_datetime(since)).ok());
            let from = just_before(begin)?;
            let named = self.schedule.next(self.zone, passed.map_or(from, |passed| passed.max(from)));
            if let Some(named) = named.filter(|named| *named < change) {
                let local = self.zone.to_datetime(named);
                if local.date() == day && first.is_none_or(|first| local.time() < first) {
                    first = Some(local.time());
                }
            }
            begin = change;
        }
        first
    }
}
