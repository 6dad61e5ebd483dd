//! Processes of the machine: how a shim waits at its gate, starts its job, and is seen to end.

use std::time::Duration;

use jobctl::engine::event::Event;
use jobctl::engine::policy::CatchUp;
use jobctl::engine::run::{Claim, Exit, Report, RunId, Status, Trigger};

use super::machine::{FAULTS, Gate, Happening, Machine};
use super::oracle_arm;
use super::process::Process;

impl Machine {
    pub fn arm_shim(&mut self, claim: Claim) -> Result<(), String> {
        oracle_arm::may_arm(self, &claim)?;
        self.totals.count("armed");
        let ready = self.real + self.rng.millis(5, 200);
        let dead = !self.is_calm() && self.rng.percent(self.faults.gate_fails);
        self.gates.insert(claim.run, Gate { claim, ready, dead });
        Ok(())
    }

    /// Through the gate, or as any other run if nobody waits there.
    pub fn go(&mut self, run: RunId) -> Result<(), String> {
        oracle_arm::may_go(self, run)?;
        let Some(Gate { claim, ready, dead }) = self.gates.remove(&run) else { return Ok(()) };
        self.check_lateness(&claim)?;
        let life = self.life;
        if dead {
            self.totals.count("gone without a gate");
            let delay = self.rng.millis(5, 10_000);
            self.after(delay, Happening::Launch { claim: Box::new(claim), life });
            return Ok(());
        }
        self.totals.count("gone through a gate");
        if !self.is_calm() && self.rng.percent(1) {
            // The next crash comes now.
            self.queue.retain(|_, happening| !matches!(happening, Happening::Crash));
            let soon = self.rng.millis(0, 60);
            self.after(soon, Happening::Crash);
        }
        let delay = ready.saturating_sub(self.real) + self.rng.millis(1, 4);
        self.after(delay, Happening::Begin { claim: Box::new(claim), life });
        Ok(())
    }

    /// No fire is started that is past its window; one that waited in a queue was decided upon in time.
    pub fn check_lateness(&self, claim: &Claim) -> Result<(), String> {
        let spec = self.specs.iter().find(|spec| spec.name == claim.job);
        let is_at_once = claim.trigger == Trigger::Schedule && !self.order.waited.contains(&claim.run);
        let window = match spec.filter(|spec| is_at_once && spec.after.is_none()) {
            None => return Ok(()),
            Some(spec) if spec.catch_up == CatchUp::Skip => Duration::from_secs(30),
            Some(spec) => spec.catch_up_window,
        };
        let age = Duration::try_from(self.wall().duration_since(claim.due_at())).unwrap_or_default();
        if age > window { Err(format!("run {} is started {age:?} late", claim.run)) } else { Ok(()) }
    }

    pub fn launch(&mut self, claim: Claim, life: u64) -> Result<(), String> {
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

    pub fn start_process(&mut self, claim: Claim) -> Result<(), String> {
        self.totals.count("launch");
        let run = claim.run;
        if self.processes.contains_key(&run) {
            return Err(format!("run {run} is started twice"));
        }
        self.check_room(&claim)?;
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
        process.silent_at = self.rng.percent(self.faults.silent).then(|| real + self.rng.millis(0, 20_000));
        self.processes.insert(run, process);
        self.alive.insert(run);
        self.attend(run);
        Ok(())
    }

    /// Looks after a process: when its shim says that it does not die, and when it ends.
    pub fn attend(&mut self, run: RunId) {
        let Some(process) = self.processes.get(&run).filter(|process| !process.stuck && !process.over) else {
            return;
        };
        let (ends, hangs_since, life) = (process.ends, process.hangs_since, self.life);
        let silent_at = process.silent_at;
        if let Some(since) = hangs_since {
            // What is looked for now and then is found a little later.
            let delay = since.saturating_sub(self.real) + self.rng.millis(1, 5_000);
            self.after(delay, Happening::Found { run, life });
        }
        if let Some(at) = silent_at {
            self.after(at.saturating_sub(self.real), Happening::Silent { run, life });
        }
        self.after(ends.saturating_sub(self.real), Happening::Ended { run });
    }

    /// A process is found that does not die.
    pub fn found(&mut self, run: RunId) -> Result<(), String> {
        let (real, since) = (self.real, self.wall());
        let Some(left) = self.processes.get(&run).and_then(|process| process.word(real)) else {
            return Ok(());
        };
        self.totals.count("unkillable");
        self.found.insert(run);
        self.tell(Event::Stuck { run, since, left })
    }

    /// A run that says nothing is found out more than once, as by each jobd anew.
    pub fn fall_silent(&mut self, run: RunId, life: u64) -> Result<(), String> {
        if life != self.life || self.processes.get(&run).is_none_or(|process| process.over) {
            return Ok(());
        }
        self.silent.entry(run).or_insert(self.real);
        self.after(Duration::from_secs(30), Happening::Silent { run, life });
        self.tell(Event::Silent { run, for_: Duration::from_secs(5), waits_for: None })
    }

    pub fn ended(&mut self, run: RunId) -> Result<(), String> {
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

    /// No process outlives its limit and grace under a running jobd: not even one whose shim is stuck.
    pub fn check_processes(&self) -> Result<(), String> {
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
}
