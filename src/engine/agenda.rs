//! Who is due when: each job's cursor and next fire.
//!
//! **Invariant:** every fire up to a job's cursor is accounted for, and the cursor never goes back. When the wall clock
//! is set far back, jobs are walked through again from there; on that second pass the cursor still says which fires
//! have been accounted for on the first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::job::{JobName, JobSpec};
use super::occurrence::{Fire, next_fire};
use super::time::Timestamp;

/// The most fires of one job that are held at once: over a day of a job that fires each second. What is left is due
/// right after them.
const FIRES_PER_STEP: usize = 100_000;

/// The jobs and their next fires, in order.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    jobs: BTreeMap<JobName, Entry>,
    due: BTreeSet<(Timestamp, JobName)>,
}

#[derive(Debug)]
struct Entry {
    spec: Arc<JobSpec>,
    cursor: Timestamp,
    /// How far fires have been looked at: the cursor, or an instant before it on a second pass.
    position: Timestamp,
    next: Option<Fire>,
}

/// The fires of one job that are due.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) spec: Arc<JobSpec>,
    /// Oldest first.
    pub(super) fires: Vec<Fire>,
    /// How far the job has been looked at when these are decided.
    pub(super) until: Timestamp,
    /// Whether still more are due: then the newest one is not among these.
    pub(super) more: bool,
}

impl Agenda {
    /// Adds a job whose fires up to `cursor` are accounted for.
    pub(super) fn insert(&mut self, spec: Arc<JobSpec>, cursor: Timestamp) {
        let name = spec.name.clone();
        self.jobs.insert(name.clone(), Entry { spec, cursor, position: cursor, next: None });
        self.move_to(&name, cursor);
    }

    /// The job of this name.
    pub(super) fn spec(&self, name: &JobName) -> Option<&Arc<JobSpec>> {
        self.jobs.get(name).map(|entry| &entry.spec)
    }

    /// Every job.
    pub(super) fn specs(&self) -> impl Iterator<Item = &Arc<JobSpec>> {
        self.jobs.values().map(|entry| &entry.spec)
    }

    /// The next fire of a job.
    pub(super) fn next_fire(&self, name: &JobName) -> Option<Timestamp> {
        Some(self.jobs.get(name)?.next?.at)
    }

    /// When the next run of all is to start.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The fire that follows this one among those of all jobs, and its job; without one the first of all.
    pub(super) fn next_after(&self, last: Option<&(Timestamp, JobName)>) -> Option<(Timestamp, JobName)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.due.range((from, Bound::Unbounded)).next().cloned()
    }

    /// The next fire of a job with its job, unless it was accounted for on a first pass.
    pub(super) fn fresh_fire(&self, name: &JobName) -> Option<(Arc<JobSpec>, Fire)> {
        let entry = self.jobs.get(name)?;
        entry.next.filter(|next| next.at > entry.cursor).map(|next| (Arc::clone(&entry.spec), next))
    }

    /// The job's fire at this instant is accounted for, though it was not due here. Whether the cursor moved.
    pub(super) fn settle(&mut self, name: &JobName, instant: Timestamp) -> bool {
        let Some(entry) = self.jobs.get_mut(name).filter(|entry| entry.cursor < instant) else {
            return false;
        };
        let is_second_pass = entry.position < entry.cursor;
        entry.cursor = instant;
        if !is_second_pass {
            self.move_to(name, instant);
        }
        true
    }

    /// The jobs with a fire not after `now`. Fires that are accounted for already and older than the job's tolerance
    /// are left out: nothing is to be decided about them.
    pub(super) fn due(&self, now: Timestamp, tolerance: impl Fn(&JobSpec) -> Duration) -> Vec<Due> {
        let is_due = |(at, _): &&(Timestamp, JobName)| *at <= now;
        let entries = self.due.iter().take_while(is_due).filter_map(|(_, name)| self.jobs.get(name));
        entries.map(|entry| entry.due(now, tolerance(&entry.spec))).collect()
    }

    /// Whether this fire of the job was accounted for on a pass before.
    pub(super) fn is_settled(&self, name: &JobName, fire: Timestamp) -> bool {
        self.jobs.get(name).is_some_and(|entry| fire <= entry.cursor)
    }

    /// Every fire of the job up to `instant` has been looked at. The cursor, if it moved.
    pub(super) fn pass(&mut self, name: &JobName, instant: Timestamp) -> Option<Timestamp> {
        let entry = self.jobs.get_mut(name)?;
        let moved = entry.cursor < instant;
        entry.cursor = entry.cursor.max(instant);
        self.move_to(name, instant);
        moved.then_some(instant)
    }

    /// Walks through all fires after `instant` again.
    pub(super) fn rewind(&mut self, instant: Timestamp) {
        let ahead = self.jobs.iter().filter(|(_, entry)| entry.position > instant);
        let names: Vec<JobName> = ahead.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.move_to(&name, instant);
        }
    }

    fn move_to(&mut self, name: &JobName, position: Timestamp) {
        let Some(entry) = self.jobs.get_mut(name) else { return };
        if let Some(next) = entry.next.take() {
            self.due.remove(&(next.starts, name.clone()));
        }
        entry.position = position;
        entry.next = next_fire(&entry.spec, position);
        if let Some(next) = entry.next {
            self.due.insert((next.starts, name.clone()));
        }
    }
}

