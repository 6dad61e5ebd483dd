//! The child's side of the fork: the steps, in their order.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io::PipeWriter;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_char, c_int};

use super::super::cgroup::Entrance;
use super::{Plan, SpawnFailure, Step};

/// Where the status pipe goes, so that one call closes everything above it.
const STATUS_FD: c_int = 3;

/// The highest signal number.
const SIGNAL_MAX: c_int = 64;
/// How long a set of signals is for the kernel, bytes.
const SIGNAL_SET_BYTES: usize = 8;

/// What the child works with, all of it made before the fork.
pub(super) struct Child<'a> {
    pub(super) plan: &'a Plan<'a>,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    stdout: BorrowedFd<'a>,
    stderr: BorrowedFd<'a>,
    status: BorrowedFd<'a>,
    parent: c_int,
    /// Whether it is in its group from the first.
    pub(super) is_born_in: bool,
    /// What `nice` is for `/proc/self/autogroup`.
    pub(super) nice: Option<CString>,
    /// Room for the groups that the kernel says we have, and for one too many.
    pub(super) groups: Vec<u32>,
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

impl<'a> Child<'a> {
    /// Makes everything ready that must not be made after the fork.
    pub(super) fn new(
        plan: &'a Plan<'a>,
        stdout: &'a PipeWriter,
        stderr: &'a PipeWriter,
        status: &'a PipeWriter,
    ) -> Self {
        Self {
            plan,
            argv: pointers(plan.argv),
            env: pointers(plan.env),
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            status: status.as_fd(),
            parent: nix::unistd::getpid().as_raw(),
            is_born_in: false,
            nice: plan.nice.and_then(|nice| CString::new(nice.to_string()).ok()),
            groups: vec![0; plan.identity.map_or(0, |identity| identity.groups.len()) + 1],
        }
    }
}

#[expect(unsafe_code, reason = "bare system calls, the only thing allowed between fork and exec")]
impl Child<'_> {
    pub(super) fn run(mut self) -> ! {
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

    fn start(&mut self) -> Result<Infallible, SpawnFailure> {
        // SAFETY: no arguments.
        check(Step::Setsid, unsafe { libc::setsid() })?;
        self.join_cgroup()?;
        self.move_descriptors()?;
        reset_signals()?;
        if let Some(value) = self.plan.oom_score_adj {
            // The job must not inherit the shim's protection from the out-of-memory killer. A host that lets nobody
            // write here has given the shim no protection either.
            write_to_proc(c"/proc/self/oom_score_adj", value);
        }
        // What needs the rights that the next steps give up.
        self.set_priorities()?;
        self.raise_limits()?;
        // SAFETY: cannot fail.
        unsafe { libc::umask(self.plan.umask) };
        self.become_user()?;
        // As the user: root may be allowed into folders that the job's user is not, and must not open them for it.
        // SAFETY: a string that ends with NUL, made before the fork.
        check(Step::Chdir, unsafe { libc::chdir(self.plan.cwd.as_ptr()) })?;
        self.open_stdin()?;
        self.give_up_new_privileges()?;
        self.die_with_parent()?;
        self.settle_limits()?;
        self.exec()
    }

    fn join_cgroup(&self) -> Result<(), SpawnFailure> {
        let Some(Entrance { members, .. }) = self.plan.cgroup.filter(|_| !self.is_born_in) else {
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

    /// Without waiting: a pipe that nobody writes to would hold up the start for ever, so what is read has to be a
    /// file or a device.
    fn open_stdin(&self) -> Result<(), SpawnFailure> {
        let Some(path) = self.plan.stdin else {
            return Ok(());
        };
        let flags = libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let mut about = std::mem::MaybeUninit::<libc::stat>::uninit();
        // SAFETY: a string that ends with NUL, made before the fork; fstat(2) fills the structure or fails. The
        // descriptor is ours, and the only one to it.
        unsafe {
            let file = libc::open(path.as_ptr(), flags);
            check(Step::Stdin, file)?;
            check(Step::Stdin, libc::fstat(file, about.as_mut_ptr()))?;
            match about.assume_init().st_mode & libc::S_IFMT {
                libc::S_IFREG | libc::S_IFCHR | libc::S_IFBLK => {}
                libc::S_IFDIR => return Err(SpawnFailure::new(Step::Stdin, libc::EISDIR)),
                _ => return Err(SpawnFailure::new(Step::Stdin, libc::ESPIPE)),
            }
            check(Step::Stdin, libc::fcntl(file, libc::F_SETFL, 0))?;
            check(Step::Stdin, libc::dup2(file, 0))?;
            check(Step::Stdin, libc::close(file))
        }
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
                errno => return Err(SpawnFailure::new(Step::Exec, errno)),
            }
        }
        Err(SpawnFailure::new(Step::Exec, reason))
    }
}

/// Ignored signals and the mask survive exec: Rust ignores SIGPIPE, and we block what we read from a descriptor. So
/// all of them are put back, and looked at again.
#[expect(unsafe_code, reason = "bare system calls, the only thing allowed between fork and exec")]
fn reset_signals() -> Result<(), SpawnFailure> {
    /// The kernel's own `struct sigaction` with no handler, flags or mask: whatever its order, it is all zero.
    const DEFAULT: [u64; 4] = [0; 4];
    let nowhere = ptr::null_mut::<u64>();
    for signal in 1..=SIGNAL_MAX {
        let mut now = [u64::MAX; 4];
        // The library's call would refuse 32 and 33, which it uses itself, and which may be ignored just as well.
        // SAFETY: the kernel reads and writes structures no longer than the arrays. Setting is refused for SIGKILL
        // and SIGSTOP, whose default cannot change.
        let is_read = unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), nowhere, SIGNAL_SET_BYTES);
            let unchanged = ptr::null::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, unchanged, now.as_mut_ptr(), SIGNAL_SET_BYTES) == 0
        };
        // The handler comes first on every kernel that has all of this.
        if !is_read || now[0] != 0 {
            return Err(SpawnFailure::new(Step::Signals, libc::EINVAL));
        }
    }
    let (none, mut now) = (0_u64, u64::MAX);
    // SAFETY: both sets have the length told with them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            nowhere,
            SIGNAL_SET_BYTES,
        );
        let unchanged = ptr::null::<u64>();
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, unchanged, &raw mut now, SIGNAL_SET_BYTES)
    };
    if result != 0 || now != 0 {
        return Err(SpawnFailure::new(Step::Signals, libc::EINVAL));
    }
    Ok(())
}

/// Writes a value below `/proc/self`, where the host has that file and lets us.
#[expect(unsafe_code, reason = "bare system calls, the only thing allowed between fork and exec")]
pub(super) fn write_to_proc(path: &CStr, value: &CStr) {
    // SAFETY: strings that end with NUL, made before the fork; the descriptor is the only one to its file.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, value.as_ptr().cast(), value.count_bytes());
            libc::close(file);
        }
    }
}

pub(super) fn check(step: Step, result: c_int) -> Result<(), SpawnFailure> {
    if result == -1 { Err(SpawnFailure::last(step)) } else { Ok(()) }
}
