//! A host whose clocks are ours: the real engine, the store's rules in memory, and jobs that take a second.
//!
//! Time passes only when a test says so, on both clocks or on one of them alone. Nothing is random: for random
//! histories there is the simulation.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, tz::TimeZone};
use jobctl::engine::admission::Admission;
use jobctl::engine::event::{Effect, Event};
use jobctl::engine::job::{Command, JobName, JobSpec};
use jobctl::engine::notice::{MissedFires, Notice};
use jobctl::engine::policy::CatchUp;
use jobctl::engine::reason::Reason;
use jobctl::engine::recovery::{Boot, Proof};
use jobctl::engine::run::{Claim, Exit, Report, RunId, Status, Trigger};
use jobctl::engine::schedule::Schedule;
use jobctl::engine::scheduler::{Scheduler, Settings};
use jobctl::engine::time::{Monotonic, Now, Timestamp};

use crate::ledger::SimLedger;

/// How long a job takes.
const WORK: Duration = Duration::from_secs(1);

/// A start, as the job would write it down.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    pub fire: Timestamp,
    pub trigger: Trigger,
    /// What the wall clock showed.
    pub at: Timestamp,
}

pub struct Host {
    engine: Scheduler,
    specs: Vec<Arc<JobSpec>>,
    pub ledger: SimLedger,
    /// What the wall clock showed when the other one was at zero, as it is set now.
    epoch: Timestamp,
    monotonic: Duration,
    /// How long it has slept.
    slept: Duration,
    /// What waits for its instant.
    gates: BTreeMap<RunId, Claim>,
    running: BTreeMap<RunId, (Duration, Claim)>,
    pub starts: BTreeMap<JobName, Vec<Start>>,
    /// Runs that had to be ended from outside.
    pub reaped: Vec<RunId>,
    /// How often the engine was asked.
    pub calls: usize,
}

pub fn job(name: &str, schedule: &str, zone: &str, catch_up: CatchUp) -> JobSpec {
    JobSpec {
        schedules: vec![Schedule::parse(schedule).unwrap()],
        zone: TimeZone::get(zone).unwrap(),
        catch_up,
        schedule_hash: format!("{schedule} {zone}"),
        ..JobSpec::new(JobName::new(name).unwrap(), Command::Shell("true".into()))
    }
}

impl Host {
    /// A host on which jobd comes up at this instant, for the first time.
    pub fn at(instant: &str, jobs: impl IntoIterator<Item = JobSpec>) -> Self {
        let epoch: Timestamp = instant.parse().unwrap();
        let specs: Vec<Arc<JobSpec>> = jobs.into_iter().map(Arc::new).collect();
        let now = Now { wall: epoch, monotonic: Monotonic::new(Duration::ZERO), slept: Duration::ZERO };
        let ledger = SimLedger::default();
        let (engine, effects) = recovered(&specs, &ledger, now, BTreeMap::new());
        let mut host = Self {
            engine,
            specs,
            ledger,
            epoch,
            monotonic: Duration::ZERO,
            slept: Duration::ZERO,
            gates: BTreeMap::new(),
            running: BTreeMap::new(),
            starts: BTreeMap::new(),
            reaped: Vec::new(),
            calls: 0,
        };
        host.act(effects);
        host
    }

    pub fn wall(&self) -> Timestamp {
        self.epoch + self.monotonic
    }

    fn now(&self) -> Now {
        Now { wall: self.wall(), monotonic: Monotonic::new(self.monotonic), slept: self.slept }
    }

    /// Time passes, on both clocks.
    pub fn pass(&mut self, time: Duration) {
        let until = self.monotonic + time;
        loop {
            let wakeup = self.engine.next_wakeup();
            let wall =
                wakeup.wall.map(|at| Duration::try_from(at.duration_since(self.wall())).unwrap_or_default());
            let other = wakeup.monotonic.map(|at| at.since(Monotonic::new(self.monotonic)));
            let end = self.running.values().map(|(at, _)| at.saturating_sub(self.monotonic)).min();
            let wait = [wall, other, end].into_iter().flatten().min();
            let Some(wait) = wait.filter(|wait| self.monotonic + *wait <= until) else { break };
            self.monotonic += wait;
            match self.over() {
                Some(event) => self.tell(event),
                None => self.tell(Event::Woke),
            }
        }
        self.monotonic = until;
    }

    /// The wall clock is set, by so much; jobd is told of it, as the kernel does.
    pub fn set_clock(&mut self, by: SignedDuration) {
        self.epoch += by;
        self.tell(Event::Woke);
    }

    /// The host sleeps: the wall clock goes on, the other one stands still.
    pub fn suspend(&mut self, time: Duration) {
        self.slept += time;
        self.set_clock(time.try_into().unwrap());
    }

    /// jobd goes down and comes up again at once, and finds the clock set like this.
    pub fn restart_at(&mut self, wall: Timestamp) {
        self.epoch += wall.duration_since(self.wall());
        self.gates.clear();
        let held = self.running.keys().map(|run| (*run, Proof::Held)).collect();
        let (engine, effects) = recovered(&self.specs, &self.ledger, self.now(), held);
        self.engine = engine;
        self.act(effects);
    }

