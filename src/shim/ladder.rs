//! When a run is made to end: a look at what it does, its signals with time between them, and SIGKILL until it is gone.
//!
//! **Invariant:** no I/O and no clock. Instants go in, acts come out; whatever the processes do, SIGKILL is reached
//! after a bounded time, and what does not die of it is called stuck soon after.

use std::time::Duration;

use crate::engine::policy::Leftover;
use crate::engine::run::Stop;
use crate::engine::stop::{StopLadder, StopSignal};
use crate::engine::time::Monotonic;

/// How long what the main process leaves behind may take to end by itself: the last command of a pipeline often
/// outlives its shell by a moment, and has output to finish.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);
/// The longest look at what the processes are doing before the first signal, which may change it.
pub(super) const EXAMINE_MAX: Duration = Duration::from_millis(300);
/// The longest grace of processes that outlive the main one, which has said by its end that the run is over.
const LEFTOVER_GRACE_MAX: Duration = Duration::from_secs(1);
/// How often SIGKILL is sent again: without a control group a fork may have outrun it.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);
/// How often at last, to what does not die of it: the kernel delivers the first one as soon as it can.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_secs(10);
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
    /// Look at what they are doing, and say when that is done ([`Ladder::examined`]).
    Examine,
    /// This signal to all of them.
    Signal(StopSignal),
    /// SIGTERM to what the main process has left behind.
    TerminateLeftovers,
    /// What the main process has left behind may live on: the run is over without it.
    LetLive,
    /// SIGKILL to all of them.
    Kill,
    /// They do not die of SIGKILL: leave word of it. The run goes on, since they do.
    TellStuck,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    /// The main process runs, within its limit.
    Running,
    /// The end is decided, and what the processes are doing is being looked at.
    Examining { until: Monotonic },
    /// The main process has ended by itself; others live.
    Lingering { until: Monotonic },
    /// So many signals have been sent.
    Signalled { count: usize, until: Monotonic },
    /// SIGKILL has been sent, first at this instant.
    Killing { since: Monotonic, again: Monotonic },
    /// It has been sent in vain.
    Stuck { since: Monotonic, again: Monotonic, pause: Duration },
    /// Others live on, as they may.
    Left,
}

/// Where a run stands on its way to the end.
#[derive(Debug)]
pub(super) struct Ladder {
    rung: Rung,
    timeout: Option<Monotonic>,
    signals: StopLadder,
    leftover: Leftover,
    kill_limit: Duration,
    stop: Option<Stop>,
}

impl Ladder {
    pub(super) fn new(
        started: Monotonic,
        timeout: Option<Duration>,
        signals: StopLadder,
        leftover: Leftover,
    ) -> Self {
        let timeout = timeout.map(|timeout| started.after(timeout));
        Self { rung: Rung::Running, timeout, signals, leftover, kill_limit: KILL_LIMIT, stop: None }
    }

    /// Somebody asks for the end of the run. Asking again changes nothing, and neither does asking for what is over.
    pub(super) fn stop(&mut self, now: Monotonic, stop: Stop) -> Option<Act> {
        if self.rung != Rung::Running {
            return None;
        }
        self.stop = Some(stop);
        self.rung = Rung::Examining { until: now.after(EXAMINE_MAX) };
        Some(Act::Examine)
    }

    /// What the processes are doing has been looked at; the first signal is due.
    pub(super) fn examined(&mut self, now: Monotonic) {
        if matches!(self.rung, Rung::Examining { .. }) {
            self.rung = Rung::Examining { until: now };
        }
    }

    /// The main process has ended, well or not.
    pub(super) fn main_ended(&mut self, now: Monotonic, well: bool) {
        if self.rung == Rung::Running {
            self.rung = Rung::Lingering { until: now.after(PATIENCE) };
            self.signals = StopLadder::term(self.signals.grace().min(LEFTOVER_GRACE_MAX));
            self.kill_limit = LEFTOVER_KILL_LIMIT;
            if !well {
                self.leftover = Leftover::Kill;
            }
        }
    }

