//! What is due: each fire becomes a run, or a row that says why it has none.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::agenda::Due;
use super::incident::notify;
use super::job::JobSpec;
use super::ledger::Change;
use super::notice::{MissedFires, Notice};
use super::occurrence::{Fire, exclusion};
use super::policy::{CatchUp, DuePlan, Overlap, plan_due};
use super::reason::Reason;
use super::run::{RunId, Status, Trigger};
use super::scheduler::Scheduler;
use super::time::{Now, Timestamp};
use super::turn::Verdict;

/// A fire this late is still on time while jobd is up: a busy host is no downtime.
pub(super) const TOLERANCE_RUNNING: Duration = Duration::from_secs(30);
/// A fire this late is no downtime when jobd comes up: a mere restart costs no fire, whatever the policy, and is told
/// to nobody.
pub(super) const TOLERANCE_STARTING: Duration = Duration::from_secs(2);
/// How often one call goes through the due fires of all jobs: two million of each take seconds, and a clock that jumps
/// by decades must not hold up the loop for longer.
const STEPS_MAX: usize = 20;

/// What a late fire is late for.
#[derive(Debug, Clone)]
pub(super) struct Lateness {
    /// How old a fire may be and still be on time.
    pub(super) tolerance: Duration,
    /// Why it is late if it is older.
    pub(super) reason: Reason,
    /// Since when nobody was there.
    pub(super) since: Option<Timestamp>,
}

impl Lateness {
    /// After a start a late fire is one to be made up for, where the policy makes up for any: then it costs nothing to
    /// call it what it is.
    fn tolerance_of(&self, catch_up: CatchUp) -> Duration {
        let is_start = self.reason == Reason::Down;
        if is_start && catch_up != CatchUp::Skip { Duration::ZERO } else { self.tolerance }
    }
}

impl Scheduler {
    /// Decides about every fire that is due, and accounts for it.
    ///
    /// `missed` holds what is known to be missed besides. All of it is one batch, so that a downtime is one message;
    /// of a downtime of millions of fires, what is left is due again at once and told in a further one.
    pub(super) fn fire_due(&mut self, now: Now, lateness: &Lateness, mut missed: Vec<MissedFires>) {
        let mut more = false;
        for _ in 0..STEPS_MAX {
            let mut due = self.agenda.due(now.wall, |spec| lateness.tolerance_of(spec.catch_up));
            due.sort_by_key(|due| (Reverse(due.spec.priority), due.fires.first().copied()));
            more = due.iter().any(|due| due.more);
            let mut passed = Vec::new();
            for due in due {
                let of_job = self.decide(&due, now, lateness);
                missed.extend((of_job.fires > 0).then_some(of_job));
                if let Some(cursor) = self.agenda.pass(&due.spec.name, due.until) {
                    passed.push(Change::Advance { job: due.spec.name.clone(), cursor });
                }
                self.arming.look_again(&due.spec.name);
            }
            // Side by side they are one statement of the store.
            for change in passed {
                self.journal.push(change);
            }
            if !more {
                break;
            }
        }
        self.behind = more.then(|| lateness.clone());
        self.report_missed(missed, now, lateness);
    }

    /// Decides about the due fires of one job. What was missed of them.
    fn decide(&mut self, due: &Due, now: Now, lateness: &Lateness) -> MissedFires {
        let Due { spec, fires, .. } = due;
        let against = fires.iter().map(|fire| self.decided_against(spec, *fire, now));
        let against: Vec<Option<Reason>> = against.collect();
        let open = fires.iter().zip(&against).filter(|(_, against)| against.is_none());
        let open: Vec<Fire> = open.map(|(fire, _)| *fire).collect();
        let plan = self.plan(due, &open, now, lateness);
        let mut missed = MissedFires::of(&spec.name, &open[..plan.on_time.start]);
        if spec.catch_up == CatchUp::Skip {
            missed.waiting = (plan.on_time.start - plan.in_window) as u64;
        }
        let heir = self.fire_heir(spec, &open, &plan, now, &mut missed);
        let mut of_open = (0..open.len()).map(|n| plan.course(n, heir, &lateness.reason));
        let courses = against.into_iter().filter_map(|against| match against {
            Some(reason) => Some(Course::Row(Status::Skipped, reason)),
            None => of_open.next(),
        });
        let courses: Vec<(Fire, Course)> = fires.iter().copied().zip(courses).collect();
        for stretch in courses.chunk_by(|(_, one), (_, other)| one == other) {
            self.follow(spec, stretch, now, &mut missed);
        }
        missed
    }

