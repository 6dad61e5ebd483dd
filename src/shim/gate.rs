//! The gate: where a shim that was started ahead of its run's instant waits for it.
//!
//! **Invariant:** what goes before the gate leaves nothing behind but the run folder and an empty control group, and
//! both are gone when the shim leaves. Only the one byte from jobd opens the gate; its end of the socket is closed with
//! jobd itself, by `kill -9` as well, so nothing waits here for a jobd that is no more.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::os::{self, SignalFd};

/// The way to jobd while the run has not begun.
pub(super) struct Gate(UnixStream);

impl Gate {
    /// Takes over standard output, which is the socket to jobd.
    pub(super) fn take() -> io::Result<Self> {
        os::detach_gate().map(Self)
    }

    /// Says that all is ready and waits. Whether the gate was opened; a signal, or the end of jobd, closes it for good.
    pub(super) fn wait(mut self, signals: &SignalFd) -> bool {
        if self.0.write_all(&[0]).is_err() {
            return false;
        }
        loop {
            let fds = [self.0.as_fd(), signals.as_fd()];
            let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            // An interruption is as good as a timeout: both are looked at again.
            let _ = poll(&mut fds, PollTimeout::NONE);
            let [gate, signal] = fds.map(|fd| fd.any().unwrap_or(true));
            if gate {
                return self.0.read_exact(&mut [0]).is_ok();
            }
            if signal && signals.next().is_ok_and(|signal| signal.is_some()) {
                return false;
            }
        }
    }
}
