//! Coming up again: what the store remembers and what the run folders prove, made into an engine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::admission::Held;
use super::after::followers;
use super::agenda::Agenda;
use super::arming::Arming;
use super::deadlines::Deadlines;
use super::event::Effect;
use super::fires::{Lateness, TOLERANCE_STARTING};
use super::incident::Incidents;
use super::job::{JobName, JobSpec};
use super::journal::Journal;
use super::ledger::{Change, ClaimState, JobHistory, KnownJob, OpenClaim, Snapshot};
use super::memory::{Memory, remembered};
use super::notice::MissedFires;
use super::occurrence::Fire;
use super::overdue::overdue_at;
use super::pause::Pauses;
use super::queue::Queue;
use super::reason::Reason;
use super::run::{Claim, Report, RunId, Status, Trigger};
use super::runs::{Phase, Run, is_still_wanted};
use super::schedule::Schedule;
use super::scheduler::{Scheduler, Settings};
use super::time::{Now, Timestamp};
use super::watch::SuccessWatch;

/// The boot this host is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's boot id.
    pub id: String,
    /// When it began, on the wall clock as it is set now.
    pub at: Timestamp,
}

/// What a run folder proves about a claim that is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A shim holds the run: it goes on, and will be reported.
    Held,
    /// The run is over, or its process vanished.
    Ended(Box<Report>),
    /// The job's process was never started.
    NeverStarted,
    /// It was to be started in another boot, and no sign is left of whether it was: a power cut may have taken it.
    Unknown,
}

impl Proof {
    /// What it proves of a claim ahead of its instant. A gate is opened at its instant, so a boot that was over before
    /// it has started nothing. It was over when this one began, if the clock has not gone back since.
    fn of_ahead(self, claim: &Claim, last_seen: Option<Timestamp>, boot: &Boot) -> Self {
        let was_ahead = last_seen <= Some(boot.at) && boot.at < claim.due_at();
        if self == Self::Unknown && was_ahead { Self::NeverStarted } else { self }
    }
}

impl Scheduler {
    /// Makes an engine of the store's snapshot. `proofs` has an entry for each open claim that is not queued; a claim
    /// without one counts as never started.
    ///
    /// After this nothing is open that is not held by a shim or about to be launched, and every fire up to `now` is
    /// decided: the daemon is ready when the effects of this call are durable.
    #[must_use]
    pub fn recover(
        settings: Settings,
        specs: impl IntoIterator<Item = Arc<JobSpec>>,
        snapshot: Snapshot,
        mut proofs: BTreeMap<RunId, Proof>,
        boot: &Boot,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let cursors = snapshot.jobs.iter().map(|job| job.cursor);
        let mut scheduler = Self {
            settings,
            agenda: Agenda::default(),
            runs: BTreeMap::new(),
            active: BTreeMap::new(),
            held: Held::default(),
            queue: Queue::default(),
            next_catch_up: now.monotonic,
            pauses: Pauses::new(snapshot.pauses),
            streaks: BTreeMap::new(),
            answers: VecDeque::new(),
            incidents: Incidents::new(snapshot.incidents),
            memory: Memory::default(),
            deadlines: Deadlines::default(),
            watches: BTreeMap::new(),
            followers: BTreeMap::new(),
            ended: Vec::new(),
            journal: Journal::new(snapshot.last_batch),
            last_run: snapshot.last_run,
            seen: now,
            behind: None,
            arming: Arming::default(),
            latest_wall: cursors.chain(snapshot.last_seen).max().unwrap_or(now.wall).max(now.wall),
        };
        scheduler.know(specs, snapshot.jobs, now);
        scheduler.recall(snapshot.history, snapshot.watches, now);
        scheduler.set_clock(now, effects);
        let lateness =
            Lateness { tolerance: TOLERANCE_STARTING, reason: Reason::Down, since: snapshot.last_seen };
        if let Some(from) = snapshot.last_seen {
            scheduler.note_gap(from, now, Reason::Down);
        }
        let proven = snapshot.open.into_iter().map(|open| {
            let found = proofs.remove(&open.claim.run).unwrap_or(Proof::NeverStarted);
            let is_ahead = open.state == ClaimState::Ahead;
            let found = if is_ahead { found.of_ahead(&open.claim, snapshot.last_seen, boot) } else { found };
            (open, found)
        });
        let missed = scheduler.take_up_all(proven.collect(), now, effects);
        scheduler.follow_ends(now);
        scheduler.expire_waiting(now);
        scheduler.start_waiting(now);
        scheduler.fire_boot(snapshot.boot_id.as_deref(), boot, now);
        scheduler.fire_due(now, &lateness, missed);
        scheduler.end_pauses(now);
        scheduler.start_waiting(now);
        scheduler.look_around(now);
        scheduler.follow_ends(now);
        scheduler.arm_ahead(now);
        effects.append(&mut scheduler.arming.take_effects());
        scheduler.journal.flush(now, effects);
        scheduler
    }

