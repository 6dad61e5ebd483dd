//! The machine: a second daemon, with a queue for a world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jobctl::engine::admission::Admission;
use jobctl::engine::event::{Effect, Event, Remark};
use jobctl::engine::job::{JobName, JobSpec};
use jobctl::engine::ledger::{Answer, Batch, Change};
use jobctl::engine::run::{Claim, RunId, Status};
use jobctl::engine::scheduler::Scheduler;
use jobctl::engine::time::{Monotonic, Now, Timestamp};

use super::ledger::SimLedger;
use super::oracle_order::Order;
use super::person::Asked;
use super::process::Process;
use super::rng::Rng;
use super::world::{Faults, Totals, admission, boot_job, follower, job, waits_for};

pub const FAULTS: Duration = Duration::from_hours(2);
const CALM: Duration = Duration::from_mins(30);
/// A batch that failed is sent again within this time.
const RETRY_MAX: Duration = Duration::from_secs(6);
/// A history longer than this is an engine that spins.
const STEPS_MAX: u64 = 200_000;

/// Who wants to know what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Nobody,
    Fingerprint,
    Person,
}

#[derive(Debug)]
pub enum Happening {
    Wake,
    Commit {
        batch: Arc<Batch>,
        life: u64,
    },
    Launch {
        claim: Box<Claim>,
        life: u64,
    },
    /// A shim goes through its gate.
    Begin {
        claim: Box<Claim>,
        life: u64,
    },
    Ended {
        run: RunId,
    },
    Found {
        run: RunId,
        life: u64,
    },
    Silent {
        run: RunId,
        life: u64,
    },
    Crash,
    Restart {
        reboot: bool,
    },
    JumpClock,
    Ask,
}

/// A shim that waits.
pub struct Gate {
    pub claim: Claim,
    /// On the simulation's own clock.
    pub ready: Duration,
    /// It was killed there.
    pub dead: bool,
}

pub struct Machine {
    pub rng: Rng,
    pub ledger: SimLedger,
    pub specs: Vec<Arc<JobSpec>>,
    /// Seconds between the fires of each job, for an oracle that knows nothing of schedules.
    pub periods: BTreeMap<JobName, i64>,
    /// When the first jobd came up.
    pub began: Timestamp,
    pub processes: BTreeMap<RunId, Process>,
    /// Shims at their gates.
    pub gates: BTreeMap<RunId, Gate>,
    /// Runs whose shims were at their gates, or just through, when jobd died.
    pub left: BTreeSet<RunId>,
    /// Processes that are not over.
    pub alive: BTreeSet<RunId>,
    /// Every fire for which a process was ever started.
    pub started: BTreeSet<(JobName, Timestamp, u32)>,
    /// Runs of which it was ever found that they do not die.
    pub found: BTreeSet<RunId>,
    /// Runs that never got a process, with the status that leaves them.
    pub unstarted: BTreeMap<RunId, Status>,
    pub totals: Totals,
    /// The clock went back so far that fires were walked through twice.
    pub second_pass: bool,
    pub engine: Option<Scheduler>,
    pub queue: BTreeMap<(Duration, u64), Happening>,
    pub sequence: u64,
    pub real: Duration,
    pub booted: Duration,
    pub boots: u64,
    pub offset_ms: i64,
    /// Counts jobd's lives; what a former life had under way is not heard by the next.
    pub life: u64,
    pub requests: u64,
    pub faults: Faults,
    pub history: u64,
    pub listener: Listener,
    pub admission: Admission,
    /// How long the host has slept since it booted.
    pub slept: Duration,
    /// From when to when it slept with jobd on it.
    pub sleeps: Vec<(Timestamp, Timestamp)>,
    /// What a person waits for an answer to.
    pub asked: BTreeMap<u64, Asked>,
    pub order: Order,
    /// Runs that a person asked for.
    pub by_hand: BTreeSet<RunId>,
    pub under_way: Option<u64>,
    /// When a batch that failed must have been sent again.
    pub retry_by: Option<Duration>,
    /// A stuck shim's limit is counted anew by each life of jobd.
    pub life_began: Duration,
    /// When the wall clock was set.
    pub jumps: Vec<Duration>,
    /// Jobs of which a person knows that they have not succeeded.
    pub acknowledged: BTreeSet<JobName>,
    /// Runs of which a jobd was told that they are silent, and when it first was.
    pub silent: BTreeMap<RunId, Duration>,
}