    /// What is due now. To be asked until there is nothing.
    pub(super) fn due(&mut self, now: Monotonic) -> Option<Act> {
        if self.next_at()? > now {
            return None;
        }
        match self.rung {
            Rung::Running => self.stop(now, Stop::Timeout),
            Rung::Examining { .. } => Some(self.climb(now, 0)),
            Rung::Lingering { .. } if self.leftover != Leftover::Kill => {
                self.rung = Rung::Left;
                Some(Act::LetLive)
            }
            Rung::Lingering { .. } => {
                self.climb(now, 0);
                Some(Act::TerminateLeftovers)
            }
            Rung::Signalled { count, .. } => Some(self.climb(now, count)),
            Rung::Killing { since, .. } if since.after(self.kill_limit) <= now => {
                self.rung = Rung::Stuck { since, again: now.after(SWEEP_INTERVAL), pause: SWEEP_INTERVAL };
                Some(Act::TellStuck)
            }
            Rung::Killing { since, .. } => {
                self.rung = Rung::Killing { since, again: now.after(SWEEP_INTERVAL) };
                Some(Act::Kill)
            }
            Rung::Stuck { since, pause, .. } => {
                let pause = (pause * 2).min(SWEEP_INTERVAL_MAX);
                self.rung = Rung::Stuck { since, again: now.after(pause), pause };
                Some(Act::Kill)
            }
            Rung::Left => None,
        }
    }

    /// The next signal after so many, or SIGKILL after the last.
    fn climb(&mut self, now: Monotonic, count: usize) -> Act {
        if let Some(step) = self.signals.0.get(count) {
            self.rung = Rung::Signalled { count: count + 1, until: now.after(step.wait()) };
            return Act::Signal(step.signal);
        }
        self.rung = Rung::Killing { since: now, again: now.after(SWEEP_INTERVAL) };
        Act::Kill
    }

    /// When something is due next.
    pub(super) fn next_at(&self) -> Option<Monotonic> {
        match self.rung {
            Rung::Running => self.timeout,
            Rung::Examining { until } | Rung::Lingering { until } | Rung::Signalled { until, .. } => {
                Some(until)
            }
            Rung::Killing { since, again } => Some(again.min(since.after(self.kill_limit))),
            Rung::Stuck { again, .. } => Some(again),
            Rung::Left => None,
        }
    }

    /// Whether the end is decided, or has begun.
    pub(super) fn is_ending(&self) -> bool {
        self.rung != Rung::Running
    }

    /// Since when SIGKILL has been sent in vain, if it has.
    pub(super) const fn stuck_since(&self) -> Option<Monotonic> {
        match self.rung {
            Rung::Stuck { since, .. } => Some(since),
            _ => None,
        }
    }

    /// What becomes of processes that outlive the main one.
    pub(super) const fn leftover(&self) -> Leftover {
        self.leftover
    }

