//! Starting on time: a fire that is about to come is claimed ahead of its instant, and its shim brought to a gate.
//!
//! At the instant the fire is decided as any other, by the same reasons in the same order. If its run is to start, its
//! gate is opened at once: the claim is durable already. If anything else becomes of it, the claim is withdrawn first
//! and the shim leaves. A fire that could not be claimed in time goes the way of every fire.
//!
//! **Invariant:** a job has at most one claim ahead, for its next fire, and nothing is started by a claim that is
//! withdrawn. A clock that was set withdraws all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::event::Effect;
use super::job::JobName;
use super::ledger::{Change, OpenClaim};
use super::notice::MissedFires;
use super::occurrence::Fire;
use super::overdue::overdue_at;
use super::recovery::Proof;
use super::run::{Claim, RunId, Trigger};
use super::runs::{Phase, Run};
use super::scheduler::Scheduler;
use super::time::{Now, Timestamp};
use super::turn::Verdict;

/// How far ahead of its instant a fire is claimed: time for a synced commit and a start on a busy host.
const ARM_AHEAD: Duration = Duration::from_secs(10);
/// The least time that is worth it.
const ARM_LEAST: Duration = Duration::from_millis(300);
/// When they are looked for, ahead of the next one: later than they could be, so that many are found at one look.
const LOOK_AHEAD: Duration = Duration::from_secs(8);
/// The most claims ahead: each is a process that waits.
const ARMED_MAX: usize = 1_000;

/// Claims ahead of their instants.
#[derive(Debug, Default)]
pub(super) struct Arming {
    ahead: BTreeMap<JobName, Ahead>,
    /// Every fire of the agenda up to here has been looked at.
    looked: Option<(Timestamp, JobName)>,
    /// Jobs whose next fire has changed, or is free to be claimed now.
    again: BTreeSet<JobName>,
    /// What is to be done at the end of the call.
    effects: Vec<Effect>,
}

#[derive(Debug)]
struct Ahead {
    claim: Claim,
    fire: Fire,
    /// Its claim is durable, and its shim on its way.
    armed: bool,
}

impl Arming {
    /// The next fire of this job may be claimed now, if it is near.
    pub(super) fn look_again(&mut self, job: &JobName) {
        self.again.insert(job.clone());
    }

    /// What is to be done of this call.
    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}

impl Scheduler {
    /// Claims the fires that are about to come.
    pub(super) fn arm_ahead(&mut self, now: Now) {
        for job in std::mem::take(&mut self.arming.again) {
            self.arm(&job, now);
        }
        let horizon = after(now.wall, ARM_AHEAD);
        while !self.is_armed_full()
            && let Some((starts, job)) = self.agenda.next_after(self.arming.looked.as_ref())
            && starts <= horizon
        {
            self.arming.looked = Some((starts, job.clone()));
            self.arm(&job, now);
        }
    }

    /// When to look for fires to claim.
    pub(super) fn arm_wakeup(&self) -> Option<Timestamp> {
        if self.is_armed_full() {
            return None;
        }
        let (starts, _) = self.agenda.next_after(self.arming.looked.as_ref())?;
        Some(starts.saturating_sub(LOOK_AHEAD).unwrap_or(starts))
    }

    /// Whether as many wait as may, or as could be started at once.
    fn is_armed_full(&self) -> bool {
        self.arming.ahead.len() >= ARMED_MAX.min(self.settings.admission.max_running)
    }

    /// Claims the next fire of a job, if nothing speaks against it now. What will at its instant is seen then.
    fn arm(&mut self, job: &JobName, now: Now) {
        let Some((spec, fire)) = self.agenda.fresh_fire(job) else { return };
        let is_near = after(now.wall, ARM_LEAST) <= fire.starts && fire.starts <= after(now.wall, ARM_AHEAD);
        if !is_near || self.is_armed_full() || self.arming.ahead.contains_key(job) {
            return;
        }
        let claim = self.draft(&spec, Some(fire.at), Trigger::Schedule, now);
        let is_free = self.blocking_run(job).is_none() && self.decided_against(&spec, fire, now).is_none();
        if is_free && matches!(self.judge(&spec, &claim), Verdict::Start) {
            self.last_run = claim.run.0;
            self.journal.push(Change::Ahead { claim: claim.clone() });
            self.arming.ahead.insert(job.clone(), Ahead { claim, fire, armed: false });
        }
    }

