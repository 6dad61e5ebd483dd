//! Signals as something to be read, so that one loop can wait for them among other things.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd as Inner};

/// A descriptor that becomes readable when one of its signals arrives.
#[derive(Debug)]
pub struct SignalFd(Inner);

impl SignalFd {
    /// Blocks these signals for the calling thread (all of them, in a process of one thread) and opens a
    /// descriptor that tells them. A signal that whoever started us had ignored arrives as well; and children are
    /// kept for us to wait for, which they are not where SIGCHLD is ignored.
    ///
    /// # Errors
    /// When we are out of descriptors or memory.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        for &one in signals {
            // SAFETY: no handler of ours is taken away, as a process that reads its signals has none.
            #[expect(unsafe_code, reason = "nix cannot know what handlers there are")]
            unsafe { signal(one, SigHandler::SigDfl) }?;
        }
        let set: SigSet = signals.iter().copied().collect();
        set.thread_set_mask()?;
        Ok(Self(Inner::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next signal that has arrived; `None` if there is none.
    ///
    /// # Errors
    /// When the descriptor cannot be read.
    pub fn next(&self) -> io::Result<Option<Signal>> {
        let Some(info) = self.0.read_signal()? else {
            return Ok(None);
        };
        let number = i32::try_from(info.ssi_signo).unwrap_or_default();
        Ok(Some(Signal::try_from(number)?))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