    /// The end of a run whose job has done its work by now.
    fn over(&mut self) -> Option<Event> {
        let (run, _) = self.running.iter().find(|(_, (at, _))| *at <= self.monotonic)?;
        let run = *run;
        self.running.remove(&run);
        let report = Report { exit: Exit::Code(0), ..Report::lost("", Some(self.wall()), self.wall()) };
        Some(Event::Exited { run, report: Box::new(report) })
    }

    /// The runs that are under way never end by themselves.
    pub fn hang(&mut self) {
        for (end, _) in self.running.values_mut() {
            *end = Duration::MAX;
        }
    }

    fn tell(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.calls += 1;
        self.engine.handle(self.now(), event, &mut effects);
        self.act(effects);
    }

    fn act(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let event = match effect {
                Effect::Commit(batch) => {
                    self.ledger.object_to(&batch).unwrap();
                    let answers = self.ledger.commit(&batch).unwrap();
                    Event::Committed { number: batch.number, answers }
                }
                Effect::Launch(claim) => self.launch(claim),
                Effect::Arm(claim) => {
                    self.arm(claim);
                    continue;
                }
                Effect::Go { run } => {
                    let claim = self.gates.remove(&run).expect("what goes was armed");
                    self.launch(claim)
                }
                Effect::Disarm { run } => {
                    self.gates.remove(&run).expect("what is disarmed was armed");
                    continue;
                }
                Effect::Reap { run } => {
                    self.reaped.push(run);
                    self.running.remove(&run);
                    Event::Exited { run, report: Box::new(Report::lost("reaped", None, self.wall())) }
                }
                _ => continue,
            };
            let mut further = Vec::new();
            self.calls += 1;
            self.engine.handle(self.now(), event, &mut further);
            effects.extend(further);
        }
    }

    fn arm(&mut self, claim: Claim) {
        assert!(claim.due_at() > self.wall(), "{} is armed after its instant", claim.job);
        assert!(self.gates.values().all(|other| other.job != claim.job), "{} is armed twice", claim.job);
        self.gates.insert(claim.run, claim);
    }

    fn launch(&mut self, claim: Claim) -> Event {
        let run = claim.run;
        let start = Start { fire: claim.due_at(), trigger: claim.trigger, at: self.wall() };
        self.starts.entry(claim.job.clone()).or_default().push(start);
        let is_alone = self.running.values().all(|(_, other)| other.job != claim.job);
        assert!(is_alone, "two runs of {} at once", claim.job);
        self.running.insert(run, (self.monotonic + WORK, claim));
        Event::Launched { run }
    }

    /// The starts of a job; no fire has two.
    #[track_caller]
    pub fn starts_of(&self, job: &str) -> Vec<Start> {
        let starts = self.starts.get(&JobName::new(job).unwrap()).cloned().unwrap_or_default();
        let mut fires: Vec<Timestamp> = starts.iter().map(|start| start.fire).collect();
        fires.sort_unstable();
        assert!(fires.windows(2).all(|two| two[0] < two[1]), "{job} was started twice for a fire");
        starts
    }

    /// How many fires of a job have a row of this status.
    pub fn fires(&self, job: &str, status: Status) -> u64 {
        let rows = self.ledger.rows.values();
        rows.filter(|row| row.task_name.as_str() == job && row.status == status).map(|row| row.fires).sum()
    }

    /// Each instant that the job's schedule names in this time has one row, and no other instant has any.
    #[track_caller]
    pub fn assert_accounted(&self, job: &str, after: Timestamp, until: Timestamp) {
        let spec = self.specs.iter().find(|spec| spec.name.as_str() == job).unwrap();
        let next = |after: &Timestamp| spec.schedules[0].next(&spec.zone, *after);
        let fires = |first, last| std::iter::successors(first, next).take_while(move |at| *at <= last);
        let mut accounted: Vec<Timestamp> = Vec::new();
        for row in self.ledger.rows.values().filter(|row| row.task_name == spec.name) {
            let at = row.scheduled_at.unwrap();
            accounted.extend(fires(Some(at), row.scheduled_until.unwrap_or(at)));
        }
        accounted.retain(|at| after < *at && *at <= until);
        accounted.sort_unstable();
        let named: Vec<Timestamp> = fires(next(&after), until).collect();
        assert_eq!(accounted, named, "the rows of {job} are not its fires");
    }

    /// The messages about missed fires: why, and what of which job.
    pub fn missed(&self) -> Vec<(&Reason, &[MissedFires])> {
        let notices = self.ledger.outbox.iter().map(|(_, notice)| notice);
        notices
            .filter_map(|notice| match notice {
                Notice::Missed { reason, jobs, .. } => Some((reason, jobs.as_slice())),
                _ => None,
            })
            .collect()
    }
}

fn recovered(
    specs: &[Arc<JobSpec>],
    ledger: &SimLedger,
    now: Now,
    proofs: BTreeMap<RunId, Proof>,
) -> (Scheduler, Vec<Effect>) {
    let settings = Settings { admission: Admission::default(), default_alert: vec!["ops".into()] };
    let boot = Boot { id: "this boot".into(), at: now.wall };
    let mut effects = Vec::new();
    let specs = specs.iter().cloned();
    let engine = Scheduler::recover(settings, specs, ledger.snapshot(), proofs, &boot, now, &mut effects);
    (engine, effects)
}
