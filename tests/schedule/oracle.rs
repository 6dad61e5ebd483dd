//! A naive reading of the rule: the clock is watched step by step, as a cron daemon would watch it, through the days
//! around a change of the zone's offset. What it sees must be what `next` and `previous` name.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use jobctl::engine::schedule::Schedule;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::expressions::{Expression, ZONES, expression};

const THREE_HOURS: SignedDuration = SignedDuration::from_hours(3);

/// All fires in a stretch of time that begins well away from any change of offset; the clock shows a new time at
/// each step.
fn fires(
    expression: &Expression,
    zone: &TimeZone,
    from: Timestamp,
    to: Timestamp,
    step: i64,
) -> Vec<Timestamp> {
    let step = SignedDuration::from_secs(step);
    let mut fires = Vec::new();
    let mut last = zone.to_datetime(from - step);
    let mut quiet_until = DateTime::MIN;
    let mut owed = false;
    let mut now = from;
    while now < to {
        let civil = zone.to_datetime(now);
        let jump = civil.duration_since(last) - step;
        if !expression.is_wild() && jump.abs() <= THREE_HOURS {
            if jump.is_negative() {
                quiet_until = last + step;
            }
            let mut left_out = last + step;
            while left_out < civil {
                owed |= expression.matches(left_out);
                left_out += step;
            }
        }
        let made_up = owed && civil.second() == 0;
        if made_up || (expression.matches(civil) && civil >= quiet_until) {
            fires.push(now);
        }
        owed &= !made_up;
        last = civil;
        now += step;
    }
    fires
}

/// The first place at which two sequences differ.
fn difference(got: &[Timestamp], expected: &[Timestamp]) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
    let length = got.len().max(expected.len());
    let pairs = (0..length).map(|place| (got.get(place).copied(), expected.get(place).copied()));
    pairs.into_iter().find(|(got, expected)| got != expected)
}

