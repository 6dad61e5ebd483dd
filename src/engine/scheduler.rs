//! The engine itself: `handle` takes an event and the time, and says what is to be done.
//!
//! Its parts: `agenda` knows when, [`policy`](super::policy) decides, `journal` keeps the order of
//! durable changes, `incident` judges outcomes, `overdue` sees to runs that do not end. This file joins them, and holds
//! the active runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::agenda::{Agenda, Due};
use super::event::{Effect, Event, Refusal, Remark, RequestId, Wakeup};
use super::incident::{Incidents, notify};
use super::job::{ChannelName, JobName, JobSpec};
use super::journal::Journal;
use super::ledger::{Accounted, Answer, Change, MissedFires, Notice, Reason};
use super::overdue::overdue_at;
use super::policy::{CatchUp, plan_due, still_wanted};
use super::run::{Claim, Report, RunId, Status, Trigger};
use super::time::{Monotonic, Now, Timestamp};

/// A fire this late is still on time while jobd is up: a busy host is no downtime.
const TOLERANCE_RUNNING: Duration = Duration::from_secs(30);
/// A fire this late is no downtime when jobd comes up: a mere restart costs no fire, whatever the policy, and is told
/// to nobody.
pub(super) const TOLERANCE_STARTING: Duration = Duration::from_secs(2);
/// The wall clock going back further than this is a new clock; up to it, schedules wait for it to catch up.
/// From Debian cron (`cron.8`): changes of less than three hours are corrections.
const SET_BACK_MAX: jiff::SignedDuration = jiff::SignedDuration::from_hours(3);
/// A difference between the clocks' paces that says that the wall clock was set or the host slept.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// How often one call goes through the due fires of all jobs: two million of each take seconds, and a clock that jumps
/// by decades must not hold up the loop for longer.
const STEPS_MAX: usize = 20;
/// More missed fires of one job in a row than this are one row.
const MISSED_ROWS_MAX: usize = 1_000;

/// What holds for all jobs.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where jobd's own messages go: `[defaults] alert`.
    pub default_alert: Vec<ChannelName>,
}

/// The engine. Made by [`recover`](Self::recover).
#[derive(Debug)]
pub struct Scheduler {
    pub(super) settings: Settings,
    pub(super) agenda: Agenda,
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) active: BTreeMap<JobName, BTreeSet<RunId>>,
    pub(super) incidents: Incidents,
    pub(super) journal: Journal,
    pub(super) last_run: u64,
    /// The latest time seen on both clocks at once.
    pub(super) seen: Now,
    /// The latest wall time ever seen: what "back" is measured from.
    pub(super) latest_wall: Timestamp,
    /// Why what is still due is late, where one call could not go through all of it.
    pub(super) behind: Option<Lateness>,
}

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
}

