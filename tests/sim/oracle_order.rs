//! Who may start, judged from outside: by the processes that are there, by what became durable and in what order, and
//! by what a person was told. Nothing here asks the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use jobctl::engine::job::{JobName, JobSpec};
use jobctl::engine::ledger::{Accounted, Batch, Change, ClaimState, OpenClaim};
use jobctl::engine::notice::Notice;
use jobctl::engine::pause::Pause;
use jobctl::engine::policy::{Busy, CatchUp, Overlap};
use jobctl::engine::reason::Reason;
use jobctl::engine::run::{Claim, RunId, Status, Trigger};
use jobctl::engine::time::Timestamp;
use jobctl::engine::watch::Concern;

use super::ledger::SimLedger;
use super::machine::Machine;

/// What is remembered from one batch to the next.
#[derive(Default)]
pub struct Order {
    /// Claims of the last batch that were refused: the engine hears of that a little later.
    refused: Vec<OpenClaim>,
    /// The batch in which each claim became durable.
    granted: BTreeMap<RunId, u64>,
    /// Runs that were claimed to wait.
    pub waited: BTreeSet<RunId>,
    /// The last batch that was sent for the first time.
    sent: u64,
    /// Pauses that a person may rely on.
    paused: Vec<(Option<JobName>, Option<Timestamp>)>,
    /// When the last catch-up run was decided upon.
    last_catch_up: Option<Timestamp>,
    /// How many fires each run has kept from starting: durable ones, and all.
    skips: BTreeMap<RunId, (u64, u64)>,
    /// Since when, on the simulation's own clock, nothing keeps a run that waits from starting.
    pub free_since: BTreeMap<RunId, Duration>,
    /// When that was last looked at.
    pub looked_at: Duration,
}

impl Order {
    /// jobd is gone, and what it had heard with it.
    pub fn forget(&mut self) {
        self.refused.clear();
        self.granted.clear();
        self.last_catch_up = None;
        self.sent = 0;
    }

    pub const fn jumped(&mut self) {
        self.last_catch_up = None;
    }

    pub fn pause(&mut self, job: Option<JobName>, until: Option<Timestamp>, now: Timestamp) {
        if until.is_none_or(|until| now < until) {
            self.paused.push((job, until));
        }
    }

    pub fn unpause(&mut self, job: Option<&JobName>) {
        self.paused.retain(|(paused, _)| paused.as_ref() != job);
    }

    /// A batch has become durable.
    pub fn stored(&mut self, batch: &Batch, ledger: &SimLedger) {
        self.refused.clear();
        for change in &batch.changes {
            match change {
                Change::Claim { claim, queued } if !ledger.rows.contains_key(&claim.run) => {
                    self.refused.push(open(claim, *queued));
                }
                Change::Claim { claim, queued } => {
                    self.granted.insert(claim.run, batch.number);
                    if *queued {
                        self.waited.insert(claim.run);
                    }
                }
                Change::Account(Accounted {
                    run, reason: Reason::Overlap { run: before }, fires, ..
                }) => {
                    let skips = self.skips.entry(*before).or_default();
                    let durable = if ledger.rows.contains_key(run) { *fires } else { 0 };
                    *skips = (skips.0 + durable, skips.1 + fires);
                }
                Change::Account(Accounted { reason: Reason::QueueFull { run, .. }, fires, .. }) => {
                    self.skips.entry(*run).or_default().1 += fires;
                }
                _ => {}
            }
        }
    }
}

fn open(claim: &Claim, queued: bool) -> OpenClaim {
    let state = if queued { ClaimState::Queued } else { ClaimState::Due };
    OpenClaim {
        claim: claim.clone(),
        state,
        skips: 0,
        told: BTreeSet::new(),
        running_since: None,
        noted: false,
    }
}

pub fn is_by_hand(claim: &Claim) -> bool {
    claim.trigger == Trigger::Manual || (claim.trigger == Trigger::CatchUp && claim.not_before.is_none())
}

