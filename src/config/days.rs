//! The keys of a job about its days: calendar, blackouts, first and last day, and how far its start is spread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::engine::calendar::{Blackout, Calendar, CalendarRule, OnHoliday, begin_of};
use crate::engine::job::JobSpec;
use crate::engine::schedule::Schedule;

use super::diagnostic::quoted;
use super::job;
use super::loader::Loader;
use super::nearest::nearest;
use super::report::{Report, Spot};
use super::value::{Choice, Entry, Limit, Value};

/// The keys that are read here.
pub(super) const KEYS: &[&str] =
    &["jitter", "calendar", "on_holiday", "weekends", "blackouts", "starts_on", "ends_on"];

/// What a fire on a holiday does.
const ON_HOLIDAY: Choice<OnHoliday> = Choice {
    built: &[("skip", OnHoliday::Skip), ("next", OnHoliday::Next), ("previous", OnHoliday::Previous)],
    planned: &[],
};

/// What Saturdays and Sundays are: whether they are days off.
const WEEKENDS: Choice<bool> = Choice { built: &[("business", false), ("off", true)], planned: &[] };

/// The most blackouts of a job.
const BLACKOUTS_MAX: usize = 100;

/// How far ahead a calendar should know the holidays, days.
const KNOWN_AHEAD: i32 = 60;

const BLACKOUTS_EXAMPLE: &str = "blackouts = [{ schedule = \"0 0 * * *\", duration = \"2h\" }]";

/// What an entry says, before defaults.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    jitter: Option<Duration>,
    /// The calendar's name with its place: whether it exists is known when all files are read.
    calendar: Option<Limit<(String, Spot)>>,
    on_holiday: Option<(OnHoliday, Spot)>,
    weekends: Option<(bool, Spot)>,
    blackouts: Option<Vec<Blackout>>,
    starts_on: Option<(Date, Spot)>,
    ends_on: Option<(Date, Spot)>,
}

/// The calendars by name; one with mistakes is known by name all the same.
pub(super) type Calendars = BTreeMap<String, (Option<Arc<Calendar>>, Spot)>;

/// Reads one of the keys.
pub(super) fn key(report: &mut Report, draft: &mut Draft, entry: &Entry<'_>) {
    let value = &entry.value;
    let spot = || entry.spot.clone();
    match entry.key {
        "jitter" => draft.jitter = value.duration(report, "jitter = \"5m\""),
        "calendar" => draft.calendar = calendar(report, value),
        "on_holiday" => draft.on_holiday = value.choice(report, &ON_HOLIDAY).map(|choice| (choice, spot())),
        "weekends" => draft.weekends = value.choice(report, &WEEKENDS).map(|choice| (choice, spot())),
        "blackouts" => draft.blackouts = blackouts(report, value),
        "starts_on" => {
            draft.starts_on = value.date(report, "starts_on = 2026-01-01").map(|date| (date, spot()));
        }
        _ => draft.ends_on = value.date(report, "ends_on = 2026-12-31").map(|date| (date, spot())),
    }
}

/// `"none"` takes back what `[defaults]` says.
fn calendar(report: &mut Report, value: &Value<'_>) -> Option<Limit<(String, Spot)>> {
    let name = value.string(report, "calendar = \"kr\"")?;
    Some(if name == "none" { Limit::Endless } else { Limit::At((name.to_owned(), value.spot())) })
}

fn blackouts(report: &mut Report, value: &Value<'_>) -> Option<Vec<Blackout>> {
    let items = value.list(report, BLACKOUTS_EXAMPLE)?;
    if items.len() > BLACKOUTS_MAX {
        report.error(value.spot(), format!("a job has at most {BLACKOUTS_MAX} blackouts"));
        return None;
    }
    let blackouts: Vec<_> = items.iter().map(|item| blackout(report, item)).collect();
    blackouts.into_iter().collect()
}

fn blackout(report: &mut Report, item: &Value<'_>) -> Option<Blackout> {
    let table = item.table(report, BLACKOUTS_EXAMPLE)?;
    for entry in table.entries().filter(|entry| !["schedule", "duration"].contains(&entry.key)) {
        entry.unknown(report, "a blackout", &["schedule", "duration"], &[]);
    }
    let (Some(schedule), Some(duration)) = (table.get("schedule"), table.get("duration")) else {
        let missing = if table.has("schedule") { "duration" } else { "schedule" };
        report.error(item.spot(), format!("a blackout has no `{missing}`")).help(BLACKOUTS_EXAMPLE);
        return None;
    };
    let text = schedule.value.string(report, "schedule = \"0 0 * * *\"");
    let begins = text.and_then(|text| job::schedule(report, &schedule.value, text, None));
    if begins.as_ref().is_some_and(Schedule::is_reboot) {
        let message = "a blackout can't begin with @reboot, which names no instant";
        report.error(schedule.value.spot(), message).help(BLACKOUTS_EXAMPLE);
        return None;
    }
    let duration = duration.value.positive(report, "duration = \"2h\"", "leave the blackout out");
    Some(Blackout { schedule: begins?, duration: duration? })
}

