//! What the kernel offers, wrapped: processes, process trees, control groups, locks and signals.
//!
//! **Invariant:** all `unsafe` of the package is below this module, and no process is ever signalled by its bare
//! number: between looking and signalling, the number may have become somebody else's. A [`Pidfd`] is opened first,
//! and what it stands for is checked by start time before the signal is sent.

mod cgroup;
mod lock;
mod pidfd;
mod proc;
mod readable;
mod signals;
mod spawn;
mod stdio;
mod user;
mod wait;

use std::io;

use nix::errno::Errno;

pub use cgroup::Cgroup;
pub use lock::{is_locked, try_lock};
pub use pidfd::Pidfd;
pub use proc::{
    Process, boot_id, descendants, oom_score_adj, set_oom_score_adj, start_time, with_environment,
};
pub use readable::Readable;
pub use signals::SignalFd;
pub use spawn::{Output, Plan, SpawnFailure, Step, spawn};
pub use stdio::{detach_lock, new_session};
pub use user::{Account, Identity};
pub use wait::{Ended, Reaped, Usage, children_usage, reap};

/// The system's words for an error with its name: `No such file or directory (ENOENT)`.
#[must_use]
pub fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => describe_errno(code),
        None => error.to_string(),
    }
}

/// [`describe`], for a bare error number.
#[must_use]
pub fn describe_errno(code: i32) -> String {
    let errno = Errno::from_raw(code);
    if errno == Errno::UnknownErrno {
        return format!("error {code}");
    }
    format!("{} ({errno:?})", errno.desc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_name() {
        assert_eq!(describe(&io::Error::from_raw_os_error(2)), "No such file or directory (ENOENT)");
        assert_eq!(describe(&io::Error::other("torn")), "torn");
        assert_eq!(describe_errno(123_456), "error 123456");
    }
}
