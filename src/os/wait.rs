//! Waiting for children, and what they used.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

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
    /// This one has.
    Child(u32, Ended),
    /// There are children, and none has.
    None,
    /// There are no children. For a child subreaper that means: no descendants either.
    Childless,
}

/// What children have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// User and system CPU time.
    pub cpu: Duration,
    /// Peak memory of the largest one, KiB.
    pub max_rss_kib: u64,
}

/// Takes the end of one child, without waiting.
///
/// # Errors
/// None that waitpid(2) knows for these arguments.
pub fn reap() -> io::Result<Reaped> {
    let mut status = 0;
    // `nix` and `rustix` refuse a child that a realtime signal has killed, so the status is read here.
    // SAFETY: the pointer is to a local of the type asked for, which outlives the call.
    #[expect(unsafe_code, reason = "no wrapper reports an end by a realtime signal")]
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    match Errno::result(pid) {
        Ok(0) | Err(Errno::EINTR) => Ok(Reaped::None),
        Ok(pid) => Ok(Reaped::Child(pid.unsigned_abs(), ended(status))),
        Err(Errno::ECHILD) => Ok(Reaped::Childless),
        Err(error) => Err(error.into()),
    }
}

/// Without `WUNTRACED` and `WCONTINUED`, waitpid(2) tells of nothing but the two ways to end.
fn ended(status: i32) -> Ended {
    if libc::WIFSIGNALED(status) {
        Ended::Signal(libc::WTERMSIG(status))
    } else {
        Ended::Code(libc::WEXITSTATUS(status))
    }
}

/// What all children that have been waited for have used, with their own children that they waited for.
///
/// # Errors
/// None that getrusage(2) knows for these arguments.
pub fn children_usage() -> io::Result<Usage> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(Usage {
        cpu: duration(usage.user_time()) + duration(usage.system_time()),
        max_rss_kib: u64::try_from(usage.max_rss()).unwrap_or(0),
    })
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
}