/// Compares what the schedule names with what a watched clock shows, some hours around a change of the offset.
fn check(
    expression: &Expression,
    zone: &str,
    change: Index,
    since: &str,
    hours: i64,
    step: i64,
) -> Result<(), TestCaseError> {
    let Ok(schedule) = Schedule::parse(&expression.text) else {
        // Only a schedule that never fires is refused; `what_is_refused_never_matches` checks that.
        return Ok(());
    };
    let zone = TimeZone::get(zone).unwrap();
    let since: Timestamp = since.parse().unwrap();
    let changes: Vec<_> = zone.following(since).take(120).map(|change| change.timestamp()).collect();
    let change = if changes.is_empty() { since } else { *change.get(&changes) };
    // Some tables end with a change at 03:14:07 that changes nothing; the clock is watched at whole minutes.
    let change = Timestamp::from_second(change.as_second().div_euclid(60) * 60).unwrap();
    let (from, to) = (change - SignedDuration::from_hours(hours), change + SignedDuration::from_hours(hours));
    let expected = fires(expression, &zone, from, to, step);

    let mut forward = Vec::new();
    let mut after = from - SignedDuration::from_nanos(1);
    while let Some(fire) = schedule.next(&zone, after).filter(|fire| *fire < to) {
        forward.push(fire);
        after = fire;
    }
    prop_assert_eq!(difference(&forward, &expected), None, "next, around {}", change);

    let mut backward = Vec::new();
    let mut before = to;
    while let Some(fire) = schedule.previous(&zone, before).filter(|fire| *fire >= from) {
        backward.push(fire);
        before = fire;
    }
    backward.reverse();
    prop_assert_eq!(difference(&backward, &expected), None, "previous, around {}", change);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Offsets are whole minutes in all of these zones since 1973.
    #[test]
    fn minutes_are_those_that_a_watched_clock_shows(
        expression in expression(false), zone in select(&ZONES[..]), change in any::<Index>(),
    ) {
        check(&expression, zone, change, "1973-01-01T00:00:00Z", 40, 60)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Before standard time, offsets have seconds as well.
    #[test]
    fn seconds_are_those_that_a_watched_clock_shows(
        expression in expression(true), zone in select(&ZONES[..]), change in any::<Index>(),
    ) {
        check(&expression, zone, change, "1850-01-01T00:00:00Z", 4, 1)?;
    }
}

#[test]
fn a_jump_of_a_day_is_a_new_clock() {
    let zone = TimeZone::get("Pacific/Apia").unwrap();
    let daily = Schedule::parse("30 10 * * *").unwrap();
    // On 29 December 2011 at midnight the clock went to 31 December.
    let before = "2011-12-29T10:30:00-10:00".parse().unwrap();
    let after = "2011-12-31T10:30:00+14:00".parse().unwrap();
    assert_eq!(daily.next(&zone, before), Some(after));
    assert_eq!(daily.previous(&zone, after), Some(before));
}

#[test]
fn a_jump_back_of_a_day_shows_the_day_again() {
    let zone = TimeZone::get("Pacific/Kwajalein").unwrap();
    let kwajalein = zone.following("1969-01-01T00:00:00Z".parse().unwrap()).next().unwrap().timestamp();
    let daily = Schedule::parse("30 10 * * *").unwrap();
    let mut fires = Vec::new();
    let mut after = kwajalein - SignedDuration::from_hours(48);
    while fires.len() < 4 {
        after = daily.next(&zone, after).unwrap();
        fires.push(zone.to_datetime(after).day());
    }
    assert_eq!(fires, [29, 30, 30, 1]);
}

/// The fires of a schedule in a stretch of time, looked for from its beginning and from its end.
fn between(text: &str, zone: &TimeZone, from: &str, to: &str) -> Vec<String> {
    let schedule = Schedule::parse(text).unwrap();
    let (from, to): (Timestamp, Timestamp) = (from.parse().unwrap(), to.parse().unwrap());
    let forward: Vec<_> = std::iter::successors(schedule.next(zone, from), |fire| schedule.next(zone, *fire))
        .take_while(|fire| *fire < to)
        .collect();
    let mut backward: Vec<_> =
        std::iter::successors(schedule.previous(zone, to), |fire| schedule.previous(zone, *fire))
            .take_while(|fire| *fire > from)
            .collect();
    backward.reverse();
    assert_eq!(forward, backward, "{text}");
    forward.into_iter().map(|fire| zone.to_datetime(fire).time().to_string()).collect()
}

#[test]
fn a_gap_that_ends_within_a_minute_is_made_up_at_the_next() {
    // On 7 January 1972 the clock of Monrovia went from 00:00:00 to 00:44:30.
    let zone = TimeZone::get("Africa/Monrovia").unwrap();
    let morning = |text: &str| between(text, &zone, "1972-01-07T00:40:00Z", "1972-01-07T06:00:00Z");
    assert_eq!(morning("40 30,44 0 * * *"), ["00:44:40", "00:45:00"]);
    assert_eq!(morning("50 44,45 0 * * *"), ["00:44:50", "00:45:50"]);
    assert_eq!(morning("30 44 0 * * *"), ["00:44:30"], "the gap ends before this");
    assert_eq!(morning("0 30 0 * * *"), ["00:45:00"]);
}

#[test]
fn three_hours_are_shielded_and_a_minute_more_is_not() {
    let shielded = TimeZone::posix("STD0DST-3,J60/2,J300/5").unwrap();
    let year =
        |text: &str, zone: &TimeZone| between(text, zone, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
    assert_eq!(year("30 3 1 3 *", &shielded), ["05:00:00"]);
    assert_eq!(year("30 3 27 10 *", &shielded), ["03:30:00"]);
    let new_clock = TimeZone::posix("STD0DST-3:01,J60/2,J300/5").unwrap();
    assert_eq!(year("30 3 1 3 *", &new_clock), Vec::<String>::new());
    assert_eq!(year("30 3 27 10 *", &new_clock), ["03:30:00", "03:30:00"]);
}