impl Entry {
    fn due(&self, now: Timestamp, tolerance: Duration) -> Due {
        let fresh = now.saturating_sub(tolerance).unwrap_or(now);
        let settled = self.cursor.min(fresh).max(self.position);
        let after = |fire: &Fire| next_fire(&self.spec, fire.at);
        let fires = std::iter::successors(next_fire(&self.spec, settled), after);
        let fires: Vec<Fire> = fires.take_while(|fire| fire.starts <= now).take(FIRES_PER_STEP).collect();
        // Even where every due fire is settled, the pass has to get beyond them.
        let until = fires.last().map_or(settled, |fire| fire.at);
        let more = fires.len() == FIRES_PER_STEP;
        Due { spec: Arc::clone(&self.spec), fires, until, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::job::Command;
    use crate::engine::schedule::Schedule;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn job(schedule: &str, jitter: Duration) -> Arc<JobSpec> {
        let mut spec = JobSpec::new(JobName::new("backup").unwrap(), Command::Shell("true".to_owned()));
        spec.schedules = vec![Schedule::parse(schedule).unwrap()];
        spec.jitter = jitter;
        Arc::new(spec)
    }

    /// Walks from `from` to `to` as the clock shows it, second by second. When each fire was offered.
    fn walk(agenda: &mut Agenda, from: i64, to: i64, tolerance: Duration) -> Vec<(Timestamp, Fire)> {
        let mut offered = Vec::new();
        for second in from..to {
            for due in agenda.due(at(second), |_| tolerance) {
                offered.extend(due.fires.iter().map(|fire| (at(second), *fire)));
                agenda.pass(&due.spec.name, due.until);
            }
        }
        offered
    }

    #[test]
    fn a_fire_is_due_when_it_starts_and_the_cursor_is_its_instant() {
        let spec = job("*/5 * * * *", MINUTE * 4);
        let mut agenda = Agenda::default();
        agenda.insert(Arc::clone(&spec), at(0));
        let expected = fires_until(&spec, at(0), at(36_000));
        assert!(expected.iter().any(|fire| fire.starts > fire.at));
        assert_eq!(agenda.next_due(), Some(expected[0].starts));
        let offered = walk(&mut agenda, 0, 36_300, MINUTE);
        assert_eq!(offered.len(), expected.len());
        for ((when, fire), expected) in offered.iter().zip(&expected) {
            assert_eq!(fire, expected);
            let late = when.duration_since(fire.starts);
            assert!((0..=1_000).contains(&late.as_millis()), "{fire:?} was offered at {when}");
        }
        assert_eq!(agenda.next_fire(&spec.name), Some(at(36_300)));
    }

    #[test]
    fn on_a_second_pass_no_old_fire_is_offered_and_no_new_one_lost() {
        let spec = job("*/5 * * * *", MINUTE * 4);
        let mut agenda = Agenda::default();
        agenda.insert(Arc::clone(&spec), at(0));
        let first = walk(&mut agenda, 0, 36_000, MINUTE);
        agenda.rewind(at(7_200));
        let second = walk(&mut agenda, 7_200, 72_000, MINUTE);
        let accounted = first.iter().map(|(_, fire)| fire.at).max().unwrap();
        // What is offered again is young enough to be answered by the store.
        let again = second.iter().filter(|(_, fire)| fire.at <= accounted);
        assert!(again.into_iter().all(|(when, fire)| when.duration_since(fire.at).as_secs() <= 60));
        let fresh: Vec<Fire> =
            second.iter().map(|(_, fire)| *fire).filter(|fire| fire.at > accounted).collect();
        assert_eq!(fresh, fires_until(&spec, accounted, at(71_700)));
    }

    #[test]
    fn a_downtime_offers_all_that_has_started_and_nothing_that_has_not() {
        let spec = job("* * * * *", Duration::from_secs(50));
        let mut agenda = Agenda::default();
        agenda.insert(Arc::clone(&spec), at(0));
        let now = at(86_430);
        let due = agenda.due(now, |_| MINUTE).pop().unwrap();
        let started = |fire: &Fire| fire.starts <= now;
        let expected: Vec<Fire> = fires_until(&spec, at(0), now).into_iter().filter(started).collect();
        assert_eq!(due.fires, expected);
        assert_eq!(due.until, expected.last().unwrap().at);
        assert!(!due.more);
    }

    /// The fires after one instant up to another.
    fn fires_until(spec: &JobSpec, after: Timestamp, upto: Timestamp) -> Vec<Fire> {
        crate::engine::occurrence::fires(spec, after).take_while(|fire| fire.at <= upto).collect()
    }
}
