//! The shapes of the API's answers, which are also what `jobctl --json` prints.
//!
//! They are stable: fields are added, never renamed or taken away. Instants are RFC 3339 in UTC, durations are whole
//! milliseconds with the unit in the name, an absent value is `null`. A run is a
//! [`RunRecord`], by the names of the table's columns.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::rules::JobRules;
use crate::engine::job::{Command, JobName};
use crate::engine::pause::Pause;
use crate::engine::policy::{CatchUp, Leftover, Overlap};
use crate::engine::record::RunRecord;
use crate::engine::resources::{Rlimit, RlimitPair};
use crate::engine::run::{OutOfMemory, RunId, Status, Stop, Tree};
use crate::engine::time::Timestamp;
use crate::run::Evidence;

/// The most rows one answer holds; more come by [`Runs::next`].
pub const RUNS_MAX: u32 = 1000;
/// The rows of an answer whose request names no limit.
pub const RUNS_DEFAULT: u32 = 20;

/// How far jobd has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It reads the store and looks for the runs it left.
    Starting,
    /// Every fire up to now is accounted for, and it fires.
    Ready,
    /// It was told to stop; runs go on.
    Stopping,
    /// It makes way for itself with a new configuration, or as a new program; runs go on.
    Reloading,
    /// It is not there; the report was read from the state directory.
    Down,
}

impl State {
    /// The word in JSON and on the terminal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Reloading => "reloading",
            Self::Down => "down",
        }
    }

    /// Whether it is about to go, so that nobody waits for it any more.
    #[must_use]
    pub const fn is_leaving(self) -> bool {
        matches!(self, Self::Stopping | Self::Reloading)
    }
}

/// `GET /v1/status`: how jobd is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// How far it has come.
    pub state: State,
    /// The version that answers.
    pub version: String,
    /// The host's identity, kept in the store.
    pub host: String,
    /// The zone of schedules that name none, which times are shown in: an IANA name. None where it can't be told.
    pub timezone: Option<String>,
    /// The daemon's process; none when it is down.
    pub pid: Option<u32>,
    /// When the daemon started; none when it is down.
    pub started_at: Option<Timestamp>,
    /// When the store last heard of a running jobd; set when it is down.
    pub last_seen: Option<Timestamp>,
    /// The configuration it works by.
    pub config: PathBuf,
    /// How many jobs that has; none when it could not be read.
    pub jobs: Option<usize>,
    /// How many runs are active.
    pub running: usize,
    /// How many runs wait for their turn.
    pub queued: usize,
    /// The fire that comes next.
    pub next_fire: Option<NextFire>,
    /// The embedded store.
    pub store: StoreHealth,
    /// Alerts on their way.
    pub alerts: AlertBacklog,
    /// The jobs in trouble.
    pub incidents: Vec<Incident>,
    /// The pauses in force.
    #[serde(default)]
    pub pauses: Vec<Pause>,
    /// What a person should look at, one sentence each; empty when all is well.
    pub problems: Vec<String>,
}

/// The fire that comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextFire {
    /// The job.
    pub job: JobName,
    /// The instant.
    pub at: Timestamp,
}

/// How the embedded store does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreHealth {
    /// The state directory.
    pub path: PathBuf,
    /// Why it could not be written or read last time; none while it works.
    pub error: Option<String>,
}

/// Alerts that are decided and not yet delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AlertBacklog {
    /// How many.
    pub waiting: u64,
    /// When the oldest of them was decided.
    pub oldest: Option<Timestamp>,
    /// Why the last attempt failed; none while deliveries work.
    pub last_error: Option<String>,
}

/// A job's stretch of trouble that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The job.
    pub job: JobName,
    /// When its first bad run was over.
    pub since: Timestamp,
    /// How many runs have ended badly since.
    pub bad_runs: u64,
}

/// `GET /v1/jobs`: every job, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Jobs {
    /// The jobs.
    pub jobs: Vec<JobView>,
}

