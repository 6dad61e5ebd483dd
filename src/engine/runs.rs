//! A run's way through the engine: from its claim, over its turn and its launch, to its end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::event::{Effect, Refusal, Remark, RequestId};
use super::fires::{Lateness, TOLERANCE_RUNNING};
use super::job::{JobName, JobSpec};
use super::ledger::{Answer, Change};
use super::memory::Bound;
use super::notice::MissedFires;
use super::occurrence::Fire;
use super::overdue::overdue_at;
use super::policy::still_wanted;
use super::queue::Wait;
use super::reason::Reason;
use super::run::{Claim, Report, RunId, Status, Trigger};
use super::scheduler::Scheduler;
use super::time::{Monotonic, Now, Timestamp};
use super::watch::ConcernKind;

/// An active run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) claim: Claim,
    pub(super) phase: Phase,
    pub(super) request: Option<RequestId>,
    /// Who wants it to end before its shim is there to be asked.
    pub(super) stop: Option<String>,
    /// Its shim is known to be there.
    pub(super) launched: bool,
    /// It has been told that processes of it cannot be killed.
    pub(super) noted: bool,
    /// Until when it waits, whatever else is free.
    pub(super) ready_at: Option<Monotonic>,
    /// When its launch was asked for, by this jobd, or its job was started.
    pub(super) started_at: Option<Timestamp>,
    /// How many fires in a row it has kept from starting.
    pub(super) skips: u64,
    /// What has been told of it.
    pub(super) told: BTreeSet<ConcernKind>,
    /// What is more than usual for it, as was known at its start.
    pub(super) bound: Option<Bound>,
}

impl Run {
    pub(super) const fn new(claim: Claim, phase: Phase) -> Self {
        Self {
            claim,
            phase,
            request: None,
            stop: None,
            launched: false,
            noted: false,
            ready_at: None,
            started_at: None,
            skips: 0,
            told: BTreeSet::new(),
            bound: None,
        }
    }
}

/// Where an active run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its claim is not durable yet.
    Claiming { queued: bool },
    /// It waits for its turn.
    Queued,
    /// It is to be launched once this is durable.
    Starting,
    /// Its process is there, or on its way.
    Running { overdue_at: Option<Monotonic> },
}

impl Phase {
    /// Whether it holds nothing yet.
    pub(super) const fn is_waiting(self) -> bool {
        matches!(self, Self::Queued | Self::Claiming { queued: true })
    }
}

impl Scheduler {
    /// The run that keeps another run of the job from starting.
    pub(super) fn blocking_run(&self, job: &JobName) -> Option<RunId> {
        self.active.get(job)?.first().copied()
    }

    /// The active runs of a job, in the order of their numbers.
    pub(super) fn active_runs(&self, job: &JobName) -> impl Iterator<Item = &Run> {
        self.active.get(job).into_iter().flatten().filter_map(|id| self.runs.get(id))
    }

    /// A claim as it would be; it becomes one when it is submitted.
    pub(super) fn draft(
        &self,
        spec: &JobSpec,
        scheduled_at: Option<Timestamp>,
        trigger: Trigger,
        now: Now,
    ) -> Claim {
        let settled = self.settings.admission.settled_at().since(now.monotonic);
        let is_made_up_for = trigger == Trigger::CatchUp;
        Claim {
            run: RunId(self.last_run + 1),
            job: spec.name.clone(),
            scheduled_at,
            trigger,
            attempt: 1,
            not_before: is_made_up_for.then(|| now.wall.saturating_add(settled).unwrap_or(now.wall)),
            holds: spec.holds.clone(),
            claimed_at: now.wall,
            timeout: self.timeout_of(spec),
            kill_grace: spec.stop.grace(),
            alert: spec.alert.clone(),
            config_hash: spec.config_hash.clone(),
        }
    }

