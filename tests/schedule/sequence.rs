//! `next` and `previous` walk one sequence, whatever the expression, the zone and the instant.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use jobctl::engine::schedule::Schedule;
use proptest::prelude::*;
use proptest::sample::select;

use crate::expressions::{ZONES, expression};

/// Instants from the year 1800 to 2200, between seconds too.
fn instant() -> impl Strategy<Value = Timestamp> {
    let second = -5_364_662_400_i64..7_258_118_400;
    let nanosecond = prop_oneof![Just(0), 0..1_000_000_000_i32];
    (second, nanosecond).prop_map(|(second, nanosecond)| {
        Timestamp::from_second(second).unwrap() + SignedDuration::from_nanos(nanosecond.into())
    })
}

/// A moment close to a change of the zone's offset, where there is one.
fn near_a_change(zone: &TimeZone, instant: Timestamp, by: i64) -> Timestamp {
    zone.following(instant)
        .next()
        .map_or(instant, |change| change.timestamp() + SignedDuration::from_secs(by))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn next_and_previous_are_each_others_mirror(
        five in expression(false), six in expression(true), seconds in any::<bool>(), zone in select(&ZONES[..]),
        instant in instant(), close in any::<bool>(), by in -20_000..20_000_i64,
    ) {
        let expression = if seconds { six } else { five };
        let Ok(schedule) = Schedule::parse(&expression.text) else { return Ok(()) };
        let zone = TimeZone::get(zone).unwrap();
        let instant = if close { near_a_change(&zone, instant, by) } else { instant };

        let (Some(next), Some(previous)) = (schedule.next(&zone, instant), schedule.previous(&zone, instant)) else {
            // A job that asks for a time that its zone's clock leaves out each year it is asked for.
            prop_assert!(expression.is_wild());
            return Ok(());
        };
        prop_assert!(previous < instant && instant < next);
        prop_assert_eq!(next.subsec_nanosecond(), 0);

        // Nothing lies between two neighbours, from whichever of the instants between them one looks.
        let before_next = schedule.previous(&zone, next).unwrap();
        let after_previous = schedule.next(&zone, previous).unwrap();
        prop_assert!(before_next <= instant && instant <= after_previous);
        prop_assert_eq!(schedule.next(&zone, before_next), Some(next));
        prop_assert_eq!(schedule.previous(&zone, after_previous), Some(previous));
        let nanosecond = SignedDuration::from_nanos(1);
        prop_assert_eq!(schedule.next(&zone, next - nanosecond), Some(next));
        prop_assert_eq!(schedule.previous(&zone, previous + nanosecond), Some(previous));
        let middle = instant + next.duration_since(instant) / 2;
        prop_assert_eq!(schedule.next(&zone, middle.min(next - nanosecond)), Some(next));
    }

    #[test]
    fn every_names_the_multiples_of_its_interval(seconds in 1..5_000_000_i64, instant in instant()) {
        let schedule = Schedule::parse(&format!("@every {seconds}s")).unwrap();
        let (next, previous) =
            (schedule.next(&TimeZone::UTC, instant).unwrap(), schedule.previous(&TimeZone::UTC, instant).unwrap());
        prop_assert!(previous < instant && instant < next);
        prop_assert_eq!((next.as_second() % seconds, previous.as_second() % seconds), (0, 0));
        let on_a_multiple = instant.as_second() % seconds == 0 && instant.subsec_nanosecond() == 0;
        prop_assert_eq!(next.as_second() - previous.as_second(), seconds * if on_a_multiple { 2 } else { 1 });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_refused_never_matches(expression in expression(false)) {
        let refused = Schedule::parse(&expression.text).err();
        // These 28 years hold each of the 14 shapes that a year can have.
        let day = jiff::civil::date(2001, 1, 1);
        let matches = (0..10_227).any(|days| {
            expression.matches_day(day + SignedDuration::from_hours(24 * days))
        });
        prop_assert_eq!(refused.is_none(), matches, "{:?}", refused);
    }
}

#[test]
fn a_day_of_one_year_in_28_is_a_day() {
    for weekday in 0..7 {
        let schedule = Schedule::parse(&format!("0 0 * 2 {weekday}#5")).unwrap();
        let start = "2001-01-01T00:00:00Z".parse().unwrap();
        let fire = schedule.next(&TimeZone::UTC, start).unwrap();
        assert!(fire < "2029-01-01T00:00:00Z".parse().unwrap(), "{weekday}: {fire}");
    }
}
