//! A row of the run table as everyone reads it: `jobctl`, the API, the forwarders.

use serde::{Deserialize, Serialize};

use super::job::JobName;
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
    /// Which try of its fire, from 1.
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
