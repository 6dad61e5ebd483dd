//! When a run is made to end: SIGTERM, the grace, SIGKILL, and at last giving up.
//!
//! **Invariant:** no I/O and no clock. Instants go in, acts come out; whatever the processes do, the last rung is
//! reached after a bounded time.

use std::time::Duration;

use crate::engine::run::Stop;
use crate::engine::time::Monotonic;

/// How long what the main process leaves behind may take to end by itself: the last command of a pipeline often
/// outlives its shell by a moment, and has output to finish.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);
/// The longest grace of processes that outlive the main one, which has said by its end that the run is over.
const LEFTOVER_GRACE_MAX: Duration = Duration::from_secs(1);
/// How often SIGKILL is sent again: without a control group a fork may have outrun it.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);
/// How long after SIGKILL a process may take to vanish before it is called unkillable: with much memory to give
/// back it is not at once.
const KILL_LIMIT: Duration = Duration::from_millis(1500);
/// The same for what outlives the main process; together with the other limits a run ends 2 s after it at most.
const LEFTOVER_KILL_LIMIT: Duration = Duration::from_millis(500);
/// How long output is read after the last process has gone: only somebody outside the run can still hold it open.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_millis(250);

/// What is to be done to the processes of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// SIGTERM to all of them.
    Terminate,
    /// The same to what the main process has left behind.
    TerminateLeftovers,
    /// SIGKILL to all of them.
    Kill,
    /// They cannot be killed: the run is over without them.
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    /// The main process runs, within its limit.
    Running,
    /// The main process has ended by itself; others live.
    Lingering { until: Monotonic },
    /// SIGTERM has been sent.
    Terminating { until: Monotonic },
    /// SIGKILL has been sent.
    Killing { again: Monotonic, until: Monotonic },
    /// Nothing more can be done.
    GivenUp,
}

/// Where a run stands on its way to the end.
#[derive(Debug)]
pub(super) struct Ladder {
    rung: Rung,
    timeout: Option<Monotonic>,
    grace: Duration,
    kill_limit: Duration,
    stop: Option<Stop>,
}

impl Ladder {
    pub(super) fn new(started: Monotonic, timeout: Option<Duration>, grace: Duration) -> Self {
        let timeout = timeout.map(|timeout| started.after(timeout));
        Self { rung: Rung::Running, timeout, grace, kill_limit: KILL_LIMIT, stop: None }
    }

    /// Somebody asks for the end of the run. Asking again changes nothing, and neither does asking for what is over.
    pub(super) fn stop(&mut self, now: Monotonic, stop: Stop) -> Option<Act> {
        if self.rung != Rung::Running {
            return None;
        }
        self.stop = Some(stop);
        self.rung = Rung::Terminating { until: now.after(self.grace) };
        Some(Act::Terminate)
    }

    /// The main process has ended.
    pub(super) fn main_ended(&mut self, now: Monotonic) {
        if self.rung == Rung::Running {
            self.rung = Rung::Lingering { until: now.after(PATIENCE) };
            self.grace = self.grace.min(LEFTOVER_GRACE_MAX);
            self.kill_limit = LEFTOVER_KILL_LIMIT;
        }
    }

    /// What is due now. To be asked until there is nothing.
    pub(super) fn due(&mut self, now: Monotonic) -> Option<Act> {
        if self.next_at()? > now {
            return None;
        }
        match self.rung {
            Rung::Running => self.stop(now, Stop::Timeout),
            Rung::Lingering { .. } => {
                self.rung = Rung::Terminating { until: now.after(self.grace) };
                Some(Act::TerminateLeftovers)
            }
            Rung::Terminating { .. } => {
                self.rung =
                    Rung::Killing { again: now.after(SWEEP_INTERVAL), until: now.after(self.kill_limit) };
                Some(Act::Kill)
            }
            Rung::Killing { until, .. } if until <= now => {
                self.rung = Rung::GivenUp;
                Some(Act::GiveUp)
            }
            Rung::Killing { until, .. } => {
                self.rung = Rung::Killing { again: now.after(SWEEP_INTERVAL), until };
                Some(Act::Kill)
            }
            Rung::GivenUp => None,
        }
    }

    /// When something is due next.
    pub(super) fn next_at(&self) -> Option<Monotonic> {
        match self.rung {
            Rung::Running => self.timeout,
            Rung::Lingering { until } | Rung::Terminating { until } => Some(until),
            Rung::Killing { again, until } => Some(again.min(until)),
            Rung::GivenUp => None,
        }
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.rung == Rung::GivenUp
    }

    /// Who made the run end.
    pub(super) fn into_stop(self) -> Option<Stop> {
        self.stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::new(Duration::from_millis(ms))
    }

    fn ladder(timeout_ms: u64, grace_ms: u64) -> Ladder {
        let ms = Duration::from_millis;
        Ladder::new(at(0), Some(ms(timeout_ms)), ms(grace_ms))
    }

    /// Climbs to the end without any help, and says what happened when.
    fn climb(mut ladder: Ladder) -> (Vec<(u128, Act)>, Option<Stop>) {
        let mut acts: Vec<(u128, Act)> = Vec::new();
        while let Some(now) = ladder.next_at() {
            let act = ladder.due(now).unwrap();
            if acts.last().is_none_or(|(_, last)| *last != act) {
                acts.push((now.since_boot().as_millis(), act));
            }
        }
        (acts, ladder.into_stop())
    }

    #[test]
    fn a_run_that_overruns_is_terminated_killed_and_given_up_in_time() {
        let (acts, stop) = climb(ladder(5_000, 3_000));
        assert_eq!(acts, [(5_000, Act::Terminate), (8_000, Act::Kill), (9_500, Act::GiveUp)]);
        assert_eq!(stop, Some(Stop::Timeout));
    }

    #[test]
    fn leftovers_are_gone_within_two_seconds_of_the_main_process() {
        let mut ladder = ladder(5_000, 60_000);
        ladder.main_ended(at(100));
        let (acts, stop) = climb(ladder);
        assert_eq!(acts, [(300, Act::TerminateLeftovers), (1_300, Act::Kill), (1_800, Act::GiveUp)]);
        assert_eq!(stop, None);
        let last = at(1_800).after(DRAIN_LIMIT);
        assert!(last.since(at(100)) <= Duration::from_secs(2));
    }

    #[test]
    fn the_first_to_stop_a_run_is_the_one_who_did() {
        let mut ladder = ladder(5_000, 1_000);
        let by = |by: &str| Stop::Manual { by: by.into() };
        assert_eq!(ladder.stop(at(10), by("a")), Some(Act::Terminate));
        assert_eq!(ladder.stop(at(20), by("b")), None);
        assert_eq!(ladder.next_at(), Some(at(1_010)));
        ladder.main_ended(at(30));
        assert_eq!(ladder.next_at(), Some(at(1_010)));
        assert_eq!(ladder.into_stop(), Some(by("a")));
    }

    #[test]
    fn without_a_limit_nothing_is_due() {
        let mut ladder = Ladder::new(at(0), None, Duration::ZERO);
        assert_eq!(ladder.next_at(), None);
        assert_eq!(ladder.due(at(u64::MAX)), None);
    }
}
