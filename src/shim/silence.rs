//! Whether a run says and does nothing: no byte of output, and neither CPU time nor I/O of its processes moves.
//!
//! **Invariant:** no clock. What is looked at is bounded; of more processes than that the run counts as alive.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::time::Monotonic;
use crate::engine::watch::{Silence, SilenceAction};
use crate::os::{Process, inspect};

/// How often it is looked within the time that a run may be silent.
const LOOKS: u32 = 4;
/// The longest time from one look to the next.
const LOOK_INTERVAL_MAX: Duration = Duration::from_mins(1);
/// The shortest one.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How many processes are looked at.
const PROCESSES_MAX: usize = 500;
/// Of a processor, one part in so many is no work: a hung program's timers go on.
const IDLE_PART: u32 = 200;

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Used {
    cpu: Duration,
    bytes: Option<u64>,
}

/// What a run has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Activity {
    /// Bytes of output.
    received: u64,
    /// `None` where there are too many.
    processes: Option<BTreeMap<(u32, u64), Used>>,
}

impl Activity {
    /// What the run's processes have done, and what they have said.
    pub(super) fn of(processes: &[Process], received: u64) -> Self {
        let look = |process: &Process| {
            let stat = inspect::stat(process.pid)?;
            let bytes = inspect::io(process.pid).map(|io| io.read.saturating_add(io.written));
            Some(((stat.pid, stat.start_time), Used { cpu: stat.user + stat.system, bytes }))
        };
        let few = processes.len() <= PROCESSES_MAX;
        Self { received, processes: few.then(|| processes.iter().filter_map(look).collect()) }
    }

    /// Whether nothing has been done from the earlier look to this one.
    fn is_still_since(&self, earlier: &Self, passed: Duration) -> bool {
        let (Some(now), Some(before)) = (&self.processes, &earlier.processes) else { return false };
        let is_same = now.keys().eq(before.keys())
            && now.values().zip(before.values()).all(|(now, before)| now.bytes == before.bytes);
        let cpu = |used: &BTreeMap<(u32, u64), Used>| used.values().map(|used| used.cpu).sum::<Duration>();
        is_same
            && self.received == earlier.received
            && cpu(now).saturating_sub(cpu(before)) <= passed / IDLE_PART
    }
}

/// Watches one run, and speaks up once.
#[derive(Debug)]
pub(super) struct Watch {
    silence: Option<Silence>,
    last: Option<(Monotonic, Activity)>,
    still_since: Monotonic,
    look_at: Monotonic,
}

impl Watch {
    pub(super) const fn new(silence: Option<Silence>, started: Monotonic) -> Self {
        Self { silence, last: None, still_since: started, look_at: started }
    }

    /// When it wants to look again.
    pub(super) fn next_at(&self) -> Option<Monotonic> {
        self.silence.map(|_| self.look_at)
    }

    /// Takes a look; since when the run has been silent and what is to be done about it, once that is too long.
    pub(super) fn look(&mut self, now: Monotonic, activity: Activity) -> Option<(Monotonic, SilenceAction)> {
        let Silence { after, action } = self.silence?;
        let interval = (after / LOOKS).clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX);
        self.look_at = now.after(interval);
        let is_still =
            self.last.as_ref().is_some_and(|(at, before)| activity.is_still_since(before, now.since(*at)));
        self.last = Some((now, activity));
        if !is_still {
            self.still_since = now;
            return None;
        }
        if now.since(self.still_since) < after {
            return None;
        }
        self.silence = None;
        Some((self.still_since, action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Monotonic {
        Monotonic::new(Duration::from_secs(second))
    }

    fn watch() -> Watch {
        Watch::new(Some(Silence { after: Duration::from_secs(40), action: SilenceAction::Warn }), at(0))
    }

    fn activity(received: u64, cpu_ms: u64, bytes: u64) -> Activity {
        let used = Used { cpu: Duration::from_millis(cpu_ms), bytes: Some(bytes) };
        Activity { received, processes: Some(BTreeMap::from([((7, 1), used)])) }
    }

    /// When it speaks up, of looks at each ten seconds.
    fn told(activity: impl Fn(u64) -> Activity) -> Vec<u64> {
        let mut watch = watch();
        let looks = (0..=20).map(|n| n * 10);
        looks.filter(|&second| watch.look(at(second), activity(second)).is_some()).collect()
    }

    #[test]
    fn a_run_that_says_and_does_nothing_is_told_of_once() {
        assert_eq!(told(|_| activity(5, 100, 9)), [40]);
        assert_eq!(told(|second| activity(5, 100 + second, 9)), [40], "a timer that goes on is no work");
        assert_eq!(told(|second| activity(second.min(50), 100, 9)), [90], "since it has fallen silent");
    }

    #[test]
    fn who_speaks_computes_reads_or_starts_something_is_not_silent() {
        assert_eq!(told(|second| activity(second, 100, 9)), [0; 0]);
        assert_eq!(told(|second| activity(5, second * 100, 9)), [0; 0]);
        assert_eq!(told(|second| activity(5, 100, second)), [0; 0]);
        let of = |pid: u64| Activity {
            received: 0,
            processes: Some(BTreeMap::from([((7, pid), Used { cpu: Duration::ZERO, bytes: None })])),
        };
        assert_eq!(told(of), [0; 0]);
        assert_eq!(told(|_| Activity { received: 5, processes: None }), [0; 0], "too many to look at");
    }

    #[test]
    fn without_a_limit_it_never_looks() {
        let mut watch = Watch::new(None, at(0));
        assert_eq!(watch.next_at(), None);
        assert_eq!(watch.look(at(1_000), activity(0, 0, 0)), None);
    }
}
