//! A handle on a process that stays with it: its number may be reused, the handle never is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use rustix::process::{pidfd_open, pidfd_send_signal, waitid};

use super::proc::{Process, start_time};
use super::readable::Readable;

/// A handle on a process.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the process of this number if it is the one that was started then; `None` if that one is gone.
    ///
    /// # Errors
    /// When we are out of descriptors or memory.
    pub fn open(pid: u32, started: u64) -> io::Result<Option<Self>> {
        let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(fd) => Self(fd),
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The handle holds whoever has the number now; from here on the number cannot be reused unnoticed.
        Ok((start_time(pid) == Some(started)).then_some(pidfd))
    }

    /// Sends a signal by its number.
    ///
    /// # Errors
    /// When the process is gone (`ESRCH`) or is none of ours (`EPERM`).
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let signal = Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(pidfd_send_signal(&self.0, signal)?)
    }

    /// Whether the process has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Waits until the process has ended. A child of ours is gone then, and does not stay as a zombie.
    ///
    /// # Errors
    /// When the runtime cannot watch the handle.
    pub async fn ended(self) -> io::Result<()> {
        let handle = Readable::new(self.0)?;
        handle.wait().await?;
        take_end(handle.as_fd());
        Ok(())
    }

    /// Takes the end of a child of ours, so that it does not stay as a zombie. Nothing happens to one that lives, or is
    /// none of ours.
    pub fn take_end(&self) {
        take_end(self.0.as_fd());
    }
}

fn take_end(process: BorrowedFd<'_>) {
    // That it is nobody's child of ours is what is mostly answered, and as good as the end itself.
    let _ = waitid(WaitId::PidFd(process), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

impl Process {
    /// Sends a signal to this very process; nothing happens if it is gone.
    pub fn signal(self, signal: i32) {
        if let Ok(Some(pidfd)) = Pidfd::open(self.pid, self.start_time) {
            // A process may end between the check and the signal: there is nobody left to signal then.
            let _ = pidfd.signal(signal);
        }
    }
}