impl Draft {
    /// Puts what is said here, or else in the defaults, into a job whose zone is known.
    pub(super) fn resolve(self, defaults: &Self, calendars: &Calendars, spec: &mut JobSpec) {
        let view = View { own: &self, defaults };
        spec.jitter = self.jitter.or(defaults.jitter).unwrap_or(spec.jitter);
        spec.calendar =
            view.calendar().and_then(|(name, _)| calendars.get(name)?.0.clone()).map(|calendar| {
                CalendarRule { calendar, on_holiday: view.on_holiday(), weekends: view.weekends_off() }
            });
        let (first, last) = (view.starts_on(), view.ends_on());
        spec.from = first.and_then(|(day, _)| begin_of(&spec.zone, *day));
        spec.until = last.and_then(|(day, _)| begin_of(&spec.zone, day.tomorrow().ok()?));
        spec.blackouts = self.blackouts.or_else(|| defaults.blackouts.clone()).unwrap_or_default();
    }
}

/// What holds for a job.
#[derive(Clone, Copy)]
struct View<'d> {
    own: &'d Draft,
    defaults: &'d Draft,
}

impl<'d> View<'d> {
    fn calendar(self) -> Option<&'d (String, Spot)> {
        match self.own.calendar.as_ref().or(self.defaults.calendar.as_ref())? {
            Limit::Endless => None,
            Limit::At(named) => Some(named),
        }
    }

    fn on_holiday(self) -> OnHoliday {
        self.own
            .on_holiday
            .as_ref()
            .or(self.defaults.on_holiday.as_ref())
            .map_or(OnHoliday::Skip, |(how, _)| *how)
    }

    fn weekends_off(self) -> bool {
        self.own.weekends.as_ref().or(self.defaults.weekends.as_ref()).is_some_and(|(off, _)| *off)
    }

    fn starts_on(self) -> Option<&'d (Date, Spot)> {
        self.own.starts_on.as_ref().or(self.defaults.starts_on.as_ref())
    }

    fn ends_on(self) -> Option<&'d (Date, Spot)> {
        self.own.ends_on.as_ref().or(self.defaults.ends_on.as_ref())
    }
}

/// Reports what can be seen only when all files are read.
pub(super) fn check(loader: &mut Loader<'_>, now: Option<Timestamp>) {
    let Loader { report, calendars, jobs, defaults, .. } = loader;
    let mut used = BTreeMap::new();
    for job in jobs.values() {
        if report.is_full() {
            return;
        }
        let view = View { own: &job.draft.days, defaults: &defaults.days };
        if let Some((name, spot)) = view.calendar() {
            used.insert(name.clone(), spot.clone());
        }
        check_days(report, view);
        check_moves(report, view, &job.draft.schedules);
    }
    if let Some(Limit::At((name, spot))) = &defaults.days.calendar {
        used.insert(name.clone(), spot.clone());
    }
    for (name, spot) in used {
        match calendars.get(&name) {
            None => unknown_calendar(report, calendars, &name, spot),
            Some((Some(calendar), spot)) => check_end(report, calendar, spot, now),
            Some((None, _)) => {}
        }
    }
}

/// What says nothing, or leaves no day.
fn check_days(report: &mut Report, view: View<'_>) {
    let own = view.own;
    let says_nothing = view.calendar().is_none();
    let on_holiday = own.on_holiday.as_ref().map(|(_, spot)| ("on_holiday", spot));
    let weekends = own.weekends.as_ref().map(|(_, spot)| ("weekends", spot));
    for (key, spot) in on_holiday.into_iter().chain(weekends).filter(|_| says_nothing) {
        let message = format!("`{key}` says nothing without a calendar");
        report.error(spot.clone(), message).help("add calendar = \"…\", the name of one under [calendars]");
    }
    if let (Some((first, _)), Some((last, spot))) = (view.starts_on(), view.ends_on())
        && last < first
    {
        let message = format!("the last day, {last}, is before the first, {first}");
        report.error(spot.clone(), message).help("`ends_on` is the last day on which the job fires");
    }
}

/// A fire moves to the same time of another day, so it needs one.
fn check_moves(report: &mut Report, view: View<'_>, schedules: &[Schedule]) {
    let every = schedules.iter().find(|schedule| schedule.is_every());
    if let Some((_, spot)) = view.calendar()
        && view.on_holiday() != OnHoliday::Skip
        && let Some(every) = every
    {
        let spot = view.own.on_holiday.as_ref().map_or(spot, |(_, spot)| spot);
        let message = format!("{} has no time of day to move to another day", quoted(every.as_str()));
        report.error(spot.clone(), message).help("write a schedule of fields, or on_holiday = \"skip\"");
    }
}

fn unknown_calendar(report: &mut Report, calendars: &Calendars, name: &str, spot: Spot) {
    let help = match nearest(name, calendars.keys().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "add the calendar: [calendars.kr], with dates = [2026-01-01]".to_owned(),
    };
    report.error(spot, format!("there is no calendar {}", quoted(name))).help(help);
}

/// A calendar that comes to its end is one on whose holidays jobs will run unnoticed.
fn check_end(report: &mut Report, calendar: &Calendar, spot: &Spot, now: Option<Timestamp>) {
    let Some((last, _)) = calendar.holidays.last_key_value() else { return };
    let Some(today) = now.map(|now| TimeZone::UTC.to_datetime(now).date()) else { return };
    if today.checked_add(KNOWN_AHEAD.days()).is_ok_and(|known| *last < known) {
        let message = format!("calendar {} knows no holiday after {last}", quoted(&calendar.name));
        report.warning(spot.clone(), message).help("add the holidays of the year to come");
    }
}
