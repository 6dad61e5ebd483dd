//! Which instants a job names: its schedules, read in its zone, and what its entry makes of them.
//!
//! **Invariant:** the fires are a function of the entry alone. A fire is known by the instant `at`; what spreads its
//! start moves it neither beyond the next one nor into a blackout.

use std::fmt;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::calendar::{begin_of, just_before};
use super::job::JobSpec;
use super::moving;
use super::reason::Reason;
use super::schedule::{ClockChange, Schedule};
use super::spread::spread;
use super::time::Timestamp;

/// How many fires in a row that the job's entry decides against are looked at in search of one that starts. A holiday
/// or a blackout counts as one.
const EXCLUSIONS_MAX: usize = 1_000;

/// One instant that a job names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fire {
    /// The instant itself, `scheduled_at`: the fire's identity, whatever its start is spread to.
    pub at: Timestamp,
    /// When its run is to start: not before `at`, and before the job's next fire.
    pub starts: Timestamp,
}

/// What a person wonders about at a fire: a closed set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FireRemark {
    /// The clock leaves out the time that the schedule names: it fires at the first minute after that.
    Gap {
        /// The time that is left out, in the job's zone.
        named: DateTime,
    },
    /// The clock shows this time twice; the job fires the first time only.
    FirstPass,
    /// The clock shows this time twice; the job fires both times.
    BothPasses {
        /// Whether this is the second time.
        second: bool,
    },
    /// The calendar moved it here from a day off.
    Moved {
        /// The day off.
        from: Date,
        /// The calendar.
        calendar: String,
        /// The day's name.
        name: Option<String>,
    },
    /// Its start is spread.
    Spread {
        /// How long after the fire.
        by: Duration,
    },
    /// The job's own entry decides against it.
    Excluded {
        /// Why.
        reason: Reason,
    },
}

impl fmt::Display for FireRemark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { named } => write!(f, "the clock leaves out {named}: the first minute after it"),
            Self::FirstPass => f.write_str("the clock shows this time twice: only the first counts"),
            Self::BothPasses { second: false } => f.write_str("the clock shows this time twice: the first"),
            Self::BothPasses { second: true } => f.write_str("the clock shows this time twice: the second"),
            Self::Moved { from, calendar, name } => {
                write!(f, "moved from {from}, a day off in {calendar}")?;
                name.as_ref().map_or(Ok(()), |name| write!(f, ": {name}"))
            }
            Self::Spread { by } => {
                write!(f, "starts {} later", super::time::describe_duration(*by))
            }
            Self::Excluded { reason } => write!(f, "does not start: {reason}"),
        }
    }
}

/// The first fire of the job after the instant `after`: several schedules that agree are one fire.
#[must_use]
pub fn next_fire(spec: &JobSpec, after: Timestamp) -> Option<Fire> {
    let at = next_instant(spec, after)?;
    Some(Fire { at, starts: start_of(spec, at) })
}

/// The fires of the job after the instant `after`, in order, those that its entry decides against included.
pub fn fires(spec: &JobSpec, after: Timestamp) -> impl Iterator<Item = Fire> + '_ {
    std::iter::successors(next_fire(spec, after), |fire| next_fire(spec, fire.at))
}

/// The first fire after the instant that the job's entry does not decide against: the next that is to start.
#[must_use]
pub fn next_start(spec: &JobSpec, mut after: Timestamp) -> Option<Fire> {
    for _ in 0..EXCLUSIONS_MAX {
        let fire = next_fire(spec, after)?;
        let until = match exclusion(spec, fire.at) {
            None => return Some(fire),
            Some(Reason::Blackout { until, .. }) => Some(until),
            Some(Reason::Holiday { date, .. }) => begin_of(&spec.zone, date.tomorrow().ok()?),
            Some(_) => None,
        };
        after = until.and_then(just_before).map_or(fire.at, |until| until.max(fire.at));
    }
    None
}

