//! A pause: who does not want a job, or any job, to be started, until when and why.

use serde::{Deserialize, Serialize};

use super::event::{Effect, Refusal, RequestId};
use super::job::JobName;
use super::ledger::Change;
use super::queue::Wait;
use super::reason::Reason;
use super::scheduler::Scheduler;
use super::time::{Now, Timestamp};

/// A pause that is in force. Fires of its time are SKIPPED; runs that are active go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The job; `None` is every job.
    pub job: Option<JobName>,
    /// Who paused it: `uid 1000 (mina)`.
    pub by: String,
    /// Since when: fires from here on are skipped.
    pub since: Timestamp,
    /// The first instant that is no longer paused; `None` until somebody resumes.
    pub until: Option<Timestamp>,
    /// The word of whoever paused it.
    pub why: Option<String>,
}

impl Pause {
    /// Whether it keeps the job from starting at the instant `at`.
    #[must_use]
    pub fn covers(&self, job: &JobName, at: Timestamp) -> bool {
        self.job.as_ref().is_none_or(|paused| paused == job)
            && self.since <= at
            && self.until.is_none_or(|until| at < until)
    }
}

/// The pauses in force: at most one a job, and one of all jobs.
#[derive(Debug, Default)]
pub(super) struct Pauses(Vec<Pause>);

impl Pauses {
    /// Takes up where the store left off.
    pub(super) const fn new(pauses: Vec<Pause>) -> Self {
        Self(pauses)
    }

    /// Whether a run of the job that waits is not to be started.
    pub(super) fn is_paused(&self, job: &JobName) -> bool {
        self.0.iter().any(|pause| pause.job.as_ref().is_none_or(|paused| paused == job))
    }

    /// Why a fire of the job that starts at `at` is skipped, if it is. The job's own pause is named first. Where the
    /// clock was set back to before a pause, that is in force all the same.
    pub(super) fn reason(&self, job: &JobName, at: Timestamp, now: Timestamp) -> Option<Reason> {
        let covers = |pause: &&Pause| {
            let at = if now < pause.since { pause.since } else { at };
            pause.covers(job, at)
        };
        let pause = self.0.iter().filter(covers).max_by_key(|pause| pause.job.is_some())?;
        let Pause { by, since, until, why, .. } = pause.clone();
        Some(Reason::Paused { by, since, until, why })
    }

    /// When the first of them is over.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(|pause| pause.until).min()
    }

    /// Takes the place of an earlier pause of the same.
    fn set(&mut self, pause: Pause) {
        self.end(pause.job.as_ref());
        self.0.push(pause);
    }

    /// Whether there was one.
    fn end(&mut self, job: Option<&JobName>) -> bool {
        let before = self.0.len();
        self.0.retain(|pause| pause.job.as_ref() != job);
        self.0.len() < before
    }

    /// Those whose time is over.
    fn over(&self, now: Timestamp) -> Vec<Pause> {
        self.0.iter().filter(|pause| pause.until.is_some_and(|until| until <= now)).cloned().collect()
    }
}

impl Scheduler {
    /// A person does not want a job, or any job, to be started. What was due until now is decided already.
    pub(super) fn pause_requested(
        &mut self,
        request: RequestId,
        pause: Pause,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(job) = pause.job.as_ref().filter(|job| self.agenda.spec(job).is_none()) {
            let answer = Err(Refusal::NoSuchJob { job: job.clone() });
            effects.push(Effect::Reply { request, answer });
            return;
        }
        let pause = Pause { since: now.wall, ..pause };
        self.journal.push(Change::Pause(pause.clone()));
        self.withdraw_paused(pause.job.as_ref());
        self.pauses.set(pause);
        self.answer_when_durable(request);
    }

    /// A person wants a job, or all jobs, started again.
    pub(super) fn resume_requested(
        &mut self,
        request: RequestId,
        job: Option<JobName>,
        by: String,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.pauses.end(job.as_ref()) {
            self.journal.push(Change::Resume { job, by: Some(by), at: now.wall });
            self.answer_when_durable(request);
            self.queue.open(&Wait::Resume);
            return;
        }
        let refusal = match job {
            Some(job) if self.agenda.spec(&job).is_none() => Refusal::NoSuchJob { job },
            job => Refusal::NotPaused { job },
        };
        effects.push(Effect::Reply { request, answer: Err(refusal) });
    }

    /// The pauses whose time is over end; what was due in them is decided already.
    pub(super) fn end_pauses(&mut self, now: Now) {
        for Pause { job, until, .. } in self.pauses.over(now.wall) {
            self.pauses.end(job.as_ref());
            self.journal.push(Change::Resume { job, by: None, at: until.unwrap_or(now.wall) });
            self.queue.open(&Wait::Resume);
        }
    }
}
