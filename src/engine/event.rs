//! What happens to the engine (events, past participles) and what it wants done (effects, imperatives).

use std::sync::Arc;
use std::time::Duration;

use super::job::JobName;
use super::ledger::{Answer, Batch};
use super::pause::Pause;
use super::run::{Claim, LeftProcess, Report, RunId};
use super::time::{Monotonic, Timestamp};

/// Names a person's request until it is answered; given by whoever takes requests in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The time asked for has come, or the clock was set. Never wrong to send.
    Woke,
    /// A batch is durable.
    Committed {
        /// The batch's number.
        number: u64,
        /// An answer for each of its claims, in order.
        answers: Vec<(RunId, Answer)>,
    },
    /// A batch could not be stored, as far as one knows: it may have been.
    CommitFailed {
        /// The batch's number.
        number: u64,
    },
    /// The run has been silent for as long as its job may be, and its processes do nothing. Never wrong to send again.
    Silent {
        /// The run.
        run: RunId,
        /// For how long.
        for_: Duration,
        /// What it waits for, in a line.
        waits_for: Option<String>,
    },
    /// The run's shim is on its way and will report.
    Launched {
        /// The run.
        run: RunId,
    },
    /// Processes of the run do not die of SIGKILL, and its shim holds on until they do. Never wrong to send again.
    Stuck {
        /// The run.
        run: RunId,
        /// When SIGKILL was first sent.
        since: Timestamp,
        /// The processes.
        left: Vec<LeftProcess>,
    },
    /// The run is over, or could not be started.
    Exited {
        /// The run.
        run: RunId,
        /// How it went.
        report: Box<Report>,
    },
    /// A person wants a job to run now.
    RunRequested {
        /// To answer.
        request: RequestId,
        /// The job.
        job: JobName,
        /// For which instant, where that matters.
        at: Option<Timestamp>,
    },
    /// A person wants a fire made up for that was missed or skipped.
    CatchUpRequested {
        /// To answer.
        request: RequestId,
        /// The job.
        job: JobName,
        /// The fire.
        at: Timestamp,
    },
    /// A person wants a job, or all jobs, not to be started. `since` is now, whatever it says.
    PauseRequested {
        /// To answer.
        request: RequestId,
        /// The pause.
        pause: Pause,
    },
    /// A person wants a job, or all jobs, started again.
    ResumeRequested {
        /// To answer.
        request: RequestId,
        /// The job; `None` is every job.
        job: Option<JobName>,
        /// Who it is.
        by: String,
    },
    /// A person knows that a job has not succeeded for too long: of a job that is gone it is not told again.
    AcknowledgeRequested {
        /// To answer.
        request: RequestId,
        /// The job.
        job: JobName,
        /// Who it is.
        by: String,
    },
    /// A person wants a run to end.
    StopRequested {
        /// To answer.
        request: RequestId,
        /// The run.
        run: RunId,
        /// Who it is.
        by: String,
    },
}

impl Event {
    /// Whether a person asks for something that depends on what has been decided before.
    pub(super) const fn is_asked_for(&self) -> bool {
        matches!(
            self,
            Self::RunRequested { .. }
                | Self::CatchUpRequested { .. }
                | Self::PauseRequested { .. }
                | Self::ResumeRequested { .. }
        )
    }
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Store this batch and answer with `Committed` or `CommitFailed`. One at a time.
    Commit(Arc<Batch>),
    /// Start the process of a run; its claim is durable.
    Launch(Claim),
    /// Bring the shim of a run to its gate; its claim is durable. That this fails is no event: there is `Go` for it.
    Arm(Claim),
    /// Start the process of a run that is armed, now: through its gate, or without one as by `Launch`. The run goes on
    /// as one that was launched.
    Go {
        /// The run.
        run: RunId,
    },
    /// Let the shim leave its gate without starting anything.
    Disarm {
        /// The run.
        run: RunId,
    },
    /// Ask the run's shim to end it now.
    Stop {
        /// The run.
        run: RunId,
        /// Who asked.
        by: String,
    },
    /// The shim has overrun its own time limit: end the run from outside, or answer with `Stuck` if the shim holds on
    /// for processes that nothing ends.
    Reap {
        /// The run.
        run: RunId,
    },
    /// Answer a request.
    Reply {
        /// Which.
        request: RequestId,
        /// The run in question, where there is one; or why not.
        answer: Result<Option<RunId>, Refusal>,
    },
    /// Tell the log.
    Remark(Remark),
}

/// Why a request is refused: a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such job.
    #[error("there is no job {job}")]
    NoSuchJob {
        /// The name asked for.
        job: JobName,
    },
    /// There is no such active run.
    #[error("run {run} is not active")]
    NotActive {
        /// The number asked for.
        run: RunId,
    },
    /// The job's overlap policy keeps it to one run at a time.
    #[error("run {run} of {job} is active, and its overlap policy is skip")]
    Overlap {
        /// The job.
        job: JobName,
        /// The run in the way.
        run: RunId,
    },
    /// As many runs of the job wait as may.
    #[error("{limit} runs of {job} wait for run {run}, which is the limit")]
    QueueFull {
        /// The job.
        job: JobName,
        /// The run that all of them wait for.
        run: RunId,
        /// How many may wait.
        limit: usize,
    },
    /// The job, or every job, is not paused.
    #[error("{} not paused", .job.as_ref().map_or("the jobs are".to_owned(), |job| format!("{job} is")))]
    NotPaused {
        /// The job; `None` is every job.
        job: Option<JobName>,
    },
    /// Nobody waits for a success of that job.
    #[error("there is nothing to acknowledge of {job}")]
    NothingToAcknowledge {
        /// The job.
        job: JobName,
    },
    /// A run cannot be for an instant to come.
    #[error("{at} has not come yet")]
    InFuture {
        /// The instant asked for.
        at: Timestamp,
    },
    /// The fire got its row from elsewhere.
    #[error("that fire of {job} is accounted for already")]
    Taken {
        /// The job.
        job: JobName,
    },
}

/// Something a person reading the log should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// The wall clock went back further than schedules wait for; they start anew from there.
    ClockSetBack {
        /// The latest instant the clock had shown.
        from: Timestamp,
        /// What it shows now.
        to: Timestamp,
    },
    /// A fire had a row already when it was claimed.
    AlreadyAccounted {
        /// The job.
        job: JobName,
        /// The fire.
        scheduled_at: Option<Timestamp>,
    },
}

/// When the engine wants to be called next, on either clock. Earlier calls are harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wakeup {
    /// The next fire.
    pub wall: Option<Timestamp>,
    /// The next limit or retry.
    pub monotonic: Option<Monotonic>,
}
