//! The machine: a second daemon, with a queue for a world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jobctl::engine::event::{Effect, Event, Remark, RequestId};
use jobctl::engine::job::{JobName, JobSpec};
use jobctl::engine::ledger::{Batch, Change};
use jobctl::engine::policy::CatchUp;
use jobctl::engine::recovery::{Boot, Proof};
use jobctl::engine::run::{Claim, Exit, Report, RunId, Status, Trigger};
use jobctl::engine::scheduler::{Scheduler, Settings};
use jobctl::engine::time::{Monotonic, Now, Timestamp};

use super::ledger::SimLedger;
use super::process::Process;
use super::rng::Rng;
use super::world::{Faults, Totals, boot_job, job};

const FAULTS: Duration = Duration::from_hours(2);
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
enum Happening {
    Wake,
    Commit { batch: Arc<Batch>, life: u64 },
    Launch { claim: Claim, life: u64 },
    Ended { run: RunId },
    Found { run: RunId, life: u64 },
    Crash,
    Restart { reboot: bool },
    JumpClock,
    Ask,
}

pub struct Machine {
    pub rng: Rng,
    pub ledger: SimLedger,
    pub specs: Vec<Arc<JobSpec>>,
    /// Seconds between the fires of each job, for an oracle that knows nothing of schedules.
    pub periods: BTreeMap<JobName, i64>,
    /// When the first jobd came up.
    began: Timestamp,
    pub processes: BTreeMap<RunId, Process>,
    /// Processes that are not over.
    alive: BTreeSet<RunId>,
    /// Every fire for which a process was ever started.
    started: BTreeSet<(JobName, Timestamp, u32)>,
    /// Runs of which it was ever found that they do not die.
    pub found: BTreeSet<RunId>,
    /// Runs that never got a process, with the status that leaves them.
    pub unstarted: BTreeMap<RunId, Status>,
    pub totals: Totals,
    /// The clock went back so far that fires were walked through twice.
    pub second_pass: bool,
    engine: Option<Scheduler>,
    queue: BTreeMap<(Duration, u64), Happening>,
    sequence: u64,
    real: Duration,
    booted: Duration,
    boots: u64,
    offset_ms: i64,
    /// Counts jobd's lives; what a former life had under way is not heard by the next.
    life: u64,
    requests: u64,
    faults: Faults,
    history: u64,
    listener: Listener,
    under_way: Option<u64>,
    /// When a batch that failed must have been sent again.
    retry_by: Option<Duration>,
    /// A stuck shim's limit is counted anew by each life of jobd.
    life_began: Duration,
}

impl Machine {
    pub fn new(seed: u64, listener: Listener) -> Self {
        let mut rng = Rng::new(seed);
        let jobs: Vec<_> = (0..rng.range(1, 5)).map(|n| job(&format!("job{n}"), &mut rng)).collect();
        let boot_job = boot_job(&mut rng);
        let faults = Faults::draw(&mut rng);
        let start = 1_780_000_000_000 + i64::try_from(rng.range(0, 86_400_000)).unwrap();
        Self {
            rng,
            ledger: SimLedger::default(),
            periods: jobs.iter().map(|(spec, period)| (spec.name.clone(), *period)).collect(),
            specs: jobs.into_iter().map(|(spec, _)| spec).chain([boot_job]).map(Arc::new).collect(),
            began: Timestamp::from_millisecond(start).unwrap(),
            processes: BTreeMap::new(),
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
            under_way: None,
            retry_by: None,
            life_began: Duration::ZERO,
        }
    }

    pub fn wall(&self) -> Timestamp {
        let real = i64::try_from(self.real.as_millis()).unwrap();
        Timestamp::from_millisecond(self.offset_ms + real).unwrap()
    }

    fn now(&self) -> Now {
        Now { wall: self.wall(), monotonic: Monotonic::new(self.real.saturating_sub(self.booted)) }
    }

    /// A number that two equal histories share.
    pub fn fingerprint(&self) -> u64 {
        self.history
    }

