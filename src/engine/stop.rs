//! How a run is made to end: signals with time between them, SIGKILL at last.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A signal that asks a job to end, or to prepare for it. SIGKILL is none of them: it follows in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "each is named like the signal it stands for")]
pub enum StopSignal {
    Hup,
    Int,
    Quit,
    Usr1,
    Usr2,
    Term,
}

impl StopSignal {
    /// Every one of them, by number.
    pub const ALL: [Self; 6] = [Self::Hup, Self::Int, Self::Quit, Self::Usr1, Self::Usr2, Self::Term];

    /// The word in `jobs.toml`: the signal's name without `SIG`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hup => "HUP",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
            Self::Term => "TERM",
        }
    }

    /// The signal a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.as_str() == word)
    }

    /// Its number on Linux (`signal(7)`).
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Hup => 1,
            Self::Int => 2,
            Self::Quit => 3,
            Self::Usr1 => 10,
            Self::Usr2 => 12,
            Self::Term => 15,
        }
    }
}

/// One rung: a signal, and how long the job has to end before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopStep {
    /// What is sent to every process of the run.
    pub signal: StopSignal,
    /// The time until the next rung, milliseconds.
    pub wait_ms: u64,
}

impl StopStep {
    /// The time until the next rung.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }
}

impl fmt::Display for StopStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.signal.as_str(), super::time::describe_duration(self.wait()))
    }
}

/// The rungs in order; SIGKILL comes after the last. Without any, it comes at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StopLadder(pub Vec<StopStep>);

impl StopLadder {
    /// SIGTERM, then this long.
    #[must_use]
    pub fn term(grace: Duration) -> Self {
        let wait_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        Self(vec![StopStep { signal: StopSignal::Term, wait_ms }])
    }

    /// From the first signal to SIGKILL.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.0.iter().map(StopStep::wait).fold(Duration::ZERO, Duration::saturating_add)
    }
}

impl fmt::Display for StopLadder {
    /// As `jobs.toml` has it: `QUIT:10s TERM:30s KILL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            write!(f, "{step} ")?;
        }
        f.write_str("KILL")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_is_told_as_it_is_written() {
        let step = |signal, wait_ms| StopStep { signal, wait_ms };
        let ladder = StopLadder(vec![step(StopSignal::Quit, 10_000), step(StopSignal::Term, 90_000)]);
        assert_eq!(ladder.to_string(), "QUIT:10s TERM:1m30s KILL");
        assert_eq!(ladder.grace(), Duration::from_secs(100));
        assert_eq!(StopLadder(Vec::new()).to_string(), "KILL");
        for signal in StopSignal::ALL {
            assert_eq!(StopSignal::parse(signal.as_str()), Some(signal));
        }
    }
}