    /// Why a fire gets no run whatever else is going on, if it gets none.
    pub(super) fn decided_against(&self, spec: &JobSpec, fire: Fire, now: Now) -> Option<Reason> {
        exclusion(spec, fire.at).or_else(|| self.pauses.reason(&spec.name, fire.starts, now.wall))
    }

    fn plan(&self, due: &Due, open: &[Fire], now: Now, lateness: &Lateness) -> DuePlan {
        let spec = &due.spec;
        let is_blocked = spec.catch_up == CatchUp::Latest
            && spec.overlap == Overlap::Skip
            && self.blocking_run(&spec.name).is_some();
        let catch_up = if due.more || is_blocked { CatchUp::Skip } else { spec.catch_up };
        let tolerance = lateness.tolerance_of(spec.catch_up);
        plan_due(open, now.wall, tolerance, catch_up, spec.catch_up_window)
    }

    /// Fires the one that others are folded into, ahead of its turn: their rows name its run.
    fn fire_heir(
        &mut self,
        spec: &Arc<JobSpec>,
        open: &[Fire],
        plan: &DuePlan,
        now: Now,
        missed: &mut MissedFires,
    ) -> Option<RunId> {
        let heir = *open.get(plan.heir()?)?;
        self.end_streak(&spec.name);
        let trigger = if plan.caught_up.is_empty() { Trigger::Schedule } else { Trigger::CatchUp };
        let run = self.fire(spec, heir, trigger, now);
        missed.count(trigger, run);
        if run.is_some() {
            missed.folded = plan.folded.len() as u64;
        }
        run
    }

    /// Lets fires that follow each other and go the same way go it.
    fn follow(&mut self, spec: &Arc<JobSpec>, fires: &[(Fire, Course)], now: Now, missed: &mut MissedFires) {
        match fires.first() {
            Some((_, Course::Row(status, reason))) => {
                let instants: Vec<Timestamp> = fires.iter().map(|(fire, _)| fire.at).collect();
                self.account(spec, *status, &instants, reason);
            }
            Some((_, Course::Run(trigger))) => {
                for (fire, _) in fires {
                    let run = self.fire(spec, *fire, *trigger, now);
                    missed.count(*trigger, run);
                }
            }
            Some((_, Course::Fired)) | None => {}
        }
    }

    /// One message for all that one downtime cost. A mere restart that has made up for everything has cost nothing.
    pub(super) fn report_missed(&mut self, missed: Vec<MissedFires>, now: Now, lateness: &Lateness) {
        if missed.iter().all(|missed| missed.is_trifle(now.wall, lateness.tolerance)) {
            return;
        }
        let jobs = MissedFires::by_job(missed);
        let notice =
            Notice::Missed { reason: lateness.reason.clone(), since: lateness.since, until: now.wall, jobs };
        self.notify_own(&notice);
    }

    pub(super) fn notify_own(&mut self, notice: &Notice) {
        for change in notify(&self.settings.default_alert, notice) {
            self.journal.push(change);
        }
    }

    /// A fire's turn: its run is started, or waits; or it has a row that says why there is none.
    pub(super) fn fire(
        &mut self,
        spec: &Arc<JobSpec>,
        fire: Fire,
        trigger: Trigger,
        now: Now,
    ) -> Option<RunId> {
        let claim = self.draft(spec, Some(fire.at), trigger, now);
        match self.judge(spec, &claim) {
            Verdict::Start => Some(self.go(&claim, now).unwrap_or_else(|| self.submit(claim, false, None))),
            Verdict::Wait => Some(self.submit(claim, true, None)),
            Verdict::Skip(reason) => {
                self.account(spec, Status::Skipped, &[fire.at], &reason);
                None
            }
        }
    }
}

/// Which way a fire goes.
#[derive(Debug, PartialEq)]
enum Course {
    /// A row without a run.
    Row(Status, Reason),
    Run(Trigger),
    /// It has gone its way already.
    Fired,
}

impl DuePlan {
    /// The one that others are folded into.
    fn heir(&self) -> Option<usize> {
        (!self.folded.is_empty()).then_some(self.folded.end)
    }

    /// Which way the n-th fire goes. What was to be folded into a run that there is not is missed.
    fn course(&self, n: usize, heir: Option<RunId>, reason: &Reason) -> Course {
        match heir {
            _ if self.heir() == Some(n) => Course::Fired,
            _ if self.on_time.contains(&n) => Course::Run(Trigger::Schedule),
            _ if self.caught_up.contains(&n) => Course::Run(Trigger::CatchUp),
            Some(run) if self.folded.contains(&n) => Course::Row(Status::Skipped, Reason::Folded { run }),
            _ => Course::Row(Status::Missed, reason.clone()),
        }
    }
}