    /// Who made the run end.
    pub(super) fn into_stop(self) -> Option<Stop> {
        self.stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::stop::StopStep;

    fn at(ms: u64) -> Monotonic {
        Monotonic::new(Duration::from_millis(ms))
    }

    fn ladder(timeout_ms: u64, signals: &[(StopSignal, u64)], leftover: Leftover) -> Ladder {
        let step = |&(signal, wait_ms): &(StopSignal, u64)| StopStep { signal, wait_ms };
        let signals = StopLadder(signals.iter().map(step).collect());
        Ladder::new(at(0), Some(Duration::from_millis(timeout_ms)), signals, leftover)
    }

    fn term(timeout_ms: u64, grace_ms: u64) -> Ladder {
        ladder(timeout_ms, &[(StopSignal::Term, grace_ms)], Leftover::Kill)
    }

    /// Climbs without any help until nothing more is due or SIGKILL has been in vain, and says what happened when.
    fn climb(ladder: &mut Ladder) -> Vec<(u128, Act)> {
        let mut acts: Vec<(u128, Act)> = Vec::new();
        while let Some(now) = ladder.next_at().filter(|_| ladder.stuck_since().is_none()) {
            let act = ladder.due(now).unwrap();
            if acts.last().is_none_or(|(_, last)| *last != act) {
                acts.push((now.since_boot().as_millis(), act));
            }
        }
        acts
    }

    #[test]
    fn a_run_that_overruns_is_examined_terminated_killed_and_told_of_in_time() {
        let mut ladder = term(5_000, 3_000);
        let acts = climb(&mut ladder);
        let expected = [
            (5_000, Act::Examine),
            (5_300, Act::Signal(StopSignal::Term)),
            (8_300, Act::Kill),
            (9_800, Act::TellStuck),
        ];
        assert_eq!(acts, expected);
        assert_eq!(ladder.into_stop(), Some(Stop::Timeout));
    }

    #[test]
    fn each_signal_has_its_time_and_no_signal_is_sigkill_at_once() {
        let signals = [(StopSignal::Quit, 1_000), (StopSignal::Term, 2_000), (StopSignal::Term, 0)];
        let mut many = ladder(5_000, &signals, Leftover::Kill);
        assert_eq!(many.due(at(5_000)), Some(Act::Examine));
        many.examined(at(5_010));
        let expected = [
            (5_010, Act::Signal(StopSignal::Quit)),
            (6_010, Act::Signal(StopSignal::Term)),
            (8_010, Act::Kill),
            (9_510, Act::TellStuck),
        ];
        // The second SIGTERM follows the first, and is not listed again.
        assert_eq!(climb(&mut many), expected);
        let mut none = ladder(5_000, &[], Leftover::Kill);
        assert_eq!(none.due(at(5_000)), Some(Act::Examine));
        none.examined(at(5_000));
        assert_eq!(none.due(at(5_000)), Some(Act::Kill));
    }

    #[test]
    fn what_does_not_die_is_sent_sigkill_for_ever_and_less_and_less_often() {
        let mut ladder = term(0, 0);
        climb(&mut ladder);
        assert_eq!(ladder.stuck_since(), Some(at(300)));
        let mut pauses = Vec::new();
        for _ in 0..100 {
            let now = ladder.next_at().unwrap();
            assert_eq!(ladder.due(now), Some(Act::Kill));
            pauses.push(ladder.next_at().unwrap().since(now));
        }
        assert!(pauses.is_sorted() && pauses[0] == SWEEP_INTERVAL * 2, "{pauses:?}");
        assert_eq!(pauses.last(), Some(&SWEEP_INTERVAL_MAX));
        assert_eq!(ladder.stuck_since(), Some(at(300)));
    }

    #[test]
    fn leftovers_are_gone_within_two_seconds_of_the_main_process() {
        for leftover in [Leftover::Kill, Leftover::Warn, Leftover::Allow] {
            let mut ladder = ladder(5_000, &[(StopSignal::Quit, 60_000)], leftover);
            // Whatever the policy: it is for a main process that ended well.
            ladder.main_ended(at(100), false);
            let acts = climb(&mut ladder);
            assert_eq!(acts, [(300, Act::TerminateLeftovers), (1_300, Act::Kill), (1_800, Act::TellStuck)]);
            assert_eq!(ladder.into_stop(), None);
        }
        let last = at(1_800).after(DRAIN_LIMIT);
        assert!(last.since(at(100)) <= Duration::from_secs(2));
    }

    #[test]
    fn leftovers_of_a_good_end_live_on_if_they_may() {
        for leftover in [Leftover::Warn, Leftover::Allow] {
            let mut ladder = ladder(5_000, &[(StopSignal::Term, 1_000)], leftover);
            ladder.main_ended(at(100), true);
            assert_eq!(climb(&mut ladder), [(300, Act::LetLive)]);
            assert_eq!(ladder.next_at(), None);
            assert_eq!(ladder.leftover(), leftover);
        }
        let mut stopped = ladder(5_000, &[(StopSignal::Term, 1_000)], Leftover::Allow);
        stopped.stop(at(10), Stop::Signal);
        stopped.main_ended(at(20), true);
        assert_eq!(climb(&mut stopped).last(), Some(&(2_810, Act::TellStuck)), "not of one that was stopped");
    }

    #[test]
    fn the_first_to_stop_a_run_is_the_one_who_did() {
        let mut ladder = term(5_000, 1_000);
        let by = |by: &str| Stop::Manual { by: by.into() };
        assert_eq!(ladder.stop(at(10), by("a")), Some(Act::Examine));
        assert_eq!(ladder.stop(at(20), by("b")), None);
        ladder.examined(at(20));
        assert_eq!(ladder.due(at(20)), Some(Act::Signal(StopSignal::Term)));
        assert_eq!(ladder.next_at(), Some(at(1_020)));
        ladder.examined(at(30));
        ladder.main_ended(at(30), true);
        assert_eq!(ladder.next_at(), Some(at(1_020)));
        assert_eq!(ladder.into_stop(), Some(by("a")));
    }

    #[test]
    fn without_a_limit_nothing_is_due() {
        let mut ladder = Ladder::new(at(0), None, StopLadder(Vec::new()), Leftover::Kill);
        assert_eq!(ladder.next_at(), None);
        assert_eq!(ladder.due(at(u64::MAX)), None);
    }
}