pub fn is_paced(claim: &Claim) -> bool {
    claim.trigger == Trigger::CatchUp && !is_by_hand(claim)
}

pub fn rank(spec: &JobSpec, claim: &Claim) -> (i32, Timestamp, RunId) {
    (-spec.priority, claim.due_at(), claim.run)
}

pub fn places(claim: &Claim) -> u32 {
    claim.holds.pools.values().sum()
}

impl Machine {
    pub fn spec(&self, job: &JobName) -> &JobSpec {
        self.specs.iter().find(|spec| spec.name == *job).unwrap()
    }

    /// There is room for one more process: among all, of its job, of its lock and in its pool.
    pub fn check_room(&self, claim: &Claim) -> Result<(), String> {
        let run = claim.run;
        let alive: Vec<&Claim> = self.alive.iter().map(|run| &self.processes[run].claim).collect();
        if alive.len() >= self.admission.max_running {
            return Err(format!("run {run} is started beside {} others", alive.len()));
        }
        let of_job = alive.iter().find(|other| other.job == claim.job);
        if let Some(other) = of_job.filter(|_| self.spec(&claim.job).overlap != Overlap::Allow) {
            return Err(format!("run {run} is started while {} runs", other.run));
        }
        if let Some(other) = alive.iter().find(|other| shares_lock(other, claim)) {
            return Err(format!("run {run} is started while {} holds its lock", other.run));
        }
        let taken: u32 = alive.iter().map(|claim| places(claim)).sum();
        let size = self.admission.pools["etl"];
        if places(claim) > 0 && taken + places(claim) > size {
            return Err(format!("run {run} takes {} places, and {taken} of {size} are taken", places(claim)));
        }
        Ok(())
    }

    /// What is decided in a batch, when it is sent for the first time.
    pub fn check_decisions(&mut self, batch: &Batch) -> Result<(), String> {
        if batch.number <= self.order.sent {
            return Ok(());
        }
        self.order.sent = batch.number;
        let wall = self.wall();
        self.order.paused.retain(|(_, until)| until.is_none_or(|until| wall < until));
        for change in &batch.changes {
            let (claim, at, starts) = match change {
                Change::Claim { claim, queued } => (claim.clone(), claim.claimed_at, !queued),
                Change::Start { run, at } | Change::Begin { run, at } => match self.ledger.claims.get(run) {
                    Some(open) => (open.claim.clone(), *at, true),
                    None => return Err(format!("run {run} is to start and is not open")),
                },
                _ => continue,
            };
            let is_paused =
                self.order.paused.iter().any(|(job, _)| job.as_ref().is_none_or(|job| *job == claim.job));
            // A further try is claimed with the end of the one before, whatever keeps it from starting.
            let is_promised = claim.trigger == Trigger::Retry && !starts;
            if is_paused && !is_by_hand(&claim) && !is_promised {
                return Err(format!("run {} is claimed or started, and {} is paused", claim.run, claim.job));
            }
            if starts && is_paced(&claim) {
                self.check_pace(&claim, at)?;
            }
        }
        Ok(())
    }

    /// A downtime is no stampede: catch-up runs are started one by one, and none right after a boot.
    fn check_pace(&mut self, claim: &Claim, at: Timestamp) -> Result<(), String> {
        let since_boot = self.real.saturating_sub(self.booted);
        if since_boot < self.admission.settle {
            return Err(format!("run {} is to start {since_boot:?} after the boot", claim.run));
        }
        let interval = SignedDuration::from_millis(i64::from(1_000 / self.admission.rate));
        let last = self.order.last_catch_up.replace(at);
        let after = last.map(|last| at.duration_since(last)).filter(|after| !after.is_negative());
        if after.is_some_and(|after| after < interval) {
            return Err(format!("run {} is made up for {after:?} after the last one", claim.run));
        }
        Ok(())
    }

