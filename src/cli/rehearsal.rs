//! The engine itself on a clock of its own: what it would decide, if each run took as long as it usually does.
//!
//! **Invariant:** nothing here decides. Every row is what the engine has asked a store for; only the runs are made up:
//! they are launched at once, take their time, and succeed unless their limit comes first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::stretch::Stretch;
use crate::engine::event::{Effect, Event};
use crate::engine::job::{JobName, JobSpec};
use crate::engine::ledger::{Accounted, Answer, Batch, Change, Snapshot};
use crate::engine::recovery::Boot;
use crate::engine::run::{Claim, Exit, Report, RunId, Status, Stop, Trigger};
use crate::engine::scheduler::{Scheduler, Settings};
use crate::engine::time::{Monotonic, Now, Timestamp};

/// How long the host has been up when it begins: no boot is near.
const UPTIME: Duration = Duration::from_hours(24);
/// The least step where the engine wants to go on at once.
const STEP: Duration = Duration::from_millis(1);

/// What became of a fire, or of many in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Counted from 1 within the rehearsal: reasons name runs by it.
    pub(crate) run: RunId,
    pub(crate) job: JobName,
    pub(crate) scheduled_at: Timestamp,
    /// The last of many fires.
    pub(crate) scheduled_until: Option<Timestamp>,
    pub(crate) fires: u64,
    pub(crate) trigger: Trigger,
    pub(crate) attempt: u32,
    pub(crate) status: Status,
    pub(crate) started_at: Option<Timestamp>,
    /// When it is over; of a run that goes on at the rehearsal's end, when it will be.
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) reason: Option<String>,
}

/// What a rehearsal has shown.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// By instant, then by number.
    pub(crate) rows: Vec<Row>,
    /// Where it ended, if that was before the stretch's end: there were too many fires.
    pub(crate) ended_early: Option<Timestamp>,
}

/// An engine, its clock and its runs.
struct Rehearsal<'a> {
    scheduler: Scheduler,
    began: Timestamp,
    now: Timestamp,
    specs: &'a BTreeMap<JobName, Arc<JobSpec>>,
    took: &'a dyn Fn(&JobName) -> Duration,
    rows: BTreeMap<RunId, Row>,
    /// Claims ahead of their instants: a row is made when they begin.
    ahead: BTreeMap<RunId, Claim>,
    ends: BTreeSet<(Timestamp, RunId)>,
}

/// Lets the engine go through the stretch. It ends early after `rows_max` rows.
pub(crate) fn rehearse(
    settings: Settings,
    specs: &BTreeMap<JobName, Arc<JobSpec>>,
    took: &dyn Fn(&JobName) -> Duration,
    stretch: &Stretch,
    rows_max: usize,
) -> Outcome {
    let longest = specs.values().map(|spec| spec.jitter).max().unwrap_or_default();
    let horizon = stretch.to.saturating_add(longest).unwrap_or(stretch.to);
    let mut rehearsal = Rehearsal::begin(settings, specs, took, stretch);
    let mut ended_early = None;
    while let Some(at) = rehearsal.next_instant().filter(|at| *at < horizon) {
        rehearsal.go_on(at);
        if rehearsal.rows.len() >= rows_max {
            ended_early = Some(at);
            break;
        }
    }
    let within = |row: &Row| (stretch.from..stretch.to).contains(&row.scheduled_at);
    let mut rows: Vec<Row> = rehearsal.rows.into_values().filter(within).collect();
    rows.sort_by_key(|row| (row.scheduled_at, row.run));
    Outcome { rows, ended_early: ended_early.filter(|at| *at < stretch.to) }
}

impl<'a> Rehearsal<'a> {
    fn begin(
        settings: Settings,
        specs: &'a BTreeMap<JobName, Arc<JobSpec>>,
        took: &'a dyn Fn(&JobName) -> Duration,
        stretch: &Stretch,
    ) -> Self {
        let began = stretch.before();
        let boot = Boot { id: "rehearsal".to_owned(), at: began };
        // For this boot everything is decided: no fire of it is near.
        let snapshot = Snapshot { boot_id: Some(boot.id.clone()), ..Snapshot::default() };
        let all = specs.values().cloned();
        let mut effects = Vec::new();
        let now = both_clocks(began, began);
        let scheduler =
            Scheduler::recover(settings, all, snapshot, BTreeMap::new(), &boot, now, &mut effects);
        let (rows, ahead, ends) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut rehearsal = Self { scheduler, began, now: began, specs, took, rows, ahead, ends };
        rehearsal.carry_out(effects);
        rehearsal
    }

    /// When something happens next: the engine wants to be called, or a run is over.
    fn next_instant(&self) -> Option<Timestamp> {
        let wanted = self.scheduler.next_wakeup();
        let monotonic = wanted.monotonic.map(|at| at.since_boot().saturating_sub(UPTIME));
        let monotonic = monotonic.map(|since| self.began.saturating_add(since).unwrap_or(Timestamp::MAX));
        let at_once = self.now.saturating_add(STEP).unwrap_or(Timestamp::MAX);
        let wake = wanted.wall.into_iter().chain(monotonic).min();
        let wake = wake.map(|at| if at <= self.now { at_once } else { at });
        wake.into_iter().chain(self.ends.first().map(|(at, _)| *at)).min()
    }

