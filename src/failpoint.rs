//! Places between two durable steps, at which a test lets a process die.
//!
//! **Invariant:** a release build passes over all of them; a debug build does so too unless `JOBD_FAILPOINT` names one.

/// The variable that names the place.
pub const VARIABLE: &str = "JOBD_FAILPOINT";

/// A place to die at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// jobd: a claim is decided and not durable.
    BeforeClaim,
    /// jobd: a claim is durable, and nothing has been done about it.
    AfterClaim,
    /// jobd: the run folder is ready and locked, and no shim has been started.
    BeforeFork,
    /// jobd: the shim has been started.
    AfterFork,
    /// The shim: it has taken over the lock.
    BeforeMark,
    /// The shim: its mark is durable, and the job has not been started.
    AfterMark,
    /// The shim: the job runs, and the mark does not name it yet.
    AfterStart,
    /// The shim: the job is over, and its result is not written.
    BeforeResult,
    /// The shim: the result is durable, and the lock is still held.
    AfterResult,
    /// jobd: it knows how a run ended, and the row does not.
    BeforeRow,
    /// jobd: the row is final.
    AfterRow,
}

impl Failpoint {
    /// All of them, in the order in which a run comes by.
    pub const ALL: [Self; 11] = [
        Self::BeforeClaim,
        Self::AfterClaim,
        Self::BeforeFork,
        Self::AfterFork,
        Self::BeforeMark,
        Self::AfterMark,
        Self::AfterStart,
        Self::BeforeResult,
        Self::AfterResult,
        Self::BeforeRow,
        Self::AfterRow,
    ];

    /// The word in the variable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeClaim => "before-claim",
            Self::AfterClaim => "after-claim",
            Self::BeforeFork => "before-fork",
            Self::AfterFork => "after-fork",
            Self::BeforeMark => "before-mark",
            Self::AfterMark => "after-mark",
            Self::AfterStart => "after-start",
            Self::BeforeResult => "before-result",
            Self::AfterResult => "after-result",
            Self::BeforeRow => "before-row",
            Self::AfterRow => "after-row",
        }
    }

    /// Dies here, as by `kill -9`, if the variable says so: nothing is unwound, flushed or told to anybody.
    pub fn pass(self) {
        if cfg!(debug_assertions) && std::env::var(VARIABLE).is_ok_and(|name| name == self.as_str()) {
            std::process::abort();
        }
    }
}
