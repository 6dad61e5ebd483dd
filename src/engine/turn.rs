//! Whose turn it is: one function starts whatever waits, in the order of the queue, as soon as it may be started.

use std::cmp::Reverse;
use std::time::Duration;

use super::admission::Blocked;
use super::event::Effect;
use super::fires::{Lateness, TOLERANCE_RUNNING};
use super::job::JobSpec;
use super::ledger::Change;
use super::notice::MissedFires;
use super::policy::{Busy, CatchUp, Overlap};
use super::queue::{Rank, Wait};
use super::reason::Reason;
use super::run::{Claim, RunId, Status, Trigger};
use super::runs::{Phase, Run};
use super::scheduler::Scheduler;
use super::time::{Monotonic, Now, Timestamp};

/// What becomes of a fire whose time has come.
pub(super) enum Verdict {
    Start,
    Wait,
    Skip(Reason),
}

impl Scheduler {
    /// Whether a run that waits may be started now; if not, the first thing that it waits for.
    pub(super) fn may_start(&self, id: RunId) -> Result<(), Blocked> {
        let Some(run) = self.runs.get(&id) else { return Ok(()) };
        self.admit(&run.claim, run.ready_at)
    }

    /// What becomes of a new claim of a fire: in the order of the job's overlap policy, what it holds, what all hold.
    pub(super) fn judge(&self, spec: &JobSpec, claim: &Claim) -> Verdict {
        if let Some(run) = self.blocking_run(&spec.name) {
            let waits = is_one_by_one(spec, claim) && self.in_the_way(spec, claim).is_some();
            match spec.overlap {
                _ if waits => return Verdict::Wait,
                Overlap::Skip => return Verdict::Skip(Reason::Overlap { run }),
                Overlap::Queue if self.is_queue_full(spec) => {
                    return Verdict::Skip(Reason::QueueFull { run, limit: spec.queue_limit });
                }
                Overlap::Queue | Overlap::Replace => return Verdict::Wait,
                Overlap::Allow => {}
            }
        }
        match self.admit(claim, self.ready_at(claim)) {
            Ok(()) => Verdict::Start,
            Err(blocked) => give_up(spec, claim, &blocked).map_or(Verdict::Wait, Verdict::Skip),
        }
    }

    /// Whether what a person asks for waits: one run of the job at a time, as far as its policy says so.
    pub(super) fn waits(&self, spec: &JobSpec, claim: &Claim) -> bool {
        self.in_the_way(spec, claim).is_some() || self.admit(claim, self.ready_at(claim)).is_err()
    }

    /// The active run that a claim may not be started beside, waiting ones included.
    fn in_the_way(&self, spec: &JobSpec, claim: &Claim) -> Option<RunId> {
        let others = self.active.get(&claim.job)?.iter().filter(|id| **id != claim.run);
        let of_same_trigger =
            |id: &&RunId| self.runs.get(id).is_some_and(|run| run.claim.trigger == claim.trigger);
        match (spec.overlap, is_one_by_one(spec, claim)) {
            (Overlap::Allow, false) => None,
            (Overlap::Allow, true) => others.copied().find(|id| of_same_trigger(&id)),
            _ => others.copied().next(),
        }
    }

    /// Whether as many runs of the job wait as may; those that are made up for are not counted.
    pub(super) fn is_queue_full(&self, spec: &JobSpec) -> bool {
        let runs = self.active_runs(&spec.name);
        let waiting = runs.filter(|run| run.phase.is_waiting() && run.claim.trigger != Trigger::CatchUp);
        waiting.count() >= spec.queue_limit
    }