    /// Takes up what a former jobd has left open. What is missed by now.
    fn take_up_all(
        &mut self,
        open: Vec<(OpenClaim, Proof)>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Vec<MissedFires> {
        let is_queued = |(open, _): &(OpenClaim, Proof)| open.state == ClaimState::Queued;
        let (queued, others): (Vec<_>, Vec<_>) = open.into_iter().partition(is_queued);
        // What waits is known before anything ends: it may keep a further try from being made.
        let waiting: Vec<RunId> = queued.iter().map(|(open, _)| open.claim.run).collect();
        for (OpenClaim { claim, skips, told, .. }, _) in queued {
            self.add_run(Run { skips, told, ..Run::new(claim, Phase::Queued) });
        }
        let mut missed = Vec::new();
        for (open, found) in others {
            let take_up = if open.state == ClaimState::Ahead { Self::take_up_ahead } else { Self::take_up };
            missed.extend(take_up(self, open, found, now, effects));
        }
        for run in waiting {
            self.watch_wait(run, now);
            self.enqueue(run);
            self.make_way(run, now, effects);
        }
        missed
    }

    /// What is known of how the jobs have ended, and who waits for that.
    fn recall(&mut self, history: BTreeMap<JobName, JobHistory>, watches: Vec<SuccessWatch>, now: Now) {
        let specs = || self.agenda.specs().map(AsRef::as_ref);
        self.memory = Memory::new(remembered(specs()), history);
        self.followers = followers(specs());
        self.take_up_watches(watches, now);
    }

    /// Each job goes on from its cursor. A new one, or one with a changed schedule, owes no past; one that is gone is
    /// forgotten, so that it is new when it comes back.
    fn know(&mut self, specs: impl IntoIterator<Item = Arc<JobSpec>>, known: Vec<KnownJob>, now: Now) {
        let mut known: BTreeMap<JobName, KnownJob> =
            known.into_iter().map(|job| (job.job.clone(), job)).collect();
        for spec in specs {
            match known.remove(&spec.name) {
                Some(job) if job.schedule_hash == spec.schedule_hash => self.agenda.insert(spec, job.cursor),
                _ => {
                    let (job, schedule_hash) = (spec.name.clone(), spec.schedule_hash.clone());
                    self.journal.push(Change::Know { job, schedule_hash, cursor: now.wall });
                    self.agenda.insert(spec, now.wall);
                }
            }
        }
        for job in known.into_keys() {
            self.journal.push(Change::Forget { job });
        }
    }

    /// Decides about a claim that was not settled, by what its run folder proves. What is missed by now.
    pub(super) fn take_up(
        &mut self,
        OpenClaim { claim, noted, skips, told, running_since, .. }: OpenClaim,
        proof: Proof,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<MissedFires> {
        let id = claim.run;
        let spec = self.agenda.spec(&claim.job);
        // A further try whose job is gone has to end, and be told.
        let wanted = claim.trigger == Trigger::Retry
            || spec.is_some_and(|spec| is_still_wanted(spec, &claim, TOLERANCE_STARTING, now));
        let phase = Phase::Running { overdue_at: overdue_at(&claim, now) };
        let launched = proof == Proof::Held;
        let started_at = running_since.unwrap_or_else(|| claim.due_at());
        self.add_run(Run { launched, noted, skips, told, ..Run::new(claim, phase) });
        self.watch_wait(id, now);
        if launched {
            self.watch_start(id, started_at, now);
        }
        match proof {
            Proof::Held => {}
            Proof::Ended(report) => self.exited(id, &report),
            // It must not be started a second time.
            Proof::Unknown => self.exited(id, &Report::lost("host rebooted", None, now.wall)),
            Proof::NeverStarted if wanted => self.launch(id, now, effects),
            Proof::NeverStarted => return self.abandon(id, &Reason::NeverStarted, now),
        }
        None
    }

    /// `@reboot`: once per boot, at jobd's first start in it.
    fn fire_boot(&mut self, last: Option<&str>, boot: &Boot, now: Now) {
        if last == Some(boot.id.as_str()) {
            return;
        }
        let at_boot = |spec: &&Arc<JobSpec>| spec.schedules.iter().any(Schedule::is_reboot);
        let specs: Vec<Arc<JobSpec>> = self.agenda.specs().filter(at_boot).cloned().collect();
        for spec in specs {
            let fire = Fire { at: boot.at, starts: boot.at };
            match self.decided_against(&spec, fire, now) {
                Some(reason) => self.account(&spec, Status::Skipped, &[fire.at], &reason),
                None => drop(self.fire(&spec, fire, Trigger::Schedule, now)),
            }
        }
        self.journal.push(Change::Booted { boot_id: boot.id.clone() });
    }
}