    /// Makes a claim of a draft: to be started when it is durable, or to wait.
    pub(super) fn submit(&mut self, claim: Claim, queued: bool, request: Option<RequestId>) -> RunId {
        let run = claim.run;
        self.last_run = self.last_run.max(run.0);
        self.withdraw_for(&claim.job, claim.scheduled_at, claim.scheduled_at);
        self.end_streak(&claim.job);
        if !queued {
            self.take_pace(&claim);
        }
        self.journal.push(Change::Claim { claim: claim.clone(), queued });
        self.add_run(Run { request, ..Run::new(claim, Phase::Claiming { queued }) });
        run
    }

    pub(super) fn add_run(&mut self, run: Run) {
        self.active.entry(run.claim.job.clone()).or_default().insert(run.claim.run);
        if !run.phase.is_waiting() {
            self.held.take(&run.claim);
        }
        self.runs.insert(run.claim.run, run);
    }

    pub(super) fn new_run_id(&mut self) -> RunId {
        self.last_run += 1;
        RunId(self.last_run)
    }

    /// A batch is durable: what it allows may now be done.
    pub(super) fn committed(
        &mut self,
        number: u64,
        answers: &[(RunId, Answer)],
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(batch) = self.journal.committed(number) else { return };
        let mut answers = answers.iter().peekable();
        for change in &batch.changes {
            match change {
                Change::Claim { claim, .. } => match answers.next() {
                    Some((run, Answer::Granted { attempt })) if *run == claim.run => {
                        self.granted(claim.run, *attempt, now, effects);
                    }
                    _ => self.taken(claim.run, effects),
                },
                Change::Ahead { claim } => match answers.next_if(|(run, _)| *run == claim.run) {
                    Some((_, Answer::Granted { .. })) => self.ahead_granted(claim),
                    _ => self.ahead_taken(claim),
                },
                Change::Start { run, .. } => self.launch(*run, now, effects),
                _ => {}
            }
        }
        self.answer_durable(number, effects);
    }

    fn granted(&mut self, id: RunId, attempt: u32, now: Now, effects: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.claim.attempt = attempt;
        if let Some(request) = run.request.take() {
            effects.push(Effect::Reply { request, answer: Ok(Some(id)) });
        }
        self.watch_wait(id, now);
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.phase == (Phase::Claiming { queued: true }) {
            if let Some(by) = run.stop.take() {
                self.cancel(id, &by, now);
            } else {
                self.enqueue(id);
                self.make_way(id, now, effects);
            }
        } else if self.is_too_late(id, now) {
            let missed = self.abandon(id, &Reason::Starved, now);
            let lateness = Lateness { reason: Reason::Starved, tolerance: TOLERANCE_RUNNING, since: None };
            self.report_missed(missed.into_iter().collect(), now, &lateness);
        } else {
            self.launch(id, now, effects);
        }
    }

    /// A store that was away for long must not bring back the morning's jobs at night.
    fn is_too_late(&self, id: RunId, now: Now) -> bool {
        let Some(claim) = self.runs.get(&id).map(|run| &run.claim) else { return false };
        let Some(spec) = self.agenda.spec(&claim.job) else { return false };
        !claim.is_by_hand() && !is_still_wanted(spec, claim, TOLERANCE_RUNNING, now)
    }

    fn taken(&mut self, id: RunId, effects: &mut Vec<Effect>) {
        let Some(run) = self.forget(id) else { return };
        let (job, scheduled_at) = (run.claim.job, run.claim.scheduled_at);
        if let Some(request) = run.request {
            effects.push(Effect::Reply { request, answer: Err(Refusal::Taken { job: job.clone() }) });
        }
        effects.push(Effect::Remark(Remark::AlreadyAccounted { job, scheduled_at }));
    }

    pub(super) fn launch(&mut self, id: RunId, now: Now, effects: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if let Some(by) = run.stop.take() {
            self.cancel(id, &by, now);
            return;
        }
        run.phase = Phase::Running { overdue_at: overdue_at(&run.claim, now) };
        run.started_at = Some(now.wall);
        effects.push(Effect::Launch(run.claim.clone()));
    }

