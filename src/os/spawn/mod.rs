//! Starting a job's main process: everything between fork and exec.
//!
//! **Invariant:** between fork and exec the child allocates nothing and calls nothing but system calls; all that it
//! needs is made before. Each step is checked, and a step that fails is reported by name through a pipe that exec
//! closes: the job then has not run, not even for an instruction.
//!
//! `child` has the steps in their order; `identity` and `limits` are some of them.

mod child;
mod identity;
mod limits;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{self, c_int};

use super::cgroup::Entrance;
use super::limits::is_shortage;
use super::user::Identity;
use crate::engine::resources::{IoPriority, Rlimit, RlimitPair};
use child::Child;

/// From `linux/sched.h`: the new process is born in the group that `cgroup` is a descriptor of.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The size asked for each output pipe, bytes: a busy job then waits less often for its turn.
const PIPE_BYTES: c_int = 256 * 1024;

/// Everything the child needs, made before the fork.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The program's own idea of its name, and its arguments.
    pub argv: &'a [CString],
    /// The files to try, in order: one, or one for each entry of the job's `PATH`.
    pub programs: &'a [CString],
    /// `NAME=value`.
    pub env: &'a [CString],
    /// The working directory.
    pub cwd: &'a CStr,
    /// What to open as descriptor 0, as the job's user and from its working directory; `None` is what ours is.
    pub stdin: Option<&'a CStr>,
    /// Whom to become; `None` to stay who we are.
    pub identity: Option<&'a Identity>,
    /// Whether to give up for ever what a program file could add to the rights (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// The CPU priority; `None` is ours.
    pub nice: Option<i32>,
    /// The priority of input and output; `None` is ours.
    pub io: Option<IoPriority>,
    /// The limits of the process; those that are not here are ours.
    pub rlimits: &'a [(Rlimit, RlimitPair)],
    /// The file mode creation mask.
    pub umask: u32,
    /// What to write to `/proc/self/oom_score_adj`, if anything.
    pub oom_score_adj: Option<&'a CStr>,
    /// The group to join.
    pub cgroup: Option<&'a Entrance>,
}

/// The shim's ends of the job's output pipes. They do not block.
#[derive(Debug)]
pub struct Output {
    /// What the job writes to descriptor 1.
    pub stdout: OwnedFd,
    /// What the job writes to descriptor 2.
    pub stderr: OwnedFd,
}

/// A step of starting a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is named like the system call or the key it stands for")]
pub enum Step {
    Pipe,
    Fork,
    Setsid,
    Cgroup,
    Stdio,
    Signals,
    Nice,
    Ionice,
    Rlimits,
    Setgroups,
    Setgid,
    Setuid,
    Chdir,
    Stdin,
    NoNewPrivileges,
    Prctl,
    Exec,
}

impl Step {
    /// Each with the word in a report, in their order.
    const ALL: [(Self, &'static str); 17] = [
        (Self::Pipe, "pipe"),
        (Self::Fork, "fork"),
        (Self::Setsid, "setsid"),
        (Self::Cgroup, "cgroup"),
        (Self::Stdio, "stdio"),
        (Self::Signals, "signals"),
        (Self::Nice, "nice"),
        (Self::Ionice, "ionice"),
        (Self::Rlimits, "rlimits"),
        (Self::Setgroups, "setgroups"),
        (Self::Setgid, "setgid"),
        (Self::Setuid, "setuid"),
        (Self::Chdir, "chdir"),
        (Self::Stdin, "stdin"),
        (Self::NoNewPrivileges, "no_new_privileges"),
        (Self::Prctl, "prctl"),
        (Self::Exec, "exec"),
    ];

    /// The word in a report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(step, _)| *step == self).map_or("", |(_, word)| word)
    }
}

/// The step that failed, and the system's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpawnFailure {
    /// The step.
    pub step: Step,
    /// Which of the step's items it failed at, from 0: of the limits of a process.
    pub item: u8,
    /// The error number.
    pub errno: i32,
}

impl SpawnFailure {
    fn new(step: Step, errno: c_int) -> Self {
        Self { step, item: 0, errno }
    }

    /// A step that was tried before the fork.
    #[must_use]
    pub fn of(step: Step, error: &io::Error) -> Self {
        Self::new(step, error.raw_os_error().unwrap_or(libc::EIO))
    }

    fn last(step: Step) -> Self {
        Self::new(step, Errno::last_raw())
    }

