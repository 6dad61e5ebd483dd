//! Who waits for a start, and for what: nobody is looked at twice for the same thing.
//!
//! **Invariant:** a run is either *ready*, which means it is to be looked at, or *parked* under the one thing that it
//! was last found to wait for. What is parked is looked at again when that thing may have come: where one start uses it
//! up (a turn, a lock, places), the first in order alone, and the next one after it; else all of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::admission::{LockName, PoolName};
use super::job::JobName;
use super::run::RunId;
use super::time::{Monotonic, Timestamp};

/// The order among those that wait: by priority, then by the instant they were due, then by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: Reverse<i32>,
    pub(super) due: Timestamp,
    pub(super) run: RunId,
}

/// What a run is parked under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wait {
    /// Another run of its job. Whoever was started by hand does not stand behind runs that wait.
    Turn {
        job: JobName,
        by_hand: bool,
    },
    Lock(LockName),
    Pool(PoolName),
    /// The next place among the catch-ups of all jobs.
    Pace,
    /// The end of a pause.
    Resume,
    /// An end of another job.
    After(JobName),
    /// More places than its pool has: its patience ends before they come.
    Nothing,
}

impl Wait {
    /// Whether one start may use it up.
    const fn is_used_up(&self) -> bool {
        !matches!(self, Self::Resume | Self::After(_) | Self::Nothing)
    }
}

/// A run that waits.
#[derive(Debug)]
struct Waiting {
    job: JobName,
    rank: Rank,
    place: Place,
    expires: Option<Timestamp>,
}

#[derive(Debug, Clone)]
enum Place {
    /// To be looked at; taken out of where it was parked.
    Ready {
        from: Option<Wait>,
    },
    Parked(Wait),
    /// Until then, whatever else is free.
    Until(Monotonic),
}

/// All runs that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<RunId, Waiting>,
    ready: BTreeSet<Rank>,
    parked: BTreeMap<Wait, BTreeSet<Rank>>,
    timed: BTreeSet<(Monotonic, RunId)>,
    expiring: BTreeSet<(Timestamp, RunId)>,
    by_job: BTreeMap<JobName, BTreeSet<Rank>>,
}

impl Queue {
    /// A run begins to wait: not before `ready_at`, and not past `expires`.
    pub(super) fn join(
        &mut self,
        job: JobName,
        rank: Rank,
        ready_at: Option<Monotonic>,
        expires: Option<Timestamp>,
    ) {
        self.by_job.entry(job.clone()).or_default().insert(rank);
        if let Some(expires) = expires {
            self.expiring.insert((expires, rank.run));
        }
        let place = ready_at.map_or(Place::Ready { from: None }, Place::Until);
        self.waiting.insert(rank.run, Waiting { job, rank, place: place.clone(), expires });
        self.enter(rank, &place);
    }

    /// A run waits no longer. Who stood behind it is looked at.
    pub(super) fn leave(&mut self, run: RunId) {
        let Some(Waiting { job, rank, place, expires }) = self.waiting.remove(&run) else { return };
        if let Some(ranks) = self.by_job.get_mut(&job) {
            ranks.remove(&rank);
            if ranks.is_empty() {
                self.by_job.remove(&job);
            }
        }
        if let Some(expires) = expires {
            self.expiring.remove(&(expires, run));
        }
        self.exit(rank, &place);
        if let Place::Ready { from: Some(wait) } | Place::Parked(wait) = place {
            self.open(&wait);
        }
    }

    /// The first that is to be looked at.
    pub(super) fn next(&self) -> Option<RunId> {
        self.ready.first().map(|rank| rank.run)
    }

    /// It was looked at, and waits for this.
    pub(super) fn park(&mut self, run: RunId, wait: Wait) {
        self.move_to(run, Place::Parked(wait));
    }

    /// It was looked at, and waits for its time.
    pub(super) fn put_off(&mut self, run: RunId, until: Monotonic) {
        self.move_to(run, Place::Until(until));
    }

    fn move_to(&mut self, run: RunId, place: Place) {
        let Some(waiting) = self.waiting.get_mut(&run) else { return };
        let (rank, old) = (waiting.rank, std::mem::replace(&mut waiting.place, place.clone()));
        self.exit(rank, &old);
        self.enter(rank, &place);
        let Place::Ready { from: Some(from) } = old else { return };
        // It waits for something else than those behind it, so they are not answered for.
        if !matches!(place, Place::Parked(wait) if wait == from) {
            self.open(&from);
        }
    }

    /// What those parked under it wait for may have come.
    pub(super) fn open(&mut self, wait: &Wait) {
        let Some(ranks) = self.parked.get(wait) else { return };
        let many = if wait.is_used_up() { 1 } else { usize::MAX };
        let runs: Vec<RunId> = ranks.iter().take(many).map(|rank| rank.run).collect();
        for run in runs {
            let from = wait.is_used_up().then(|| wait.clone());
            self.move_to(run, Place::Ready { from });
        }
    }

    /// Those whose time has come are to be looked at.
    pub(super) fn pass_time(&mut self, now: Monotonic) {
        while let Some(&(at, run)) = self.timed.first()
            && at <= now
        {
            self.move_to(run, Place::Ready { from: None });
        }
    }

    /// The runs that may not wait any longer.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<RunId> {
        self.expiring.iter().take_while(|(at, _)| *at <= now).map(|(_, run)| *run).collect()
    }

    /// When the first of those is to be looked at that wait for their time.
    pub(super) fn next_time(&self) -> Option<Monotonic> {
        self.timed.first().map(|(at, _)| *at)
    }

    /// When the first of them may not wait any longer.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiring.first().map(|(at, _)| *at)
    }

    /// The runs of a job that wait, in order.
    pub(super) fn of_job(&self, job: &JobName) -> impl Iterator<Item = Rank> {
        self.by_job.get(job).into_iter().flatten().copied()
    }

    /// The first that is parked under this.
    pub(super) fn first_for(&self, wait: &Wait) -> Option<Rank> {
        self.parked.get(wait)?.first().copied()
    }

    fn enter(&mut self, rank: Rank, place: &Place) {
        match place {
            Place::Ready { .. } => self.ready.insert(rank),
            Place::Parked(wait) => self.parked.entry(wait.clone()).or_default().insert(rank),
            Place::Until(at) => self.timed.insert((*at, rank.run)),
        };
    }

    fn exit(&mut self, rank: Rank, place: &Place) {
        match place {
            Place::Ready { .. } => drop(self.ready.remove(&rank)),
            Place::Until(at) => drop(self.timed.remove(&(*at, rank.run))),
            Place::Parked(wait) => {
                if let Some(ranks) = self.parked.get_mut(wait) {
                    ranks.remove(&rank);
                    if ranks.is_empty() {
                        self.parked.remove(wait);
                    }
                }
            }
        }
    }
}
