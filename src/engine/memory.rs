//! What is remembered of how jobs have ended: as much as is asked for, and no more.
//!
//! Jobs that wait for others need the ends of those; bounds that are learned need how long successes took.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::job::{JobName, JobSpec};
use super::ledger::{HISTORY_MAX, JobHistory};
use super::run::{Claim, Report, Status};
use super::time::Timestamp;
use super::watch::Usual;

/// The jobs of which the engine has to know how they have ended: what
/// [`Snapshot::history`](super::ledger::Snapshot::history) is asked for.
#[must_use]
pub fn remembered<'a>(specs: impl IntoIterator<Item = &'a JobSpec>) -> BTreeSet<JobName> {
    let mut names = BTreeSet::new();
    for spec in specs {
        if let Some(after) = &spec.after {
            names.extend(after.jobs.iter().cloned());
            // Its own ends too: it fires once for what comes before it.
            names.insert(spec.name.clone());
        }
        let learns = spec.watch.usual.is_some() || spec.auto_timeout.is_some();
        if learns || spec.watch.max_since_success.is_some() {
            names.insert(spec.name.clone());
        }
    }
    names
}

/// A bound that is learned, and what it is learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    /// The 95th percentile of the last successes.
    pub(super) usual: Duration,
    /// How many successes that is known from.
    pub(super) runs: usize,
    /// What is more than usual.
    pub(super) limit: Duration,
}

/// The ends of the jobs in question.
#[derive(Debug, Default)]
pub(super) struct Memory {
    of: BTreeMap<JobName, JobHistory>,
}

impl Memory {
    /// Of these jobs, with what the store knows of them.
    pub(super) fn new(names: BTreeSet<JobName>, mut known: BTreeMap<JobName, JobHistory>) -> Self {
        let of = names.into_iter().map(|name| {
            let mut history = known.remove(&name).unwrap_or_default();
            let last: BTreeMap<Timestamp, Status> = history.ends.iter().copied().collect();
            history.ends.retain(|(at, status)| last[at] == *status);
            (name, history)
        });
        Self { of: of.collect() }
    }

    /// A run is over.
    pub(super) fn remember(&mut self, claim: &Claim, report: &Report) {
        let Some(history) = self.of.get_mut(&claim.job) else { return };
        let status = report.status();
        if let Some(at) = claim.scheduled_at {
            history.ends.retain(|(other, _)| *other != at);
            push(&mut history.ends, (at, status));
        }
        if status == Status::Success {
            push(&mut history.successes, report.duration);
            history.last_success = history.last_success.max(Some(report.ended_at));
        }
    }

    /// The fires of a job whose last try is over, and how it ended.
    pub(super) fn ends(&self, job: &JobName) -> &[(Timestamp, Status)] {
        self.of.get(job).map_or(&[], |history| &history.ends)
    }

    /// When a job last succeeded.
    pub(super) fn last_success(&self, job: &JobName) -> Option<Timestamp> {
        self.of.get(job)?.last_success
    }

    /// What is more than usual for a job; `None` while too little is known.
    pub(super) fn bound(&self, job: &JobName, rule: Usual) -> Option<Bound> {
        let successes = &self.of.get(job)?.successes;
        let usual = percentile(successes).filter(|_| successes.len() >= rule.min_runs)?;
        let limit = Duration::try_from_secs_f64(usual.as_secs_f64() * rule.factor).unwrap_or(Duration::MAX);
        Some(Bound { usual, runs: successes.len(), limit: limit.max(rule.floor) })
    }
}

fn push<T>(last: &mut Vec<T>, new: T) {
    last.push(new);
    last.drain(..last.len().saturating_sub(HISTORY_MAX));
}

/// The 95th percentile by the nearest rank: the shortest that is not exceeded by 95 in 100. `None` of nothing.
fn percentile(durations: &[Duration]) -> Option<Duration> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * 95).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::job::Command;

    #[test]
    fn the_percentile_is_the_nearest_rank() {
        let seconds = |of: std::ops::RangeInclusive<u64>| of.map(Duration::from_secs).collect::<Vec<_>>();
        for (durations, rank) in
            [(1..=1, 1), (1..=2, 2), (1..=19, 19), (1..=20, 19), (1..=40, 38), (1..=50, 48)]
        {
            assert_eq!(percentile(&seconds(durations)), Some(Duration::from_secs(rank)));
        }
        assert_eq!(percentile(&[]), None);
        let unsorted: Vec<_> = [9, 1, 5].map(Duration::from_secs).into();
        assert_eq!(percentile(&unsorted), Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_bound_has_a_floor_and_needs_enough_to_learn_from() {
        let job = JobName::new("job").unwrap();
        let history = |successes: &[u64]| JobHistory {
            successes: successes.iter().copied().map(Duration::from_secs).collect(),
            ..JobHistory::default()
        };
        let limit = |successes: &[u64], factor: f64| {
            let known = BTreeMap::from([(job.clone(), history(successes))]);
            let rule = Usual { factor, floor: Duration::from_mins(1), min_runs: 3 };
            Memory::new(BTreeSet::from([job.clone()]), known).bound(&job, rule).map(|bound| bound.limit)
        };
        assert_eq!(limit(&[100, 100], 3.0), None);
        assert_eq!(limit(&[100, 240, 100], 3.0), Some(Duration::from_mins(12)));
        assert_eq!(limit(&[1, 1, 1], 3.0), Some(Duration::from_mins(1)));
        assert_eq!(limit(&[1, 1, 1], f64::MAX), Some(Duration::MAX));
    }

    #[test]
    fn only_what_is_asked_for_is_remembered() {
        let spec = |name: &str| JobSpec::new(JobName::new(name).unwrap(), Command::Shell("true".into()));
        let usual = Usual { factor: 3.0, floor: Duration::ZERO, min_runs: 5 };
        let learner = JobSpec { auto_timeout: Some(usual), ..spec("learner") };
        let names = remembered([&spec("other"), &learner]);
        assert_eq!(names, BTreeSet::from([JobName::new("learner").unwrap()]));
    }
}
