//! What a new configuration changes for a job: its entry, and its fires.

use jiff::SignedDuration;
use serde::Serialize;

use super::differences::{Difference, differences};
use super::load::Minute;
use super::moves::Moves;
use super::stretch::Stretch;
use crate::engine::job::JobSpec;
use crate::engine::occurrence::{FireRemark, fires, next_start, remarks};
use crate::engine::schedule::Schedule;
use crate::engine::time::Timestamp;

/// The most fires that one plan looks at: seconds of work.
pub(crate) const FIRES_MAX: u64 = 3_000_000;
/// How far around a change of the clock its fires lie: no clock is changed by more.
const CLOCK_REACH: SignedDuration = SignedDuration::from_hours(3);
/// The most fires of a job that are looked at for changes of the clock.
const CLOCK_FIRES_MAX: usize = 25_000;
/// How many fires around changes of the clock are shown.
const CLOCK_SHOWN: usize = 5;

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its entry is another.
    Changed,
}

/// How a job changes.
#[derive(Debug, Serialize)]
pub(crate) struct JobChange {
    pub(crate) change: Kind,
    /// The fields that change; none of a job that is new or gone.
    pub(crate) fields: Vec<Difference>,
    pub(crate) fires: Moves,
    /// The first start under the new configuration, however far away; `null` of a job that is gone.
    pub(crate) next: Option<Timestamp>,
    /// Whether no instant of the clock, no boot and no other job starts it under the new configuration.
    pub(crate) never_starts: bool,
    /// Fires under the new configuration that a change of the clock affects, the first ones.
    pub(crate) clock: Vec<ClockFire>,
}

/// A fire at a change of the clock.
#[derive(Debug, Serialize)]
pub(crate) struct ClockFire {
    pub(crate) scheduled_at: Timestamp,
    pub(crate) remark: String,
}

/// The minute in which most jobs start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Peak {
    pub(crate) at: Timestamp,
    pub(crate) jobs: usize,
    pub(crate) fires: u64,
}

impl Peak {
    pub(crate) fn of(minute: &Minute) -> Self {
        Self { at: minute.at, jobs: minute.jobs.len(), fires: minute.fires }
    }
}

impl JobChange {
    /// How a job changes from one entry to the other; none if it does not.
    pub(crate) fn between(
        old: Option<&JobSpec>,
        new: Option<&JobSpec>,
        stretch: &Stretch,
        budget: &mut u64,
    ) -> Option<Self> {
        let (change, fields) = match (old, new) {
            (None, None) => return None,
            (None, Some(_)) => (Kind::Added, Vec::new()),
            (Some(_), None) => (Kind::Removed, Vec::new()),
            (Some(old), Some(new)) => (Kind::Changed, differences(old, new)),
        };
        if change == Kind::Changed && fields.is_empty() {
            return None;
        }
        // By the second they are many, and most changes are none of the schedule's.
        let same = old.zip(new).is_some_and(|(old, new)| names_the_same(old, new));
        let fires = if same { Moves::default() } else { Moves::between(old, new, stretch, budget) };
        let next = new.and_then(|spec| next_start(spec, stretch.before())).map(|fire| fire.starts);
        let otherwise =
            |spec: &JobSpec| spec.after.is_some() || spec.schedules.iter().any(Schedule::is_reboot);
        let never_starts = next.is_none() && new.is_some_and(|spec| !otherwise(spec));
        let clock = new.filter(|_| !same).map(|spec| at_clock_changes(spec, stretch)).unwrap_or_default();
        Some(Self { change, fields, fires, next, never_starts, clock })
    }

    /// Whether its fires are others than before.
    pub(crate) const fn moves_fires(&self) -> bool {
        !self.fires.is_empty()
    }
}

/// Whether two entries name the same instants for certain.
fn names_the_same(old: &JobSpec, new: &JobSpec) -> bool {
    let blackouts = |spec: &JobSpec| -> Vec<_> {
        spec.blackouts.iter().map(|blackout| (blackout.schedule.clone(), blackout.duration)).collect()
    };
    let rest = |spec: &JobSpec| (spec.jitter, spec.calendar.clone(), spec.from, spec.until);
    old.schedules == new.schedules
        && old.zone == new.zone
        && rest(old) == rest(new)
        && blackouts(old) == blackouts(new)
}

/// The fires around each change of the zone's clock; elsewhere there is nothing to say.
fn at_clock_changes(spec: &JobSpec, stretch: &Stretch) -> Vec<ClockFire> {
    let reach = |at: Timestamp, by: SignedDuration| at.saturating_add(by).unwrap_or(at);
    let first = reach(stretch.from, -CLOCK_REACH);
    let changes = spec.zone.following(first).map(|change| change.timestamp());
    let changes = changes.take_while(|at| *at < reach(stretch.to, CLOCK_REACH));
    let around = changes.flat_map(|at| {
        let (from, to) =
            (reach(at, -CLOCK_REACH).max(stretch.before()), reach(at, CLOCK_REACH).min(stretch.to));
        fires(spec, from).take_while(move |fire| fire.at < to)
    });
    let told = around.take(CLOCK_FIRES_MAX).filter_map(|fire| {
        let is_of_clock = |remark: &FireRemark| {
            matches!(remark, FireRemark::Gap { .. } | FireRemark::FirstPass | FireRemark::BothPasses { .. })
        };
        let remark = remarks(spec, fire).into_iter().find(is_of_clock)?;
        Some(ClockFire { scheduled_at: fire.at, remark: remark.to_string() })
    });
    told.take(CLOCK_SHOWN).collect()
}
