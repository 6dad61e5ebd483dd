//! Days off, blackouts, and the first and the last day.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};
use jobctl::engine::calendar::{Blackout, OnHoliday};
use jobctl::engine::occurrence::{exclusion, fires, next_fire, next_start};
use jobctl::engine::reason::Reason;
use jobctl::engine::schedule::Schedule;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{at, job, rule};

fn blackout(text: &str, minutes: u64) -> Blackout {
    Blackout { schedule: Schedule::parse(text).unwrap(), duration: Duration::from_mins(minutes) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fire_is_decided_against_on_its_days_off_and_in_its_blackouts_alone(
        text in select(&["*/7 * * * *", "0 3 * * *", "30 */2 * * *"][..]),
        zone in select(&["Asia/Seoul", "America/New_York"][..]),
        dark in select(&["0 0 * * *", "*/50 * * * *", "0 2 * * 0", "@every 5h"][..]), minutes in 1_u64..400,
        off in proptest::collection::btree_set(0_i64..6, 0..3), weekends in any::<bool>(),
    ) {
        let first: Date = "2026-11-01".parse().unwrap();
        let holidays: BTreeSet<Date> = off.iter().map(|days| first.checked_add(days.days()).unwrap()).collect();
        let mut spec = job(&[text], zone);
        spec.calendar = Some(rule(holidays.iter().copied(), OnHoliday::Skip, weekends));
        spec.blackouts = vec![blackout(dark, minutes)];
        let (from, to) = (at("2026-10-31T00:00:00Z"), at("2026-11-06T00:00:00Z"));
        // Every minute that a blackout covers, marked one by one.
        let mut covered = BTreeSet::new();
        let mut begins = from - SignedDuration::from_hours(24 * 8);
        while let Some(begin) = spec.blackouts[0].schedule.next(&spec.zone, begins).filter(|begin| *begin < to) {
            covered.extend((0..minutes).map(|minute| begin + Duration::from_mins(minute)));
            begins = begin;
        }
        let mut started = Vec::new();
        for fire in fires(&spec, from).take_while(|fire| fire.at < to) {
            let date = spec.zone.to_datetime(fire.at).date();
            let is_weekend = matches!(date.weekday().to_monday_one_offset(), 6 | 7);
            let reason = exclusion(&spec, fire.at);
            let is_off = holidays.contains(&date) || (weekends && is_weekend);
            prop_assert_eq!(matches!(reason, Some(Reason::Holiday { .. })), is_off, "{}", fire.at);
            let is_dark = matches!(reason, Some(Reason::Blackout { .. }));
            prop_assert_eq!(is_dark, !is_off && covered.contains(&fire.at), "{}", fire.at);
            if let Some(Reason::Blackout { since, until }) = reason {
                prop_assert!(since <= fire.at && fire.at < until);
            }
            started.extend(exclusion(&spec, fire.at).is_none().then_some(fire.at));
        }
        let starts = |after: Timestamp| next_start(&spec, after).map(|fire| fire.at).filter(|at| *at < to);
        let found: Vec<_> = std::iter::successors(starts(from), |at| starts(*at)).collect();
        prop_assert_eq!(found, started);
    }
}

#[test]
fn a_job_fires_from_its_first_day_to_the_end_of_its_last() {
    let mut spec = job(&["0 0 * * *", "0 12 * * *"], "Asia/Seoul");
    spec.from = Some(at("2026-03-01T00:00:00+09:00"));
    spec.until = Some(at("2026-03-03T00:00:00+09:00"));
    let found: Vec<_> = fires(&spec, at("2020-01-01T00:00:00Z")).map(|fire| fire.at).collect();
    let days = ["2026-03-01T00:00:00", "2026-03-01T12:00:00", "2026-03-02T00:00:00", "2026-03-02T12:00:00"];
    assert_eq!(found, days.map(|day| at(&format!("{day}+09:00"))));
    assert_eq!(next_fire(&spec, at("2026-03-02T12:00:00+09:00")), None);
}

#[test]
fn a_job_that_is_always_dark_never_starts_and_is_not_searched_for_ever() {
    let mut spec = job(&["* * * * * *"], "Asia/Seoul");
    spec.blackouts = vec![blackout("0 0 * * *", 24 * 60)];
    assert_eq!(next_start(&spec, at("2026-01-01T00:00:00Z")), None);
    assert!(next_fire(&spec, at("2026-01-01T00:00:00Z")).is_some());
}
