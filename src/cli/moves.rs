//! Which fires of a job a new entry adds, drops and moves.

use std::iter::Peekable;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::stretch::Stretch;
use crate::engine::job::JobSpec;
use crate::engine::occurrence::{exclusion, fires};
use crate::engine::time::Timestamp;

/// How many fires of each kind are shown.
const SHOWN: usize = 2;

/// The starts that change within a stretch: those that one entry has and the other has not. What changes within a day
/// is a move, the first of the day to the first, and so on.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Moves {
    pub(crate) added: u64,
    pub(crate) dropped: u64,
    pub(crate) moved: u64,
    /// The first ones.
    pub(crate) first_added: Vec<Timestamp>,
    /// The first ones.
    pub(crate) first_dropped: Vec<Timestamp>,
    /// The first ones, from the one instant to the other.
    pub(crate) first_moved: Vec<(Timestamp, Timestamp)>,
    /// Where the comparison ended, if that was before the stretch's end: there were too many fires.
    pub(crate) ended_early: Option<Timestamp>,
}

impl Moves {
    /// Compares the starts of two entries, of which one may not be there. What is looked at is taken off the budget;
    /// without one the comparison ends.
    pub(crate) fn between(
        old: Option<&JobSpec>,
        new: Option<&JobSpec>,
        stretch: &Stretch,
        budget: &mut u64,
    ) -> Self {
        let zone = new.or(old).map_or(TimeZone::UTC, |spec| spec.zone.clone());
        let mut moves = Self::default();
        let mut old = starts(old, stretch).peekable();
        let mut new = starts(new, stretch).peekable();
        while let Some(&next) = old.peek().into_iter().chain(new.peek()).min() {
            if *budget == 0 {
                moves.ended_early = Some(next);
                break;
            }
            let day = next.to_zoned(zone.clone()).date();
            let (before, after) = (of_day(&mut old, day, &zone), of_day(&mut new, day, &zone));
            *budget = budget.saturating_sub((before.len() + after.len()) as u64);
            moves.add_day(&before, &after);
        }
        moves
    }

    /// Whether no start changes, as far as one has looked.
    pub(crate) const fn is_empty(&self) -> bool {
        self.added == 0 && self.dropped == 0 && self.moved == 0 && self.ended_early.is_none()
    }

    fn add_day(&mut self, before: &[Timestamp], after: &[Timestamp]) {
        let mut dropped = before.iter().filter(|at| after.binary_search(at).is_err());
        let mut added = after.iter().filter(|at| before.binary_search(at).is_err());
        loop {
            match (dropped.next(), added.next()) {
                (Some(&from), Some(&to)) => keep(&mut self.moved, &mut self.first_moved, (from, to)),
                (Some(&at), None) => keep(&mut self.dropped, &mut self.first_dropped, at),
                (None, Some(&at)) => keep(&mut self.added, &mut self.first_added, at),
                (None, None) => return,
            }
        }
    }
}

fn keep<T>(count: &mut u64, first: &mut Vec<T>, one: T) {
    *count += 1;
    if first.len() < SHOWN {
        first.push(one);
    }
}

/// When the runs of a job start, in order.
fn starts<'a>(spec: Option<&'a JobSpec>, stretch: &Stretch) -> impl Iterator<Item = Timestamp> + use<'a> {
    let (before, to) = (stretch.before(), stretch.to);
    let all = spec.into_iter().flat_map(move |spec| {
        fires(spec, before).take_while(move |fire| fire.at < to).map(move |fire| (spec, fire))
    });
    all.filter(|(spec, fire)| exclusion(spec, fire.at).is_none()).map(|(_, fire)| fire.starts)
}

fn of_day(
    starts: &mut Peekable<impl Iterator<Item = Timestamp>>,
    day: Date,
    zone: &TimeZone,
) -> Vec<Timestamp> {
    let is_same = |at: &Timestamp| at.to_zoned(zone.clone()).date() == day;
    std::iter::from_fn(|| starts.next_if(is_same)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::spec;
    use super::*;

    fn month() -> Stretch {
        let at = |text: &str| text.parse().unwrap();
        Stretch { from: at("2026-11-01T00:00:00Z"), to: at("2026-12-01T00:00:00Z") }
    }

    fn between(old: Option<&str>, new: Option<&str>) -> Moves {
        let (old, new) = (old.map(|text| spec("job", text)), new.map(|text| spec("job", text)));
        Moves::between(old.as_ref(), new.as_ref(), &month(), &mut 1_000_000)
    }

    #[test]
    fn a_fire_moves_within_its_day() {
        let moves = between(Some("0 3 * * *"), Some("30 3 * * *"));
        assert_eq!((moves.added, moves.dropped, moves.moved), (0, 0, 30));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(moves.first_moved[0], (at("2026-11-01T03:00:00Z"), at("2026-11-01T03:30:00Z")));
        assert_eq!(moves.first_moved.len(), SHOWN);
        let moves = between(Some("0 3 * * 1"), Some("0 3 * * 2"));
        assert_eq!((moves.added, moves.dropped, moves.moved), (4, 5, 0), "another day is another fire");
    }

    #[test]
    fn what_is_new_is_added_and_what_is_gone_is_dropped() {
        let moves = between(None, Some("0 3 * * *"));
        assert_eq!((moves.added, moves.dropped, moves.moved), (30, 0, 0));
        let moves = between(Some("0 3 * * *"), None);
        assert_eq!((moves.added, moves.dropped, moves.moved), (0, 30, 0));
        let moves = between(Some("0 * * * *"), Some("*/30 * * * *"));
        assert_eq!((moves.added, moves.dropped, moves.moved), (720, 0, 0));
        assert!(between(Some("0 3 * * *"), Some("0 3 * * *")).is_empty());
    }

    #[test]
    fn a_job_that_fires_each_second_is_compared_up_to_a_bound() {
        let mut budget = 200_000;
        let (old, new) = (spec("job", "* * * * * *"), spec("job", "*/2 * * * * *"));
        let moves = Moves::between(Some(&old), Some(&new), &month(), &mut budget);
        assert_eq!((moves.dropped, budget), (43_200 * 2, 0));
        assert_eq!(moves.ended_early, Some("2026-11-03T00:00:00Z".parse().unwrap()));
        assert!(!moves.is_empty());
    }
}