/// Some of the jobs come after the first one.
fn with_conditions(jobs: Vec<(JobSpec, i64)>, rng: &mut Rng) -> Vec<(JobSpec, i64)> {
    let first = jobs[0].0.name.clone();
    let condition = |(n, (spec, period)): (usize, (JobSpec, i64))| {
        let comes_after = n > 0 && rng.percent(30);
        (if comes_after { waits_for(spec, &first, rng) } else { spec }, period)
    };
    jobs.into_iter().enumerate().map(condition).collect()
}

impl Machine {
    pub fn new(seed: u64, listener: Listener) -> Self {
        let mut rng = Rng::new(seed);
        let jobs: Vec<_> = (0..rng.range(1, 5)).map(|n| job(&format!("job{n}"), &mut rng)).collect();
        let boot_job = boot_job(&mut rng);
        let jobs = with_conditions(jobs, &mut rng);
        let names: Vec<JobName> = jobs.iter().map(|(spec, _)| spec.name.clone()).collect();
        let follower = follower(&names, &mut rng);
        let faults = Faults::draw(&mut rng);
        let admission = admission(&mut rng);
        let start = 1_780_000_000_000 + i64::try_from(rng.range(0, 86_400_000)).unwrap();
        Self {
            rng,
            ledger: SimLedger::default(),
            periods: jobs.iter().map(|(spec, period)| (spec.name.clone(), *period)).collect(),
            specs: jobs.into_iter().map(|(spec, _)| spec).chain([boot_job, follower]).map(Arc::new).collect(),
            began: Timestamp::from_millisecond(start).unwrap(),
            processes: BTreeMap::new(),
            gates: BTreeMap::new(),
            left: BTreeSet::new(),
            alive: BTreeSet::new(),
            started: BTreeSet::new(),
            found: BTreeSet::new(),
            unstarted: BTreeMap::new(),
            totals: Totals::default(),
            second_pass: false,
            engine: None,
            queue: BTreeMap::new(),
            sequence: 0,
            real: Duration::ZERO,
            booted: Duration::ZERO,
            boots: 1,
            offset_ms: start,
            life: 0,
            requests: 0,
            faults,
            history: 0xcbf2_9ce4_8422_2325,
            listener,
            admission,
            slept: Duration::ZERO,
            sleeps: Vec::new(),
            asked: BTreeMap::new(),
            order: Order::default(),
            by_hand: BTreeSet::new(),
            under_way: None,
            retry_by: None,
            life_began: Duration::ZERO,
            jumps: Vec::new(),
            acknowledged: BTreeSet::new(),
            silent: BTreeMap::new(),
        }
    }

    pub fn wall(&self) -> Timestamp {
        let real = i64::try_from(self.real.as_millis()).unwrap();
        Timestamp::from_millisecond(self.offset_ms + real).unwrap()
    }

    pub fn now(&self) -> Now {
        let monotonic = Monotonic::new(self.real.saturating_sub(self.booted));
        Now { wall: self.wall(), monotonic, slept: self.slept }
    }

    /// The time on the simulation's own clock.
    pub fn real(&self) -> Duration {
        self.real
    }

    /// A number that two equal histories share.
    pub fn fingerprint(&self) -> u64 {
        self.history
    }

