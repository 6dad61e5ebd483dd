//! What follows the end of a run: its next try, or the job's trouble and recovery, and what waits for it.
//!
//! **Invariant:** an end that a further try follows opens nothing and heals nothing; it is one step of a fire that is
//! not over.

use super::run::{Claim, Report, Status};
use super::runs::Run;
use super::scheduler::Scheduler;
use super::time::Now;
use super::watch::Concern;

impl Scheduler {
    /// Draws the consequences of an end, in the same batch as the end itself.
    pub(super) fn conclude(&mut self, run: &Run, report: &Report) {
        let now = self.seen;
        let claim = &run.claim;
        self.memory.remember(claim, report);
        if self.try_again(run, report, now) {
            return;
        }
        for change in self.incidents.follow(claim, report, report.ended_at) {
            self.journal.push(change);
        }
        if report.status() == Status::Success {
            self.succeeded(&claim.job, report.ended_at);
            self.judge_success(claim, report, now);
        }
    }

    /// A success that took too little time may have done too little.
    fn judge_success(&mut self, claim: &Claim, report: &Report, now: Now) {
        let Some(least) = self.agenda.spec(&claim.job).and_then(|spec| spec.watch.min_duration) else {
            return;
        };
        if report.duration < least {
            let concern = Concern::Short { took: report.duration, least };
            self.tell_concern(claim, report.started_at, concern, now);
        }
    }
}
