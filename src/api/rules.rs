//! The part of a job's answer that says when its runs may start, what follows them, and what they are watched for.

use std::collections::BTreeMap;

use jiff::civil::{Date, Time};
use serde::{Deserialize, Serialize};

use super::views::milliseconds;
use crate::engine::after::{After, AfterEnd, Same};
use crate::engine::calendar::{Blackout, CalendarRule, OnHoliday};
use crate::engine::job::{JobName, JobSpec};
use crate::engine::policy::Busy;
use crate::engine::retry::Retry;
use crate::engine::run::Status;
use crate::engine::time::Timestamp;
use crate::engine::watch::{FinishBy, Silence, SilenceAction, Usual};

/// The keys of a job about its days, its turn, its tries and its watch, every default filled in; `null` is none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRules {
    /// How far a start may be spread from its instant.
    pub jitter_ms: u64,
    /// Its holidays.
    pub calendar: Option<CalendarView>,
    /// When it is not started.
    pub blackouts: Vec<BlackoutView>,
    /// The first day on which it fires, in its zone.
    pub starts_on: Option<Date>,
    /// The last day on which it fires, in its zone.
    pub ends_on: Option<Date>,
    /// The jobs that come first.
    pub after: Option<AfterView>,
    /// How many runs of it may wait under `overlap = "queue"`.
    pub queue_limit: usize,
    /// The locks that a run of it holds.
    pub locks: Vec<String>,
    /// The places that a run of it takes, by pool.
    pub pools: BTreeMap<String, u32>,
    /// What a fire does while a lock is taken or a pool is full.
    pub busy: Busy,
    /// Where its runs stand among those that wait: higher is earlier.
    pub priority: i32,
    /// How often a fire is tried.
    pub retry: Option<RetryView>,
    /// How its limit is learned; until then it is `timeout_ms`.
    pub auto_timeout: Option<UsualView>,
    /// How long after it was due a fire may start before that is told.
    pub late_after_ms: Option<u64>,
    /// By when a run must be over.
    pub must_finish_by: Option<FinishByView>,
    /// The longest time without a success.
    pub max_since_success_ms: Option<u64>,
    /// How long a run may last before that is told.
    pub warn_after_ms: Option<u64>,
    /// How long a success has to take.
    pub min_duration_ms: Option<u64>,
    /// How long a run may say and do nothing.
    pub silence: Option<SilenceView>,
    /// How long a run may last, by its job's own successes.
    pub usual: Option<UsualView>,
}

/// The calendar of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalendarView {
    /// The key under `[calendars]`.
    pub name: String,
    /// What a fire on a holiday does.
    pub on_holiday: OnHoliday,
    /// Whether Saturdays and Sundays are no business days either.
    pub weekends_off: bool,
}

/// A stretch of time in which a job is not started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlackoutView {
    /// When it begins, as it is written.
    pub schedule: String,
    /// How long it lasts.
    pub duration_ms: u64,
}

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterView {
    /// The jobs that come first.
    pub jobs: Vec<JobName>,
    /// The end of theirs that counts.
    pub on: AfterEnd,
    /// What of theirs counts.
    pub same: Same,
    /// How long a fire waits.
    pub within_ms: u64,
}

/// How often a fire is tried, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryView {
    /// All tries, the first one included.
    pub attempts: u32,
    /// From the end of the first try to the start of the second.
    pub delay_ms: u64,
    /// What each further delay is longer than the one before, as a factor.
    pub backoff: f64,
    /// The longest delay.
    pub max_delay_ms: u64,
    /// How much longer a delay may be.
    pub jitter_ms: u64,
    /// Which outcomes are tried again.
    pub on: Vec<Status>,
}

/// By when a run must be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishByView {
    /// The next such time of day after the fire, in the job's zone.
    TimeOfDay(Time),
    /// So long after the fire, milliseconds.
    AfterMs(u64),
}

/// How long a run may say and do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceView {
    /// So long.
    pub after_ms: u64,
    /// What then happens, besides the alert.
    pub action: SilenceAction,
}

/// A bound learned from a job's own successes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UsualView {
    /// How many times the usual is too long.
    pub factor: f64,
    /// The smallest bound.
    pub floor_ms: u64,
    /// With fewer successes than this nothing is known.
    pub min_runs: usize,
}

impl JobRules {
    /// What a job's entry says of them.
    #[must_use]
    pub fn of(spec: &JobSpec) -> Self {
        let day = |instant: Timestamp| instant.to_zoned(spec.zone.clone()).date();
        let watch = &spec.watch;
        Self {
            jitter_ms: milliseconds(spec.jitter),
            calendar: spec.calendar.as_ref().map(CalendarView::of),
            blackouts: spec.blackouts.iter().map(BlackoutView::of).collect(),
            starts_on: spec.from.map(day),
            // The first instant that is too late begins the day after the last one.
            ends_on: spec.until.and_then(|until| day(until).yesterday().ok()),
            after: spec.after.as_ref().map(AfterView::of),
            queue_limit: spec.queue_limit,
            locks: spec.holds.locks.clone(),
            pools: spec.holds.pools.clone(),
            busy: spec.busy,
            priority: spec.priority,
            retry: spec.retry.as_ref().map(RetryView::of),
            auto_timeout: spec.auto_timeout.map(UsualView::of),
            late_after_ms: watch.late_after.map(milliseconds),
            must_finish_by: watch.must_finish_by.map(FinishByView::of),
            max_since_success_ms: watch.max_since_success.map(milliseconds),
            warn_after_ms: watch.warn_after.map(milliseconds),
            min_duration_ms: watch.min_duration.map(milliseconds),
            silence: watch.silence.map(SilenceView::of),
            usual: watch.usual.map(UsualView::of),
        }
    }
}

impl CalendarView {
    fn of(rule: &CalendarRule) -> Self {
        Self { name: rule.calendar.name.clone(), on_holiday: rule.on_holiday, weekends_off: rule.weekends }
    }
}

impl BlackoutView {
    fn of(blackout: &Blackout) -> Self {
        let duration_ms = milliseconds(blackout.duration);
        Self { schedule: blackout.schedule.as_str().to_owned(), duration_ms }
    }
}

impl AfterView {
    fn of(after: &After) -> Self {
        let within_ms = milliseconds(after.within);
        Self { jobs: after.jobs.clone(), on: after.on, same: after.same, within_ms }
    }
}

impl RetryView {
    fn of(retry: &Retry) -> Self {
        Self {
            attempts: retry.attempts,
            delay_ms: milliseconds(retry.delay),
            backoff: retry.backoff,
            max_delay_ms: milliseconds(retry.max_delay),
            jitter_ms: milliseconds(retry.jitter),
            on: retry.on.iter().copied().collect(),
        }
    }
}

impl FinishByView {
    fn of(by: FinishBy) -> Self {
        match by {
            FinishBy::TimeOfDay(time) => Self::TimeOfDay(time),
            FinishBy::After(after) => Self::AfterMs(milliseconds(after)),
        }
    }
}

impl SilenceView {
    fn of(silence: Silence) -> Self {
        Self { after_ms: milliseconds(silence.after), action: silence.action }
    }
}

impl UsualView {
    fn of(usual: Usual) -> Self {
        Self { factor: usual.factor, floor_ms: milliseconds(usual.floor), min_runs: usual.min_runs }
    }
}
