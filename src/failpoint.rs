//! Places between two durable steps, at which a test lets a process die, and places where it lets jobd panic.
//!
//! **Invariant:** a release build passes over all of them; a debug build does so too unless `JOBD_FAILPOINT` or
//! `JOBD_PANIC` names one.

use std::sync::atomic::{AtomicU32, Ordering};

/// The variable that names the place to die at.
pub const VARIABLE: &str = "JOBD_FAILPOINT";
/// The variable that lets both clocks show another time and run faster, for tests that live through days: what is
/// shown, the instant at which it is, and the pace, as in `2026-10-25T00:00:00Z,2026-11-22T01:00:00Z,120`.
pub const PACE: &str = "JOBD_PACE";
/// What a shim is told of them.
pub const INHERITED: [&str; 2] = [VARIABLE, PACE];
/// The variable that says where jobd panics: the place, the job and how many times, as in `attend:backup:1`.
const PANIC_VARIABLE: &str = "JOBD_PANIC";
/// How often it has.
static PANICS: AtomicU32 = AtomicU32::new(0);

/// Panics, as by a fault of ours, if the variable says so for this place and job.
///
/// # Panics
/// That is what it is for.
#[track_caller]
pub fn panic_at(place: &str, job: &str) {
    let Some(said) = cfg!(debug_assertions).then(|| std::env::var(PANIC_VARIABLE).ok()).flatten() else {
        return;
    };
    let mut words = said.split(':');
    let is_here = words.next() == Some(place) && words.next() == Some(job);
    let times = words.next().and_then(|times| times.parse().ok()).unwrap_or(1);
    let is_asked_for = is_here && PANICS.fetch_add(1, Ordering::Relaxed) < times;
    assert!(!is_asked_for, "asked for by {PANIC_VARIABLE}");
}

/// A place to die at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// jobd: a claim is decided and not durable.
    BeforeClaim,
    /// jobd: a claim is durable, and nothing has been done about it.
    AfterClaim,
    /// jobd: the turn of a run that waited is durable, and nothing has been done about it.
    AfterTurn,
    /// jobd: the run folder is made and locked, and there is nothing in it.
    BeforeSpec,
    /// jobd: the run folder is ready and locked, and no shim has been started.
    BeforeFork,
    /// jobd: the shim has been started.
    AfterFork,
    /// jobd: a claim ahead of its instant is durable, and nothing has been done about it.
    AfterAhead,
    /// jobd: a shim waits at its gate, and jobd does not know of it yet.
    AfterArm,
    /// jobd: a gate was opened, and the row is not there yet.
    AfterGo,
    /// The shim: its gate was opened.
    AfterGate,
    /// The shim: it has taken over the lock.
    BeforeMark,
    /// The shim: its mark is written, and the job has not been started.
    AfterMark,
    /// The shim: the job runs, and the mark does not name it yet.
    AfterStart,
    /// jobd: who wants the run to end is written down, and its shim has not been told.
    BeforeSignal,
    /// The shim: the job is over, and its result is not written.
    BeforeResult,
    /// The shim: the result is durable, and the lock is still held.
    AfterResult,
    /// jobd: it knows how a run ended, and the row does not.
    BeforeRow,
    /// jobd: the row is final.
    AfterRow,
    /// jobd: a message has arrived, and is not marked as delivered.
    AfterDelivery,
}

impl Failpoint {
    /// All of them, in the order in which a run comes by.
    pub const ALL: [Self; 19] = [
        Self::BeforeClaim,
        Self::AfterClaim,
        Self::AfterTurn,
        Self::BeforeSpec,
        Self::BeforeFork,
        Self::AfterFork,
        Self::AfterAhead,
        Self::AfterArm,
        Self::AfterGo,
        Self::AfterGate,
        Self::BeforeMark,
        Self::AfterMark,
        Self::AfterStart,
        Self::BeforeSignal,
        Self::BeforeResult,
        Self::AfterResult,
        Self::BeforeRow,
        Self::AfterRow,
        Self::AfterDelivery,
    ];

    /// The word in the variable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeClaim => "before-claim",
            Self::AfterClaim => "after-claim",
            Self::AfterTurn => "after-turn",
            Self::BeforeSpec => "before-spec",
            Self::BeforeFork => "before-fork",
            Self::AfterFork => "after-fork",
            Self::AfterAhead => "after-ahead",
            Self::AfterArm => "after-arm",
            Self::AfterGo => "after-go",
            Self::AfterGate => "after-gate",
            Self::BeforeMark => "before-mark",
            Self::AfterMark => "after-mark",
            Self::AfterStart => "after-start",
            Self::BeforeSignal => "before-signal",
            Self::BeforeResult => "before-result",
            Self::AfterResult => "after-result",
            Self::BeforeRow => "before-row",
            Self::AfterRow => "after-row",
            Self::AfterDelivery => "after-delivery",
        }
    }

    /// Dies here, as by `kill -9`, if the variable says so: nothing is unwound, flushed or told to anybody.
    pub fn pass(self) {
        if is_named(self.as_str()) {
            std::process::abort();
        }
    }
}

/// The word in the variable that lets [`hang`] hang.
pub const EVIDENCE_HANGS: &str = "evidence-hangs";

/// The word in the variable with which no timer of the engine ever comes.
pub const TIMERS_FAIL: &str = "timers-fail";

/// Stays here for ever, in a debug build and if the variable says so.
pub fn hang(name: &str) {
    while is_named(name) {
        std::thread::park();
    }
}

/// Whether the variable names this fault, in a debug build.
#[must_use]
pub fn is_named(name: &str) -> bool {
    cfg!(debug_assertions) && std::env::var(VARIABLE).is_ok_and(|named| named == name)
}
