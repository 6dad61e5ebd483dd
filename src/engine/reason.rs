//! Why a fire has no run of its own.

use serde::{Deserialize, Serialize};

use super::job::JobName;
use super::run::RunId;
use super::time::Timestamp;

/// Why a fire has no run of its own: a closed set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// jobd was not running.
    Down,
    /// The wall clock was set, past it.
    ClockMoved,
    /// The host slept.
    Asleep,
    /// jobd was running but could not act in time.
    Starved,
    /// jobd stopped after it had decided to start the run and before the job was started.
    NeverStarted,
    /// It waited for its turn until its catch-up window was over.
    PastWindow,
    /// A run of the job was active.
    Overlap {
        /// The run in the way.
        run: RunId,
    },
    /// As many runs of the job waited as may.
    QueueFull {
        /// The run that all of them wait for.
        run: RunId,
        /// How many may wait.
        limit: usize,
    },
    /// A later fire took its place in the queue (`overlap = "replace"`).
    Replaced {
        /// The run that did.
        run: RunId,
    },
    /// The job, or every job, was paused.
    Paused {
        /// Who did.
        by: String,
        /// Since when.
        since: Timestamp,
        /// Until when; `None` until somebody resumes.
        until: Option<Timestamp>,
        /// Their word.
        why: Option<String>,
    },
    /// A blackout of the job.
    Blackout {
        /// When it began.
        since: Timestamp,
        /// When it was over.
        until: Timestamp,
    },
    /// A day on which the job does not run.
    Holiday {
        /// The calendar.
        calendar: String,
        /// The day.
        date: jiff::civil::Date,
        /// Its name.
        name: Option<String>,
    },
    /// A later missed fire is made up for in its place (`catch_up = "latest"`).
    Folded {
        /// The run of that fire.
        run: RunId,
    },
    /// A lock was taken, or a pool full.
    Busy {
        /// The lock or the pool.
        name: String,
        /// Who held it.
        run: RunId,
    },
    /// A job that comes first did not end as it had to, in time (`after`).
    ConditionNotMet {
        /// That job.
        job: JobName,
    },
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Down => f.write_str("jobd was not running"),
            Self::ClockMoved => f.write_str("the clock passed over it"),
            Self::Asleep => f.write_str("the host was asleep"),
            Self::Starved => f.write_str("jobd could not act in time"),
            Self::NeverStarted => f.write_str("jobd stopped before the job was started"),
            Self::PastWindow => f.write_str("its turn did not come within its catch-up window"),
            Self::Overlap { run } => write!(f, "run {run} was still active"),
            Self::QueueFull { run, limit } => {
                write!(f, "run {run} was still active, and {limit} waited, which is the limit")
            }
            Self::Replaced { run } => write!(f, "run {run} took its place"),
            Self::Paused { by, since, until, why } => {
                write!(f, "paused by {by} since {since:.0}")?;
                until.map_or(Ok(()), |until| write!(f, " until {until:.0}"))?;
                why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
            }
            Self::Blackout { since, until } => write!(f, "blackout from {since:.0} to {until:.0}"),
            Self::Holiday { calendar, date, name } => {
                write!(f, "{date} is a holiday in {calendar}")?;
                name.as_ref().map_or(Ok(()), |name| write!(f, ": {name}"))
            }
            Self::Folded { run } => write!(f, "made up for by run {run}, for a later fire"),
            Self::Busy { name, run } => write!(f, "{name} was held by run {run}"),
            Self::ConditionNotMet { job } => write!(f, "{job} had not ended as it has to"),
        }
    }
}
