//! What people ask of a job's fires: which one is at an instant, which come before it, and why an instant is none.

use std::time::Duration;

use super::calendar::{CalendarRule, OnHoliday};
use super::job::{JobName, JobSpec};
use super::occurrence::{Fire, fires, next_fire};
use super::time::Timestamp;

/// How far back the first look for an earlier fire goes; each further one goes twice as far.
const FIRST_LOOK: Duration = Duration::from_mins(1);
/// How often it is looked: two centuries in all.
const LOOKS_MAX: u32 = 27;

/// The fire of exactly this instant, if it is one.
#[must_use]
pub fn fire_at(spec: &JobSpec, at: Timestamp) -> Option<Fire> {
    let before = at.checked_sub(Duration::from_secs(1)).ok()?;
    next_fire(spec, before).filter(|fire| fire.at == at)
}

/// The last `most` fires of a job before an instant, oldest first; fewer where there are fewer, or none in two
/// centuries.
#[must_use]
pub fn last_fires(spec: &JobSpec, before: Timestamp, most: usize) -> Vec<Fire> {
    let end = spec.until.map_or(before, |until| until.min(before));
    // The schedules say where to look first. Only a calendar moves a fire away from there.
    let nearest = spec.schedules.iter().filter_map(|schedule| schedule.previous(&spec.zone, end)).max();
    let Some(mut from) = nearest else { return Vec::new() };
    let mut found: Vec<Fire> = Vec::new();
    for look in 0..LOOKS_MAX {
        from = from.checked_sub(FIRST_LOOK.saturating_mul(1 << look)).unwrap_or(Timestamp::MIN);
        let known = found.first().map_or(before, |fire| fire.at);
        let older = fires(spec, from).take_while(|fire| fire.at < known);
        found = older.chain(found.iter().copied()).collect();
        if found.len() >= most || from == Timestamp::MIN {
            break;
        }
    }
    found.split_off(found.len().saturating_sub(most))
}

/// The last fire of a job before an instant.
#[must_use]
pub fn previous_fire(spec: &JobSpec, before: Timestamp) -> Option<Fire> {
    last_fires(spec, before, 1).pop()
}

/// Why an instant is no fire of the job, a sentence each; empty when it is one.
#[must_use]
pub fn objections(spec: &JobSpec, at: Timestamp) -> Vec<String> {
    if fire_at(spec, at).is_some() {
        return Vec::new();
    }
    let mut objections = Vec::new();
    let named_by_many = spec.schedules.len() > 1;
    for schedule in &spec.schedules {
        for mismatch in schedule.mismatches(&spec.zone, at) {
            let whose = if named_by_many { format!("'{}': ", schedule.as_str()) } else { String::new() };
            objections.push(format!("{whose}{mismatch}"));
        }
    }
    objections.extend(outside(spec, at));
    if let Some(rule) = &spec.calendar {
        objections.extend(moved(rule, spec, at));
    }
    if let (true, Some(after)) = (spec.schedules.is_empty(), &spec.after) {
        let jobs: Vec<&str> = after.jobs.iter().map(JobName::as_str).collect();
        objections.push(format!("it has no schedule: it runs after {}", jobs.join(" and ")));
    }
    objections
}

/// Before the job's first day, or after its last.
fn outside(spec: &JobSpec, at: Timestamp) -> Option<String> {
    let day = |at: Timestamp| spec.zone.to_datetime(at).date();
    match (spec.from, spec.until) {
        (Some(from), _) if at < from => Some(format!("its first day is {}", day(from))),
        (_, Some(until)) if until <= at => {
            let last = until.checked_sub(Duration::from_secs(1)).unwrap_or(until);
            Some(format!("its last day was {}", day(last)))
        }
        _ => None,
    }
}

/// A fire whose calendar has moved it to another day.
fn moved(rule: &CalendarRule, spec: &JobSpec, at: Timestamp) -> Option<String> {
    let to = match rule.on_holiday {
        OnHoliday::Skip => return None,
        OnHoliday::Next => "next",
        OnHoliday::Previous => "previous",
    };
    if spec.schedules.iter().all(|schedule| !schedule.mismatches(&spec.zone, at).is_empty()) {
        return None;
    }
    let date = spec.zone.to_datetime(at).date();
    let name = &rule.calendar.name;
    let day = match rule.calendar.holidays.get(&date) {
        Some(Some(holiday)) => format!("a holiday in {name} ({holiday})"),
        Some(None) => format!("a holiday in {name}"),
        None => "no business day".to_owned(),
    };
    Some(format!("{date} is {day}, and the fire moves to the {to} business day"))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::super::job::Command;
    use super::super::schedule::Schedule;
    use super::*;

    fn job(schedules: &[&str]) -> JobSpec {
        JobSpec {
            schedules: schedules.iter().map(|text| Schedule::parse(text).unwrap()).collect(),
            zone: TimeZone::get("Asia/Seoul").unwrap(),
            ..JobSpec::new(JobName::new("backup").unwrap(), Command::Shell("true".to_owned()))
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_fires_before_an_instant_are_those_that_lead_to_it() {
        for schedule in ["* * * * * *", "*/7 * * * *", "0 10 1 * *", "0 0 29 2 *", "@every 90s"] {
            let spec = job(&[schedule]);
            for before in ["2026-11-01T01:00:00Z", "2026-11-01T01:00:00.5Z", "2026-02-28T15:00:00Z"] {
                for most in [1, 2, 100] {
                    let back = last_fires(&spec, at(before), most);
                    let expected: Vec<Timestamp> = {
                        let earlier = |&at: &Timestamp| spec.schedules[0].previous(&spec.zone, at);
                        let first = earlier(&at(before));
                        let mut all: Vec<_> = std::iter::successors(first, earlier).take(most).collect();
                        all.reverse();
                        all.retain(|fire| *fire > at("1830-01-01T00:00:00Z"));
                        all
                    };
                    let found: Vec<Timestamp> = back.iter().map(|fire| fire.at).collect();
                    let enough = found.len().min(expected.len());
                    assert!(enough >= most.min(40), "{schedule} before {before}: {enough}");
                    assert_eq!(
                        found[found.len() - enough..],
                        expected[expected.len() - enough..],
                        "{schedule}"
                    );
                }
            }
        }
        assert_eq!(previous_fire(&job(&["@reboot"]), at("2026-11-01T01:00:00Z")), None);
    }

    #[test]
    fn an_instant_that_is_none_is_told_why() {
        let spec = job(&["0 10 1 * *"]);
        assert_eq!(objections(&spec, at("2026-11-01T01:00:00Z")), [""; 0]);
        assert!(fire_at(&spec, at("2026-11-01T01:00:00Z")).is_some());
        assert_eq!(objections(&spec, at("2026-11-01T01:30:00Z")), ["minute 30 is not in 0"]);
        let spec = job(&["0 10 * * *", "0 12 * * *"]);
        assert_eq!(
            objections(&spec, at("2026-11-01T02:00:00Z")),
            ["'0 10 * * *': hour 11 is not in 10", "'0 12 * * *': hour 11 is not in 12"]
        );
    }
}
