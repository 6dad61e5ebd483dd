//! What the server knows of the daemon, and what it may ask of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot, watch};

use super::records::Records;
use super::types::State;
use crate::engine::job::{JobName, JobSpec};
use crate::engine::pause::Pause;
use crate::engine::run::RunId;
use crate::engine::time::Timestamp;
use crate::run::Evidence;

/// What the server works with.
#[derive(Clone)]
pub struct Api {
    /// What has been recorded.
    pub records: Arc<dyn Records>,
    /// What the daemon knows of itself.
    pub facts: watch::Receiver<Arc<Facts>>,
    /// Changes with each commit of the store; whoever waits for a row looks again then.
    pub commits: watch::Receiver<u64>,
    /// The way to the daemon's loop.
    pub commands: mpsc::Sender<Command>,
}

/// What the daemon knows of itself. It publishes a new value whenever one of these changes.
#[derive(Debug, Clone)]
pub struct Facts {
    /// How far it has come.
    pub state: State,
    /// When it started.
    pub started_at: Timestamp,
    /// The configuration it works by.
    pub config: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The host's identity.
    pub host: String,
    /// The zone of schedules that name none.
    pub timezone: TimeZone,
    /// The jobs.
    pub specs: Arc<BTreeMap<JobName, Arc<JobSpec>>>,
    /// Why the store could not be written or read last time; none while it works.
    pub store_error: Option<String>,
    /// What a person should look at, one sentence each.
    pub problems: Vec<String>,
}

/// A request to the daemon. The reply to one that changes something comes when the change is durable.
#[derive(Debug)]
pub enum Command {
    /// Start a run.
    Run {
        /// Of this job.
        job: JobName,
        /// For this instant.
        at: Option<Timestamp>,
        /// Who asked: `uid 1000 (mina)`.
        by: String,
        /// The new run, whose row says RUNNING or QUEUED; or why there is none.
        reply: oneshot::Sender<Result<Option<RunId>, Refusal>>,
    },
    /// Make up for a fire that was missed or skipped.
    CatchUp {
        /// The job.
        job: JobName,
        /// The fire.
        at: Timestamp,
        /// Who asked.
        by: String,
        /// Its run; or why there is none.
        reply: oneshot::Sender<Result<Option<RunId>, Refusal>>,
    },
    /// Start a job, or any job, no more.
    Pause {
        /// The pause; `since` is when jobd decides it.
        pause: Pause,
        /// Done; or why not.
        reply: oneshot::Sender<Result<Option<RunId>, Refusal>>,
    },
    /// Start a job, or any job, again.
    Resume {
        /// The job; `None` is every job.
        job: Option<JobName>,
        /// Who asked.
        by: String,
        /// Done; or why not.
        reply: oneshot::Sender<Result<Option<RunId>, Refusal>>,
    },
    /// Know that a job has not succeeded for too long.
    Acknowledge {
        /// The job.
        job: JobName,
        /// Who asked.
        by: String,
        /// Done; or why not.
        reply: oneshot::Sender<Result<Option<RunId>, Refusal>>,
    },
    /// End a run: SIGTERM, the job's kill grace, SIGKILL.
    Stop {
        /// This one.
        run: RunId,
        /// Who asked.
        by: String,
        /// The run, which is being ended; or why it can't be.
        reply: oneshot::Sender<Result<Option<RunId>, Refusal>>,
    },
    /// Look at what a run's processes are doing. It changes nothing.
    Inspect {
        /// This one.
        run: RunId,
        /// What they do; or why that can't be told.
        reply: oneshot::Sender<Result<Box<Evidence>, Refusal>>,
    },
    /// Make way for a jobd with the configuration, and the program, as they are now.
    Reload {
        /// Who asked.
        by: String,
        /// When the jobd that makes way was started; or why it stays.
        reply: oneshot::Sender<Result<Timestamp, Refusal>>,
    },
}

/// Why the daemon does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such job.
    #[error("there is no job '{0}'")]
    NoSuchJob(JobName),
    /// There is no such run.
    #[error("there is no run {0}")]
    NoSuchRun(RunId),
    /// It can't be done as things are; the text says what is in the way and what to do.
    #[error("{0}")]
    NotNow(String),
    /// The configuration has mistakes; the report names each.
    #[error("the configuration has mistakes")]
    Rejected {
        /// For people, as `jobctl validate` has it.
        report: String,
    },
    /// jobd starts or stops, or its store does not answer; the same request may work in a moment.
    #[error("{0}")]
    Unavailable(String),
}
