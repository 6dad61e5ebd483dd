//! The engine itself: `handle` takes an event and the time, and says what is to be done.
//!
//! Its parts: `agenda` knows when, `arming` is there in time, [`policy`](super::policy) decides, `journal` keeps the
//! order of durable changes, `incident` judges outcomes, `overdue` sees to runs that do not end. This file joins them,
//! and holds the active runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::SignedDuration;

use super::accounts::Streak;
use super::admission::{Admission, Held};
use super::agenda::Agenda;
use super::arming::Arming;
use super::deadlines::Deadlines;
use super::event::{Effect, Event, Remark, RequestId, Wakeup};
use super::fires::{Lateness, TOLERANCE_RUNNING};
use super::incident::Incidents;
use super::job::{ChannelName, JobName};
use super::journal::Journal;
use super::ledger::Change;
use super::memory::Memory;
use super::pause::Pauses;
use super::queue::{Queue, Wait};
use super::reason::Reason;
use super::run::RunId;
use super::runs::{Phase, Run};
use super::time::{Monotonic, Now, Timestamp};
use super::watch::SuccessWatch;

/// The wall clock going back further than this is a new clock; up to it, schedules wait for it to catch up.
/// From Debian cron (`cron.8`): changes of less than three hours are corrections.
const SET_BACK_MAX: SignedDuration = SignedDuration::from_hours(3);
/// A difference between the clocks' paces that says that the wall clock was set or the host slept.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// A fire that nobody has looked at for longer than this says that jobd could not act.
const STARVED: SignedDuration = SignedDuration::from_secs(30);

/// What holds for all jobs.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where jobd's own messages go: `[defaults] alert`.
    pub default_alert: Vec<ChannelName>,
    /// What holds for all runs together.
    pub admission: Admission,
}

/// The engine. Made by [`recover`](Self::recover).
#[derive(Debug)]
pub struct Scheduler {
    pub(super) settings: Settings,
    pub(super) agenda: Agenda,
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) active: BTreeMap<JobName, BTreeSet<RunId>>,
    /// What the active runs hold.
    pub(super) held: Held,
    /// Who waits.
    pub(super) queue: Queue,
    /// When the next catch-up run may be started.
    pub(super) next_catch_up: Monotonic,
    pub(super) pauses: Pauses,
    pub(super) streaks: BTreeMap<JobName, Streak>,
    /// Who is answered when the batch of that number is durable; in order.
    pub(super) answers: VecDeque<(u64, RequestId)>,
    pub(super) incidents: Incidents,
    pub(super) memory: Memory,
    pub(super) deadlines: Deadlines,
    pub(super) watches: BTreeMap<JobName, SuccessWatch>,
    /// Which jobs wait for which.
    pub(super) followers: BTreeMap<JobName, Vec<JobName>>,
    /// Fires of which a run has just ended: what waits for them is seen to before anything is sent.
    pub(super) ended: Vec<(JobName, Timestamp)>,
    pub(super) journal: Journal,
    pub(super) last_run: u64,
    /// The latest time seen on both clocks at once.
    pub(super) seen: Now,
    /// The latest wall time ever seen: what "back" is measured from.
    pub(super) latest_wall: Timestamp,
    /// Why what is still due is late, where one call could not go through all of it.
    pub(super) behind: Option<Lateness>,
    pub(super) arming: Arming,
}

impl Scheduler {
    /// Takes in an event. Whatever it is, the clocks are looked at first.
    pub fn handle(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let lateness = self.watch_clock(now, effects);
        if event.is_asked_for() {
            // What was due before somebody asked is none of their business.
            self.fire_due(now, &lateness, Vec::new());
        }
        match event {
            Event::Committed { number, answers } => self.committed(number, &answers, now, effects),
            Event::CommitFailed { number } => self.journal.failed(number, now),
            Event::Launched { run } => self.launched(run, now, effects),
            Event::Stuck { run, since, left } => self.stuck(run, since, &left, now),
            Event::Exited { run, report } => self.exited(run, &report),
            Event::RunRequested { request, job, at } => self.run_requested(request, job, at, now, effects),
            Event::CatchUpRequested { request, job, at } => {
                self.catch_up_requested(request, job, at, now, effects);
            }
            Event::PauseRequested { request, pause } => self.pause_requested(request, pause, now, effects),
            Event::ResumeRequested { request, job, by } => {
                self.resume_requested(request, job, by, now, effects);
            }
            Event::StopRequested { request, run, by } => self.stop_requested(request, run, by, now, effects),
            Event::Woke => {}
            Event::Silent { run, for_, waits_for } => self.silent(run, for_, waits_for, now),
            Event::AcknowledgeRequested { request, job, .. } => {
                self.acknowledge_requested(request, job, effects);
            }
        }
        self.follow_ends(now);
        // What waits has been waiting for longer than what comes now.
        self.expire_waiting(now);
        self.start_waiting(now);
        self.fire_due(now, &lateness, Vec::new());
        self.end_pauses(now);
        self.start_waiting(now);
        self.look_around(now);
        self.follow_ends(now);
        self.arm_ahead(now);
        self.reap_overdue(now, effects);
        // Gates are opened ahead of the commit that tells of it: the claims are durable.
        effects.append(&mut self.arming.take_effects());
        self.journal.flush(now, effects);
    }