    /// Whether the host is short of something that may be there again in a moment. What fails after the child has
    /// begun to change never counts as that: to become somebody else is tried once.
    #[must_use]
    pub fn is_shortage(self) -> bool {
        matches!(self.step, Step::Pipe | Step::Fork | Step::Cgroup) && is_shortage(self.errno)
    }

    fn to_bytes(self) -> [u8; 6] {
        let [a, b, c, d] = self.errno.to_ne_bytes();
        [self.step as u8, self.item, a, b, c, d]
    }

    fn from_bytes([step, item, errno @ ..]: [u8; 6]) -> Self {
        let step = Step::ALL.into_iter().map(|(known, _)| known).find(|known| *known as u8 == step);
        Self { step: step.unwrap_or(Step::Fork), item, errno: i32::from_ne_bytes(errno) }
    }
}

/// A pipe whose reading end does not block; both ends are closed by exec.
///
/// # Errors
/// When we are out of descriptors.
fn own_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // The larger pipe is a matter of speed; a host short of pipe memory refuses it, and the small one does.
    let _ = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    Ok((reader, writer))
}

/// Forks, into the group at once where the kernel can do that and lets us: to be moved there later makes a process wait
/// for all processors to come by, which takes milliseconds. The pid, as from fork(2), and whether it is in the group.
///
/// Must be called while the process has one thread; the child must do nothing until exec or `_exit` but system calls.
#[expect(unsafe_code, reason = "posix_spawn has no way to join a group, change users and report the step")]
fn fork(group: Option<&File>) -> (libc::pid_t, bool) {
    if let Some(group) = group {
        // SAFETY: a structure of integers, for which zero is a value: none.
        let mut how: libc::clone_args = unsafe { std::mem::zeroed() };
        how.flags = CLONE_INTO_CGROUP;
        how.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
        how.cgroup = u64::from(group.as_raw_fd().unsigned_abs());
        // SAFETY: without a stack and without shared memory this is fork(2); the structure has the size told with it.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const how, size_of_val(&how)) };
        if let Ok(pid) = libc::pid_t::try_from(pid)
            && pid >= 0
        {
            return (pid, true);
        }
    }
    // SAFETY: the process has one thread, so the child finds no lock held; and what it does until exec or _exit are
    // system calls on memory made before.
    (unsafe { libc::fork() }, false)
}

/// Starts a process in a session of its own, with standard output and error as pipes. Returns its pid once exec has
/// succeeded.
///
/// Must be called while the process has one thread.
///
/// # Errors
/// The step that failed; nothing has run then.
pub fn spawn(plan: &Plan<'_>) -> Result<(u32, Output), SpawnFailure> {
    let pipe_failed = |error: io::Error| SpawnFailure::of(Step::Pipe, &error);
    let (stdout, job_stdout) = own_pipe().map_err(pipe_failed)?;
    let (stderr, job_stderr) = own_pipe().map_err(pipe_failed)?;
    let (mut status, job_status) = io::pipe().map_err(pipe_failed)?;
    let mut child = Child::new(plan, &job_stdout, &job_stderr, &job_status);
    let (pid, is_born_in) = fork(plan.cgroup.map(|entrance| &entrance.folder));
    match pid {
        -1 => return Err(SpawnFailure::last(Step::Fork)),
        0 => {
            child.is_born_in = is_born_in;
            child.run()
        }
        _ => {}
    }
    drop((job_stdout, job_stderr, job_status));
    let mut failure = [0; 6];
    if status.read_exact(&mut failure).is_ok() {
        // The child has reported and is ending; its end must not be taken for the job's.
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
        return Err(SpawnFailure::from_bytes(failure));
    }
    Ok((pid.unsigned_abs(), Output { stdout: stdout.into(), stderr: stderr.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_pipe() {
        for (step, word) in Step::ALL {
            let failure = SpawnFailure { step, item: 7, errno: libc::EACCES };
            assert_eq!(SpawnFailure::from_bytes(failure.to_bytes()), failure);
            assert_eq!(step.as_str(), word);
        }
    }

    #[test]
    fn only_a_host_that_is_short_is_worth_another_try() {
        for step in [Step::Pipe, Step::Fork, Step::Cgroup] {
            assert!(SpawnFailure::new(step, libc::EAGAIN).is_shortage());
            assert!(!SpawnFailure::new(step, libc::ENOSYS).is_shortage());
        }
        for step in [Step::Setuid, Step::Exec, Step::Stdio] {
            assert!(!SpawnFailure::new(step, libc::EAGAIN).is_shortage());
        }
    }
}
