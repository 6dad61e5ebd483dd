//! Starting a job's main process: everything between fork and exec.
//!
//! **Invariant:** between fork and exec the child allocates nothing and calls nothing but system calls; all that it
//! needs is made before. Each step is checked, and a step that fails is reported by name through a pipe that exec
//! closes: the job then has not run, not even for an instruction.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{self, c_char, c_int};

use super::user::Identity;

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
    /// Whom to become; `None` to stay who we are.
    pub identity: Option<&'a Identity>,
    /// The file mode creation mask.
    pub umask: u32,
    /// What to write to `/proc/self/oom_score_adj`, if anything.
    pub oom_score_adj: Option<&'a CStr>,
    /// `cgroup.procs` of the group to join.
    pub cgroup: Option<&'a File>,
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
#[expect(missing_docs, reason = "each is named like the system call it stands for")]
pub enum Step {
    Pipe,
    Fork,
    Setsid,
    Cgroup,
    Stdio,
    Signals,
    Setgroups,
    Setgid,
    Setuid,
    Chdir,
    Prctl,
    Exec,
}

impl Step {
    const ALL: [Self; 12] = [
        Self::Pipe,
        Self::Fork,
        Self::Setsid,
        Self::Cgroup,
        Self::Stdio,
        Self::Signals,
        Self::Setgroups,
        Self::Setgid,
        Self::Setuid,
        Self::Chdir,
        Self::Prctl,
        Self::Exec,
    ];

    /// The word in a report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Fork => "fork",
            Self::Setsid => "setsid",
            Self::Cgroup => "cgroup",
            Self::Stdio => "stdio",
            Self::Signals => "signals",
            Self::Setgroups => "setgroups",
            Self::Setgid => "setgid",
            Self::Setuid => "setuid",
            Self::Chdir => "chdir",
            Self::Prctl => "prctl",
            Self::Exec => "exec",
        }
    }
}

/// The step that failed, and the system's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpawnFailure {
    /// The step.
    pub step: Step,
    /// The error number.
    pub errno: i32,
}

impl SpawnFailure {
    fn new(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    fn last(step: Step) -> Self {
        Self { step, errno: Errno::last_raw() }
    }

    fn to_bytes(self) -> [u8; 5] {
        let [a, b, c, d] = self.errno.to_ne_bytes();
        [self.step as u8, a, b, c, d]
    }

    fn from_bytes([step, errno @ ..]: [u8; 5]) -> Self {
        let step = Step::ALL.into_iter().find(|known| *known as u8 == step).unwrap_or(Step::Fork);
        Self { step, errno: i32::from_ne_bytes(errno) }
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

/// Starts a process in a session of its own, with standard input as ours is and standard output and error as pipes.
/// Returns its pid once exec has succeeded.
///
/// Must be called while the process has one thread.
///
/// # Errors
/// The step that failed; nothing has run then.
pub fn spawn(plan: &Plan<'_>) -> Result<(u32, Output), SpawnFailure> {
    let pipe_failed = |error: io::Error| SpawnFailure::new(Step::Pipe, &error);
    let (stdout, job_stdout) = own_pipe().map_err(pipe_failed)?;
    let (stderr, job_stderr) = own_pipe().map_err(pipe_failed)?;
    let (mut status, job_status) = io::pipe().map_err(pipe_failed)?;
    let (argv, env) = (pointers(plan.argv), pointers(plan.env));
    let child = Child {
        plan,
        argv: &argv,
        env: &env,
        stdout: job_stdout.as_fd(),
        stderr: job_stderr.as_fd(),
        status: job_status.as_fd(),
        parent: nix::unistd::getpid().as_raw(),
    };
    #[expect(
        unsafe_code,
        reason = "posix_spawn has no way to join a group, change users and report the step"
    )]
    // SAFETY: the process has one thread, so the child finds no lock held; and what it does until exec or _exit are
    // system calls on memory made before.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => return Err(SpawnFailure::last(Step::Fork)),
        0 => child.run(),
        _ => {}
    }
    drop((job_stdout, job_stderr, job_status));
    let mut failure = [0; 5];
    if status.read_exact(&mut failure).is_ok() {
        // The child has reported and is ending; its end must not be taken for the job's.
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
        return Err(SpawnFailure::from_bytes(failure));
    }
    Ok((pid.unsigned_abs(), Output { stdout: stdout.into(), stderr: stderr.into() }))
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// The child's side of the fork.
struct Child<'a> {
    plan: &'a Plan<'a>,
    argv: &'a [*const c_char],
    env: &'a [*const c_char],
    stdout: BorrowedFd<'a>,
    stderr: BorrowedFd<'a>,
    status: BorrowedFd<'a>,
    parent: c_int,
}

