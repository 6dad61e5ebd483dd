//! Jobs that wait for other jobs: enough for "the backup after the statistics", and no more.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::{JobName, JobSpec};
use super::occurrence::Fire;
use super::queue::Wait;
use super::reason::Reason;
use super::run::{Claim, RunId, Status, Trigger};
use super::runs::Phase;
use super::scheduler::Scheduler;
use super::time::{Now, Timestamp};

/// What a job waits for.
///
/// A job with a schedule and this waits at its fire until each named job has ended so for the same day or fire. A job
/// without a schedule fires when they have, for their fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// The jobs that come first.
    pub jobs: Vec<JobName>,
    /// The end that counts.
    pub on: AfterEnd,
    /// What of theirs counts.
    pub same: Same,
    /// How long a fire waits before it is SKIPPED; without a schedule, how long after their fire theirs still counts.
    pub within: Duration,
}

/// The end of the jobs before that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterEnd {
    /// SUCCESS.
    #[default]
    Success,
    /// FAILED, TIMEOUT or LOST, with no retry to follow.
    Failure,
    /// Any end of a run, with no retry to follow.
    Always,
}

/// Which run of a job before counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Same {
    /// One for an instant of the same calendar day, in the waiting job's zone.
    #[default]
    Day,
    /// One for the same instant.
    Fire,
}

impl AfterEnd {
    /// Whether an end of this status is one that counts.
    #[must_use]
    pub const fn counts(self, status: Status) -> bool {
        match self {
            Self::Success => matches!(status, Status::Success),
            Self::Failure => status.is_bad(),
            Self::Always => status.is_final(),
        }
    }
}

impl Same {
    /// Whether one instant stands for the other, to that job.
    fn holds(self, spec: &JobSpec, one: Timestamp, other: Timestamp) -> bool {
        let date = |at: Timestamp| at.to_zoned(spec.zone.clone()).date();
        match self {
            Self::Fire => one == other,
            Self::Day => date(one) == date(other),
        }
    }
}

/// Which job comes before which: an index of `after`.
pub(super) fn followers<'a>(specs: impl IntoIterator<Item = &'a JobSpec>) -> BTreeMap<JobName, Vec<JobName>> {
    let mut followers: BTreeMap<JobName, Vec<JobName>> = BTreeMap::new();
    for spec in specs {
        for job in spec.after.iter().flat_map(|after| &after.jobs) {
            followers.entry(job.clone()).or_default().push(spec.name.clone());
        }
    }
    followers
}

impl Scheduler {
    /// The first of the jobs before a fire of the job that has not ended as it has to; `None` if all have.
    fn unmet<'a>(&self, spec: &'a JobSpec, at: Timestamp, since: Timestamp) -> Option<&'a JobName> {
        let after = spec.after.as_ref()?;
        let has_ended = |job: &JobName| {
            self.memory.ends(job).iter().any(|(fire, status)| {
                *fire >= since
                    && after.on.counts(*status)
                    && after.same.holds(spec, *fire, at)
                    && !self.is_active(job, *fire)
            })
        };
        after.jobs.iter().find(|job| !has_ended(job))
    }

    /// Whether a fire of the job is being run, or is tried again.
    fn is_active(&self, job: &JobName, at: Timestamp) -> bool {
        let mut runs = self.active.get(job).into_iter().flatten().filter_map(|id| self.runs.get(id));
        runs.any(|run| run.claim.scheduled_at == Some(at))
    }

    /// The job that a claim has to wait for. Who asks for a run by hand does not wait, and neither does what has begun
    /// once.
    pub(super) fn waits_for(&self, claim: &Claim) -> Option<JobName> {
        let is_own = matches!(claim.trigger, Trigger::Schedule | Trigger::CatchUp) && !claim.is_by_hand();
        let at = claim.scheduled_at.filter(|_| is_own)?;
        self.unmet(self.agenda.spec(&claim.job)?, at, Timestamp::MIN).cloned()
    }

    /// Sees to what waits for the fires that have just ended: a job with a schedule may have its turn, one without
    /// fires. In the same batch as the ends.
    pub(super) fn follow_ends(&mut self, now: Now) {
        while !self.ended.is_empty() {
            let ended = std::mem::take(&mut self.ended);
            for (job, _) in &ended {
                self.queue.open(&Wait::After(job.clone()));
            }
            // What waits has been waiting for longer than what fires now. It may end so, too.
            self.expire_waiting(now);
            self.start_waiting(now);
            for (job, at) in ended {
                self.fire_followers(&job, at, now);
            }
        }
    }

    fn fire_followers(&mut self, job: &JobName, at: Timestamp, now: Now) {
        for name in self.followers.get(job).cloned().unwrap_or_default() {
            let spec = self.agenda.spec(&name).filter(|spec| self.is_follower_due(spec, at, now.wall));
            let Some(spec) = spec.cloned() else { continue };
            let fire = Fire { at, starts: now.wall };
            match self.decided_against(&spec, fire, now) {
                Some(reason) => self.account(&spec, Status::Skipped, &[at], &reason),
                None => drop(self.fire(&spec, fire, Trigger::After, now)),
            }
        }
    }

    /// Whether a job without a schedule is to fire for an end of a job before it, once for what is the same.
    fn is_follower_due(&self, spec: &JobSpec, at: Timestamp, now: Timestamp) -> bool {
        let Some(after) = spec.after.as_ref().filter(|_| spec.schedules.is_empty()) else { return false };
        let since = now.saturating_sub(after.within).unwrap_or(Timestamp::MIN);
        let own = self.active.get(&spec.name).into_iter().flatten();
        let active = own.filter_map(|id| self.runs.get(id)?.claim.scheduled_at);
        let ended = self.memory.ends(&spec.name).iter().map(|(fire, _)| *fire);
        let has_fired = active.chain(ended).any(|fire| after.same.holds(spec, fire, at));
        at >= since && !has_fired && self.unmet(spec, at, since).is_none()
    }

    /// The time is over within which the jobs before a run had to end.
    pub(super) fn give_up_waiting(&mut self, id: RunId, now: Now) {
        let run = self.runs.get(&id).filter(|run| run.phase == Phase::Queued);
        if let Some(job) = run.and_then(|run| self.waits_for(&run.claim)) {
            self.end_waiting(id, Status::Skipped, &Reason::ConditionNotMet { job }, now);
        }
    }
}
