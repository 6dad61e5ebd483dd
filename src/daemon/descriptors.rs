//! How many files jobd may have open.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// The limit of open files as jobd found it.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileLimit {
    soft: u64,
    hard: u64,
}

impl FileLimit {
    /// Raises our own soft limit to the hard one: each connection and each run that is attended costs descriptors. The
    /// former one is for the jobs, as programs that use select(2) break above 1024.
    pub(super) fn raise() -> io::Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok(Self { soft, hard })
    }

    /// The soft limit as it was found.
    pub(super) const fn soft(self) -> u64 {
        self.soft
    }

    /// Puts the soft limit back, so that whoever takes this process over finds what we found.
    pub(super) fn restore(self) {
        if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard) {
            warn!(%error, "the limit of open files could not be put back; jobs get the raised one");
        }
    }
}
