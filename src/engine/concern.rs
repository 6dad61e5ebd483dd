//! Runs that are late, long or silent: each concern is told once a run, whoever is jobd by then.

use super::deadlines::{At, Matter};
use super::incident::notify;
use super::job::JobSpec;
use super::ledger::Change;
use super::memory::Bound;
use super::notice::Notice;
use super::run::{Claim, RunId};
use super::runs::{Phase, Run};
use super::scheduler::Scheduler;
use super::time::{Now, Timestamp};
use super::watch::{Concern, ConcernKind, FinishBy, RunConcern};
use std::time::Duration;

impl FinishBy {
    /// By when a run for the fire `at` must be over.
    #[must_use]
    pub fn instant(self, spec: &JobSpec, at: Timestamp) -> Option<Timestamp> {
        let time = match self {
            Self::After(limit) => return at.saturating_add(limit).ok(),
            Self::TimeOfDay(time) => time,
        };
        let fire = at.to_zoned(spec.zone.clone());
        let on = |date: jiff::civil::Date| {
            Some(date.to_datetime(time).to_zoned(spec.zone.clone()).ok()?.timestamp())
        };
        on(fire.date()).filter(|by| *by > at).or_else(|| on(fire.date().tomorrow().ok()?))
    }
}

impl Scheduler {
    /// A run is durable and not started: from here on it may be late.
    pub(super) fn watch_wait(&mut self, id: RunId, now: Now) {
        let Some(run) = self.runs.get(&id) else { return };
        let Some(spec) = self.agenda.spec(&run.claim.job) else { return };
        let due = run.claim.wanted_since();
        let until = |limit: Duration| {
            let left = due.saturating_add(limit).map_or(limit, |at| age(now.wall, at));
            At::Monotonic(now.monotonic.after(left))
        };
        let finish_by = spec.watch.must_finish_by.and_then(|by| by.instant(spec, run.claim.due_at()));
        let late = spec.watch.late_after.map(until);
        let waits = spec.after.as_ref().filter(|_| self.waits_for(&run.claim).is_some());
        let gives_up = waits.map(|after| until(after.within));
        let late = late.map(|at| (Matter::Concern(id, ConcernKind::NotStarted), at));
        let finish_by = finish_by.map(|by| (Matter::Concern(id, ConcernKind::NotFinished), At::Wall(by)));
        let gives_up = gives_up.map(|at| (Matter::Condition(id), at));
        for (matter, at) in late.into_iter().chain(finish_by).chain(gives_up) {
            self.look_at(matter, at);
        }
    }

    /// The job of a run has been started, then: from here on it may be long.
    pub(super) fn watch_start(&mut self, id: RunId, started_at: Timestamp, now: Now) {
        self.deadlines.drop(&Matter::Concern(id, ConcernKind::NotStarted));
        self.deadlines.drop(&Matter::Condition(id));
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.started_at = Some(started_at);
        let Some(spec) = self.agenda.spec(&run.claim.job) else { return };
        let lasted = age(started_at, now.wall);
        run.bound = spec.watch.usual.and_then(|rule| self.memory.bound(&spec.name, rule));
        let at = |limit: Duration| At::Monotonic(now.monotonic.after(limit.saturating_sub(lasted)));
        let long = spec.watch.warn_after.map(at);
        let unusual = run.bound.map(|bound| at(bound.limit));
        for (kind, at) in [(ConcernKind::Long, long), (ConcernKind::Unusual, unusual)] {
            if let Some(at) = at {
                self.look_at(Matter::Concern(id, kind), at);
            }
        }
    }

    /// The limit of a run that is claimed now.
    pub(super) fn timeout_of(&self, spec: &JobSpec) -> Option<Duration> {
        let learned = spec.auto_timeout.and_then(|rule| self.memory.bound(&spec.name, rule));
        learned.map(|bound| bound.limit).or(spec.timeout)
    }

    fn look_at(&mut self, matter: Matter, at: At) {
        let is_told = match &matter {
            Matter::Concern(id, kind) => self.runs.get(id).is_some_and(|run| run.told.contains(kind)),
            Matter::Condition(_) | Matter::Success(_) => false,
        };
        if !is_told {
            self.deadlines.set(matter, at);
        }
    }

    /// Looks at everything whose time has come.
    pub(super) fn look_around(&mut self, now: Now) {
        while let Some(matter) = self.deadlines.pop(now) {
            match matter {
                Matter::Concern(id, kind) => self.judge_run(id, kind, now),
                Matter::Condition(id) => self.give_up_waiting(id, now),
                Matter::Success(job) => self.judge_successes(&job, now),
            }
        }
    }

    fn judge_run(&mut self, id: RunId, kind: ConcernKind, now: Now) {
        let Some(run) = self.runs.get(&id) else { return };
        let Some(spec) = self.agenda.spec(&run.claim.job) else { return };
        let concern = match kind {
            ConcernKind::NotStarted => spec
                .watch
                .late_after
                .map(|limit| Concern::NotStarted { limit, waits_for: self.what_it_waits_for(run) }),
            ConcernKind::NotFinished => spec
                .watch
                .must_finish_by
                .and_then(|by| by.instant(spec, run.claim.due_at()))
                .map(|by| Concern::NotFinished { by }),
            ConcernKind::Long => spec.watch.warn_after.map(|limit| Concern::Long { limit }),
            ConcernKind::Unusual => {
                run.bound.map(|Bound { usual, runs, limit }| Concern::Unusual { usual, runs, limit })
            }
            ConcernKind::Short | ConcernKind::Silent | ConcernKind::InTheWay => None,
        };
        if let Some(concern) = concern {
            self.tell_of_run(id, concern, now);
        }
    }

    /// What keeps a run from starting, in words.
    fn what_it_waits_for(&self, run: &Run) -> String {
        if run.phase != Phase::Queued {
            return "its process to be started".to_owned();
        }
        match self.may_start(run.claim.run) {
            Ok(()) => "its turn".to_owned(),
            Err(blocked) => blocked.to_string(),
        }
    }

    /// A shim says that its run is silent.
    pub(super) fn silent(&mut self, id: RunId, for_: Duration, waits_for: Option<String>, now: Now) {
        // The run may have ended meanwhile.
        if self.runs.get(&id).is_some_and(|run| matches!(run.phase, Phase::Running { .. })) {
            self.tell_of_run(id, Concern::Silent { for_, waits_for }, now);
        }
    }

    /// Tells a concern about an active run, unless it has been told.
    pub(super) fn tell_of_run(&mut self, id: RunId, concern: Concern, now: Now) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if !run.told.insert(concern.kind()) {
            return;
        }
        let (claim, started_at) = (run.claim.clone(), run.started_at.filter(|_| run.launched));
        self.journal.push(Change::Told { run: id, concern: concern.kind() });
        self.tell_concern(&claim, started_at, concern, now);
    }

    pub(super) fn tell_concern(
        &mut self,
        claim: &Claim,
        started_at: Option<Timestamp>,
        concern: Concern,
        now: Now,
    ) {
        let notice = Notice::Concern(RunConcern {
            job: claim.job.clone(),
            run: claim.run,
            scheduled_at: claim.scheduled_at,
            started_at,
            at: now.wall,
            concern,
        });
        for change in notify(&claim.alert, &notice) {
            self.journal.push(change);
        }
    }
}

/// The time from one instant to another; zero if that is the earlier one.
fn age(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or(Duration::ZERO)
}
