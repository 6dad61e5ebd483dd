//! Limits that we meet, and our own, which children inherit.

use std::io;

use nix::libc::{EAGAIN, EMFILE, ENFILE, ENOMEM};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Whether an error number says that the host is short of something which may be there again in a moment.
pub(super) fn is_shortage(errno: i32) -> bool {
    [EAGAIN, ENOMEM, EMFILE, ENFILE].contains(&errno)
}

/// Sets how many descriptors this process may have open, up to what it may set.
///
/// # Errors
/// None that setrlimit(2) knows for these arguments.
pub fn set_nofile_soft(soft: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?)
}