    /// What a sound engine never asks for, where it is about order.
    pub fn object_to_order(&mut self, batch: &Batch) -> Result<(), String> {
        if batch.number <= self.ledger.last_batch {
            return Ok(());
        }
        let known = self.ledger.claims.values().chain(&self.order.refused);
        let mut claims: BTreeMap<RunId, OpenClaim> =
            known.map(|open| (open.claim.run, open.clone())).collect();
        let mut pauses = self.ledger.pauses.clone();
        for change in &batch.changes {
            match change {
                Change::Claim { claim, queued } => {
                    if !queued && !is_by_hand(claim) {
                        self.nobody_stands_before(claim, claim.claimed_at, batch, &claims, &pauses)?;
                    }
                    if is_by_hand(claim) {
                        self.by_hand.insert(claim.run);
                    }
                    if *queued && claim.trigger == Trigger::Schedule {
                        self.may_wait(claim, &claims)?;
                    }
                    claims.insert(claim.run, open(claim, *queued));
                }
                Change::Ahead { claim } => {
                    claims.insert(claim.run, OpenClaim { state: ClaimState::Ahead, ..open(claim, false) });
                }
                Change::Withdraw { run } => drop(claims.remove(run)),
                Change::Start { run, at } | Change::Begin { run, at } if claims.contains_key(run) => {
                    let claim = claims[run].claim.clone();
                    self.check_wait(&claim, *at)?;
                    self.nobody_stands_before(&claim, *at, batch, &claims, &pauses)?;
                    claims.get_mut(run).unwrap().state = ClaimState::Due;
                }
                Change::Finish { run, status, reason, .. } => {
                    claims.remove(run);
                    if *status == Status::Skipped {
                        self.totals.count("replaced");
                    }
                    if reason.as_ref().is_some_and(|reason| *reason == Reason::PastWindow.to_string()) {
                        self.totals.count("past its window");
                    }
                }
                Change::Pause(pause) => {
                    pauses.retain(|known| known.job != pause.job);
                    pauses.push(pause.clone());
                }
                Change::Resume { job, .. } => pauses.retain(|pause| pause.job != *job),
                Change::Account(accounted) => {
                    self.check_skip(accounted, &claims, &pauses).map_err(|problem| {
                        format!("{} at {}: {problem}", accounted.job, accounted.scheduled_at)
                    })?;
                }
                Change::Extend { .. } => self.totals.count("many skipped in one row"),
                Change::Notify { notice: Notice::Concern(concern), .. }
                    if matches!(concern.concern, Concern::InTheWay { .. }) =>
                {
                    self.totals.count("in the way");
                }
                _ => {}
            }
        }
        self.one_waits_under_replace(batch, &claims)
    }

    /// A fire waits for another run of its job only where its policy says so, and for no more than that.
    fn may_wait(&self, claim: &Claim, claims: &BTreeMap<RunId, OpenClaim>) -> Result<(), String> {
        let spec = self.spec(&claim.job);
        let is_refused = |run: RunId| self.order.refused.iter().any(|open| open.claim.run == run);
        let of_job = |open: &&OpenClaim| {
            open.claim.job == claim.job && open.state != ClaimState::Ahead && !is_refused(open.claim.run)
        };
        let mut of_job = claims.values().filter(of_job);
        let waits =
            |open: &&OpenClaim| open.state == ClaimState::Queued && open.claim.trigger != Trigger::CatchUp;
        let may = match spec.overlap {
            Overlap::Skip => of_job.next().is_none(),
            Overlap::Queue => {
                of_job.clone().next().is_none() || of_job.filter(waits).count() < spec.queue_limit
            }
            Overlap::Replace | Overlap::Allow => true,
        };
        if may { Ok(()) } else { Err(format!("run {} waits, and its policy forbids it", claim.run)) }
    }

