//! Waiting for children, and what they used.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// This signal, of any number, ended it.
    Signal(i32),
}

/// The answer to "has any child ended?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// This one has, and has used this with its own children that it waited for.
    Child(u32, Ended, Usage),
    /// There are children, and none has.
    None,
    /// There are no children. For a child subreaper that means: no descendants either.
    Childless,
}

/// What processes have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// User and system CPU time.
    pub cpu: Duration,
    /// Peak memory of the largest one, KiB.
    pub max_rss_kib: u64,
}

impl Usage {
    /// Takes in what others have used.
    pub fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.max_rss_kib = self.max_rss_kib.max(other.max_rss_kib);
    }
}

/// Takes the end of one child, without waiting.
///
/// # Errors
/// None that wait4(2) knows for these arguments.
pub fn reap() -> io::Result<Reaped> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // `nix` and `rustix` refuse a child that a realtime signal has killed, so the status is read here.
    // SAFETY: both pointers are to locals of the types asked for, which outlive the call.
    #[expect(unsafe_code, reason = "no wrapper reports an end by a realtime signal")]
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    // SAFETY: it is numbers throughout, of which zero is one.
    #[expect(unsafe_code, reason = "the kernel fills it in")]
    let usage = unsafe { usage.assume_init() };
    match Errno::result(pid) {
        Ok(0) | Err(Errno::EINTR) => Ok(Reaped::None),
        Ok(pid) => Ok(Reaped::Child(pid.unsigned_abs(), ended(status), used(&usage))),
        Err(Errno::ECHILD) => Ok(Reaped::Childless),
        Err(error) => Err(error.into()),
    }
}

/// Without `WUNTRACED` and `WCONTINUED`, wait4(2) tells of nothing but the two ways to end.
fn ended(status: i32) -> Ended {
    if libc::WIFSIGNALED(status) {
        Ended::Signal(libc::WTERMSIG(status))
    } else {
        Ended::Code(libc::WEXITSTATUS(status))
    }
}

fn used(usage: &libc::rusage) -> Usage {
    Usage {
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        max_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}
