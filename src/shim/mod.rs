//! What `jobd-shim` does: it is the parent of one job, so that the job does not need jobd to end well.
//!
//! It is started by jobd with the locked lock file as its standard input, and reads nothing but the run folder. It
//! writes the mark, starts the job, keeps its output, ends it at its time limit or when told to by SIGTERM, and
//! writes the result. Then it exits, which releases the lock.
//!
//! Before it ends a run it looks why: by a process of its own ([`evidence`]), for which it does not wait.
//!
//! Started ahead of its instant it does all of that but for the start, and waits at its `gate`.
//!
//! **Invariant:** one thread, but for a look-up of users that is over before the fork; the mark is written before the
//! job is started, and the result is durable before the lock is released. No failure of the output's disk stops a job,
//! and none of jobd's.

mod environment;
pub mod evidence;
mod examine;
mod gate;
mod ladder;
mod memory;
mod prepare;
mod report;
mod silence;
mod start;
mod streams;
mod supervise;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

pub use crate::engine::words::causes;

use crate::clock;
use crate::engine::run::{Exit, Report};
use crate::failpoint::Failpoint;
use crate::os::{self, Cgroup, SignalFd};
use crate::output::Writer;
use crate::run::{Mark, Reserved, RunError, RunFolder, RunResult, RunSpec, Started};
use gate::Gate;
use memory::Watch;
use prepare::{Failure, Prepared};
use start::Begun;
use streams::Streams;
use supervise::Supervisor;

/// How the out-of-memory killer is to look at a shim, if we may say so: it holds little, and much depends on it.
const OOM_SCORE_ADJ: i32 = -900;
/// The room kept for `result.json`, bytes: the end of stderr, each byte of it escaped to six at worst, the processes
/// that live on, and the rest.
const RESULT_BYTES: u64 = 500 * 1024;
/// How often, and how long between, an attempt is made to write the result to a disk that fails.
const RESULT_ATTEMPTS: u32 = 60;
const RESULT_DELAY: Duration = Duration::from_secs(1);

/// Why a shim could not do its work. Nothing has been started then, unless it is the result that could not be
/// written.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// It was not started by jobd.
    #[error("{} is not a locked lock file on standard input; jobd-shim is started by jobd, not by hand", .0.display())]
    NotLocked(PathBuf),
    /// The run has been started before.
    #[error("{} has been started before", .0.display())]
    AlreadyStarted(PathBuf),
    /// There is nothing to run.
    #[error("{} has no spec.json", .0.display())]
    NoSpec(PathBuf),
    /// A file of the run folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The system refused something that every run needs.
    #[error("failed to {action}")]
    System {
        /// What was being done.
        action: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

fn system(action: &'static str) -> impl FnOnce(io::Error) -> ShimError {
    move |source| ShimError::System { action, source }
}

/// When a shim starts its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At once.
    Now,
    /// When the gate, its standard output, is opened; if it never is, the shim leaves without a trace.
    AtGate,
}

/// Runs the job of a run folder to its end.
///
/// # Errors
/// When the run could not be begun, or its result not be written.
pub fn run(folder: PathBuf, begin: Begin) -> Result<(), ShimError> {
    let lock = os::detach_lock().map_err(system("take over the lock"))?;
    let gate = (begin == Begin::AtGate).then(Gate::take).transpose().map_err(system("take over the gate"))?;
    let folder = RunFolder::at(folder);
    check_lock(&folder, &lock)?;
    os::new_session().map_err(system("begin a session"))?;
    // The last three are read and passed over: two are for terminals, and a run has none; and the third, for a file
    // that has grown too large, is for output that is lost and no reason to die.
    let signals = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGXFSZ];
    let signals = SignalFd::new(&signals).map_err(system("receive signals"))?;
    let spec = folder.spec()?.ok_or_else(|| ShimError::NoSpec(folder.path().to_owned()))?;
    if let Some(soft) = spec.nofile_soft {
        os::set_nofile_soft(soft).map_err(system("limit descriptors"))?;
    }
    let result = Reserved::new(&folder.result_path(), RESULT_BYTES).map_err(system("reserve room"))?;
    let log = create_output(&folder).map_err(system("create output.log"))?;
    let ready = Ready::new(&folder, &spec)?;
    if let Some(gate) = gate {
        // What fails ahead of the instant is tried again at the instant, and told then.
        let is_open = ready.is_ok() && gate.wait(&signals);
        if !is_open {
            leave(&folder, ready.ok());
            return Ok(());
        }
        Failpoint::AfterGate.pass();
    }
    let report = match ready {
        Ok(ready) => supervise(&folder, &spec, &lock, ready, signals, log)?,
        Err(failure) => not_started(failure),
    };
    Failpoint::BeforeResult.pass();
    write_result(&result, report)?;
    Failpoint::AfterResult.pass();
    Ok(())
}

/// Nothing was started, and nobody is to find that it was meant to be. The lock is released after this, by the end.
fn leave(folder: &RunFolder, ready: Option<Ready>) {
    ready.and_then(|ready| ready.cgroup).iter().for_each(Cgroup::remove);
    // What could not be removed is removed by the next jobd.
    let _ = folder.discard();
}