/// `GET /v1/jobs/{name}`: a job with every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// The key under `[jobs]`.
    pub name: JobName,
    /// For people.
    pub description: Option<String>,
    /// The schedules as they are written.
    pub schedules: Vec<String>,
    /// The same with a number for each `H`.
    pub resolved: Vec<String>,
    /// The IANA name of the zone they are read in.
    pub timezone: String,
    /// What it runs: `{"command": [...]}` or `{"shell": "..."}`.
    #[serde(flatten)]
    pub command: Command,
    /// The limit of a run; `null` is none.
    pub timeout_ms: Option<u64>,
    /// From the first signal to SIGKILL.
    pub kill_grace_ms: u64,
    /// The signals between a run's last moment and its end: `["TERM:10s", "KILL"]`.
    pub stop_signals: Vec<String>,
    /// What becomes of processes that outlive a main process that succeeded.
    pub leftover: Leftover,
    /// How much of a run's output is kept; `null` is all of it.
    pub output_limit_bytes: Option<u64>,
    /// What a fire does while a run is active.
    pub overlap: Overlap,
    /// Its days, its turn, its tries and its watch.
    #[serde(flatten)]
    pub rules: JobRules,
    /// What follows missed fires.
    pub catch_up: CatchUp,
    /// How old a missed fire may be and still be caught up.
    pub catch_up_window_ms: u64,
    /// The channels of its alerts.
    pub alert: Vec<String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// What it reads on descriptor 0; `null` is `/dev/null`.
    pub stdin: Option<PathBuf>,
    /// The user it runs as; `null` is jobd's own.
    pub user: Option<String>,
    /// Its supplementary groups; `null` is those that the user database gives the user.
    pub groups: Option<Vec<String>>,
    /// Whether it may never gain rights that it does not start with.
    pub no_new_privileges: bool,
    /// The file mode creation mask, octal: `0022`.
    pub umask: String,
    /// The names of its own variables. Their values may be secrets and are not shown.
    pub env: Vec<String>,
    /// The file of variables that is read when a run starts.
    pub env_file: Option<PathBuf>,
    /// Its CPU priority; `null` is jobd's own.
    pub nice: Option<i32>,
    /// Its priority of input and output, as `jobs.toml` has it; `null` is jobd's own.
    pub ionice: Option<String>,
    /// Limits of each of its processes, by name; `null` is no limit.
    pub rlimits: BTreeMap<Rlimit, RlimitPair>,
    /// Limits of a run as a whole.
    pub limits: GroupLimitsView,
    /// Its next fire; `null` when there is none.
    pub next_fire: Option<Timestamp>,
    /// Its newest row.
    pub last_run: Option<RunRecord>,
    /// Since when it is in trouble; `null` while it is well.
    pub incident_since: Option<Timestamp>,
    /// The pause that keeps it from being started; `null` while there is none.
    #[serde(default)]
    pub paused: Option<Pause>,
}

/// Limits of a run's control group; `null` is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupLimitsView {
    /// Memory of all processes together.
    pub memory_bytes: Option<u64>,
    /// CPU time, in percent of one CPU.
    pub cpu_percent: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Whether the job is not started where one of them cannot be set.
    pub required: bool,
}

/// Which rows of the run table are asked for; every part narrows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunQuery {
    /// Of this job only.
    pub job: Option<JobName>,
    /// Of these statuses only; empty is all.
    pub status: Vec<Status>,
    /// `started_at` not before this.
    pub since: Option<Timestamp>,
    /// `started_at` before this.
    pub until: Option<Timestamp>,
    /// With a number below this one: the next page.
    pub before: Option<RunId>,
    /// How many at most; none is [`RUNS_DEFAULT`], and no more than [`RUNS_MAX`].
    pub limit: Option<u32>,
}

impl RunQuery {
    /// How many rows the answer may hold.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.limit.unwrap_or(RUNS_DEFAULT).clamp(1, RUNS_MAX)
    }
}

/// `GET /v1/runs`: rows of the run table, the newest number first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// The rows.
    pub runs: Vec<RunRecord>,
    /// What to pass as `before` for the rows that follow; `null` when these are the last.
    pub next: Option<RunId>,
}

