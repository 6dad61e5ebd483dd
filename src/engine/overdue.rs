//! Runs that do not end when they have to: the backstop for a shim that is stuck itself, and the word about processes
//! that nothing ends.
//!
//! A run whose processes do not die of SIGKILL is not over, whatever its limit: its row stays RUNNING, with a note, and
//! its job waits for it as for any active run.

use std::time::Duration;

use super::event::Effect;
use super::incident::notify;
use super::ledger::Change;
use super::left::cannot_be_killed;
use super::notice::Notice;
use super::run::{Claim, LeftProcess, RunId};
use super::runs::{Phase, Run};
use super::scheduler::Scheduler;
use super::time::{Monotonic, Now, Timestamp};

/// What a shim may take over its limit and grace before it is ended from outside.
const OVERDUE_SLACK: Duration = Duration::from_secs(5);
/// How soon it is looked again whether a run goes on only for processes that do not die.
const STUCK_INTERVAL: Duration = Duration::from_mins(1);

/// When a run must be over that starts now.
pub(super) fn overdue_at(claim: &Claim, now: Now) -> Option<Monotonic> {
    Some(now.monotonic.after(claim.timeout? + claim.kill_grace + OVERDUE_SLACK))
}

impl Run {
    /// A person wants it to end, so there is a limit from here on, whether or not it had one.
    pub(super) fn limit_stop(&mut self, now: Now) {
        let limit = now.monotonic.after(self.claim.kill_grace + OVERDUE_SLACK);
        if let Phase::Running { overdue_at } = &mut self.phase {
            *overdue_at = Some(overdue_at.map_or(limit, |at| at.min(limit)));
        }
    }
}

impl Scheduler {
    /// Ends from outside what its shim does not end.
    pub(super) fn reap_overdue(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for id in self.held.runs() {
            if let Some(run) = self.runs.get_mut(id)
                && let Phase::Running { overdue_at: Some(at) } = run.phase
                && at <= now.monotonic
            {
                run.phase = Phase::Running { overdue_at: Some(now.monotonic.after(OVERDUE_SLACK)) };
                effects.push(Effect::Reap { run: *id });
            }
        }
    }

    /// A run goes on for processes that do not die of SIGKILL. That is told once, however often it is found.
    pub(super) fn stuck(&mut self, id: RunId, since: Timestamp, left: &[LeftProcess], now: Now) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Phase::Running { overdue_at } = &mut run.phase else { return };
        *overdue_at = Some(now.monotonic.after(STUCK_INTERVAL));
        if run.noted {
            return;
        }
        run.noted = true;
        self.journal.push(Change::Note { run: id, reason: cannot_be_killed(left) });
        let notice = Notice::Unkillable { job: run.claim.job.clone(), run: id, since, left: left.to_vec() };
        for change in notify(&run.claim.alert, &notice) {
            self.journal.push(change);
        }
    }
}