/// Why the job's own entry decides against this fire of it, if it does.
#[must_use]
pub fn exclusion(spec: &JobSpec, at: Timestamp) -> Option<Reason> {
    if let Some(rule) = &spec.calendar {
        let date = spec.zone.to_datetime(at).date();
        if rule.is_off(date) {
            let calendar = rule.calendar.name.clone();
            return Some(Reason::Holiday { calendar, date, name: rule.name_of(date) });
        }
    }
    let (since, until) = spec.blackouts.iter().find_map(|blackout| blackout.around(&spec.zone, at))?;
    Some(Reason::Blackout { since, until })
}

/// What is to be said of a fire of the job.
#[must_use]
pub fn remarks(spec: &JobSpec, fire: Fire) -> Vec<FireRemark> {
    let by = Duration::try_from(fire.starts.duration_since(fire.at)).unwrap_or_default();
    let spread = (!by.is_zero()).then_some(FireRemark::Spread { by });
    let excluded = exclusion(spec, fire.at).map(|reason| FireRemark::Excluded { reason });
    moved(spec, fire.at)
        .or_else(|| clock_change(spec, fire.at))
        .into_iter()
        .chain(spread)
        .chain(excluded)
        .collect()
}

/// The day off that the calendar moved a fire from.
fn moved(spec: &JobSpec, at: Timestamp) -> Option<FireRemark> {
    let rule = spec.calendar.as_ref().filter(|rule| rule.moves())?;
    let source = |schedule| moving::source(schedule, &spec.zone, rule, at);
    let is_own = |schedule: &Schedule| names(schedule, &spec.zone, at);
    let is_home = !rule.is_off(spec.zone.to_datetime(at).date());
    if is_home && spec.schedules.iter().any(is_own) {
        return None;
    }
    let from = spec.schedules.iter().find_map(source)?;
    Some(FireRemark::Moved { from, calendar: rule.calendar.name.clone(), name: rule.name_of(from) })
}

/// What a change of the clock has to do with a fire; a schedule that it does nothing to speaks for all.
fn clock_change(spec: &JobSpec, at: Timestamp) -> Option<FireRemark> {
    let naming = spec.schedules.iter().filter(|schedule| names(schedule, &spec.zone, at));
    let changes = naming.map(|schedule| schedule.clock_change(&spec.zone, at));
    let change = changes.collect::<Option<Vec<_>>>()?.into_iter().next()?;
    Some(match change {
        ClockChange::Gap { named } => FireRemark::Gap { named },
        ClockChange::FirstPass => FireRemark::FirstPass,
        ClockChange::BothPasses { second } => FireRemark::BothPasses { second },
    })
}

fn names(schedule: &Schedule, zone: &TimeZone, at: Timestamp) -> bool {
    just_before(at).and_then(|before| schedule.next(zone, before)) == Some(at)
}

/// The first instant after `after` that the job names.
fn next_instant(spec: &JobSpec, after: Timestamp) -> Option<Timestamp> {
    let after = spec.from.and_then(just_before).map_or(after, |before| before.max(after));
    let next = |schedule: &Schedule| match &spec.calendar {
        Some(rule) if rule.moves() => moving::next(schedule, &spec.zone, rule, after),
        _ => schedule.next(&spec.zone, after),
    };
    let at = spec.schedules.iter().filter_map(next).min()?;
    spec.until.is_none_or(|until| at < until).then_some(at)
}

/// When the run of a fire is to start: within the job's jitter, before its next fire, and before a blackout begins.
fn start_of(spec: &JobSpec, at: Timestamp) -> Timestamp {
    if spec.jitter.is_zero() {
        return at;
    }
    let blackouts = spec.blackouts.iter().filter_map(|blackout| blackout.schedule.next(&spec.zone, at));
    let slot = blackouts.chain(next_instant(spec, at)).min();
    let slot = slot.and_then(|end| Duration::try_from(end.duration_since(at)).ok());
    let bound = slot.map_or(spec.jitter, |slot| slot.min(spec.jitter));
    let bound = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    let by = spread(&[spec.name.as_str().as_bytes(), &at.as_second().to_be_bytes()], bound);
    at.saturating_add(Duration::from_millis(by)).unwrap_or(at)
}
