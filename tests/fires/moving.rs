//! Fires that leave a day off: each instant is moved by hand, one by one, and the sorted result compared.

use std::collections::BTreeSet;

use jiff::civil::{Date, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};
use jobctl::engine::calendar::OnHoliday;
use jobctl::engine::job::JobSpec;
use jobctl::engine::occurrence::{Fire, fires, next_fire};
use proptest::prelude::*;
use proptest::sample::select;

use crate::{at, job, rule};

/// Zones whose clocks change at odd hours, by odd amounts, across midnight, and by a day; each with a day near that.
const PLACES: [(&str, &str); 8] = [
    ("Asia/Seoul", "2026-02-14"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("America/Havana", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("America/Nuuk", "2026-03-28"),
    ("America/Asuncion", "2023-03-26"),
    ("Pacific/Apia", "2011-12-30"),
];

const SCHEDULES: [&str; 10] = [
    "30 9 * * *",
    "30 2 * * *",
    "15 0,23 * * *",
    "*/20 * * * *",
    "0 0 1,15 * *",
    "*/30 1-3 * * 0,6",
    "0 12 * * sun",
    "@every 5h",
    "30 0 * * 1-5",
    "59 23 L * *",
];

/// The instants that all of a job's own become, each moved by itself.
fn moved(spec: &JobSpec, holidays: &BTreeSet<Date>, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let rule = spec.calendar.clone().unwrap();
    let is_off = |day: Date| {
        let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        holidays.contains(&day) || (rule.weekends && weekend)
    };
    let mut found = BTreeSet::new();
    for schedule in &spec.schedules {
        let mut named = schedule.next(&spec.zone, from - SignedDuration::from_hours(24 * 90));
        while let Some(instant) = named.filter(|instant| *instant < to + SignedDuration::from_hours(24 * 90))
        {
            let local = spec.zone.to_datetime(instant);
            let mut day = local.date();
            while is_off(day) {
                let step = if rule.on_holiday == OnHoliday::Next { 1 } else { -1 };
                day = day.checked_add(step.days()).unwrap();
            }
            let moves = day != local.date();
            found.insert(if moves { instant_of(&spec.zone, day, local.time()) } else { instant });
            named = schedule.next(&spec.zone, instant);
        }
    }
    found.into_iter().filter(|instant| (from..to).contains(instant)).collect()
}

/// The first of two instants that show a time; of a time that none shows, the first instant that shows a later one.
fn instant_of(zone: &TimeZone, day: Date, time: jiff::civil::Time) -> Timestamp {
    let wanted = day.to_datetime(time);
    match zone.to_ambiguous_timestamp(wanted).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(wanted).unwrap()
        }
        AmbiguousOffset::Gap { before, .. } => {
            let far = before.to_timestamp(wanted).unwrap() - SignedDuration::from_hours(48);
            let change = zone.following(far).find(|change| zone.to_datetime(change.timestamp()) > wanted);
            change.unwrap().timestamp()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_instant_of_a_day_off_moves_by_itself(
        (zone, middle) in select(&PLACES[..]), texts in proptest::sample::subsequence(&SCHEDULES[..], 1..=2),
        next in any::<bool>(), weekends in any::<bool>(),
        off in proptest::collection::btree_set(-14_i64..14, 0..12),
        looks in proptest::collection::vec(0_i64..1_000_000, 4),
    ) {
        let middle: Date = middle.parse().unwrap();
        let holidays: BTreeSet<Date> = off.iter().map(|days| middle.checked_add(days.days()).unwrap()).collect();
        let how = if next { OnHoliday::Next } else { OnHoliday::Previous };
        let mut spec = job(&texts, zone);
        spec.calendar = Some(rule(holidays.iter().copied(), how, weekends));
        let noon = at(&format!("{middle}T12:00:00Z"));
        let (from, to) = (noon - SignedDuration::from_hours(24 * 12), noon + SignedDuration::from_hours(24 * 12));
        let expected = moved(&spec, &holidays, from, to);

        let before = from - SignedDuration::from_nanos(1);
        let found: Vec<Timestamp> = fires(&spec, before).map(|fire| fire.at).take_while(|at| *at < to).collect();
        let differs = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        prop_assert_eq!(differs, None);
        prop_assert_eq!(found.len(), expected.len());

        // The same, looked for from anywhere between.
        for seconds in looks {
            let after = from + SignedDuration::from_secs(seconds);
            let first = next_fire(&spec, after).map(|fire| fire.at).filter(|at| *at < to);
            prop_assert_eq!(first, expected.iter().copied().find(|at| *at > after), "after {}", after);
        }
    }
}

#[test]
fn a_wage_run_of_the_first_moves_behind_the_feast() {
    let holidays = ["2026-10-03", "2026-10-05"].map(|day| day.parse().unwrap());
    let mut spec = job(&["0 9 3 * *", "30 8 4 * *"], "Asia/Seoul");
    let of_october = |spec: &JobSpec| -> Vec<String> {
        let shown = |fire: Fire| spec.zone.to_datetime(fire.at).to_string();
        fires(spec, at("2026-09-30T00:00:00Z"))
            .map(shown)
            .take_while(|day| day.starts_with("2026-10"))
            .collect()
    };
    spec.calendar = Some(rule(holidays, OnHoliday::Next, true));
    // The 4th is a Sunday. What came later on its own day may come first on the new one.
    assert_eq!(of_october(&spec), ["2026-10-06T08:30:00", "2026-10-06T09:00:00"]);
    spec.calendar = Some(rule(holidays, OnHoliday::Previous, true));
    assert_eq!(of_october(&spec), ["2026-10-02T08:30:00", "2026-10-02T09:00:00"]);
    spec.calendar = Some(rule(holidays, OnHoliday::Next, false));
    assert_eq!(of_october(&spec), ["2026-10-04T08:30:00", "2026-10-04T09:00:00"]);
}

#[test]
fn a_calendar_without_a_business_day_ends_the_search_and_loses_no_fire() {
    let first: Date = "2026-01-01".parse().unwrap();
    let mut spec = job(&["0 9 * * *"], "Asia/Seoul");
    for how in [OnHoliday::Next, OnHoliday::Previous] {
        spec.calendar = Some(rule(first.series(1.day()).take(5_000), how, false));
        let fires: Vec<_> = fires(&spec, at("2030-01-01T00:00:00Z")).take(3).map(|fire| fire.at).collect();
        let excluded = |at: &Timestamp| jobctl::engine::occurrence::exclusion(&spec, *at).is_some();
        assert_eq!(fires[0], at("2030-01-02T00:00:00Z"));
        assert!(fires.iter().all(excluded), "it does not move, and is skipped where it is");
    }
}

#[test]
fn a_job_of_each_second_is_found_as_quickly() {
    let holidays = ["2026-10-03", "2026-10-04", "2026-10-05"].map(|day| day.parse().unwrap());
    let mut spec = job(&["* * * * * *"], "Asia/Seoul");
    spec.calendar = Some(rule(holidays, OnHoliday::Next, false));
    let start = at("2026-10-05T15:00:00Z");
    let found = fires(&spec, start).take(10_000).map(|fire| fire.at).last();
    assert_eq!(found, Some(start + SignedDuration::from_secs(10_000)), "all four days are one");
}
