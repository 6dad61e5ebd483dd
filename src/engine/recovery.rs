//! Coming up again: what the store remembers and what the run folders prove, made into an engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::agenda::Agenda;
use super::event::Effect;
use super::incident::Incidents;
use super::job::{JobName, JobSpec};
use super::journal::Journal;
use super::ledger::{Change, KnownJob, MissedFires, OpenClaim, Reason, Snapshot};
use super::overdue::overdue_at;
use super::policy::still_wanted;
use super::run::{Report, RunId, Trigger};
use super::schedule::Schedule;
use super::scheduler::{Lateness, Phase, Run, Scheduler, Settings, TOLERANCE_STARTING};
use super::time::{Now, Timestamp};

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
            incidents: Incidents::new(snapshot.incidents),
            journal: Journal::new(snapshot.last_batch),
            last_run: snapshot.last_run,
            seen: now,
            behind: None,
            latest_wall: cursors.chain(snapshot.last_seen).max().unwrap_or(now.wall).max(now.wall),
        };
        scheduler.know(specs, snapshot.jobs, now);
        scheduler.watch_clock(now, effects);
        let lateness =
            Lateness { tolerance: TOLERANCE_STARTING, reason: Reason::Down, since: snapshot.last_seen };
        let mut missed = Vec::new();
        for open in snapshot.open {
            let found = proofs.remove(&open.claim.run).unwrap_or(Proof::NeverStarted);
            if open.queued {
                scheduler.add_run(Run::new(open.claim, Phase::Queued));
            } else {
                missed.extend(scheduler.take_up(open, found, now, effects));
            }
        }
        scheduler.fire_boot(snapshot.boot_id.as_deref(), boot, now);
        scheduler.fire_due(now, &lateness, missed);
        let jobs: Vec<JobName> = scheduler.active.keys().cloned().collect();
        for job in jobs {
            scheduler.start_next(&job, now);
        }
        scheduler.journal.flush(now, effects);
        scheduler
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
    fn take_up(
        &mut self,
        OpenClaim { claim, noted, .. }: OpenClaim,
        proof: Proof,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<MissedFires> {
        let id = claim.run;
        let wanted = self.agenda.spec(&claim.job).is_some_and(|spec| {
            still_wanted(claim.due_at(), now.wall, TOLERANCE_STARTING, spec.catch_up, spec.catch_up_window)
        });
        let phase = Phase::Running { overdue_at: overdue_at(&claim, now) };
        let launched = proof == Proof::Held;
        self.add_run(Run { launched, noted, ..Run::new(claim, phase) });
        match proof {
            Proof::Held => {}
            Proof::Ended(report) => self.exited(id, &report, now),
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
            self.fire(&spec, boot.at, Trigger::Schedule, now.wall);
        }
        self.journal.push(Change::Booted { boot_id: boot.id.clone() });
    }
}
