//! What happens to the engine (events, past participles) and what it wants done (effects, imperatives).

use std::sync::Arc;

use super::job::JobName;
use super::ledger::{Answer, Batch};
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

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Store this batch and answer with `Committed` or `CommitFailed`. One at a time.
    Commit(Arc<Batch>),
    /// Start the process of a run; its claim is durable.
    Launch(Claim),
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
        /// The run in question, or why not.
        answer: Result<RunId, Refusal>,
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
