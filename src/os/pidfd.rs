//! A handle on a process that stays with it: its number may be reused, the handle never is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::proc::start_time;

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

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// When the runtime cannot watch the handle.
    pub async fn ended(self) -> io::Result<()> {
        Readable::new(self.0)?.wait().await
    }
}

impl AsFd for Readable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

/// A descriptor that the async runtime watches.
#[derive(Debug)]
pub struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Hands a descriptor over to the runtime.
    ///
    /// # Errors
    /// When it is of a kind that cannot be watched, or we are out of memory.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: the `AsyncFd` owns the descriptor, so it stays open and the same for as long as it is watched.
        #[expect(unsafe_code, reason = "tokio has no safe way to register an owned descriptor")]
        let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self(watched.map_err(io::Error::from)?))
    }

    /// Waits until it is readable..
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn wait(&self) -> io::Result<()> {
        self.0.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// Waits until `read` has something, and returns it. `read` must answer `WouldBlock` when there is nothing.
    ///
    /// # Errors
    /// What `read` answers.
    pub async fn read_with<T>(&self, mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        self.0.async_io(Interest::READABLE, |fd| read(fd.as_fd())).await
    }
}
