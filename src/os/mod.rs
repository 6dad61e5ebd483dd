//! What the kernel offers, wrapped: processes, process trees, control groups, locks and signals.
//!
//! **Invariant:** all `unsafe` of the package is below this module, and no process is ever signalled by its bare
//! number: between looking and signalling, the number may have become somebody else's. A [`Pidfd`] is opened first,
//! and what it stands for is checked by start time before the signal is sent.

mod cgroup;
pub mod inspect;
mod left;
mod limits;
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

pub use cgroup::{Cgroup, Entrance, Missing};
pub use limits::set_nofile_soft;
pub use lock::{is_locked, try_lock};
pub use pidfd::Pidfd;
pub use proc::{
    Process, boot_id, children, descendants, oom_kills, oom_score_adj, set_oom_score_adj, start_time,
    with_environment,
};
pub use readable::Readable;
pub use signals::SignalFd;
pub use spawn::{Output, Plan, SpawnFailure, Step, spawn};
pub use stdio::{detach_gate, detach_lock, new_session};
pub use user::{Account, AccountError, Identity, ask_in_time};
pub use wait::{Ended, Reaped, Usage, reap};

/// Whether the host is out of something that it may have again in a moment: processes, memory, descriptors.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE))
}

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
    fn a_full_disk_is_no_shortage() {
        let shortage = |code: Errno| is_shortage(&io::Error::from_raw_os_error(code as i32));
        assert!(shortage(Errno::EAGAIN) && shortage(Errno::EMFILE));
        assert!(!shortage(Errno::ENOSPC) && !shortage(Errno::EACCES));
        assert!(!is_shortage(&io::Error::other("torn")));
    }

    #[test]
    fn an_error_is_told_with_its_name() {
        assert_eq!(describe(&io::Error::from_raw_os_error(2)), "No such file or directory (ENOENT)");
        assert_eq!(describe(&io::Error::other("torn")), "torn");
        assert_eq!(describe_errno(123_456), "error 123456");
    }
}