    /// Adds a line to the history; it is written out only where somebody reads it.
    pub fn note(&mut self, what: &dyn std::fmt::Debug) {
        if self.listener == Listener::Nobody {
            return;
        }
        let text = format!("{what:?}");
        if self.listener == Listener::Person {
            println!("{:>12.3} {} {text}", self.real.as_secs_f64(), self.wall());
        }
        for byte in text.bytes() {
            self.history = (self.history ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub fn after(&mut self, delay: Duration, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.real + delay, self.sequence), happening);
    }

    pub fn is_calm(&self) -> bool {
        self.real >= FAULTS
    }

    /// Two hours of faults, half an hour of calm.
    pub fn run(&mut self) -> Result<(), String> {
        self.restart(false)?;
        let first = self.rng.millis(1, u64::try_from(self.faults.crash_every.as_millis()).unwrap());
        self.after(first, Happening::Crash);
        let jump = self.rng.millis(1, u64::try_from(self.faults.jump_every.as_millis()).unwrap());
        self.after(jump, Happening::JumpClock);
        self.after(Duration::from_mins(1), Happening::Ask);
        let mut steps = 0;
        while let Some((key, happening)) = self.queue.pop_first() {
            let is_over = key.0 > FAULTS + CALM;
            let is_launch =
                |next: &Happening| matches!(next, Happening::Launch { .. } | Happening::Begin { .. });
            let launches = is_launch(&happening) || self.queue.values().any(is_launch);
            if is_over && ((self.is_settled() && !launches) || key.0 > FAULTS + CALM + Duration::from_mins(1))
            {
                break;
            }
            steps += 1;
            if steps > STEPS_MAX {
                return Err("the engine spins".into());
            }
            self.real = self.real.max(key.0);
            self.check_processes()?;
            self.check_patience()?;
            self.happen(happening)?;
        }
        if self.engine.is_none() {
            return Err("jobd is down at the end of the calm".into());
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Wake => self.tell(Event::Woke),
            Happening::Commit { batch, life } => self.commit(&batch, life),
            Happening::Launch { claim, life } | Happening::Begin { claim, life } => self.launch(*claim, life),
            Happening::Ended { run } => self.ended(run),
            Happening::Found { run, life } if life == self.life => self.found(run),
            Happening::Found { .. } => Ok(()),
            Happening::Silent { run, life } => self.fall_silent(run, life),
            Happening::Crash => self.crash(),
            Happening::Restart { reboot } => self.restart(reboot),
            Happening::JumpClock => self.jump_clock(),
            Happening::Ask => self.ask(),
        }
    }

    pub fn tell(&mut self, event: Event) -> Result<(), String> {
        let Some(mut engine) = self.engine.take() else { return Ok(()) };
        self.note(&event);
        let mut effects = Vec::new();
        engine.handle(self.now(), event, &mut effects);
        self.engine = Some(engine);
        self.act(effects)
    }

    pub fn act(&mut self, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            self.note(&effect);
            self.carry_out(effect)?;
        }
        self.arm();
        let wake = self.engine.as_ref().map(Scheduler::next_wakeup).unwrap_or_default();
        if wake.wall.is_some_and(|at| at <= self.wall()) {
            return Err(format!("a fire of {:?} stays due and undecided", wake.wall));
        }
        Ok(())
    }

