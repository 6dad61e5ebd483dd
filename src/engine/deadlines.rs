//! What has to be looked at, and when: an index over all runs and jobs, so that those for which nothing is due cost
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::job::JobName;
use super::run::RunId;
use super::time::{Monotonic, Now, Timestamp};
use super::watch::ConcernKind;

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matter {
    /// Whether a run is a concern.
    Concern(RunId, ConcernKind),
    /// Whether the jobs before it have ended as they have to.
    Condition(RunId),
    /// Whether a job has succeeded.
    Success(JobName),
}

/// An instant on either clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// What a person has said in days and hours.
    Wall(Timestamp),
    /// What is a length of time.
    Monotonic(Monotonic),
}

/// All that is to be looked at: each matter once.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    at: BTreeMap<Matter, At>,
    wall: BTreeSet<(Timestamp, Matter)>,
    monotonic: BTreeSet<(Monotonic, Matter)>,
}

impl Deadlines {
    /// Looks at the matter then, and not at another time.
    pub(super) fn set(&mut self, matter: Matter, at: At) {
        self.drop(&matter);
        match at {
            At::Wall(at) => self.wall.insert((at, matter.clone())),
            At::Monotonic(at) => self.monotonic.insert((at, matter.clone())),
        };
        self.at.insert(matter, at);
    }

    /// Does not look at the matter.
    pub(super) fn drop(&mut self, matter: &Matter) {
        match self.at.remove(matter) {
            None => false,
            Some(At::Wall(at)) => self.wall.remove(&(at, matter.clone())),
            Some(At::Monotonic(at)) => self.monotonic.remove(&(at, matter.clone())),
        };
    }

    /// A run is over.
    pub(super) fn drop_run(&mut self, run: RunId) {
        let first = Matter::Concern(run, ConcernKind::NotStarted);
        let of_run = |matter: &&Matter| matches!(matter, Matter::Concern(of, _) if *of == run);
        let concerns: Vec<Matter> =
            self.at.range(first..).map(|(matter, _)| matter).take_while(of_run).cloned().collect();
        for matter in concerns.iter().chain([&Matter::Condition(run)]) {
            self.drop(matter);
        }
    }

    /// Something that is due, which then is not any more.
    pub(super) fn pop(&mut self, now: Now) -> Option<Matter> {
        let wall = self.wall.first().filter(|(at, _)| *at <= now.wall).map(|(_, matter)| matter);
        let monotonic =
            self.monotonic.first().filter(|(at, _)| *at <= now.monotonic).map(|(_, matter)| matter);
        let matter = wall.or(monotonic)?.clone();
        self.drop(&matter);
        Some(matter)
    }

    /// When something is due on the wall clock.
    pub(super) fn next_wall(&self) -> Option<Timestamp> {
        self.wall.first().map(|(at, _)| *at)
    }

    /// When something is due on the monotonic clock.
    pub(super) fn next_monotonic(&self) -> Option<Monotonic> {
        self.monotonic.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_matter_is_due_once_and_none_of_a_run_that_is_over() {
        let at = |second| At::Monotonic(Monotonic::new(Duration::from_secs(second)));
        let now = |second| Now {
            wall: Timestamp::from_second(1_000).unwrap(),
            monotonic: Monotonic::new(Duration::from_secs(second)),
            slept: Duration::ZERO,
        };
        let concern = |run, kind| Matter::Concern(RunId(run), kind);
        let mut deadlines = Deadlines::default();
        deadlines.set(concern(1, ConcernKind::Long), at(5));
        deadlines.set(concern(1, ConcernKind::Long), at(7));
        deadlines.set(concern(1, ConcernKind::NotFinished), At::Wall(Timestamp::from_second(1_001).unwrap()));
        deadlines.set(concern(2, ConcernKind::NotStarted), at(9));
        deadlines.set(Matter::Condition(RunId(1)), at(1));
        assert_eq!(deadlines.pop(now(6)), Some(Matter::Condition(RunId(1))));
        assert_eq!(deadlines.pop(now(6)), None);
        assert_eq!(deadlines.next_monotonic(), Some(Monotonic::new(Duration::from_secs(7))));
        deadlines.drop_run(RunId(1));
        assert_eq!(deadlines.next_wall(), None);
        assert_eq!(deadlines.pop(now(60)), Some(concern(2, ConcernKind::NotStarted)));
        assert_eq!(deadlines.pop(now(60)), None);
    }
}
