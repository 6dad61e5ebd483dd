//! What befalls the machine: jobd dies and comes up again, the host reboots or sleeps, the clock is set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jobctl::engine::event::Event;
use jobctl::engine::ledger::{ClaimState, OpenClaim, Snapshot};
use jobctl::engine::recovery::{Boot, Proof};
use jobctl::engine::run::{RunId, Status};
use jobctl::engine::scheduler::{Scheduler, Settings};

use super::machine::{FAULTS, Happening, Machine};

impl Machine {
    /// jobd is gone, whatever it was at. What it had sent off may still arrive.
    pub fn crash(&mut self) -> Result<(), String> {
        if self.is_calm() {
            return Ok(());
        }
        self.totals.count("crash");
        self.note(&"crash");
        self.engine = None;
        self.retry_by = None;
        self.life += 1;
        self.order.forget();
        self.left.extend(std::mem::take(&mut self.gates).into_keys());
        if !self.left.is_empty() {
            self.totals.count("crash at a gate");
        }
        self.asked.clear();
        let sent: Vec<_> = {
            let is_sent = |happening: &Happening| {
                matches!(
                    happening,
                    Happening::Commit { .. }
                        | Happening::Launch { .. }
                        | Happening::Begin { .. }
                        | Happening::Wake
                )
            };
            let keys: Vec<_> = self.queue.iter().filter(|(_, h)| is_sent(h)).map(|(key, _)| *key).collect();
            keys.iter().filter_map(|key| self.queue.remove(key)).collect()
        };
        for happening in sent {
            self.settle_after_crash(happening)?;
        }
        self.under_way = None;
        let reboot = self.rng.percent(if self.is_between() { 60 } else { 15 });
        let longest = *self.rng.pick(&[5_000, 1_200_000]);
        let down = self.rng.millis(100, longest);
        self.after(down, Happening::Restart { reboot });
        let next = self.rng.millis(1, 2 * u64::try_from(self.faults.crash_every.as_millis()).unwrap());
        self.after(down + next, Happening::Crash);
        Ok(())
    }

    fn settle_after_crash(&mut self, happening: Happening) -> Result<(), String> {
        let arrives = self.rng.percent(50);
        match happening {
            Happening::Commit { batch, .. } => {
                self.totals.count("crash with a commit under way");
                if arrives {
                    self.store(&batch)?;
                }
            }
            Happening::Launch { claim, .. } if arrives => self.start_process(*claim)?,
            // What has come through its gate starts, whoever is there to see it.
            Happening::Begin { claim, .. } => {
                self.totals.count("crash after a gate was opened");
                self.start_process(*claim)?;
            }
            _ => {}
        }
        Ok(())
    }

    pub fn restart(&mut self, reboot: bool) -> Result<(), String> {
        let mut reboot = reboot;
        if self.real > FAULTS {
            reboot = false;
        }
        if reboot {
            self.reboot();
        }
        self.note(&if reboot { "restart after a reboot" } else { "restart" });
        let snapshot = self.ledger.snapshot();
        let proofs = snapshot.open.iter().filter(|open| open.state != ClaimState::Queued);
        let mut proofs: BTreeMap<_, _> =
            proofs.map(|open| (open.claim.run, self.inspect(open.claim.run))).collect();
        let left = std::mem::take(&mut self.left);
        if reboot {
            self.forget_marks(&left, &snapshot, &mut proofs);
        }
        for (run, found) in &proofs {
            if *found == Proof::NeverStarted && self.ledger.rows.contains_key(run) {
                self.totals.count("never started");
                self.unstarted.insert(*run, Status::Missed);
            }
        }
        if snapshot.open.iter().any(|open| open.state == ClaimState::Queued) {
            self.totals.count("queued");
        }
        self.life_began = self.real;
        let settings = Settings { default_alert: vec!["ops".into()], admission: self.admission.clone() };
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

    /// Whether a gate was opened, and the row is not there yet.
    fn is_between(&self) -> bool {
        let ahead = self.ledger.claims.values().filter(|open| open.state == ClaimState::Ahead);
        ahead.map(|open| open.claim.run).any(|run| self.processes.contains_key(&run))
    }

    /// The power was cut: of what was at its gate, or just through, it is not known which.
    fn forget_marks(
        &mut self,
        left: &BTreeSet<RunId>,
        snapshot: &Snapshot,
        proofs: &mut BTreeMap<RunId, Proof>,
    ) {
        let ahead = snapshot.open.iter().filter(|open| open.state == ClaimState::Ahead);
        for OpenClaim { claim, .. } in ahead {
            let process = self.processes.get(&claim.run);
            let is_there = left.contains(&claim.run) || process.is_some();
            if !is_there || process.is_some_and(|process| process.truth() != Status::Lost) {
                continue;
            }
            self.totals.count("a power cut at a gate");
            proofs.insert(claim.run, Proof::Unknown);
            let was_ahead = snapshot.last_seen <= Some(self.wall()) && self.wall() < claim.due_at();
            if process.is_none() && !was_ahead {
                self.unstarted.insert(claim.run, Status::Lost);
            }
        }
    }

    fn reboot(&mut self) {
        self.totals.count("reboot");
        self.boots += 1;
        self.booted = self.real;
        self.slept = Duration::ZERO;
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

    pub fn jump_clock(&mut self) -> Result<(), String> {
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
        let before = self.wall();
        self.jumps.push(self.real);
        self.offset_ms += by;
        self.order.jumped();
        if by < 0 {
            self.sleeps.clear();
        } else if self.rng.percent(50) {
            self.totals.count("sleep");
            self.slept += Duration::from_millis(by.unsigned_abs());
            if self.engine.is_some() {
                self.sleeps.push((before, self.wall()));
            }
        }
        let next = self.rng.millis(1, 2 * u64::try_from(self.faults.jump_every.as_millis()).unwrap());
        self.after(next, Happening::JumpClock);
        self.note(&("the clock jumps by", by));
        self.tell(Event::Woke)
    }
}