    fn go_on(&mut self, at: Timestamp) {
        self.now = at;
        let mut happened = VecDeque::new();
        while let Some(run) = self.ends.first().filter(|(end, _)| *end <= at).map(|(_, run)| *run) {
            happened.extend(self.end(run, None));
        }
        happened.push_back(Event::Woke);
        self.hear(happened);
    }

    fn hear(&mut self, mut happened: VecDeque<Event>) {
        while let Some(event) = happened.pop_front() {
            let mut effects = Vec::new();
            self.scheduler.handle(both_clocks(self.began, self.now), event, &mut effects);
            happened.extend(effects.into_iter().filter_map(|effect| self.answer(effect)));
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let happened = effects.into_iter().filter_map(|effect| self.answer(effect)).collect();
        self.hear(happened);
    }

    /// What follows from an effect in a world without faults.
    fn answer(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Commit(batch) => Some(self.commit(&batch)),
            Effect::Launch(Claim { run, .. }) | Effect::Go { run } => {
                self.start(run);
                Some(Event::Launched { run })
            }
            Effect::Stop { run, by } => self.end(run, Some(Stop::Manual { by })),
            Effect::Reap { run } => self.end(run, Some(Stop::Timeout)),
            Effect::Arm(_) | Effect::Disarm { .. } | Effect::Reply { .. } | Effect::Remark(_) => None,
        }
    }

    /// What was claimed ahead gets its row. It may be started a moment before that is asked for.
    fn begin_ahead(&mut self, run: RunId) {
        if let Some(claim) = self.ahead.remove(&run) {
            self.rows.insert(run, claimed(&claim, Status::Running));
        }
    }

    fn start(&mut self, run: RunId) {
        self.begin_ahead(run);
        let Some(row) = self.rows.get_mut(&run) else { return };
        let took = (self.took)(&row.job);
        let limit = self.specs.get(&row.job).and_then(|spec| spec.timeout);
        let lasts = limit.map_or(took, |limit| took.min(limit));
        let end = self.now.saturating_add(lasts).unwrap_or(Timestamp::MAX);
        (row.started_at, row.completed_at) = (Some(self.now), Some(end));
        self.ends.insert((end, run));
    }

    /// A run ends now, by itself or at its limit unless somebody has made it.
    fn end(&mut self, run: RunId, stop: Option<Stop>) -> Option<Event> {
        let row = self.rows.get(&run)?;
        let (started_at, end) = (row.started_at?, row.completed_at?);
        // Whoever is asked to end twice is over once.
        if !self.ends.remove(&(end, run)) {
            return None;
        }
        let duration = Duration::try_from(self.now.duration_since(started_at)).unwrap_or_default();
        let overran = duration < (self.took)(&row.job);
        let stop = stop.or(overran.then_some(Stop::Timeout));
        let exit = if stop.is_some() { Exit::Signal(15) } else { Exit::Code(0) };
        let report = Report { exit, stop, duration, ..Report::lost("", Some(started_at), self.now) };
        Some(Event::Exited { run, report: Box::new(report) })
    }

    fn commit(&mut self, batch: &Batch) -> Event {
        let mut answers = Vec::new();
        for change in &batch.changes {
            if let Change::Claim { claim, .. } | Change::Ahead { claim } = change {
                answers.push((claim.run, Answer::Granted { attempt: claim.attempt }));
            }
            self.note(change);
        }
        Event::Committed { number: batch.number, answers }
    }

    /// Keeps the table as a store would.
    fn note(&mut self, change: &Change) {
        match change {
            Change::Claim { claim, queued } => {
                let status = if *queued { Status::Queued } else { Status::Running };
                self.rows.insert(claim.run, claimed(claim, status));
            }
            Change::Ahead { claim } => {
                self.ahead.insert(claim.run, claim.clone());
            }
            Change::Begin { run, .. } => self.begin_ahead(*run),
            Change::Start { run, .. } => {
                self.rows.entry(*run).and_modify(|row| row.status = Status::Running);
            }
            Change::Withdraw { run } => drop(self.ahead.remove(run)),
            Change::Account(accounted) => {
                self.rows.insert(accounted.run, decided(accounted));
            }
            Change::Extend { run, until, fires } => {
                self.rows.entry(*run).and_modify(|row| {
                    (row.scheduled_until, row.fires) = (Some(*until), row.fires + fires);
                });
            }
            Change::Finish { run, status, reason, at, .. } => {
                self.rows.entry(*run).and_modify(|row| {
                    (row.status, row.completed_at) = (*status, Some(*at));
                    row.reason.clone_from(reason);
                });
            }
            _ => {}
        }
    }
}

fn claimed(claim: &Claim, status: Status) -> Row {
    Row {
        run: claim.run,
        job: claim.job.clone(),
        scheduled_at: claim.due_at(),
        scheduled_until: None,
        fires: 1,
        trigger: claim.trigger,
        attempt: claim.attempt,
        status,
        started_at: None,
        completed_at: None,
        reason: None,
    }
}