    /// A skip has the reason that it says.
    fn check_skip(
        &mut self,
        accounted: &Accounted,
        claims: &BTreeMap<RunId, OpenClaim>,
        pauses: &[Pause],
    ) -> Result<(), String> {
        let Accounted { job, reason, status: Status::Skipped, .. } = accounted else { return Ok(()) };
        let spec = self.spec(job).clone();
        let is_active = |open: &&OpenClaim| open.claim.job == *job && open.state != ClaimState::Ahead;
        let active = |run: &RunId| claims.get(run).filter(is_active);
        let is_true = match reason {
            Reason::Overlap { run } => spec.overlap == Overlap::Skip && active(run).is_some(),
            Reason::QueueFull { run, limit } => {
                let waits = |open: &&OpenClaim| {
                    open.claim.job == *job
                        && open.state == ClaimState::Queued
                        && open.claim.trigger != Trigger::CatchUp
                };
                let waiting = claims.values().filter(waits).count();
                *limit == spec.queue_limit
                    && spec.overlap == Overlap::Queue
                    && active(run).is_some()
                    && waiting >= spec.queue_limit
            }
            Reason::Busy { name, run } => {
                let holder = claims.get(run).filter(|open| open.state == ClaimState::Due);
                let holds = |open: &OpenClaim| {
                    open.claim.holds.locks.contains(name) || open.claim.holds.pools.contains_key(name)
                };
                spec.busy == Busy::Skip && holder.is_some_and(holds)
            }
            Reason::Folded { run } => {
                let heir = active(run).and_then(|open| open.claim.scheduled_at);
                let last = accounted.scheduled_until.unwrap_or(accounted.scheduled_at);
                spec.catch_up == CatchUp::Latest && heir.is_some_and(|heir| last < heir)
            }
            Reason::Paused { .. } => {
                pauses.iter().any(|pause| pause.job.as_ref().is_none_or(|paused| paused == job))
            }
            _ => false,
        };
        self.totals.count(match reason {
            Reason::Overlap { .. } => "skipped for another run",
            Reason::QueueFull { .. } => "skipped for a full queue",
            Reason::Busy { .. } => "skipped for a lock or a pool",
            Reason::Folded { .. } => "folded",
            _ => "skipped for a pause",
        });
        if is_true { Ok(()) } else { Err(format!("skipped for what is not so: {reason}")) }
    }

    /// No run waits for longer than its fire would be made up for.
    fn check_wait(&self, claim: &Claim, at: Timestamp) -> Result<(), String> {
        let spec = self.spec(&claim.job);
        let patience =
            spec.catch_up_window + spec.after.as_ref().map_or(Duration::ZERO, |after| after.within);
        // What others have to end for begins to wait with their end.
        let since = if claim.trigger == Trigger::After { claim.claimed_at } else { claim.due_at() };
        let waited = at.duration_since(since);
        let too_long = waited > SignedDuration::try_from(patience).unwrap() + SignedDuration::from_millis(1);
        // A fire that was tried once is tried again as its policy says.
        if too_long && !is_by_hand(claim) && claim.trigger != Trigger::Retry {
            return Err(format!("run {} is started after {waited:#}", claim.run));
        }
        Ok(())
    }

    /// Nobody who waits for a place alone is passed by a run that stands behind it.
    fn nobody_stands_before(
        &self,
        claim: &Claim,
        at: Timestamp,
        batch: &Batch,
        claims: &BTreeMap<RunId, OpenClaim>,
        pauses: &[Pause],
    ) -> Result<(), String> {
        let own = rank(self.spec(&claim.job), claim);
        for other in claims.values().filter(|open| open.state == ClaimState::Queued) {
            let (spec, other) = (self.spec(&other.claim.job), &other.claim);
            let of_job = claims.values().filter(|open| open.claim.job == other.job);
            let is_alone = of_job.filter(|open| open.state != ClaimState::Ahead).count() == 1;
            let known = self.order.granted.get(&other.run).is_some_and(|number| number + 1 < batch.number);
            let is_paused = pauses.iter().any(|pause| pause.job.as_ref().is_none_or(|job| *job == other.job));
            let window = SignedDuration::try_from(spec.catch_up_window).unwrap();
            let waits_for_nothing_else = is_alone
                && known
                && !is_paused
                && other.holds == jobctl::engine::admission::Holds::default()
                && other.trigger == Trigger::Schedule
                && spec.after.is_none()
                && at.duration_since(other.due_at()) < window;
            if waits_for_nothing_else && rank(spec, other) < own {
                return Err(format!("run {} goes before {}, which waits for a place", claim.run, other.run));
            }
        }
        Ok(())
    }