    /// The order of the checks is that of the reasons: time, pause, jobs before it, overlap, what it holds, what all
    /// hold.
    fn admit(&self, claim: &Claim, ready_at: Option<Monotonic>) -> Result<(), Blocked> {
        let now = self.seen.monotonic;
        if let Some(at) = ready_at.filter(|at| *at > now) {
            return Err(Blocked::NotBefore(self.on_wall(at)));
        }
        if !claim.is_by_hand() && self.pauses.is_paused(&claim.job) {
            return Err(Blocked::Paused);
        }
        if let Some(job) = self.waits_for(claim) {
            return Err(Blocked::After(job));
        }
        self.admit_by_overlap(claim)?;
        self.admit_by_holds(claim)?;
        if claim.is_paced() && self.next_catch_up > now {
            return Err(Blocked::NotBefore(self.on_wall(self.next_catch_up)));
        }
        let is_full = self.held.runs().len() >= self.settings.admission.max_running;
        if is_full { Err(Blocked::Full) } else { Ok(()) }
    }

    /// One run of a job at a time, in order, unless its policy allows more.
    fn admit_by_overlap(&self, claim: &Claim) -> Result<(), Blocked> {
        let spec = self.agenda.spec(&claim.job);
        let is_beside = spec.is_some_and(|spec| spec.overlap == Overlap::Allow);
        if is_beside && !spec.is_some_and(|spec| is_one_by_one(spec, claim)) {
            return Ok(());
        }
        let is_in_the_way = |run: &&Run| {
            run.claim.run != claim.run
                && !run.phase.is_waiting()
                && (!is_beside || run.claim.trigger == claim.trigger)
        };
        if let Some(run) = self.active_runs(&claim.job).find(is_in_the_way) {
            return Err(Blocked::Overlap(run.claim.run));
        }
        // Who asks by hand does not stand behind what waits, which a pause may keep for days.
        let first = self.queue.of_job(&claim.job).next().filter(|_| !claim.is_by_hand());
        match first.filter(|first| *first < self.rank(claim)) {
            Some(first) => Err(Blocked::Overlap(first.run)),
            None => Ok(()),
        }
    }

    fn admit_by_holds(&self, claim: &Claim) -> Result<(), Blocked> {
        for name in &claim.holds.locks {
            if let Some(run) = self.held.holder(name) {
                return Err(Blocked::Lock { name: name.clone(), run });
            }
        }
        for (name, places) in &claim.holds.pools {
            let size = self.settings.admission.pools.get(name).copied().unwrap_or(0);
            if *places > size {
                return Err(Blocked::Pool { name: name.clone(), run: None });
            }
            // Who needs many places would never get them if those who need few went ahead.
            let first = self.queue.first_for(&Wait::Pool(name.clone()));
            let ahead = first.filter(|first| *first < self.rank(claim)).map(|first| first.run);
            let has_room = self.held.taken(name) + u64::from(*places) <= u64::from(size);
            if ahead.is_some() || !has_room {
                let run = self.held.holder_of_place(name).or(ahead);
                return Err(Blocked::Pool { name: name.clone(), run });
            }
        }
        Ok(())
    }

    /// A granted claim begins to wait.
    pub(super) fn enqueue(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        let claim = &run.claim;
        let (job, rank, ready_at) = (claim.job.clone(), self.rank(claim), self.ready_at(claim));
        let expires = self.expires(claim);
        if let Some(run) = self.runs.get_mut(&id) {
            run.phase = Phase::Queued;
            run.ready_at = ready_at;
        }
        self.queue.join(job, rank, ready_at, expires);
    }

    /// Starts whatever waits and may be started.
    pub(super) fn start_waiting(&mut self, now: Now) {
        self.queue.pass_time(now.monotonic);
        if self.next_catch_up <= now.monotonic {
            self.queue.open(&Wait::Pace);
        }
        while self.held.runs().len() < self.settings.admission.max_running {
            let Some(id) = self.queue.next() else { return };
            match self.may_start(id) {
                Ok(()) => self.start(id, now),
                Err(blocked) => self.wait_on(id, &blocked, now),
            }
        }
    }

