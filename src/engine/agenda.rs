//! Who is due when: each job's cursor and next fire.
//!
//! **Invariant:** every fire up to a job's cursor is accounted for, and the cursor never goes back. When the wall clock
//! is set far back, jobs are walked through again from there; on that second pass the cursor still says which fires
//! have been accounted for on the first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::job::{JobName, JobSpec};
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
    next: Option<Timestamp>,
}

/// The fires of one job that are due.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) spec: Arc<JobSpec>,
    /// Oldest first.
    pub(super) fires: Vec<Timestamp>,
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
        self.jobs.get(name)?.next
    }

    /// The next fire of all.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The jobs with a fire not after `now`. Fires that are accounted for already and older than the job's tolerance
    /// are left out: nothing is to be decided about them.
    pub(super) fn due(&self, now: Timestamp, tolerance: impl Fn(&JobSpec) -> Duration) -> Vec<Due> {
        let is_due = |(at, _): &&(Timestamp, JobName)| *at <= now;
        let entries = self.due.iter().take_while(is_due).filter_map(|(_, name)| self.jobs.get(name));
        entries.map(|entry| entry.due(now, tolerance(&entry.spec))).collect()
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
            self.due.remove(&(next, name.clone()));
        }
        entry.position = position;
        entry.next = next_fire(&entry.spec, position);
        if let Some(next) = entry.next {
            self.due.insert((next, name.clone()));
        }
    }
}

impl Entry {
    fn due(&self, now: Timestamp, tolerance: Duration) -> Due {
        let fresh = now.saturating_sub(tolerance).unwrap_or(now);
        let settled = self.cursor.min(fresh).max(self.position);
        let after = |fire: &Timestamp| next_fire(&self.spec, *fire);
        let fires = std::iter::successors(next_fire(&self.spec, settled), after).take_while(|at| *at <= now);
        let fires: Vec<Timestamp> = fires.take(FIRES_PER_STEP).collect();
        // Even where every due fire is settled, the pass has to get beyond them.
        let until = fires.last().copied().unwrap_or(settled);
        let more = fires.len() == FIRES_PER_STEP;
        Due { spec: Arc::clone(&self.spec), fires, until, more }
    }
}

/// The first instant after `after` that any of the job's schedules names: several that agree are one fire.
pub(super) fn next_fire(spec: &JobSpec, after: Timestamp) -> Option<Timestamp> {
    spec.schedules.iter().filter_map(|schedule| schedule.next(&spec.zone, after)).min()
}
