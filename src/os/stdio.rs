//! The descriptors and the session that a shim starts out with.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// The first descriptor after standard input, output and error.
const FIRST: i32 = 3;

/// Takes standard input as a file of its own, puts `/dev/null` in its place, and closes whatever else was inherited
/// beyond standard output and error. To be called first thing, while nothing of ours is open.
///
/// # Errors
/// When we are out of descriptors or `/dev/null` cannot be opened.
pub fn detach_lock() -> io::Result<File> {
    close_inherited()?;
    let stdin = io::stdin();
    let number = fcntl(&stdin, FcntlArg::F_DUPFD_CLOEXEC(FIRST))?;
    // SAFETY: fcntl(2) has just made this descriptor, so nobody else owns it.
    #[expect(unsafe_code, reason = "a new descriptor comes as a number")]
    let lock = unsafe { OwnedFd::from_raw_fd(number) };
    let null = File::options().read(true).open("/dev/null")?;
    // SAFETY: both are open descriptors. What is replaced is standard input, which std keeps by number and never
    // closes.
    #[expect(unsafe_code, reason = "standard input is replaced under its own number")]
    let replaced = unsafe { libc::dup2(null.as_raw_fd(), stdin.as_raw_fd()) };
    Errno::result(replaced)?;
    Ok(File::from(lock))
}

fn close_inherited() -> io::Result<()> {
    // SAFETY: nothing is open yet beyond the three standard descriptors that an owner in this process knows of.
    #[expect(unsafe_code, reason = "descriptors without an owner are closed by number")]
    let result = unsafe { libc::close_range(FIRST.unsigned_abs(), u32::MAX, 0) };
    Errno::result(result)?;
    Ok(())
}

/// Leaves the starter's session and process group, so that a signal to those does not reach us, and becomes the
/// parent of every descendant whose own parent dies.
///
/// # Errors
/// None for a process that does not lead a group already.
pub fn new_session() -> io::Result<()> {
    match nix::unistd::setsid() {
        // Started by hand from a shell we may lead a group already, which is as good.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error.into()),
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}