impl Runs {
    /// The answer to a query that found these rows.
    #[must_use]
    pub fn page(runs: Vec<RunRecord>, query: &RunQuery) -> Self {
        let full = u32::try_from(runs.len()).is_ok_and(|found| found >= query.rows());
        let next = if full { runs.last().map(|run| run.run_id) } else { None };
        Self { runs, next }
    }
}

/// `GET /v1/runs/{id}`: one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDetail {
    /// Its row.
    pub run: RunRecord,
    /// Its folder: what was run, its output, how it ended. None for a run that never had one, or whose folder is
    /// tidied away.
    pub folder: Option<PathBuf>,
    /// How it ended, beyond what the row says. None while it is not over, or its folder is tidied away.
    #[serde(default)]
    pub end: Option<RunEnd>,
    /// What its processes were doing before they were made to end. None if it ended by itself.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// The other tries of its fire, in order.
    #[serde(default)]
    pub tries: Vec<RunRecord>,
    /// How many tries its job has, by the present configuration; `null` if it is not tried again.
    #[serde(default)]
    pub attempts_max: Option<u32>,
    /// When it may start at the earliest; `null` if that is over, or was never put off.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
}

/// How a run ended, beyond what its row says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Who ended it, when it did not end by itself.
    pub stop: Option<Stop>,
    /// What else one must know.
    pub remark: Option<String>,
    /// Bytes of output that are not in the file, for its limit.
    pub output_left_out: u64,
    /// What was left of its processes, and how that is known; `null` if nobody looked.
    pub tree: Option<Tree>,
    /// What it was waiting for when it was made to end, in a line.
    pub waited_for: Option<String>,
    /// What the kernel's out-of-memory killer did to it.
    pub oom: Option<OutOfMemory>,
}

/// The body of `POST /v1/jobs/{name}/runs`; may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The instant the run stands for; none for a run that stands for no fire.
    pub at: Option<Timestamp>,
}

/// The body of `POST /v1/jobs/{name}/catch-up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatchUpRequest {
    /// The fire.
    pub at: Timestamp,
}

/// The body of `POST /v1/pause`, which answers with the [`Pause`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// The job; none is every job.
    pub job: Option<JobName>,
    /// The first instant that is no longer paused; none until somebody resumes.
    pub until: Option<Timestamp>,
    /// Why, for whoever wonders later: a line.
    pub why: Option<String>,
}

/// The body of `POST /v1/resume`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// The job; none is every job.
    pub job: Option<JobName>,
}

/// What a request is answered with that names no run: it is done, and durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The job it was done to; `null` is every job.
    pub job: Option<JobName>,
}

/// What `POST /v1/jobs/{name}/runs`, `…/catch-up` and `POST /v1/runs/{id}/stop` answer: the run, whose row is
/// durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The run.
    pub run_id: RunId,
}

/// What `POST /v1/reload` answers: the configuration is good, and the jobd that has read it takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloading {
    /// When the jobd started that makes way. The new one is there when `GET /v1/status` is ready with another.
    pub started_at: Timestamp,
}

/// Why a request was not answered: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// There is no such job (404).
    NoSuchJob,
    /// There is no such run (404).
    NoSuchRun,
    /// The run has no output to show (404).
    NoOutput,
    /// There is no such path or method (404).
    NoSuchPath,
    /// The request can't be read (400).
    BadRequest,
    /// The peer may look, not steer (403).
    Forbidden,
    /// What was asked can't be done as things are (409).
    Refused,
    /// jobd can't answer now: it starts, stops, or is asked by too many at once (503).
    Unavailable,
    /// The store could not be read (500).
    Store,
}

/// The body of every answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: String,
    /// What to do about it, where that can be said.
    pub help: Option<String>,
    /// Of a configuration with mistakes: each with its place, as `jobctl validate` reports them.
    pub report: Option<String>,
    /// What kind of error it is, for programs.
    pub code: ErrorCode,
}
