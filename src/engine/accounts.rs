//! Rows for fires without a run: MISSED and SKIPPED.
//!
//! **Invariant:** a row of many fires stands for consecutive ones of one kind, and only grows while nothing else of its
//! job happens: so what it stands for is known from its ends.

use super::incident::notify;
use super::job::{JobName, JobSpec};
use super::ledger::{Accounted, Change};
use super::notice::Notice;
use super::reason::Reason;
use super::run::{RunId, Status};
use super::scheduler::Scheduler;
use super::time::Timestamp;
use super::watch::{Concern, ConcernKind, RunConcern};

/// More fires of one job and kind in a row than this are one row.
const ROWS_MAX: u64 = 1_000;
/// The skip behind a run that is told.
const SKIPS_TOLD: u64 = 2;

/// Fires of a job that were accounted for in a row, and in one way.
#[derive(Debug)]
pub(super) struct Streak {
    status: Status,
    reason: Reason,
    rows: u64,
    /// The row that stands for whatever follows.
    many: Option<RunId>,
}

impl Scheduler {
    /// Accounts for fires that follow each other and go the same way.
    pub(super) fn account(&mut self, spec: &JobSpec, status: Status, fires: &[Timestamp], reason: &Reason) {
        // On a second pass they have rows; then the store lets it pass.
        let settled = fires.partition_point(|at| self.agenda.is_settled(&spec.name, *at));
        let (settled, fresh) = fires.split_at(settled);
        for at in settled {
            self.account_one(spec, status, *at, reason);
        }
        if let (Some(first), Some(last)) = (fresh.first(), fresh.last()) {
            self.account_fresh(spec, status, fresh, (*first, *last), reason);
            self.count_skips(spec, fresh.len() as u64, *last, reason);
        }
    }

    fn account_fresh(
        &mut self,
        spec: &JobSpec,
        status: Status,
        fires: &[Timestamp],
        (first, last): (Timestamp, Timestamp),
        reason: &Reason,
    ) {
        let count = fires.len() as u64;
        let known = self.streaks.remove(&spec.name);
        let mut streak = known
            .filter(|streak| streak.status == status && streak.reason == *reason)
            .unwrap_or_else(|| Streak { status, reason: reason.clone(), rows: 0, many: None });
        if let Some(run) = streak.many {
            self.withdraw_for(&spec.name, fires.first().copied(), Some(last));
            self.journal.push(Change::Extend { run, until: last, fires: count });
        } else if streak.rows + count > ROWS_MAX {
            streak.many = Some(self.push_row(spec, status, first, Some(last), count, reason));
        } else {
            streak.rows += count;
            for at in fires {
                self.account_one(spec, status, *at, reason);
            }
        }
        self.streaks.insert(spec.name.clone(), streak);
    }

    fn account_one(&mut self, spec: &JobSpec, status: Status, at: Timestamp, reason: &Reason) {
        self.push_row(spec, status, at, None, 1, reason);
    }

    fn push_row(
        &mut self,
        spec: &JobSpec,
        status: Status,
        scheduled_at: Timestamp,
        scheduled_until: Option<Timestamp>,
        fires: u64,
        reason: &Reason,
    ) -> RunId {
        self.withdraw_for(&spec.name, Some(scheduled_at), scheduled_until.or(Some(scheduled_at)));
        let run = self.new_run_id();
        self.journal.push(Change::Account(Accounted {
            run,
            job: spec.name.clone(),
            status,
            scheduled_at,
            scheduled_until,
            fires,
            reason: reason.clone(),
            config_hash: spec.config_hash.clone(),
        }));
        run
    }

    /// Something else happens to the job.
    pub(super) fn end_streak(&mut self, job: &JobName) {
        self.streaks.remove(job);
    }

    /// A run that keeps fires of its job from starting is told of with the second one, once.
    fn count_skips(&mut self, spec: &JobSpec, fires: u64, at: Timestamp, reason: &Reason) {
        let (Reason::Overlap { run: id } | Reason::QueueFull { run: id, .. }) = *reason else { return };
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.skips += fires;
        if run.skips < SKIPS_TOLD || !run.told.insert(ConcernKind::InTheWay) {
            return;
        }
        let concern = RunConcern {
            job: spec.name.clone(),
            run: id,
            scheduled_at: run.claim.scheduled_at,
            started_at: run.started_at,
            at,
            concern: Concern::InTheWay { skipped: run.skips },
        };
        self.journal.push(Change::Told { run: id, concern: ConcernKind::InTheWay });
        for change in notify(&spec.alert, &Notice::Concern(concern)) {
            self.journal.push(change);
        }
    }
}
