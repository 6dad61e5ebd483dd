//! The descriptors and the session that a shim starts out with.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

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
    detach(io::stdin().as_fd()).map(File::from)
}

/// Takes standard output as a socket of its own and puts `/dev/null` in its place.
///
/// # Errors
/// When we are out of descriptors or `/dev/null` cannot be opened.
pub fn detach_gate() -> io::Result<UnixStream> {
    detach(io::stdout().as_fd()).map(UnixStream::from)
}

/// A copy of a standard descriptor that exec closes; `/dev/null` takes its place.
fn detach(standard: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let number = fcntl(standard, FcntlArg::F_DUPFD_CLOEXEC(FIRST))?;
    // SAFETY: fcntl(2) has just made this descriptor, so nobody else owns it.
    #[expect(unsafe_code, reason = "a new descriptor comes as a number")]
    let own = unsafe { OwnedFd::from_raw_fd(number) };
    let null = File::options().read(true).write(true).open("/dev/null")?;
    // SAFETY: both are open descriptors. What is replaced is a standard one, which std keeps by number and never
    // closes.
    #[expect(unsafe_code, reason = "a standard descriptor is replaced under its own number")]
    let replaced = unsafe { libc::dup2(null.as_raw_fd(), standard.as_raw_fd()) };
    Errno::result(replaced)?;
    Ok(own)
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