    fn start(&mut self, id: RunId, now: Now) {
        self.queue.leave(id);
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.phase = Phase::Starting;
        self.held.take(&run.claim);
        self.journal.push(Change::Start { run: id, at: now.wall });
        let claim = run.claim.clone();
        self.take_pace(&claim);
    }

    /// The next catch-up run is not started before it is its turn.
    pub(super) fn take_pace(&mut self, claim: &Claim) {
        if claim.is_paced() {
            self.next_catch_up = self.seen.monotonic.after(self.settings.admission.interval());
        }
    }

    fn wait_on(&mut self, id: RunId, blocked: &Blocked, now: Now) {
        let Some(run) = self.runs.get(&id) else { return };
        let (claim, ready_at) = (&run.claim, run.ready_at);
        let spec = self.agenda.spec(&claim.job);
        if let Some(reason) = spec.and_then(|spec| give_up(spec, claim, blocked)) {
            self.end_waiting(id, Status::Skipped, &reason, now);
            return;
        }
        let wait = match blocked {
            Blocked::NotBefore(_) => match ready_at.filter(|at| *at > now.monotonic) {
                Some(at) => return self.queue.put_off(id, at),
                None => Wait::Pace,
            },
            Blocked::Paused => Wait::Resume,
            Blocked::After(job) => Wait::After(job.clone()),
            Blocked::Overlap(_) => Wait::Turn { job: claim.job.clone(), by_hand: claim.is_by_hand() },
            Blocked::Lock { name, .. } => Wait::Lock(name.clone()),
            Blocked::Pool { name, run: Some(_) } => Wait::Pool(name.clone()),
            Blocked::Pool { run: None, .. } => Wait::Nothing,
            // With every place taken nobody is looked at.
            Blocked::Full => return,
        };
        self.queue.park(id, wait);
    }

    /// What waits for too long goes the way of a missed fire.
    pub(super) fn expire_waiting(&mut self, now: Now) {
        let expired = self.queue.expired(now.wall);
        let missed: Vec<MissedFires> =
            expired.into_iter().filter_map(|id| self.abandon(id, &Reason::PastWindow, now)).collect();
        let lateness = Lateness { reason: Reason::PastWindow, tolerance: TOLERANCE_RUNNING, since: None };
        self.report_missed(missed, now, &lateness);
    }

    /// A granted claim under `overlap = "replace"`: what is active is ended, and what waits from before is skipped.
    pub(super) fn make_way(&mut self, id: RunId, now: Now, effects: &mut Vec<Effect>) {
        let Some(claim) = self.runs.get(&id).map(|run| run.claim.clone()) else { return };
        let Some(spec) = self.agenda.spec(&claim.job).cloned() else { return };
        if spec.overlap != Overlap::Replace || !takes_place(&spec, &claim) {
            return;
        }
        let waiting = self.active_runs(&claim.job).filter(|run| run.phase == Phase::Queued);
        let replaced = waiting.filter(|run| run.claim.run < id && may_be_replaced(&spec, &run.claim));
        let replaced: Vec<RunId> = replaced.map(|run| run.claim.run).collect();
        for other in replaced {
            self.end_waiting(other, Status::Skipped, &Reason::Replaced { run: id }, now);
        }
        let active: Vec<RunId> = self.active.get(&claim.job).into_iter().flatten().copied().collect();
        for other in active {
            let is_asked =
                self.runs.get(&other).is_none_or(|run| run.stop.is_some() || run.phase.is_waiting());
            if !is_asked {
                self.stop(other, format!("run {id}, which takes its place"), now, effects);
            }
        }
    }

    /// Whether a later fire waits that takes the place of whatever is active, so that no further try is to come first.
    pub(super) fn is_place_taken(&self, spec: &JobSpec, claim: &Claim) -> bool {
        let is_later = |run: &Run| {
            run.phase.is_waiting() && takes_place(spec, &run.claim) && run.claim.due_at() > claim.due_at()
        };
        spec.overlap == Overlap::Replace && self.active_runs(&spec.name).any(is_later)
    }

