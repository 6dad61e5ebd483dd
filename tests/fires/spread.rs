//! Jitter: a start is spread within its slot, the same way each time.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jobctl::engine::calendar::{Blackout, OnHoliday};
use jobctl::engine::job::{JobName, JobSpec};
use jobctl::engine::occurrence::{Fire, fires, next_fire};
use jobctl::engine::schedule::Schedule;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{at, job, rule};

fn some(spec: &JobSpec, after: Timestamp) -> Vec<Fire> {
    fires(spec, after).take(200).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_start_is_spread_within_its_slot(
        text in select(&["* * * * * *", "*/5 * * * *", "0 3 * * *", "0 2,3 * * 0", "@every 90s", "0 0 29 2 *"][..]),
        zone in select(&["Asia/Seoul", "America/New_York"][..]), seconds in 1_u64..20_000,
        start in 1_700_000_000_i64..1_800_000_000, moves in any::<bool>(),
    ) {
        let mut spec = job(&[text], zone);
        let plain = some(&spec, Timestamp::from_second(start).unwrap());
        if moves && !text.starts_with('@') {
            let days = plain.iter().take(3).map(|fire| spec.zone.to_datetime(fire.at).date());
            spec.calendar = Some(rule(days.collect::<Vec<_>>(), OnHoliday::Next, true));
        }
        let expected = some(&spec, Timestamp::from_second(start).unwrap());
        spec.jitter = Duration::from_secs(seconds);
        let found = some(&spec, Timestamp::from_second(start).unwrap());
        prop_assert!(expected.iter().all(|fire| fire.starts == fire.at));
        let instants = |fires: &[Fire]| fires.iter().map(|fire| fire.at).collect::<Vec<_>>();
        prop_assert_eq!(instants(&found), instants(&expected), "its identity does not change");
        for pair in found.windows(2) {
            prop_assert!(pair[0].at <= pair[0].starts && pair[0].starts < pair[1].at, "{:?}", pair);
        }
        for fire in &found {
            prop_assert!(fire.starts.duration_since(fire.at).unsigned_abs() < Duration::from_secs(seconds));
            let again = next_fire(&spec, fire.at - SignedDuration::from_nanos(1));
            prop_assert_eq!(again, Some(*fire), "from wherever one looks");
        }
    }
}

#[test]
fn starts_are_spread_over_the_whole_of_it() {
    let mut spec = job(&["0 * * * *"], "UTC");
    spec.jitter = Duration::from_mins(10);
    let minute = |fire: &Fire| fire.starts.duration_since(fire.at).as_mins();
    let minutes: BTreeSet<_> = some(&spec, at("2026-01-01T00:00:00Z")).iter().map(minute).collect();
    assert_eq!(minutes.into_iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    let of = |name: &str| {
        let spec = JobSpec { name: JobName::new(name).unwrap(), ..spec.clone() };
        next_fire(&spec, at("2026-01-01T00:00:00Z")).unwrap().starts
    };
    let starts: BTreeSet<_> = (0..100).map(|number| of(&format!("job-{number}"))).collect();
    assert!(starts.len() > 95, "100 jobs have {} starts", starts.len());
}

#[test]
fn nothing_is_spread_into_a_blackout() {
    let mut spec = job(&["58 23 * * *"], "Asia/Seoul");
    spec.jitter = Duration::from_hours(1);
    let schedule = Schedule::parse("0 0 * * *").unwrap();
    spec.blackouts = vec![Blackout { schedule, duration: Duration::from_hours(2) }];
    for fire in some(&spec, at("2026-01-01T00:00:00Z")) {
        assert!(fire.starts.duration_since(fire.at) < SignedDuration::from_mins(2), "{fire:?}");
    }
}