    /// When to send [`Event::Woke`] next.
    #[must_use]
    pub fn next_wakeup(&self) -> Wakeup {
        let active = self.held.runs().iter().filter_map(|id| self.runs.get(id));
        let overdue = active.filter_map(|run| match run.phase {
            Phase::Running { overdue_at } => overdue_at,
            _ => None,
        });
        let pace = self.queue.first_for(&Wait::Pace).map(|_| self.next_catch_up);
        let waiting = [self.queue.next_time(), pace].into_iter().flatten();
        let waiting = waiting.into_iter().chain(self.deadlines.next_monotonic());
        let wall =
            [self.agenda.next_due(), self.arm_wakeup(), self.pauses.next_end(), self.queue.next_expiry()];
        let wall = wall.into_iter().chain([self.deadlines.next_wall()]);
        Wakeup {
            wall: wall.flatten().min(),
            monotonic: overdue.chain(waiting).chain(self.journal.next_wakeup()).min(),
        }
    }

    /// Whether everything decided so far is durable.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.journal.is_settled()
    }

    /// The next fire of a job.
    #[must_use]
    pub fn next_fire(&self, job: &JobName) -> Option<Timestamp> {
        self.agenda.next_fire(job)
    }

    /// Notices a wall clock that was set, a host that slept, and a jobd that was not called in time. What a fire is
    /// late for now.
    fn watch_clock(&mut self, now: Now, effects: &mut Vec<Effect>) -> Lateness {
        let seen = self.seen;
        let gap = self.gap_before(now);
        if self.was_set(now) {
            self.withdraw_all();
        }
        self.set_clock(now, effects);
        let reason = gap.as_ref().map_or(Reason::Starved, |(_, reason)| reason.clone());
        if let Some((from, reason)) = gap {
            self.note_gap(from, now, reason);
        }
        let lateness = Lateness { tolerance: TOLERANCE_RUNNING, reason, since: Some(seen.wall) };
        self.behind.take().unwrap_or(lateness)
    }

    /// Since when nobody could have acted, and why, if that is so.
    fn gap_before(&self, now: Now) -> Option<(Timestamp, Reason)> {
        let Now { wall, monotonic, slept } = self.seen;
        let real = now.monotonic.since(monotonic);
        let slept = now.slept.saturating_sub(slept);
        let shown = Duration::try_from(now.wall.duration_since(wall)).unwrap_or_default();
        if shown > real + slept + CLOCK_STEP {
            return Some((wall, Reason::ClockMoved));
        }
        if shown > real + CLOCK_STEP {
            return Some((wall, Reason::Asleep));
        }
        let due = self.agenda.next_due().filter(|_| self.behind.is_none())?;
        (now.wall.duration_since(due) > STARVED).then_some((due, Reason::Starved))
    }

    /// Whether the wall clock has gone otherwise than the monotonic one.
    fn was_set(&self, now: Now) -> bool {
        let real = SignedDuration::try_from(now.monotonic.since(self.seen.monotonic)).unwrap_or_default();
        (now.wall.duration_since(self.seen.wall) - real).unsigned_abs() > CLOCK_STEP
    }

    /// Schedules wait for a wall clock that goes back a little, and start anew from where it goes back far.
    pub(super) fn set_clock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.latest_wall.duration_since(now.wall) > SET_BACK_MAX {
            effects.push(Effect::Remark(Remark::ClockSetBack { from: self.latest_wall, to: now.wall }));
            self.latest_wall = now.wall;
            self.agenda.rewind(now.wall);
        }
        self.latest_wall = self.latest_wall.max(now.wall);
        self.seen = now;
    }

    /// Nobody was there since `from`, for whoever asks why.
    pub(super) fn note_gap(&mut self, from: Timestamp, now: Now, reason: Reason) {
        if from < now.wall {
            self.journal.push(Change::Gap { from, until: now.wall, reason });
        }
    }
}
