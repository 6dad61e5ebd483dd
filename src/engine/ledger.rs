//! What the engine asks of the store, as data: batches of changes out, answers and a snapshot in.
//!
//! **Invariant:** a batch is applied whole or not at all, and at most once: its number tells a store that has applied
//! it already to answer again and change nothing. So every batch may be sent twice, and a store that answers "failed"
//! after it has committed does no harm.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::{ChannelName, JobName};
use super::run::{Claim, LeftProcess, Report, RunId, Status, Trigger};
use super::time::Timestamp;

/// Changes that become durable together: all that is due at one instant is one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Counts up by one from the snapshot's `last_batch`.
    pub number: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// In order.
    pub changes: Vec<Change>,
}

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A job is known from here on, or its schedules have changed: its cursor is set, without regard to what it was.
    Know {
        /// The job.
        job: JobName,
        /// The fingerprint of its schedules and zone.
        schedule_hash: String,
        /// Every fire up to here is accounted for, or none of this job's business.
        cursor: Timestamp,
    },
    /// A job is no longer configured; when it comes back it is new.
    Forget {
        /// The job.
        job: JobName,
    },
    /// Every fire of the job up to here is accounted for. Never goes back.
    Advance {
        /// The job.
        job: JobName,
        /// The new cursor.
        cursor: Timestamp,
    },
    /// Runs were due at each boot (`@reboot`) and have been decided for this one.
    Booted {
        /// The kernel's boot id.
        boot_id: String,
    },
    /// A run is to be started (`status` RUNNING) or to wait for its turn (QUEUED). Answered, since another row may
    /// have the same (job, scheduled instant, attempt). A MISSED row of the same fire gives way: a fire that is made
    /// up for is its run's row.
    Claim {
        /// The promise.
        claim: Claim,
        /// Whether it waits.
        queued: bool,
    },
    /// A QUEUED run's turn has come.
    Start {
        /// The run.
        run: RunId,
        /// When.
        at: Timestamp,
    },
    /// A fire, or many of one kind in a row, without a run: a MISSED or SKIPPED row. Nothing happens where its
    /// (job, scheduled instant) has a row already.
    Account(Accounted),
    /// What one must know of a run that goes on. Never changes a row that is final.
    Note {
        /// The run.
        run: RunId,
        /// The words.
        reason: String,
    },
    /// A run is over; its claim goes, its row becomes final. Never changes a row that is final.
    Finish {
        /// The run.
        run: RunId,
        /// What the row says then.
        status: Status,
        /// The word ahead of the details: why it is MISSED, LOST, KILLED, …
        reason: Option<String>,
        /// The details. Without them nothing ever ran.
        report: Option<Box<Report>>,
        /// When it was over.
        at: Timestamp,
    },
    /// A job's trouble begins.
    OpenIncident {
        /// The job.
        job: JobName,
        /// Its first bad run.
        run: RunId,
        /// The bad outcome.
        status: Status,
        /// When.
        at: Timestamp,
    },
    /// Another bad outcome of a job in trouble.
    JoinIncident {
        /// The job.
        job: JobName,
        /// The bad outcome.
        status: Status,
    },
    /// The job is well again.
    CloseIncident {
        /// The job.
        job: JobName,
        /// The good run.
        run: RunId,
        /// When.
        at: Timestamp,
    },
    /// A message to be delivered at least once.
    Notify {
        /// The channel it goes to.
        channel: ChannelName,
        /// What it says.
        notice: Notice,
    },
}

/// A MISSED or SKIPPED row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounted {
    /// The row's number; it counts as a run's, so that a person can ask for it.
    pub run: RunId,
    /// The job.
    pub job: JobName,
    /// MISSED or SKIPPED.
    pub status: Status,
    /// The fire, or the first of many.
    pub scheduled_at: Timestamp,
    /// The last of many.
    pub scheduled_until: Option<Timestamp>,
    /// How many fires this row stands for, both ends included.
    pub fires: u64,
    /// Why, from a closed list.
    pub reason: Reason,
    /// The fingerprint of the job's entry.
    pub config_hash: String,
}

/// Why a fire has no run of its own: a closed set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// jobd was not running.
    Down,
    /// The wall clock passed over it: set forward, or the host slept.
    ClockMoved,
    /// jobd was running but could not act in time.
    Starved,
    /// jobd stopped after it had decided to start the run and before the job was started.
    NeverStarted,
    /// A run of the job was active.
    Overlap {
        /// The run in the way.
        run: RunId,
    },
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Down => f.write_str("jobd was not running"),
            Self::ClockMoved => f.write_str("the clock passed over it"),
            Self::Starved => f.write_str("jobd could not act in time"),
            Self::NeverStarted => f.write_str("jobd stopped before the job was started"),
            Self::Overlap { run } => write!(f, "run {run} was still active"),
        }
    }
}

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
    /// The last lines of its stderr.
    pub error_tail: String,
    /// What else one must know.
    pub remark: Option<String>,
    /// What the run was waiting for when it was made to end, in a line.
    #[serde(default)]
    pub waited_for: Option<String>,
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
    /// How many of them are made up for.
    pub caught_up: u64,
}

impl MissedFires {
    /// Whether all of them are made up for, within a time that nobody calls a downtime.
    pub(super) fn is_trifle(&self, now: Timestamp, tolerance: Duration) -> bool {
        self.caught_up == self.fires && now <= self.first.saturating_add(tolerance).unwrap_or(self.first)
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
                }
            }
        }
        joined.into_values().collect()
    }
}

/// The store's answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is ours, as this try of its fire.
    Granted {
        /// From 1. A manual run for an instant that has runs already is the next try.
        attempt: u32,
    },
    /// That fire is accounted for already; nothing was written.
    Taken,
}

/// What the store knows when jobd starts.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The number of the last batch applied; 0 for none.
    pub last_batch: u64,
    /// The highest run number ever given; 0 for none.
    pub last_run: u64,
    /// The last instant at which a batch was decided, or jobd said goodbye.
    pub last_seen: Option<Timestamp>,
    /// The boot for which `@reboot` was last decided.
    pub boot_id: Option<String>,
    /// Every job ever known.
    pub jobs: Vec<KnownJob>,
    /// Claims not yet settled, in the order of their numbers.
    pub open: Vec<OpenClaim>,
    /// Open incidents.
    pub incidents: Vec<OpenIncident>,
}

/// A job the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownJob {
    /// The job.
    pub job: JobName,
    /// The fingerprint of the schedules it was last known with.
    pub schedule_hash: String,
    /// Every fire up to here is accounted for.
    pub cursor: Timestamp,
}

/// A claim that is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenClaim {
    /// The promise.
    pub claim: Claim,
    /// Whether it was waiting for its turn.
    pub queued: bool,
    /// Whether its row has a note.
    pub noted: bool,
}

/// A job in trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIncident {
    /// The job.
    pub job: JobName,
    /// When it began.
    pub since: Timestamp,
    /// The kinds of bad outcome seen so far.
    pub kinds: Vec<Status>,
    /// How many runs ended badly.
    pub bad_runs: u64,
}

impl Trigger {
    /// Whether a claim of this trigger may be counted as a further try of a fire that has a row.
    #[must_use]
    pub const fn may_repeat(self) -> bool {
        matches!(self, Self::Manual)
    }
}
