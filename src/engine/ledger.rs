//! What the engine asks of the store, as data: batches of changes out, answers and a snapshot in.
//!
//! **Invariant:** a batch is applied whole or not at all, and at most once: its number tells a store that has applied
//! it already to answer again and change nothing. So every batch may be sent twice, and a store that answers "failed"
//! after it has committed does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::job::{ChannelName, JobName};
use super::notice::Notice;
use super::pause::Pause;
use super::reason::Reason;
use super::run::{Claim, Report, RunId, Status, Trigger};
use super::time::Timestamp;
use super::watch::{ConcernKind, SuccessWatch};

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
    /// Nobody was there, or nobody could act, from the one instant to the other: for whoever asks why.
    Gap {
        /// The last instant before it.
        from: Timestamp,
        /// The first instant after it.
        until: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// A job, or every job, is not to be started. Takes the place of an earlier pause of the same.
    Pause(Pause),
    /// The pause of a job, or of every job, is over.
    Resume {
        /// The job; `None` is every job.
        job: Option<JobName>,
        /// Who ended it; `None` if its time was over.
        by: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// What is known of a job that must succeed every so often. Takes the place of what was known.
    KeepWatch(SuccessWatch),
    /// Nobody waits for a success of this job any more.
    DropWatch {
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
    /// have the same (job, scheduled instant, attempt). A MISSED row of the same fire gives way, and to what a person
    /// asks for a SKIPPED one too: a fire that is made up for is its run's row. A row that stands for many fires stays:
    /// it never stood for one with a row of its own.
    Claim {
        /// The promise.
        claim: Claim,
        /// Whether it waits.
        queued: bool,
    },
    /// A claim ahead of its instant: there is no row yet. Answered as a claim is; it gives way to nothing.
    Ahead {
        /// The promise.
        claim: Claim,
    },
    /// The instant of a claim ahead has come, and its process is started: its row is there from now on.
    Begin {
        /// The run.
        run: RunId,
        /// When.
        at: Timestamp,
    },
    /// A claim ahead of its instant is taken back; nothing was started.
    Withdraw {
        /// The run.
        run: RunId,
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
    /// A row that stands for many fires stands for more: it now reaches to `until`.
    Extend {
        /// The row's number.
        run: RunId,
        /// The last fire.
        until: Timestamp,
        /// How many more it stands for.
        fires: u64,
    },
    /// A concern about a run has been told, and is not told again.
    Told {
        /// The run.
        run: RunId,
        /// What about.
        concern: ConcernKind,
    },
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
    /// How many fires there are from the first to the last, both included. The row stands for those that have no row
    /// of their own, and is no try of any: its attempt is 0.
    pub fires: u64,
    /// Why, from a closed list.
    pub reason: Reason,
    /// The fingerprint of the job's entry.
    pub config_hash: String,
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
    /// Pauses in force, those whose time is over included.
    pub pauses: Vec<Pause>,
    /// Jobs that must succeed every so often, configured or not.
    pub watches: Vec<SuccessWatch>,
    /// How the jobs that were asked for have ended lately.
    pub history: BTreeMap<JobName, JobHistory>,
}

/// How a job's runs have ended lately.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobHistory {
    /// How long its last successes took, the latest last: at most [`HISTORY_MAX`].
    pub successes: Vec<Duration>,
    /// The ends of its last fires, the latest last: at most [`HISTORY_MAX`]. Of a fire tried more than once the last.
    pub ends: Vec<(Timestamp, Status)>,
    /// When it last succeeded.
    pub last_success: Option<Timestamp>,
}

/// How far back a job is remembered: enough for a 95th percentile, little enough for a hundred thousand jobs.
pub const HISTORY_MAX: usize = 50;

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

/// How far a claim has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// Its instant has not come: a process may wait at its gate, and no row is there.
    Ahead,
    /// It waits for its turn: QUEUED.
    Queued,
    /// It is to be started, or was: RUNNING.
    Due,
}

/// A claim that is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenClaim {
    /// The promise.
    pub claim: Claim,
    /// How far it has come.
    pub state: ClaimState,
    /// How many fires in a row it has kept from starting.
    pub skips: u64,
    /// What has been told of it.
    pub told: BTreeSet<ConcernKind>,
    /// Since when its row says RUNNING; `None` until it does.
    pub running_since: Option<Timestamp>,
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
    /// Whether a SKIPPED row gives way to a claim of this trigger: a person may want what a rule decided against.
    #[must_use]
    pub const fn may_undo_skip(self) -> bool {
        matches!(self, Self::CatchUp | Self::Manual)
    }

    /// Whether a claim of this trigger may be counted as a further try of a fire that has a row.
    #[must_use]
    pub const fn may_repeat(self) -> bool {
        matches!(self, Self::Manual | Self::Retry)
    }
}