    /// One timer on each clock, as the daemon has them. A jump of the wall clock moves the wall timer with it.
    fn arm(&mut self) {
        self.queue.retain(|_, happening| !matches!(happening, Happening::Wake));
        let Some(engine) = &self.engine else { return };
        let wakeup = engine.next_wakeup();
        let wall = wakeup.wall.map(|at| at.duration_since(self.wall()));
        let wall = wall.map(|wait| Duration::try_from(wait).unwrap_or(Duration::ZERO));
        let now = self.now().monotonic;
        let monotonic = wakeup.monotonic.map(|at| at.since(now));
        let jitter = self.rng.millis(0, 5);
        for wait in [wall, monotonic].into_iter().flatten() {
            self.after(wait + jitter, Happening::Wake);
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        let life = self.life;
        match effect {
            Effect::Commit(batch) => {
                self.retry_by = None;
                self.check_decisions(&batch)?;
                if self.under_way.replace(batch.number).is_some() {
                    return Err("two batches under way at once".into());
                }
                let slow = !self.is_calm() && self.rng.percent(self.faults.outage);
                let delay = if slow { self.rng.millis(1_000, 600_000) } else { self.rng.millis(1, 50) };
                self.after(delay, Happening::Commit { batch, life });
            }
            Effect::Launch(claim) => {
                let row = self.ledger.rows.get(&claim.run);
                if row.is_none_or(|row| row.status != Status::Running) {
                    return Err(format!("run {} is launched before its row is durable", claim.run));
                }
                self.check_lateness(&claim)?;
                // Now and then the host is so busy that a crash can come in between.
                let longest = if self.rng.percent(10) { 10_000 } else { 30 };
                let delay = self.rng.millis(1, longest);
                self.after(delay, Happening::Launch { claim: Box::new(claim), life });
            }
            Effect::Stop { run, by } => {
                self.totals.count("stopped by hand");
                let real = self.real;
                if let Some(process) = self.processes.get_mut(&run) {
                    process.stop(&by, real);
                    if process.stuck {
                        self.totals.count("stuck shim stopped by hand");
                    }
                    self.attend(run);
                }
            }
            Effect::Reap { run } => {
                let (real, wall) = (self.real, self.wall());
                let process = self.processes.get_mut(&run).ok_or(format!("reaps {run}, which never ran"))?;
                if process.word(real).is_some() {
                    self.totals.count("unkillable, found again");
                    self.after(Duration::ZERO, Happening::Found { run, life });
                    return Ok(());
                }
                self.totals.count("reaped");
                process.reap(real, wall);
                self.after(Duration::ZERO, Happening::Ended { run });
            }
            Effect::Remark(Remark::AlreadyAccounted { .. }) => self.totals.count("taken"),
            Effect::Reply { request, answer } => self.answered(request, answer.is_ok()),
            Effect::Remark(_) => {}
            Effect::Arm(claim) => self.arm_shim(claim)?,
            Effect::Go { run } => self.go(run)?,
            Effect::Disarm { run } => {
                self.totals.count("disarmed");
                self.gates.remove(&run).ok_or(format!("run {run} is disarmed, and was not armed"))?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch, life: u64) -> Result<(), String> {
        if life != self.life {
            return Ok(());
        }
        self.under_way = None;
        let number = batch.number;
        self.retry_by = Some(self.real + RETRY_MAX);
        let fails = !self.is_calm() && self.rng.percent(self.faults.commit_fails);
        if fails && self.rng.percent(50) {
            self.totals.count("commit failed before");
            return self.tell(Event::CommitFailed { number });
        }
        let answers = self.store(batch)?;
        if fails {
            self.totals.count("commit failed after");
            return self.tell(Event::CommitFailed { number });
        }
        self.retry_by = None;
        self.tell(Event::Committed { number, answers })
    }

    /// The batch is durable from here on.
    pub fn store(&mut self, batch: &Batch) -> Result<Vec<(RunId, Answer)>, String> {
        self.ledger.object_to(batch)?;
        self.object_to_ends(batch)?;
        self.object_to_order(batch)?;
        let is_new = batch.number > self.ledger.last_batch;
        let answers = self.ledger.commit(batch)?;
        if is_new {
            self.order.stored(batch, &self.ledger);
        }
        Ok(answers)
    }

    /// No run is over while its process lives, however long ago it was to end.
    fn object_to_ends(&self, batch: &Batch) -> Result<(), String> {
        for change in &batch.changes {
            if let Change::Finish { run, .. } = change
                && self.alive.contains(run)
            {
                return Err(format!("run {run} is over in its row, and its process lives"));
            }
        }
        Ok(())
    }

    /// The next fire of a job, as the engine has it.
    pub fn next_fire(&self, job: &JobName) -> Option<Timestamp> {
        self.engine.as_ref()?.next_fire(job)
    }

    /// The boot the machine is in.
    pub fn boot_id(&self) -> String {
        format!("boot {}", self.boots)
    }

    pub fn is_settled(&self) -> bool {
        self.engine.as_ref().is_some_and(Scheduler::is_settled)
    }
}