    /// The limit counts from the start of the process, so it is counted anew when that is known. Who wanted the run to
    /// end meanwhile may have found nobody to ask.
    pub(super) fn launched(&mut self, id: RunId, now: Now, effects: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.phase = Phase::Running { overdue_at: overdue_at(&run.claim, now) };
        run.launched = true;
        if let Some(by) = run.stop.clone() {
            run.limit_stop(now);
            effects.push(Effect::Stop { run: id, by });
        }
        self.watch_start(id, now.wall, now);
    }

    pub(super) fn exited(&mut self, id: RunId, report: &Report) {
        let Some(run) = self.forget(id) else { return };
        self.journal.push(Change::Finish {
            run: id,
            status: report.status(),
            reason: report.reason(run.claim.timeout),
            report: Some(Box::new(report.clone())),
            at: report.ended_at,
        });
        self.conclude(&run, report);
    }

    /// Ends a run that has not begun.
    pub(super) fn cancel(&mut self, id: RunId, by: &str, now: Now) {
        if self.forget(id).is_some() {
            self.finish_unstarted(id, Status::Killed, format!("killed by {by} before it started"), now.wall);
        }
    }

    /// A run that waits is not to be started any more.
    pub(super) fn end_waiting(&mut self, id: RunId, status: Status, reason: &Reason, now: Now) {
        if self.forget(id).is_some() {
            self.finish_unstarted(id, status, reason.to_string(), now.wall);
        }
    }

    /// Gives up a claim that could not be acted upon in time. What was missed by it.
    pub(super) fn abandon(&mut self, id: RunId, reason: &Reason, now: Now) -> Option<MissedFires> {
        let run = self.forget(id)?;
        self.finish_unstarted(id, Status::Missed, reason.to_string(), now.wall);
        let at = run.claim.due_at();
        Some(MissedFires::of(&run.claim.job, &[Fire { at, starts: at }]))
    }

    fn finish_unstarted(&mut self, run: RunId, status: Status, reason: String, at: Timestamp) {
        self.journal.push(Change::Finish { run, status, reason: Some(reason), report: None, at });
    }

    /// The run is over: who waits for it, or for what it held, is looked at.
    pub(super) fn forget(&mut self, id: RunId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        let job = &run.claim.job;
        if let Some(ids) = self.active.get_mut(job) {
            ids.remove(&id);
            if ids.is_empty() {
                self.active.remove(job);
            }
        }
        self.deadlines.drop_run(id);
        if let Some(at) = run.claim.scheduled_at.filter(|_| self.followers.contains_key(job)) {
            self.ended.push((job.clone(), at));
        }
        self.queue.leave(id);
        for by_hand in [true, false] {
            self.queue.open(&Wait::Turn { job: job.clone(), by_hand });
        }
        if self.held.release(&run.claim) {
            let locks = run.claim.holds.locks.iter().cloned().map(Wait::Lock);
            let pools = run.claim.holds.pools.keys().cloned().map(Wait::Pool);
            for wait in locks.chain(pools) {
                self.queue.open(&wait);
            }
        }
        self.arming.look_again(&run.claim.job);
        Some(run)
    }
}

/// Whether a claim that was never acted upon is still to be.
pub(super) fn is_still_wanted(spec: &JobSpec, claim: &Claim, tolerance: Duration, now: Now) -> bool {
    let due = match claim.trigger {
        // A fire that has begun goes its way to the end.
        Trigger::Retry => return true,
        Trigger::After => claim.claimed_at,
        _ => claim.due_at().saturating_add(spec.jitter).unwrap_or(Timestamp::MAX),
    };
    still_wanted(due, now.wall, tolerance, spec.catch_up, spec.catch_up_window)
}
