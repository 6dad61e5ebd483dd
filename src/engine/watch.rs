//! What a job is watched for besides its limit: late, long, short, silent, without a success.
//!
//! None of it ends a run, unless `silence` is told to; each is told once a run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::{ChannelName, JobName};
use super::run::RunId;
use super::time::Timestamp;

/// What a job is watched for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watch {
    /// A fire that has not started so long after it was due.
    pub late_after: Option<Duration>,
    /// A run that is not over by then.
    pub must_finish_by: Option<FinishBy>,
    /// No success for so long, paused, removed or not.
    pub max_since_success: Option<Duration>,
    /// A run that has lasted so long.
    pub warn_after: Option<Duration>,
    /// A success that took less.
    pub min_duration: Option<Duration>,
    /// A run that says nothing.
    pub silence: Option<Silence>,
    /// A run that lasts longer than its job usually does.
    pub usual: Option<Usual>,
}

/// By when a run must be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishBy {
    /// The next time of day after the fire, in the job's zone.
    TimeOfDay(jiff::civil::Time),
    /// So long after the fire.
    After(Duration),
}

/// When a run counts as silent: no output, and neither CPU time nor input and output of its processes moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// For so long.
    pub after: Duration,
    /// What then happens, besides the alert.
    pub action: SilenceAction,
}

/// What happens to a silent run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceAction {
    /// It goes on.
    #[default]
    Warn,
    /// It is ended as at its time limit: TIMEOUT.
    Kill,
}

/// A bound learned from a job's own successes: `factor` times the 95th percentile of the last ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Usual {
    /// How many times the usual is too long.
    pub factor: f64,
    /// The smallest bound.
    pub floor: Duration,
    /// With fewer successes than this nothing is known.
    pub min_runs: usize,
}

impl Default for Usual {
    fn default() -> Self {
        Self { factor: 3.0, floor: Duration::from_mins(1), min_runs: 5 }
    }
}

/// What is wrong with a run that goes on, waits, or has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "concern", rename_all = "snake_case")]
pub enum Concern {
    /// It was due and has not started (`late_after`).
    NotStarted {
        /// How long it may take.
        limit: Duration,
        /// What it waits for, in words.
        waits_for: String,
    },
    /// It is not over (`must_finish_by`).
    NotFinished {
        /// By when it had to be.
        by: Timestamp,
    },
    /// It lasts (`warn_after`).
    Long {
        /// How long it may last.
        limit: Duration,
    },
    /// It lasts longer than it usually does (`usual`).
    Unusual {
        /// The 95th percentile of its last successes.
        usual: Duration,
        /// How many successes that is known from.
        runs: usize,
        /// The bound that it has passed.
        limit: Duration,
    },
    /// It succeeded too soon (`min_duration`).
    Short {
        /// How long it took.
        took: Duration,
        /// How long it had to take.
        least: Duration,
    },
    /// It says nothing and does nothing (`silence`).
    Silent {
        /// For how long.
        for_: Duration,
        /// What it waits for, in a line.
        waits_for: Option<String>,
    },
    /// It keeps its job's fires from starting: told with the second one.
    InTheWay {
        /// How many so far.
        skipped: u64,
    },
}

/// The kinds of [`Concern`], each told once a run: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcernKind {
    /// `late_after`.
    NotStarted,
    /// `must_finish_by`.
    NotFinished,
    /// `warn_after`.
    Long,
    /// `usual`.
    Unusual,
    /// `min_duration`.
    Short,
    /// `silence`.
    Silent,
    /// Overlap.
    InTheWay,
}

impl Concern {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ConcernKind {
        match self {
            Self::NotStarted { .. } => ConcernKind::NotStarted,
            Self::NotFinished { .. } => ConcernKind::NotFinished,
            Self::Long { .. } => ConcernKind::Long,
            Self::Unusual { .. } => ConcernKind::Unusual,
            Self::Short { .. } => ConcernKind::Short,
            Self::Silent { .. } => ConcernKind::Silent,
            Self::InTheWay { .. } => ConcernKind::InTheWay,
        }
    }
}

/// The facts of a run that is a concern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunConcern {
    /// The job.
    pub job: JobName,
    /// The run.
    pub run: RunId,
    /// The fire, if it was one.
    pub scheduled_at: Option<Timestamp>,
    /// When the job was started; `None` while it waits.
    pub started_at: Option<Timestamp>,
    /// When it became a concern.
    pub at: Timestamp,
    /// What is wrong.
    pub concern: Concern,
}

/// A job that must succeed every so often (`max_since_success`). It outlives the job's entry and its pauses: it ends
/// when a person acknowledges that the job is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccessWatch {
    /// The job.
    pub job: JobName,
    /// The longest time without a success.
    pub limit: Duration,
    /// The last success; until there is one, when the watch began.
    pub last_success: Timestamp,
    /// Whether it has been told since then.
    pub told: bool,
    /// Where it is told.
    pub alert: Vec<ChannelName>,
}