    /// Adds a line to the history; it is written out only where somebody reads it.
    fn note(&mut self, what: &dyn std::fmt::Debug) {
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

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.real + delay, self.sequence), happening);
    }

    fn is_calm(&self) -> bool {
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
            let is_launch = |next: &Happening| matches!(next, Happening::Launch { .. });
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
            Happening::Launch { claim, life } => self.launch(claim, life),
            Happening::Ended { run } => self.ended(run),
            Happening::Found { run, life } if life == self.life => self.found(run),
            Happening::Found { .. } => Ok(()),
            Happening::Crash => {
                self.crash();
                Ok(())
            }
            Happening::Restart { reboot } => self.restart(reboot),
            Happening::JumpClock => self.jump_clock(),
            Happening::Ask => self.ask(),
        }
    }

    fn tell(&mut self, event: Event) -> Result<(), String> {
        let Some(mut engine) = self.engine.take() else { return Ok(()) };
        self.note(&event);
        let mut effects = Vec::new();
        engine.handle(self.now(), event, &mut effects);
        self.engine = Some(engine);
        self.act(effects)
    }

    fn act(&mut self, effects: Vec<Effect>) -> Result<(), String> {
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
                self.after(delay, Happening::Launch { claim, life });
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
            Effect::Reply { .. } | Effect::Remark(_) => {}
        }
        Ok(())
    }

    /// No fire is started that is past its window; one that waited in a queue was decided upon in time.
    fn check_lateness(&self, claim: &Claim) -> Result<(), String> {
        let spec = self.specs.iter().find(|spec| spec.name == claim.job);
        let window = match spec.filter(|_| claim.trigger == Trigger::Schedule) {
            None => return Ok(()),
            Some(spec) if spec.catch_up == CatchUp::Skip => Duration::from_secs(30),
            Some(spec) => spec.catch_up_window,
        };
        let age = Duration::try_from(self.wall().duration_since(claim.due_at())).unwrap_or_default();
        if age > window { Err(format!("run {} is started {age:?} late", claim.run)) } else { Ok(()) }
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
        self.ledger.object_to(batch)?;
        self.object_to_ends(batch)?;
        let answers = self.ledger.commit(batch)?;
        if fails {
            self.totals.count("commit failed after");
            return self.tell(Event::CommitFailed { number });
        }
        self.retry_by = None;
        self.tell(Event::Committed { number, answers })
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

    fn launch(&mut self, claim: Claim, life: u64) -> Result<(), String> {
        let run = claim.run;
        if life != self.life {
            return Ok(());
        }
        if !self.is_calm() && self.rng.percent(self.faults.launch_fails) {
            self.totals.count("launch failed");
            let mut report = Report::lost("", None, self.wall());
            report.exit = Exit::SpawnFailed { step: "fork".into(), error: "EAGAIN".into() };
            self.unstarted.insert(run, Status::Failed);
            return self.tell(Event::Exited { run, report: Box::new(report) });
        }
        self.start_process(claim)?;
        self.tell(Event::Launched { run })
    }

    fn start_process(&mut self, claim: Claim) -> Result<(), String> {
        self.totals.count("launch");
        let run = claim.run;
        if self.processes.contains_key(&run) {
            return Err(format!("run {run} is started twice"));
        }
        let mut alive = self.alive.iter().map(|run| &self.processes[run].claim);
        if let Some(other) = alive.find(|other| other.job == claim.job) {
            return Err(format!("run {run} is started while {} runs", other.run));
        }
        if let Some(at) = claim.scheduled_at
            && !self.started.insert((claim.job.clone(), at, claim.attempt))
        {
            return Err(format!("run {run} is the second one for {} at {at}", claim.job));
        }
        let (real, wall) = (self.real, self.wall());
        let mut process = Process::start(claim, &self.faults.habits, &mut self.rng, real, wall);
        if self.real >= FAULTS {
            process.stuck = false;
        }
        self.processes.insert(run, process);
        self.alive.insert(run);
        self.attend(run);
        Ok(())
    }

    /// Looks after a process: when its shim says that it does not die, and when it ends.
    fn attend(&mut self, run: RunId) {
        let Some(process) = self.processes.get(&run).filter(|process| !process.stuck && !process.over) else {
            return;
        };
        let (ends, hangs_since, life) = (process.ends, process.hangs_since, self.life);
        if let Some(since) = hangs_since {
            // What is looked for now and then is found a little later.
            let delay = since.saturating_sub(self.real) + self.rng.millis(1, 5_000);
            self.after(delay, Happening::Found { run, life });
        }
        self.after(ends.saturating_sub(self.real), Happening::Ended { run });
    }

    /// A process is found that does not die.
    fn found(&mut self, run: RunId) -> Result<(), String> {
        let (real, since) = (self.real, self.wall());
        let Some(left) = self.processes.get(&run).and_then(|process| process.word(real)) else {
            return Ok(());
        };
        self.totals.count("unkillable");
        self.found.insert(run);
        self.tell(Event::Stuck { run, since, left })
    }

    fn ended(&mut self, run: RunId) -> Result<(), String> {
        let Some(process) = self.processes.get_mut(&run) else { return Ok(()) };
        if process.over || process.stuck || process.ends > self.real {
            return Ok(());
        }
        process.over = true;
        self.alive.remove(&run);
        let report = Box::new(process.report.clone());
        if report.status() == Status::Lost {
            self.totals.count("lost");
        }
        self.tell(Event::Exited { run, report })
    }

    /// jobd is gone, whatever it was at. What it had sent off may still arrive.
    fn crash(&mut self) {
        if self.is_calm() {
            return;
        }
        self.totals.count("crash");
        self.note(&"crash");
        self.engine = None;
        self.retry_by = None;
        self.life += 1;
        let sent: Vec<_> = {
            let is_sent = |happening: &Happening| {
                matches!(happening, Happening::Commit { .. } | Happening::Launch { .. } | Happening::Wake)
            };
            let keys: Vec<_> = self.queue.iter().filter(|(_, h)| is_sent(h)).map(|(key, _)| *key).collect();
            keys.iter().filter_map(|key| self.queue.remove(key)).collect()
        };
        for happening in sent {
            self.settle_after_crash(happening);
        }
        self.under_way = None;
        let reboot = self.rng.percent(15);
        let longest = *self.rng.pick(&[5_000, 1_200_000]);
        let down = self.rng.millis(100, longest);
        self.after(down, Happening::Restart { reboot });
        let next = self.rng.millis(1, 2 * u64::try_from(self.faults.crash_every.as_millis()).unwrap());
        self.after(down + next, Happening::Crash);
    }

    fn settle_after_crash(&mut self, happening: Happening) {
        let arrives = self.rng.percent(50);
        match happening {
            Happening::Commit { batch, .. } => {
                self.totals.count("crash with a commit under way");
                if arrives {
                    self.ledger.commit(&batch).unwrap();
                }
            }
            Happening::Launch { claim, .. } if arrives => self.start_process(claim).unwrap(),
            _ => {}
        }
    }

    fn restart(&mut self, reboot: bool) -> Result<(), String> {
        let mut reboot = reboot;
        if self.real > FAULTS {
            reboot = false;
        }
        if reboot {
            self.reboot();
        }
        self.note(&if reboot { "restart after a reboot" } else { "restart" });
        let snapshot = self.ledger.snapshot();
        let proofs = snapshot.open.iter().filter(|open| !open.queued);
        let proofs: BTreeMap<_, _> =
            proofs.map(|open| (open.claim.run, self.inspect(open.claim.run))).collect();
        for (run, found) in &proofs {
            if *found == Proof::NeverStarted {
                self.totals.count("never started");
                self.unstarted.insert(*run, Status::Missed);
            }
        }
        if snapshot.open.iter().any(|open| open.queued) {
            self.totals.count("queued");
        }
        self.life_began = self.real;
        let settings = Settings { default_alert: vec!["ops".into()] };
        let boot = Boot { id: self.boot_id(), at: self.wall() };
        let mut effects = Vec::new();
        let specs = self.specs.clone();
        let now = self.now();
        let engine = Scheduler::recover(settings, specs, snapshot, proofs, &boot, now, &mut effects);
        self.engine = Some(engine);
        for run in self.alive.clone() {
            if self.processes[&run].word(self.real).is_some() {
                self.totals.count("unkillable, found by a later jobd");
            }
            self.attend(run);
        }
        self.act(effects)
    }

    fn reboot(&mut self) {
        self.totals.count("reboot");
        self.boots += 1;
        self.booted = self.real;
        let (real, wall) = (self.real, self.wall());
        for process in self.processes.values_mut().filter(|process| !process.over) {
            if process.ends > real || process.stuck {
                process.vanish("host rebooted", real, wall);
            }
            process.over = true;
        }
        self.alive.clear();
    }

    fn inspect(&self, run: RunId) -> Proof {
        match self.processes.get(&run) {
            None => Proof::NeverStarted,
            Some(process) if process.over => Proof::Ended(Box::new(process.report.clone())),
            Some(_) => Proof::Held,
        }
    }

    fn jump_clock(&mut self) -> Result<(), String> {
        if self.is_calm() {
            return Ok(());
        }
        let far = self.rng.percent(self.faults.far_back);
        let minutes = i64::try_from(self.rng.range(1, 200)).unwrap();
        let by = match (far, self.rng.percent(50)) {
            (true, true) => {
                self.second_pass = true;
                self.totals.count("clock far back");
                -(181 + minutes) * 60_000
            }
            (true, false) => {
                self.totals.count("clock far forward");
                (181 + minutes) * 60_000
            }
            (false, true) => {
                self.totals.count("clock forward");
                minutes * 3_000
            }
            (false, false) => {
                self.totals.count("clock back");
                -minutes * 3_000
            }
        };
        self.offset_ms += by;
        let next = self.rng.millis(1, 2 * u64::try_from(self.faults.jump_every.as_millis()).unwrap());
        self.after(next, Happening::JumpClock);
        self.note(&("the clock jumps by", by));
        self.tell(Event::Woke)
    }

    /// Now and then a person runs or stops something.
    fn ask(&mut self) -> Result<(), String> {
        if self.is_calm() {
            return Ok(());
        }
        let next = self.rng.millis(1_000, 600_000);
        self.after(next, Happening::Ask);
        self.requests += 1;
        let request = RequestId(self.requests);
        if self.rng.percent(60) {
            self.totals.count("run by hand");
            let job = self.rng.pick(&self.specs).name.clone();
            let back = i64::try_from(self.rng.range(0, 40)).unwrap();
            let at = Timestamp::from_second(self.wall().as_second() / 60 * 60 - back * 60).unwrap();
            let at = (self.rng.percent(50) && at > self.began).then_some(at);
            return self.tell(Event::RunRequested { request, job, at });
        }
        let open: Vec<RunId> = self.ledger.claims.keys().copied().collect();
        if open.is_empty() {
            return Ok(());
        }
        let run = *self.rng.pick(&open);
        self.tell(Event::StopRequested { request, run, by: "uid 0".into() })
    }

    /// No process outlives its limit and grace under a running jobd: not even one whose shim is stuck.
    fn check_processes(&self) -> Result<(), String> {
        if self.engine.is_none() {
            return Ok(());
        }
        if self.retry_by.is_some_and(|by| by < self.real) {
            return Err("a batch that failed is not sent again".into());
        }
        let slack = Duration::from_secs(7);
        let alive = self.alive.iter().map(|run| &self.processes[run]);
        for Process { claim, started, asked, .. } in alive.filter(|process| process.stuck) {
            let since = (*started).max(self.life_began);
            // Who asked a jobd that is gone has to ask again.
            let asked = asked.filter(|asked| *asked >= self.life_began);
            let limits = [claim.timeout.map(|limit| since + limit), asked];
            let Some(limit) = limits.into_iter().flatten().min() else { continue };
            if self.real > limit + claim.kill_grace + slack {
                return Err(format!("the process of run {} outlives its limit", claim.run));
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
