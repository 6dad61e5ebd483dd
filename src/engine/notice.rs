//! What a message says, as facts. Its words are the channel's business.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::JobName;
use super::occurrence::Fire;
use super::reason::Reason;
use super::run::{Exit, LeftProcess, OutOfMemory, RunId, Status, Stop, Trigger};
use super::time::Timestamp;
use super::watch::RunConcern;

/// What a message says, as facts; its words are the channel's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Notice {
    /// A run ended badly: FAILED, TIMEOUT or LOST.
    Bad(BadRun),
    /// A job is well again.
    Recovered {
        /// The job.
        job: JobName,
        /// The good run.
        run: RunId,
        /// When the trouble began.
        since: Timestamp,
        /// When it was over.
        at: Timestamp,
        /// How many runs ended badly.
        bad_runs: u64,
    },
    /// Processes of a run do not die of SIGKILL: it goes on until they do.
    Unkillable {
        /// The job.
        job: JobName,
        /// The run.
        run: RunId,
        /// When SIGKILL was first sent.
        since: Timestamp,
        /// The processes.
        left: Vec<LeftProcess>,
    },
    /// Something is wrong with a run that goes on, waits, or has succeeded.
    Concern(RunConcern),
    /// A job has not succeeded for too long (`max_since_success`).
    NoSuccess {
        /// The job.
        job: JobName,
        /// The last success, or when the watch began.
        since: Timestamp,
        /// The longest time without one.
        limit: Duration,
        /// Whether the job is no longer configured.
        removed: bool,
    },
    /// Fires that are due and that nothing accounts for: found by the auditor.
    Unaccounted {
        /// When it looked.
        at: Timestamp,
        /// What is missing, by job.
        jobs: Vec<MissedFires>,
    },
    /// Fires were missed: one message per downtime.
    Missed {
        /// Why.
        reason: Reason,
        /// When jobd was last known to be there.
        since: Option<Timestamp>,
        /// When it was there again.
        until: Timestamp,
        /// What was missed, by job.
        jobs: Vec<MissedFires>,
    },
}

/// The facts of a run that ended badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRun {
    /// The job.
    pub job: JobName,
    /// The run.
    pub run: RunId,
    /// FAILED, TIMEOUT or LOST.
    pub status: Status,
    /// The fire, if it was one.
    pub scheduled_at: Option<Timestamp>,
    /// When the job was started, or was due if it never was.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Timestamp,
    /// How long it ran.
    pub duration: Duration,
    /// Its limit.
    pub timeout: Option<Duration>,
    /// How it ended, in words: `exit code 3`, `signal 9`, `chdir: /nope: …`.
    pub error: String,
    /// The same as facts, for words in another language.
    #[serde(default)]
    pub end: Option<End>,
    /// The last lines of its stderr.
    pub error_tail: String,
    /// What else one must know.
    pub remark: Option<String>,
    /// What the run was waiting for when it was made to end, in a line.
    #[serde(default)]
    pub waited_for: Option<String>,
}

/// How a run ended, as facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How its main process did.
    pub exit: Exit,
    /// Who ended it, when it did not end by itself.
    pub stop: Option<Stop>,
    /// What the kernel's out-of-memory killer did to it.
    pub oom: Option<OutOfMemory>,
}

/// The missed fires of one job in one downtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedFires {
    /// The job.
    pub job: JobName,
    /// The first instant.
    pub first: Timestamp,
    /// The last instant.
    pub last: Timestamp,
    /// How many fires were missed.
    pub fires: u64,
    /// How many of them are made up for, each by a run of its own.
    pub caught_up: u64,
    /// How many of them a later run stands for (`catch_up = "latest"`).
    #[serde(default)]
    pub folded: u64,
    /// How many of them would have been made up for, and were skipped for another reason.
    #[serde(default)]
    pub skipped: u64,
    /// How many of them a person may still want: within the window of a job that makes up for nothing by itself.
    #[serde(default)]
    pub waiting: u64,
}

impl MissedFires {
    /// Fires of a job, oldest first, of which nothing is decided yet; without any, it is of no use.
    #[must_use]
    pub fn of(job: &JobName, fires: &[Fire]) -> Self {
        let at = |fire: Option<&Fire>| fire.map_or(Timestamp::UNIX_EPOCH, |fire| fire.at);
        Self {
            job: job.clone(),
            first: at(fires.first()),
            last: at(fires.last()),
            fires: fires.len() as u64,
            caught_up: 0,
            folded: 0,
            skipped: 0,
            waiting: 0,
        }
    }

    /// One of them was to be made up for: by this run, or it was skipped.
    pub(super) fn count(&mut self, trigger: Trigger, run: Option<RunId>) {
        if trigger == Trigger::CatchUp {
            self.caught_up += u64::from(run.is_some());
            self.skipped += u64::from(run.is_none());
        }
    }

    /// Whether all of them are made up for, within a time that nobody calls a downtime.
    pub(super) fn is_trifle(&self, now: Timestamp, tolerance: Duration) -> bool {
        self.caught_up + self.folded == self.fires
            && now <= self.first.saturating_add(tolerance).unwrap_or(self.first)
    }

    /// Joins what is said of the same job.
    pub(super) fn by_job(all: Vec<Self>) -> Vec<Self> {
        let mut joined: BTreeMap<JobName, Self> = BTreeMap::new();
        for missed in all {
            match joined.get_mut(&missed.job) {
                None => drop(joined.insert(missed.job.clone(), missed)),
                Some(known) => {
                    known.first = known.first.min(missed.first);
                    known.last = known.last.max(missed.last);
                    known.fires += missed.fires;
                    known.caught_up += missed.caught_up;
                    known.folded += missed.folded;
                    known.skipped += missed.skipped;
                    known.waiting += missed.waiting;
                }
            }
        }
        joined.into_values().collect()
    }
}