    /// Where a run stands among those that wait.
    fn rank(&self, claim: &Claim) -> Rank {
        let priority = self.agenda.spec(&claim.job).map_or(0, |spec| spec.priority);
        Rank { priority: Reverse(priority), due: claim.due_at(), run: claim.run }
    }

    /// Until when a claim waits whatever else is free. The clock may have been set since it was claimed, so it never
    /// waits longer than it was to wait then.
    fn ready_at(&self, claim: &Claim) -> Option<Monotonic> {
        let Now { wall, monotonic, .. } = self.seen;
        let settled = claim.is_paced().then(|| self.settings.admission.settled_at());
        let delay = claim.not_before.map(|at| {
            let whole = Duration::try_from(at.duration_since(claim.claimed_at)).unwrap_or_default();
            let rest = Duration::try_from(at.duration_since(wall)).unwrap_or_default();
            monotonic.after(rest.min(whole))
        });
        settled.into_iter().chain(delay).max().filter(|at| *at > monotonic)
    }

    /// The first instant at which a claim has waited for too long; none for what a person asked for.
    fn expires(&self, claim: &Claim) -> Option<Timestamp> {
        let spec = self.agenda.spec(&claim.job).filter(|_| !claim.is_by_hand())?;
        let patience = spec.after.as_ref().map_or(Duration::ZERO, |after| after.within);
        let begins = match claim.trigger {
            // A fire that has begun goes its way to the end.
            Trigger::Retry => return None,
            Trigger::After => claim.claimed_at,
            _ => claim.due_at().saturating_add(spec.jitter).ok()?,
        };
        begins.saturating_add(spec.catch_up_window + patience + Duration::from_millis(1)).ok()
    }

    fn on_wall(&self, at: Monotonic) -> Timestamp {
        self.seen.wall.saturating_add(at.since(self.seen.monotonic)).unwrap_or(Timestamp::MAX)
    }
}

impl Claim {
    /// Whether a person asked for it: then it waits for as long as it takes, and passes a pause.
    pub(super) const fn is_by_hand(&self) -> bool {
        matches!(self.trigger, Trigger::Manual)
            || matches!(self.trigger, Trigger::CatchUp) && self.not_before.is_none()
    }

    /// Whether it is one of the many that a downtime may leave: they are started one by one.
    pub(super) const fn is_paced(&self) -> bool {
        matches!(self.trigger, Trigger::CatchUp) && self.not_before.is_some()
    }
}

/// Whether the runs that are made up for wait for one another, whatever the job's overlap policy.
fn is_one_by_one(spec: &JobSpec, claim: &Claim) -> bool {
    claim.trigger == Trigger::CatchUp && spec.catch_up == CatchUp::All
}

/// Whether a claim of a job whose policy is `replace` ends what is active. A retry does not, nor what is made up for.
fn takes_place(spec: &JobSpec, claim: &Claim) -> bool {
    match claim.trigger {
        Trigger::Schedule | Trigger::Manual | Trigger::After => true,
        Trigger::CatchUp => !claim.is_by_hand() && !is_one_by_one(spec, claim),
        Trigger::Retry => false,
    }
}

/// Whether a newer claim of the job takes the place of one that waits: what is made up for one by one keeps its own.
fn may_be_replaced(spec: &JobSpec, claim: &Claim) -> bool {
    claim.trigger != Trigger::CatchUp || takes_place(spec, claim)
}

/// The reason for which a fire does not wait for a lock or a pool, if its job is not to.
fn give_up(spec: &JobSpec, claim: &Claim, blocked: &Blocked) -> Option<Reason> {
    let may = spec.busy == Busy::Skip && !claim.is_by_hand() && claim.trigger != Trigger::Retry;
    match blocked {
        Blocked::Lock { name, run } | Blocked::Pool { name, run: Some(run) } if may => {
            Some(Reason::Busy { name: name.clone(), run: *run })
        }
        _ => None,
    }
}