impl Run {
    pub(super) const fn new(claim: Claim, phase: Phase) -> Self {
        Self { claim, phase, request: None, stop: None, launched: false, noted: false }
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

impl Scheduler {
    /// Takes in an event. Whatever it is, the clocks are looked at first.
    pub fn handle(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let seen = self.seen;
        let passed_over = self.watch_clock(now, effects);
        match event {
            Event::Woke => {}
            Event::Committed { number, answers } => self.committed(number, &answers, now, effects),
            Event::CommitFailed { number } => self.journal.failed(number, now),
            Event::Launched { run } => self.launched(run, now, effects),
            Event::Stuck { run, since, left } => self.stuck(run, since, &left, now),
            Event::Exited { run, report } => self.exited(run, &report, now),
            Event::RunRequested { request, job, at } => self.run_requested(request, job, at, now, effects),
            Event::StopRequested { request, run, by } => self.stop_requested(request, run, by, now, effects),
        }
        let lateness = self.behind.take().unwrap_or_else(|| {
            let reason = if passed_over { Reason::ClockMoved } else { Reason::Starved };
            Lateness { tolerance: TOLERANCE_RUNNING, reason, since: Some(seen.wall) }
        });
        self.fire_due(now, &lateness, Vec::new());
        self.reap_overdue(now, effects);
        self.journal.flush(now, effects);
    }

    /// When to send [`Event::Woke`] next.
    #[must_use]
    pub fn next_wakeup(&self) -> Wakeup {
        let overdue = self.runs.values().filter_map(|run| match run.phase {
            Phase::Running { overdue_at } => overdue_at,
            _ => None,
        });
        Wakeup { wall: self.agenda.next_due(), monotonic: overdue.chain(self.journal.next_wakeup()).min() }
    }

    /// Whether everything decided so far is durable.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.journal.is_settled()
    }

    /// The next fire of a job.
    #[must_use]
    pub fn next_fire(&self, job: &JobName) -> Option<Timestamp> {
        self.agenda.next_fire(job)
    }

    /// Notices a wall clock that was set. True if it moved ahead of the monotonic one.
    pub(super) fn watch_clock(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
        let real = now.monotonic.since(self.seen.monotonic);
        let shown = now.wall.duration_since(self.seen.wall);
        let passed_over = Duration::try_from(shown).is_ok_and(|shown| shown > real + CLOCK_STEP);
        if self.latest_wall.duration_since(now.wall) > SET_BACK_MAX {
            effects.push(Effect::Remark(Remark::ClockSetBack { from: self.latest_wall, to: now.wall }));
            self.latest_wall = now.wall;
            self.agenda.rewind(now.wall);
        }
        self.latest_wall = self.latest_wall.max(now.wall);
        self.seen = now;
        passed_over
    }

    /// Decides about every fire that is due, and accounts for it.
    ///
    /// `missed` holds what is known to be missed besides. All of it is one batch, so that a downtime is one message;
    /// of a downtime of millions of fires, what is left is due again at once and told in a further one.
    pub(super) fn fire_due(&mut self, now: Now, lateness: &Lateness, mut missed: Vec<MissedFires>) {
        let mut more = false;
        for _ in 0..STEPS_MAX {
            let due = self.agenda.due(now.wall, |spec| lateness.tolerance_of(spec.catch_up));
            more = due.iter().any(|due| due.more);
            for due in due {
                missed.extend(self.decide(&due, now, lateness));
                if let Some(cursor) = self.agenda.pass(&due.spec.name, due.until) {
                    self.journal.push(Change::Advance { job: due.spec.name.clone(), cursor });
                }
            }
            if !more {
                break;
            }
        }
        self.behind = more.then(|| lateness.clone());
        self.report_missed(missed, now, lateness);
    }

    /// Decides about the due fires of one job. What was missed of them.
    fn decide(&mut self, due: &Due, now: Now, lateness: &Lateness) -> Option<MissedFires> {
        let Due { spec, fires, .. } = due;
        let is_blocked = spec.catch_up == CatchUp::Latest && self.blocking_run(&spec.name).is_some();
        let catch_up = if due.more || is_blocked { CatchUp::Skip } else { spec.catch_up };
        let tolerance = lateness.tolerance_of(spec.catch_up);
        let plan = plan_due(fires, now.wall, tolerance, catch_up, spec.catch_up_window);
        self.miss(spec, &fires[plan.missed.clone()], &lateness.reason);
        for &fire in &fires[plan.caught_up.clone()] {
            self.catch_up(spec, fire, now.wall);
        }
        for &fire in &fires[plan.on_time.clone()] {
            self.fire(spec, fire, Trigger::Schedule, now.wall);
        }
        let late = &fires[..plan.on_time.start];
        Some(MissedFires {
            job: spec.name.clone(),
            first: *late.first()?,
            last: *late.last()?,
            fires: late.len() as u64,
            caught_up: plan.caught_up.len() as u64,
        })
    }

    /// One message for all that one downtime cost. A mere restart that has made up for everything has cost nothing.
    fn report_missed(&mut self, missed: Vec<MissedFires>, now: Now, lateness: &Lateness) {
        if missed.iter().all(|missed| missed.is_trifle(now.wall, lateness.tolerance)) {
            return;
        }
        let jobs = MissedFires::by_job(missed);
        let notice =
            Notice::Missed { reason: lateness.reason.clone(), since: lateness.since, until: now.wall, jobs };
        self.notify_own(&notice);
    }

    fn notify_own(&mut self, notice: &Notice) {
        for change in notify(&self.settings.default_alert, notice) {
            self.journal.push(change);
        }
    }

    /// Rows for fires that nobody was there for.
    fn miss(&mut self, spec: &JobSpec, fires: &[Timestamp], reason: &Reason) {
        let (Some(&first), Some(&last)) = (fires.first(), fires.last()) else { return };
        if fires.len() > MISSED_ROWS_MAX {
            self.account(spec, Status::Missed, first, Some(last), fires.len() as u64, reason.clone());
        } else {
            for &fire in fires {
                self.account(spec, Status::Missed, fire, None, 1, reason.clone());
            }
        }
    }

    fn account(
        &mut self,
        spec: &JobSpec,
        status: Status,
        scheduled_at: Timestamp,
        scheduled_until: Option<Timestamp>,
        fires: u64,
        reason: Reason,
    ) {
        let run = self.new_run_id();
        self.journal.push(Change::Account(Accounted {
            run,
            job: spec.name.clone(),
            status,
            scheduled_at,
            scheduled_until,
            fires,
            reason,
            config_hash: spec.config_hash.clone(),
        }));
    }

    /// A missed fire's turn: under `all` it waits for the ones before it, under `latest` it is a fire like any other.
    fn catch_up(&mut self, spec: &Arc<JobSpec>, fire: Timestamp, now: Timestamp) {
        if spec.catch_up == CatchUp::All && self.blocking_run(&spec.name).is_some() {
            self.claim(spec, Some(fire), Trigger::CatchUp, now, true, None);
        } else {
            self.fire(spec, fire, Trigger::CatchUp, now);
        }
    }

    pub(super) fn fire(&mut self, spec: &Arc<JobSpec>, fire: Timestamp, trigger: Trigger, now: Timestamp) {
        match self.blocking_run(&spec.name) {
            Some(run) => self.account(spec, Status::Skipped, fire, None, 1, Reason::Overlap { run }),
            None => self.claim(spec, Some(fire), trigger, now, false, None),
        }
    }

    /// The run that keeps another run of the job from starting.
    pub(super) fn blocking_run(&self, job: &JobName) -> Option<RunId> {
        self.active.get(job)?.first().copied()
    }

    pub(super) fn claim(
        &mut self,
        spec: &JobSpec,
        scheduled_at: Option<Timestamp>,
        trigger: Trigger,
        now: Timestamp,
        queued: bool,
        request: Option<RequestId>,
    ) {
        let claim = Claim {
            run: self.new_run_id(),
            job: spec.name.clone(),
            scheduled_at,
            trigger,
            attempt: 1,
            claimed_at: now,
            timeout: spec.timeout,
            kill_grace: spec.stop.grace(),
            alert: spec.alert.clone(),
            config_hash: spec.config_hash.clone(),
        };
        self.journal.push(Change::Claim { claim: claim.clone(), queued });
        self.add_run(Run { request, ..Run::new(claim, Phase::Claiming { queued }) });
    }

    pub(super) fn add_run(&mut self, run: Run) {
        self.active.entry(run.claim.job.clone()).or_default().insert(run.claim.run);
        self.runs.insert(run.claim.run, run);
    }

    fn new_run_id(&mut self) -> RunId {
        self.last_run += 1;
        RunId(self.last_run)
    }

    /// A batch is durable: what it allows may now be done.
    fn committed(&mut self, number: u64, answers: &[(RunId, Answer)], now: Now, effects: &mut Vec<Effect>) {
        let Some(batch) = self.journal.committed(number) else { return };
        let mut answers = answers.iter();
        for change in &batch.changes {
            match change {
                Change::Claim { claim, .. } => match answers.next() {
                    Some((run, Answer::Granted { attempt })) if *run == claim.run => {
                        self.granted(claim.run, *attempt, now, effects);
                    }
                    _ => self.taken(claim.run, effects),
                },
                Change::Start { run, .. } => self.launch(*run, now, effects),
                _ => {}
            }
        }
    }

    fn granted(&mut self, id: RunId, attempt: u32, now: Now, effects: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.claim.attempt = attempt;
        if let Some(request) = run.request.take() {
            effects.push(Effect::Reply { request, answer: Ok(id) });
        }
        if run.phase == (Phase::Claiming { queued: true }) {
            run.phase = Phase::Queued;
            let job = run.claim.job.clone();
            self.start_next(&job, now);
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
        claim.trigger != Trigger::Manual
            && !still_wanted(claim.due_at(), now.wall, TOLERANCE_RUNNING, spec.catch_up, spec.catch_up_window)
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
        effects.push(Effect::Launch(run.claim.clone()));
    }

    /// The limit counts from the start of the process, so it is counted anew when that is known. Who wanted the run to
    /// end meanwhile may have found nobody to ask.
    fn launched(&mut self, id: RunId, now: Now, effects: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.phase = Phase::Running { overdue_at: overdue_at(&run.claim, now) };
        run.launched = true;
        if let Some(by) = run.stop.take() {
            run.limit_stop(now);
            effects.push(Effect::Stop { run: id, by });
        }
    }

    pub(super) fn exited(&mut self, id: RunId, report: &Report, now: Now) {
        let Some(run) = self.forget(id) else { return };
        self.journal.push(Change::Finish {
            run: id,
            status: report.status(),
            reason: report.reason(run.claim.timeout),
            report: Some(Box::new(report.clone())),
            at: report.ended_at,
        });
        for change in self.incidents.follow(&run.claim, report, report.ended_at) {
            self.journal.push(change);
        }
        self.start_next(&run.claim.job, now);
    }

    /// Ends a run that has not begun.
    pub(super) fn cancel(&mut self, id: RunId, by: &str, now: Now) {
        let Some(run) = self.forget(id) else { return };
        self.finish_unstarted(id, Status::Killed, format!("killed by {by} before it started"), now.wall);
        self.start_next(&run.claim.job, now);
    }

    /// Gives up a claim that could not be acted upon in time. What was missed by it.
    pub(super) fn abandon(&mut self, id: RunId, reason: &Reason, now: Now) -> Option<MissedFires> {
        let run = self.forget(id)?;
        self.finish_unstarted(id, Status::Missed, reason.to_string(), now.wall);
        self.start_next(&run.claim.job, now);
        let due = run.claim.due_at();
        Some(MissedFires { job: run.claim.job, first: due, last: due, fires: 1, caught_up: 0 })
    }

    fn finish_unstarted(&mut self, run: RunId, status: Status, reason: String, at: Timestamp) {
        self.journal.push(Change::Finish { run, status, reason: Some(reason), report: None, at });
    }

    /// The next queued run of a job starts when nothing of it runs.
    pub(super) fn start_next(&mut self, job: &JobName, now: Now) {
        let Some(ids) = self.active.get(job) else { return };
        let phase = |id: &RunId| self.runs.get(id).map(|run| run.phase);
        let is_ahead = |phase| !matches!(phase, Phase::Queued | Phase::Claiming { queued: true });
        if ids.iter().filter_map(phase).any(is_ahead) {
            return;
        }
        let Some(id) = ids.iter().copied().find(|id| phase(id) == Some(Phase::Queued)) else { return };
        if let Some(run) = self.runs.get_mut(&id) {
            run.phase = Phase::Starting;
            self.journal.push(Change::Start { run: id, at: now.wall });
        }
    }

    pub(super) fn forget(&mut self, id: RunId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        if let Some(ids) = self.active.get_mut(&run.claim.job) {
            ids.remove(&id);
            if ids.is_empty() {
                self.active.remove(&run.claim.job);
            }
        }
        Some(run)
    }
}
