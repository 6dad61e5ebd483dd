//! The shim's side of evidence: it starts the process that gathers it, listens, and does not wait.
//!
//! **Invariant:** nothing here blocks, whatever the run's processes or the gathering one do: what has come when the
//! time is up is the evidence.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::evidence::FLAG;
use crate::engine::time::{Monotonic, Now};
use crate::os::{self, Process};
use crate::run::evidence::{Gathered, Sample, Task};
use crate::run::{Evidence, RunFolder};

/// How long before a time limit the first sample is taken, with which the evidence compares.
const SAMPLE_AHEAD: Duration = Duration::from_secs(5);
/// How long a run must be allowed to take at least for that.
const SAMPLED_TIMEOUT_MIN: Duration = Duration::from_secs(10);
/// How long a sample may take.
const SAMPLE_MAX: Duration = Duration::from_secs(1);
/// SIGKILL.
const KILL: i32 = 9;
/// How much is read at once, bytes: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// A process that gathers.
#[derive(Debug)]
struct Gathering {
    task: Task,
    process: Option<Process>,
    pipe: Option<OwnedFd>,
    gathered: Gathered,
    began: Now,
    until: Monotonic,
}

/// Takes evidence of a run.
#[derive(Debug)]
pub(super) struct Examiner<'a> {
    folder: &'a RunFolder,
    /// When the first sample is to be taken; `None` once it is.
    sample_at: Option<Monotonic>,
    sample: Option<Sample>,
    gathering: Option<Gathering>,
    /// Processes of ours that have not been waited for.
    own: BTreeSet<u32>,
    evidence: Option<Evidence>,
}

impl<'a> Examiner<'a> {
    pub(super) fn new(folder: &'a RunFolder, started: Monotonic, timeout: Option<Duration>) -> Self {
        let timeout = timeout.filter(|timeout| *timeout >= SAMPLED_TIMEOUT_MIN);
        let sample_at = timeout.map(|timeout| started.after(timeout.saturating_sub(SAMPLE_AHEAD)));
        Self { folder, sample_at, sample: None, gathering: None, own: BTreeSet::new(), evidence: None }
    }

    /// When it wants to be called again.
    pub(super) fn next_at(&self) -> Option<Monotonic> {
        self.gathering.as_ref().map(|gathering| gathering.until).or(self.sample_at)
    }

    /// Takes the first sample if it is due, and gives up one that takes too long.
    pub(super) fn turn(&mut self, now: Now) {
        if self.gathering.as_ref().is_some_and(|gathering| gathering.until <= now.monotonic) {
            self.conclude(now.monotonic);
        }
        if self.sample_at.is_some_and(|at| at <= now.monotonic) {
            self.begin(Task::Sample, now, now.monotonic.after(SAMPLE_MAX));
        }
    }

    /// Looks at what the processes are doing, until this instant at most. Whether that has begun.
    pub(super) fn examine(&mut self, now: Now, until: Monotonic) -> bool {
        self.conclude(now.monotonic);
        let task = if self.sample.is_some() { Task::Look } else { Task::Compare };
        self.begin(task, now, until)
    }

    fn begin(&mut self, task: Task, now: Now, until: Monotonic) -> bool {
        self.sample_at = None;
        let Ok((pid, pipe)) = start(self.folder, task) else { return false };
        self.own.insert(pid);
        let process = Process::of(pid);
        let pipe = Some(pipe);
        self.gathering =
            Some(Gathering { task, process, pipe, gathered: Gathered::default(), began: now, until });
        true
    }

    /// What to poll.
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.gathering.as_ref()?.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what has come. Whether an examination is over by it.
    pub(super) fn read(&mut self, now: Monotonic) -> bool {
        let Some(gathering) = &mut self.gathering else { return false };
        let Some(pipe) = &gathering.pipe else { return false };
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match nix::unistd::read(pipe, &mut buffer).map_err(io::Error::from) {
                Ok(count @ 1..) => gathering.gathered.feed(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        let was_look = gathering.task != Task::Sample;
        self.conclude(now);
        was_look
    }

    /// Makes the most of what has come; no more does.
    pub(super) fn conclude(&mut self, now: Monotonic) {
        let Some(gathering) = self.gathering.take() else { return };
        if let Some(process) = gathering.process.filter(|process| self.own.contains(&process.pid)) {
            process.signal(KILL);
        }
        if gathering.task == Task::Sample {
            self.sample = gathering.gathered.into_sample();
        } else {
            let took = now.since(gathering.began.monotonic);
            let (sample, at) = (self.sample.take(), gathering.began.wall);
            self.evidence = Some(gathering.gathered.into_evidence(sample, at, took));
        }
    }

    /// Whether a process is one of ours, and none of the run's.
    pub(super) fn owns(&self, pid: u32) -> bool {
        self.own.contains(&pid)
    }

    /// A process has been waited for. Whether it was one of ours.
    pub(super) fn reaped(&mut self, pid: u32) -> bool {
        self.own.remove(&pid)
    }

    /// Whether a process of ours has been killed and is still there: it hangs where it should not.
    pub(super) fn has_lost_one(&self) -> bool {
        !self.own.is_empty() && self.gathering.is_none()
    }

    /// Whether something is being gathered.
    pub(super) const fn is_busy(&self) -> bool {
        self.gathering.is_some()
    }

    /// Takes the evidence of a run that goes on.
    pub(super) const fn take_evidence(&mut self) -> Option<Evidence> {
        self.evidence.take()
    }

    /// The evidence, if some was taken.
    pub(super) fn into_evidence(self) -> Option<Evidence> {
        self.evidence
    }
}

/// Starts a process that looks at our own descendants.
fn start(folder: &RunFolder, task: Task) -> io::Result<(u32, OwnedFd)> {
    let own = std::process::id();
    let start_time = os::start_time(own).ok_or(io::ErrorKind::NotFound)?;
    // The very file we run, whatever is under its name by now.
    let mut command = Command::new("/proc/self/exe");
    command.arg(FLAG).arg(folder.path()).args([own.to_string(), start_time.to_string()]).arg(task.as_str());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let pipe = child.stdout.take().map(OwnedFd::from).ok_or(io::ErrorKind::BrokenPipe)?;
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok((child.id(), pipe))
}
