//! Which instants a job names, against readings of the same rules that walk through every one of them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

#[path = "fires/configuration.rs"]
mod configuration;
#[path = "fires/days.rs"]
mod days;
#[path = "fires/hashed.rs"]
mod hashed;
#[path = "fires/moving.rs"]
mod moving;
#[path = "fires/remarks.rs"]
mod remarks;
#[path = "fires/spread.rs"]
mod spread;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jobctl::engine::calendar::{Calendar, CalendarRule, OnHoliday};
use jobctl::engine::job::{Command, JobName, JobSpec};
use jobctl::engine::schedule::Schedule;
use jobctl::engine::time::Timestamp;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn job(schedules: &[&str], zone: &str) -> JobSpec {
    let mut spec = JobSpec::new(JobName::new("backup").unwrap(), Command::Shell("true".to_owned()));
    spec.schedules = schedules.iter().map(|text| Schedule::parse_for(&spec.name, text).unwrap()).collect();
    spec.zone = TimeZone::get(zone).unwrap();
    spec
}

fn rule(holidays: impl IntoIterator<Item = Date>, on_holiday: OnHoliday, weekends: bool) -> CalendarRule {
    let holidays: BTreeMap<_, _> = holidays.into_iter().map(|day| (day, None)).collect();
    let calendar = Arc::new(Calendar { name: "kr".to_owned(), holidays, hash: String::new() });
    CalendarRule { calendar, on_holiday, weekends }
}
