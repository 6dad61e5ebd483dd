//! What is said of a fire.

use std::time::Duration;

use jiff::civil::Date;
use jobctl::engine::calendar::OnHoliday;
use jobctl::engine::job::JobSpec;
use jobctl::engine::occurrence::{FireRemark, fires, remarks};

use crate::{at, job, rule};

/// The first fires after an instant, each with what is said of it.
fn said(spec: &JobSpec, after: &str, n: usize) -> Vec<String> {
    let said = |fire| {
        let words: Vec<String> = remarks(spec, fire).iter().map(FireRemark::to_string).collect();
        format!("{} {}", spec.zone.to_datetime(fire.at), words.join("; ")).trim_end().to_owned()
    };
    fires(spec, at(after)).take(n).map(said).collect()
}

#[test]
fn a_gap_and_an_overlap_are_told() {
    let fixed = job(&["30 2 * * *"], "America/New_York");
    assert_eq!(
        said(&fixed, "2026-03-07T12:00:00Z", 2),
        [
            "2026-03-08T03:00:00 the clock leaves out 2026-03-08T02:30:00: the first minute after it",
            "2026-03-09T02:30:00"
        ]
    );
    let fixed = job(&["30 1 * * *"], "America/New_York");
    assert_eq!(
        said(&fixed, "2026-11-01T04:00:00Z", 2),
        ["2026-11-01T01:30:00 the clock shows this time twice: only the first counts", "2026-11-02T01:30:00"]
    );
    let wild = job(&["30 * * * *"], "America/New_York");
    assert_eq!(
        said(&wild, "2026-11-01T05:00:00Z", 3),
        [
            "2026-11-01T01:30:00 the clock shows this time twice: the first",
            "2026-11-01T01:30:00 the clock shows this time twice: the second",
            "2026-11-01T02:30:00"
        ]
    );
    // What another schedule names as well needs no word.
    let both = job(&["30 2 * * *", "0 3 * * *"], "America/New_York");
    assert_eq!(said(&both, "2026-03-08T05:00:00Z", 1), ["2026-03-08T03:00:00"]);
    let seoul = job(&["30 2 * * *"], "Asia/Seoul");
    assert!(said(&seoul, "2026-01-01T00:00:00Z", 400).iter().all(|line| !line.contains(' ')));
}

#[test]
fn a_day_off_is_told_by_its_name() {
    let day: Date = "2026-10-03".parse().unwrap();
    let mut spec = job(&["0 9 * * *"], "Asia/Seoul");
    let mut calendar = rule([day], OnHoliday::Skip, true);
    std::sync::Arc::make_mut(&mut calendar.calendar).holidays.insert(day, Some("개천절".to_owned()));
    spec.calendar = Some(calendar.clone());
    assert_eq!(
        said(&spec, "2026-10-02T12:00:00Z", 3),
        [
            "2026-10-03T09:00:00 does not start: 2026-10-03 is a holiday in kr: 개천절",
            "2026-10-04T09:00:00 does not start: 2026-10-04 is a holiday in kr: Sunday",
            "2026-10-05T09:00:00"
        ]
    );
    let mut spec = job(&["0 9 3 * *"], "Asia/Seoul");
    spec.calendar = Some(jobctl::engine::calendar::CalendarRule { on_holiday: OnHoliday::Next, ..calendar });
    assert_eq!(
        said(&spec, "2026-10-02T12:00:00Z", 2),
        ["2026-10-05T09:00:00 moved from 2026-10-03, a day off in kr: 개천절", "2026-11-03T09:00:00"]
    );
}

#[test]
fn a_spread_start_is_told() {
    let mut spec = job(&["0 9 * * *"], "Asia/Seoul");
    spec.jitter = Duration::from_mins(5);
    let line = said(&spec, "2026-01-01T12:00:00Z", 1).remove(0);
    assert!(line.starts_with("2026-01-02T09:00:00 starts ") && line.ends_with(" later"), "{line}");
}