    /// Of the runs that wait under `replace` the newest remains: when one was granted, the ones before it go.
    fn one_waits_under_replace(
        &self,
        batch: &Batch,
        claims: &BTreeMap<RunId, OpenClaim>,
    ) -> Result<(), String> {
        let is_new = |run: &RunId| self.order.granted.get(run).is_none_or(|number| *number >= batch.number);
        for spec in self.specs.iter().filter(|spec| spec.overlap == Overlap::Replace) {
            let waiting: Vec<&RunId> = claims
                .iter()
                .filter(|(_, open)| open.claim.job == spec.name && open.state == ClaimState::Queued)
                .filter(|(_, open)| open.claim.trigger != Trigger::CatchUp)
                .map(|(run, _)| run)
                .filter(|run| !is_new(run))
                .collect();
            if waiting.len() > 1 {
                return Err(format!("{waiting:?} of {} wait, under replace", spec.name));
            }
        }
        Ok(())
    }
}

pub fn shares_lock(one: &Claim, other: &Claim) -> bool {
    one.holds.locks.iter().any(|lock| other.holds.locks.contains(lock))
}

/// What is judged in the end.
pub fn check(machine: &Machine) -> Result<(), String> {
    runs_in_the_way_are_told_once(machine)?;
    sleeps_are_no_clock_changes(machine)
}

/// The second fire that a run keeps from starting is told, and no other.
fn runs_in_the_way_are_told_once(machine: &Machine) -> Result<(), String> {
    let mut told: BTreeMap<RunId, u64> = BTreeMap::new();
    for (_, notice) in &machine.ledger.outbox {
        if let Notice::Concern(concern) = notice
            && let Concern::InTheWay { skipped } = concern.concern
        {
            *told.entry(concern.run).or_default() += 1;
            if skipped < 2 {
                return Err(format!("run {} is told of after {skipped}", concern.run));
            }
        }
    }
    let runs: BTreeSet<&RunId> = told.keys().chain(machine.order.skips.keys()).collect();
    for run in runs {
        let times = told.get(run).copied().unwrap_or_default();
        let (durable, all) = machine.order.skips.get(run).copied().unwrap_or_default();
        let is_right = match (durable, all) {
            // On a second pass a fire is skipped again that has its row, and is not counted.
            (2.., _) if !machine.second_pass => times == 1,
            (_, 2..) => times <= 1,
            _ => times == 0,
        };
        if !is_right {
            return Err(format!("run {run} kept {durable} of {all} fires from starting, told {times} times"));
        }
    }
    Ok(())
}

/// A sleep of the host is a gap that says so.
fn sleeps_are_no_clock_changes(machine: &Machine) -> Result<(), String> {
    for (from, until) in &machine.sleeps {
        let gaps: Vec<_> =
            machine.ledger.gaps.iter().filter(|gap| gap.0 <= *from && *until <= gap.1).collect();
        if gaps.is_empty() {
            return Err(format!("nothing says that nobody was there from {from} to {until}"));
        }
        if gaps.iter().any(|(_, end, reason)| end == until && *reason != Reason::Asleep) {
            return Err(format!("the sleep until {until} is told as something else"));
        }
    }
    Ok(())
}