/// Where the status pipe goes, so that one call closes everything above it.
const STATUS_FD: c_int = 3;

#[expect(unsafe_code, reason = "bare system calls, the only thing allowed between fork and exec")]
impl Child<'_> {
    fn run(&self) -> ! {
        let Err(failure) = self.start();
        let report = failure.to_bytes();
        // The pipe is where it was, or else, when that is closed, where it has been moved to. The other way round, a
        // failure before the move would be written into whatever of ours is at that number.
        for fd in [self.status.as_raw_fd(), STATUS_FD] {
            // SAFETY: the buffer is a local array of that length.
            let written = unsafe { libc::write(fd, report.as_ptr().cast(), report.len()) };
            if usize::try_from(written) == Ok(report.len()) {
                break;
            }
        }
        // SAFETY: ends the child at once, without running anything of the parent's.
        unsafe { libc::_exit(127) }
    }

    fn start(&self) -> Result<Infallible, SpawnFailure> {
        // SAFETY: no arguments.
        check(Step::Setsid, unsafe { libc::setsid() })?;
        self.join_cgroup()?;
        self.move_descriptors()?;
        Self::reset_signals()?;
        self.set_oom_score_adj();
        // SAFETY: cannot fail.
        unsafe { libc::umask(self.plan.umask) };
        self.become_user()?;
        // As the user: root may be allowed into folders that the job's user is not, and must not open them for it.
        // SAFETY: a string that ends with NUL, made before the fork.
        check(Step::Chdir, unsafe { libc::chdir(self.plan.cwd.as_ptr()) })?;
        self.die_with_parent()?;
        self.exec()
    }

    fn join_cgroup(&self) -> Result<(), SpawnFailure> {
        let Some(members) = self.plan.cgroup else {
            return Ok(());
        };
        // SAFETY: an open descriptor and a buffer of one byte.
        let written = unsafe { libc::write(members.as_raw_fd(), c"0".as_ptr().cast(), 1) };
        if written == 1 { Ok(()) } else { Err(SpawnFailure::last(Step::Cgroup)) }
    }

    /// Leaves 0, 1, 2 and the status pipe at 3; the lock in particular must not pass to the job.
    fn move_descriptors(&self) -> Result<(), SpawnFailure> {
        // SAFETY: all of them are open descriptors of this process, and none of the pipes is one of 0, 1 and 2.
        unsafe {
            check(Step::Stdio, libc::dup2(self.stdout.as_raw_fd(), 1))?;
            check(Step::Stdio, libc::dup2(self.stderr.as_raw_fd(), 2))?;
            if self.status.as_raw_fd() != STATUS_FD {
                check(Step::Stdio, libc::dup3(self.status.as_raw_fd(), STATUS_FD, libc::O_CLOEXEC))?;
            }
            check(Step::Stdio, libc::close_range(STATUS_FD.unsigned_abs() + 1, u32::MAX, 0))
        }
    }

    /// Ignored signals and the mask survive exec: Rust ignores SIGPIPE, and we block what we read from a descriptor.
    fn reset_signals() -> Result<(), SpawnFailure> {
        const HIGHEST: c_int = 64;
        /// The kernel's own `struct sigaction` with no handler, flags or mask: whatever its order, it is all zero.
        const DEFAULT: [u64; 4] = [0; 4];
        const SIGNAL_SET_BYTES: usize = 8;
        for signal in 1..=HIGHEST {
            // The library's call would refuse 32 and 33, which it uses itself, and which may be ignored just as well.
            // SAFETY: the kernel reads a structure no longer than the array. Refused for SIGKILL and SIGSTOP, whose
            // default cannot change.
            unsafe {
                let nowhere = ptr::null_mut::<u64>();
                libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), nowhere, SIGNAL_SET_BYTES)
            };
        }
        let mut none = std::mem::MaybeUninit::uninit();
        // SAFETY: sigemptyset(3) fills the set that sigprocmask(2) then reads.
        unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            check(Step::Signals, libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()))
        }
    }

    /// The job must not inherit the shim's protection from the out-of-memory killer. Best effort: a host that lets
    /// nobody write here has given the shim no protection either.
    fn set_oom_score_adj(&self) {
        let Some(value) = self.plan.oom_score_adj else {
            return;
        };
        // SAFETY: strings that end with NUL, made before the fork; the descriptor is closed by exec.
        unsafe {
            let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if file >= 0 {
                libc::write(file, value.as_ptr().cast(), value.count_bytes());
                libc::close(file);
            }
        }
    }

    /// Groups, group, user, in this order: each needs the rights that the next one gives up. Then it is looked at
    /// from outside, since a call that failed to give up root would be the worst of all failures (CVE-2006-2607).
    fn become_user(&self) -> Result<(), SpawnFailure> {
        let Some(Identity { uid, gid, groups }) = self.plan.identity else {
            return Ok(());
        };
        let (uid, gid) = (*uid, *gid);
        let mut now = [0; 3];
        let [real, effective, saved] = &mut now;
        // SAFETY: the list of groups has the length told with it; the three pointers are to locals.
        unsafe {
            check(Step::Setgroups, libc::setgroups(groups.len(), groups.as_ptr()))?;
            check(Step::Setgid, libc::setresgid(gid, gid, gid))?;
            check(Step::Setuid, libc::setresuid(uid, uid, uid))?;
            check(Step::Setuid, libc::getresuid(real, effective, saved))?;
        }
        let is_root_again = || {
            // SAFETY: no memory is touched. It must fail.
            uid != 0 && unsafe { libc::setresuid(0, 0, 0) } == 0
        };
        if now != [uid; 3] || is_root_again() {
            return Err(SpawnFailure { step: Step::Setuid, errno: libc::EPERM });
        }
        Ok(())
    }

    /// Has the kernel kill the main process when the shim is killed: without its shim nobody would end it in time.
    /// Changing users takes this back, so it comes after; and the shim may have died before it was asked for.
    fn die_with_parent(&self) -> Result<(), SpawnFailure> {
        // SAFETY: no memory is touched.
        unsafe {
            check(Step::Prctl, libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            if libc::getppid() != self.parent {
                libc::_exit(127);
            }
        }
        Ok(())
    }

    /// Tries each file as execvp(3) does: one that is not there is passed over, and one that may not be executed is
    /// remembered as the reason.
    fn exec(&self) -> Result<Infallible, SpawnFailure> {
        let mut reason = libc::ENOENT;
        for program in self.plan.programs {
            // SAFETY: both lists end with a null pointer, and their strings, which end with NUL, outlive the call.
            unsafe { libc::execve(program.as_ptr(), self.argv.as_ptr(), self.env.as_ptr()) };
            match Errno::last_raw() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => reason = libc::EACCES,
                errno => return Err(SpawnFailure { step: Step::Exec, errno }),
            }
        }
        Err(SpawnFailure { step: Step::Exec, errno: reason })
    }
}

fn check(step: Step, result: c_int) -> Result<(), SpawnFailure> {
    if result == -1 { Err(SpawnFailure::last(step)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_pipe() {
        for step in Step::ALL {
            let failure = SpawnFailure { step, errno: libc::EACCES };
            assert_eq!(SpawnFailure::from_bytes(failure.to_bytes()), failure);
        }
    }
}