fn decided(accounted: &Accounted) -> Row {
    Row {
        run: accounted.run,
        job: accounted.job.clone(),
        scheduled_at: accounted.scheduled_at,
        scheduled_until: accounted.scheduled_until,
        fires: accounted.fires,
        trigger: Trigger::Schedule,
        attempt: 1,
        status: accounted.status,
        started_at: None,
        completed_at: None,
        reason: Some(accounted.reason.to_string()),
    }
}

/// Both clocks at an instant of a rehearsal: nobody sets the one, and the host never sleeps.
fn both_clocks(began: Timestamp, wall: Timestamp) -> Now {
    let since = Duration::try_from(wall.duration_since(began)).unwrap_or_default();
    Now { wall, monotonic: Monotonic::new(UPTIME + since), slept: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::super::testing::spec;
    use super::*;
    use crate::engine::policy::Overlap;

    fn outcome(specs: Vec<JobSpec>, minutes: u64, rows_max: usize) -> Outcome {
        let specs: BTreeMap<_, _> =
            specs.into_iter().map(|spec| (spec.name.clone(), Arc::new(spec))).collect();
        let at = |text: &str| text.parse().unwrap();
        let stretch = Stretch { from: at("2026-11-01T01:00:00Z"), to: at("2026-11-01T02:00:00Z") };
        let took = |_: &JobName| Duration::from_mins(minutes);
        rehearse(Settings::default(), &specs, &took, &stretch, rows_max)
    }

    fn told(outcome: &Outcome) -> Vec<(String, Status, Option<&str>)> {
        let clock = |at: Timestamp| at.strftime("%H:%M").to_string();
        outcome.rows.iter().map(|row| (clock(row.scheduled_at), row.status, row.reason.as_deref())).collect()
    }

    #[test]
    fn a_fire_behind_a_long_run_is_skipped_by_the_engines_own_rule() {
        let outcome = outcome(vec![spec("slow", "*/20 * * * *")], 30, 100);
        let why = "run 1 was still active";
        let expected = [
            ("01:00".to_owned(), Status::Success, None),
            ("01:20".to_owned(), Status::Skipped, Some(why)),
            ("01:40".to_owned(), Status::Running, None),
        ];
        assert_eq!(told(&outcome), expected);
        assert_eq!(outcome.rows[2].completed_at, Some("2026-11-01T02:10:00Z".parse().unwrap()));
    }

    #[test]
    fn a_run_longer_than_its_limit_times_out() {
        let mut long = spec("long", "0 * * * *");
        long.timeout = Some(Duration::from_mins(10));
        let outcome = outcome(vec![long], 30, 100);
        assert_eq!(told(&outcome), [("01:00".to_owned(), Status::Timeout, None)]);
        assert_eq!(outcome.rows[0].completed_at, Some("2026-11-01T01:10:00Z".parse().unwrap()));
    }

    #[test]
    fn what_waits_for_its_turn_is_shown_as_late_as_it_starts() {
        let mut slow = spec("slow", "*/20 * * * *");
        slow.overlap = Overlap::Queue;
        let outcome = outcome(vec![slow], 30, 100);
        let started: Vec<_> = outcome.rows.iter().filter_map(|row| row.started_at).collect();
        let at = |text: &str| text.parse().unwrap();
        assert_eq!(started, [at("2026-11-01T01:00:00Z"), at("2026-11-01T01:30:00Z")]);
        let waiting: Vec<_> = told(&outcome).into_iter().map(|(_, status, _)| status).collect();
        assert_eq!(waiting, [Status::Success, Status::Running, Status::Queued]);
    }

    #[test]
    fn jobs_that_share_a_lock_run_one_after_the_other() {
        let sharing = |name: &str| {
            let mut job = spec(name, "0 * * * *");
            job.holds.locks.push("db".to_owned());
            job
        };
        let outcome = outcome(vec![sharing("a"), sharing("b")], 15, 100);
        let at = |text: &str| Some(text.parse().unwrap());
        let runs: Vec<_> = outcome.rows.iter().map(|row| (row.started_at, row.completed_at)).collect();
        let (first, second, last) =
            (at("2026-11-01T01:00:00Z"), at("2026-11-01T01:15:00Z"), at("2026-11-01T01:30:00Z"));
        assert_eq!(runs, [(first, second), (second, last)]);
    }

    #[test]
    fn too_many_fires_end_it_early() {
        let outcome = outcome(vec![spec("often", "* * * * * *")], 0, 60);
        assert_eq!((outcome.rows.len(), outcome.rows[59].status), (60, Status::Running));
        assert_eq!(outcome.ended_early, Some("2026-11-01T01:00:59Z".parse().unwrap()));
    }

    #[test]
    fn a_boot_is_none_of_its_business() {
        let outcome = outcome(vec![spec("boot", "@reboot")], 0, 60);
        assert!(outcome.rows.is_empty() && outcome.ended_early.is_none(), "{outcome:?}");
    }
}
