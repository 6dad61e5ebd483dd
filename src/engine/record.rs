//! What is recorded, as everyone reads it: `jobctl`, the API, the forwarders.

use serde::{Deserialize, Serialize};

use super::job::JobName;
use super::pause::Pause;
use super::reason::Reason;
use super::run::{RunId, Status, Trigger};
use super::time::Timestamp;

/// One row of `cron_job_logs`. The names are the table's own, so that a person who knows the SQL knows the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run's number.
    pub run_id: RunId,
    /// The job. The column keeps the name that the users' queries know.
    pub task_name: JobName,
    /// How it stands.
    pub status: Status,
    /// What asked for it.
    pub triggered_by: Trigger,
    /// Which try of its fire, from 1; 0 of a row that stands for many.
    pub attempt: u32,
    /// The instant of the fire; none for a manual run without one.
    pub scheduled_at: Option<Timestamp>,
    /// The last of many fires that this row stands for.
    pub scheduled_until: Option<Timestamp>,
    /// How many fires this row stands for.
    pub fires: u64,
    /// When the job was started; of a run that never was, when it was due.
    pub started_at: Timestamp,
    /// When it was over; none until then.
    pub completed_at: Option<Timestamp>,
    /// Why it is MISSED, SKIPPED, KILLED or LOST, or why it is still RUNNING although it was to end, in words.
    pub reason: Option<String>,
    /// The job's own word.
    pub message: Option<String>,
    /// The reason of a bad end and the end of its stderr.
    pub error_message: Option<String>,
    /// The main process's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended the main process.
    pub term_signal: Option<i32>,
    /// The main process.
    pub pid: Option<u32>,
    /// From start to end, milliseconds.
    pub duration_ms: Option<u64>,
    /// User and system CPU time of the whole tree, milliseconds.
    pub cpu_ms: Option<u64>,
    /// Peak memory, KiB.
    pub max_rss_kib: Option<u64>,
    /// Bytes written to stdout and stderr.
    pub output_bytes: Option<u64>,
    /// Fingerprint of the job's entry.
    pub config_hash: Option<String>,
    /// The host's identity, kept in the store.
    pub host: String,
}

/// Rows that stand for fires of one job, in brief: what is accounted for, whatever it was accounted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountedFire {
    /// The row.
    pub run: RunId,
    /// How it stands.
    pub status: Status,
    /// The fire, or the first of many.
    pub scheduled_at: Timestamp,
    /// The last of many.
    pub scheduled_until: Option<Timestamp>,
    /// How many there are from the first to the last.
    pub fires: u64,
}

/// From when to when a job is accounted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAccount {
    /// The job.
    pub job: JobName,
    /// When it was first seen: it has no rows of fires before.
    pub known_since: Timestamp,
    /// Since when it has the schedules it has: it owes their fires from here on.
    pub schedule_since: Timestamp,
    /// Every fire up to here is accounted for.
    pub cursor: Timestamp,
}

/// A time in which nobody was there or could act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last instant before it.
    pub from: Timestamp,
    /// The first instant after it.
    pub until: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// A pause that is in force, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseRecord {
    /// The pause as it was asked for.
    pub pause: Pause,
    /// When jobd took it as over; none while it is in force.
    pub ended_at: Option<Timestamp>,
    /// Who ended it or put another in its place; none if its time was over.
    pub ended_by: Option<String>,
}
