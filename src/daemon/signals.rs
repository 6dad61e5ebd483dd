//! The signals that jobd takes: SIGTERM and SIGINT end it, SIGHUP reloads it.
//!
//! **Invariant:** they are blocked from before the first thread on, and read from a descriptor. One that comes while
//! nobody reads stays pending, over a re-execution too, so no request to stop or to reload falls into a gap.

use std::io;
use std::os::fd::AsFd;

use nix::sys::signal::Signal;

use crate::os::{Readable, SignalFd};

/// The blocked signals.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

/// The same, watched by the runtime.
#[derive(Debug)]
pub(super) struct WatchedSignals {
    signals: SignalFd,
    watched: Readable,
}

impl Signals {
    /// Blocks them. To be called before any thread is started: each inherits what is blocked.
    pub(super) fn block() -> io::Result<Self> {
        SignalFd::new(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]).map(Self)
    }

    /// Hands them to the runtime that this is called in.
    pub(super) fn watch(self) -> io::Result<WatchedSignals> {
        let watched = Readable::new(self.0.as_fd().try_clone_to_owned()?)?;
        Ok(WatchedSignals { signals: self.0, watched })
    }
}

impl WatchedSignals {
    /// The next signal. May be dropped and called again at no loss.
    pub(super) async fn next(&self) -> io::Result<Signal> {
        self.watched.read_with(|_| self.signals.next()?.ok_or_else(|| io::ErrorKind::WouldBlock.into())).await
    }
}