/// The descriptor must be the lock of this very folder, held; and the run must not have been started before.
fn check_lock(folder: &RunFolder, lock: &File) -> Result<(), ShimError> {
    use std::os::unix::fs::MetadataExt;
    let not_locked = || ShimError::NotLocked(folder.lock_path());
    let (ours, named) = (lock.metadata(), folder.lock_path().metadata());
    let is_same = ours.is_ok_and(|a| named.is_ok_and(|b| (a.dev(), a.ino()) == (b.dev(), b.ino())));
    // Taking a lock again that this open file holds succeeds, so this also takes it if the starter did not.
    if !is_same || !os::try_lock(lock).unwrap_or(false) {
        return Err(not_locked());
    }
    if folder.mark()?.is_some() || folder.result_path().exists() {
        return Err(ShimError::AlreadyStarted(folder.path().to_owned()));
    }
    Ok(())
}

fn create_output(folder: &RunFolder) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(folder.output_path())
}

/// Asks the out-of-memory killer to spare the shim. Returns what the job is to be given back, if anything: what jobd
/// had, but no protection.
fn protect() -> Option<i32> {
    let before = os::oom_score_adj().ok()?;
    if before > OOM_SCORE_ADJ {
        // Lowering it takes rights that a jobd without root's does not have.
        let _ = os::set_oom_score_adj(OOM_SCORE_ADJ);
    }
    let after = os::oom_score_adj().ok()?;
    let job = before.max(0);
    (after != job).then_some(job)
}

/// All that a run has before its job is started.
struct Ready {
    prepared: Prepared,
    cgroup: Option<Cgroup>,
    remarks: Vec<String>,
    mark: Mark,
}

impl Ready {
    /// Settles who, where and with what, and makes the group.
    fn new(folder: &RunFolder, spec: &RunSpec) -> Result<Result<Self, Failure>, ShimError> {
        let pid = std::process::id();
        let oom_score_adj = protect();
        let ready = prepare::prepare(folder, spec, oom_score_adj)
            .and_then(|prepared| start::group(spec, pid).map(|group| (prepared, group)));
        let (prepared, (cgroup, remarks)) = match ready {
            Ok(ready) => ready,
            Err(failure) => return Ok(Err(failure)),
        };
        let mark = our_mark(pid, cgroup.as_ref())?;
        Ok(Ok(Self { prepared, cgroup, remarks, mark }))
    }
}

fn supervise(
    folder: &RunFolder,
    spec: &RunSpec,
    lock: &File,
    ready: Ready,
    signals: SignalFd,
    log: File,
) -> Result<Report, ShimError> {
    let Ready { prepared, cgroup, remarks, mut mark } = ready;
    Failpoint::BeforeMark.pass();
    mark.write(lock, &folder.lock_path())?;
    Failpoint::AfterMark.pass();
    let memory = Watch::begin();
    let begun = match start::start(spec, &prepared, cgroup, remarks) {
        Ok(begun) => begun,
        Err(failure) => return Ok(not_started(failure)),
    };
    let Begun { started, pid: job, output, cgroup, remarks } = begun;
    // Not needed to settle the run, only to show it: a disk that refuses it must not stop the job.
    Failpoint::AfterStart.pass();
    mark.job = Some(Started { pid: job, at: started.wall });
    mark.cgroup = cgroup.as_ref().map(|cgroup| cgroup.path().to_owned());
    let _ = mark.write_further(lock, &folder.lock_path());
    let is_counted = cgroup.as_ref().is_some_and(Cgroup::counts_memory);
    let streams = Streams::new(output, Writer::new(log, spec.output_limit));
    let supervisor = Supervisor::new(folder, spec, (job, started), signals, streams, cgroup);
    let mut report = supervisor.run();
    if !is_counted {
        report.oom = memory.suspect(&report);
    }
    report.remark = joined(remarks, report.remark);
    Ok(report)
}

/// The remarks of the start ahead of those of the end.
fn joined(mut remarks: Vec<String>, last: Option<String>) -> Option<String> {
    remarks.extend(last);
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

fn our_mark(pid: u32, cgroup: Option<&Cgroup>) -> Result<Mark, ShimError> {
    let boot_id = os::boot_id().map_err(system("read the boot id"))?;
    let start_time = os::start_time(pid).ok_or(io::ErrorKind::NotFound.into());
    let start_time = start_time.map_err(system("read our own start time"))?;
    Ok(Mark::new(pid, start_time, boot_id, cgroup.map(|cgroup| cgroup.path().to_owned())))
}

fn not_started(failure: Failure) -> Report {
    let exit = Exit::SpawnFailed { step: failure.step.to_owned(), error: failure.error };
    Report { exit, ..Report::lost("", None, clock::now().wall) }
}

/// Writes the result into the room kept for it. A disk that fails is tried again for a while: with the result
/// unwritten the run would be LOST.
fn write_result(reserved: &Reserved, report: Report) -> Result<(), ShimError> {
    let json = serde_json::to_vec(&RunResult::from(report)).map_err(io::Error::from);
    let json = json.map_err(system("write the result"))?;
    for _ in 1..RESULT_ATTEMPTS {
        if reserved.fill(&json).is_ok() {
            return Ok(());
        }
        sleep(RESULT_DELAY);
    }
    reserved.fill(&json).map_err(system("write the result"))
}