    /// A claim ahead is durable.
    pub(super) fn ahead_granted(&mut self, claim: &Claim) {
        let ahead = self.arming.ahead.get_mut(&claim.job).filter(|ahead| ahead.claim.run == claim.run);
        // It may have been withdrawn since.
        if let Some(ahead) = ahead {
            ahead.armed = true;
            self.arming.effects.push(Effect::Arm(ahead.claim.clone()));
        }
    }

    /// The fire of a claim ahead had a row already.
    pub(super) fn ahead_taken(&mut self, claim: &Claim) {
        if self.arming.ahead.get(&claim.job).is_some_and(|ahead| ahead.claim.run == claim.run) {
            self.arming.ahead.remove(&claim.job);
        }
    }

    /// Starts the run that was claimed ahead for the fire of this claim; `None` if there is none. One whose claim is
    /// not durable yet is no quicker than any other.
    pub(super) fn go(&mut self, wanted: &Claim, now: Now) -> Option<RunId> {
        let is_meant = |ahead: &&Ahead| {
            ahead.armed
                && (ahead.claim.scheduled_at, ahead.claim.trigger) == (wanted.scheduled_at, wanted.trigger)
        };
        self.arming.ahead.get(&wanted.job).filter(is_meant)?;
        let Ahead { claim, .. } = self.arming.ahead.remove(&wanted.job)?;
        let run = claim.run;
        self.end_streak(&claim.job);
        self.journal.push(Change::Begin { run, at: now.wall });
        let phase = Phase::Running { overdue_at: overdue_at(&claim, now) };
        self.add_run(Run { started_at: Some(now.wall), ..Run::new(claim, phase) });
        self.arming.effects.push(Effect::Go { run });
        Some(run)
    }

    /// Takes back the claim ahead of a job, if it has one.
    fn withdraw(&mut self, job: &JobName) {
        let Some(Ahead { claim, armed, .. }) = self.arming.ahead.remove(job) else { return };
        self.journal.push(Change::Withdraw { run: claim.run });
        if armed {
            self.arming.effects.push(Effect::Disarm { run: claim.run });
        }
    }

    /// Takes back the claim ahead for a fire of these, since something else becomes of it.
    pub(super) fn withdraw_for(&mut self, job: &JobName, first: Option<Timestamp>, last: Option<Timestamp>) {
        let is_one = |ahead: &Ahead| first <= Some(ahead.fire.at) && Some(ahead.fire.at) <= last;
        if self.arming.ahead.get(job).is_some_and(is_one) {
            self.withdraw(job);
        }
    }

    /// Takes back those that a pause is about; `None` is every job.
    pub(super) fn withdraw_paused(&mut self, job: Option<&JobName>) {
        match job {
            Some(job) => self.withdraw(job),
            None => self.withdraw_all(),
        }
    }

    /// Takes back all of them, and looks anew.
    pub(super) fn withdraw_all(&mut self) {
        let jobs: Vec<JobName> = self.arming.ahead.keys().cloned().collect();
        for job in jobs {
            self.withdraw(&job);
        }
        self.arming.looked = None;
    }

    /// Decides about a claim ahead that a former jobd has left. If its job was started, or may have been, that is its
    /// fire's run, and the fire is not decided again; if not, it is decided as every other.
    pub(super) fn take_up_ahead(
        &mut self,
        open: OpenClaim,
        proof: Proof,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<MissedFires> {
        let (run, job, at) = (open.claim.run, open.claim.job.clone(), open.claim.scheduled_at);
        if proof == Proof::NeverStarted {
            self.journal.push(Change::Withdraw { run });
            return None;
        }
        self.journal.push(Change::Begin { run, at: open.claim.due_at() });
        if let Some(cursor) = at.filter(|at| self.agenda.settle(&job, *at)) {
            self.journal.push(Change::Advance { job, cursor });
        }
        self.take_up(open, proof, now, effects)
    }
}

fn after(instant: Timestamp, duration: Duration) -> Timestamp {
    instant.saturating_add(duration).unwrap_or(instant)
}
