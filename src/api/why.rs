//! What became of an instant of a job, or will: whatever is known of it, and one verdict.
//!
//! jobd answers by it, and so does `jobctl` for a jobd that is down.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::records::{Records, RecordsError};
use super::types::{RUNS_MAX, RunQuery};
use crate::engine::inquiry::{fire_at, objections, previous_fire};
use crate::engine::job::{JobName, JobSpec};
use crate::engine::occurrence::{exclusion, fires, next_fire, remarks};
use crate::engine::pause::Pause;
use crate::engine::record::{Gap, JobAccount, PauseRecord, RunRecord};
use crate::engine::run::Status;
use crate::engine::time::Timestamp;

/// The most instants one answer holds.
pub const INSTANTS_MAX: usize = 100;
/// How far around an instant it is told when jobd was not there.
const AROUND: Duration = Duration::from_hours(12);
/// The most such times that are told.
const GAPS_MAX: usize = 10;

/// Which instants are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The last fire that should have been; of a job that never had one, the next.
    Last,
    /// This one, whether or not it is a fire.
    At(Timestamp),
    /// Every fire from the one to before the other.
    Span(Timestamp, Timestamp),
}

/// `GET /v1/jobs/{name}/why`: what became of instants of a job, or will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whys {
    /// The job.
    pub job: JobName,
    /// The IANA name of the zone its schedules are read in.
    pub timezone: String,
    /// An answer for each instant, in order.
    pub answers: Vec<Why>,
    /// How many more there are: the latest of what was asked for.
    pub left_out: u64,
}

/// How one instant stands: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It had its run, which is over.
    Ran,
    /// Its run goes on, or waits for its turn.
    Active,
    /// Nobody was there for it.
    Missed,
    /// It was decided against.
    Skipped,
    /// The job does not fire at it.
    NoFire,
    /// It lies before the job, or its present schedule, was known.
    NotOwed,
    /// It has come, and jobd has not decided about it.
    Undecided,
    /// It has come, and nothing accounts for it, as it should.
    Unaccounted,
    /// It has not come, and the job will be started.
    WillRun,
    /// It has not come, and the job will not be started as things are.
    WillSkip,
}

/// What is known of one instant of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The instant.
    pub at: Timestamp,
    /// How it stands.
    pub verdict: Verdict,
    /// Why it will not be started; `null` unless the verdict is `will_skip`.
    pub reason: Option<String>,
    /// Whether the job fires at it, by its present entry.
    pub is_fire: bool,
    /// When the run of a fire is to start.
    pub starts: Option<Timestamp>,
    /// Why it is no fire, a sentence each.
    pub objections: Vec<String>,
    /// What is to be said of a fire: changes of the clock, the calendar.
    pub remarks: Vec<String>,
    /// The last fire before it.
    pub previous_fire: Option<Timestamp>,
    /// The first fire after it.
    pub next_fire: Option<Timestamp>,
    /// The jobs that have to end first.
    pub after: Vec<JobName>,
    /// Its own rows: each try, in order.
    pub rows: Vec<RunRecord>,
    /// The row of many fires that stands for it.
    pub covered_by: Option<RunRecord>,
    /// The job's other runs that were active at it, the latest first.
    pub active: Vec<RunRecord>,
    /// Since when jobd has known the job; `null` where it has not.
    pub known_since: Option<Timestamp>,
    /// Since when the job has had its present schedules.
    pub schedule_since: Option<Timestamp>,
    /// Every fire up to here is accounted for.
    pub accounted_until: Option<Timestamp>,
    /// When nobody was there or could act, around it, oldest first.
    pub gaps: Vec<Gap>,
    /// The pauses that it lies in.
    pub pauses: Vec<PauseRecord>,
}

/// Answers about a job.
///
/// # Errors
/// When the records can't be read.
pub async fn answer(
    records: &dyn Records,
    spec: &JobSpec,
    asked: Asked,
    now: Timestamp,
) -> Result<Whys, RecordsError> {
    let instants = match asked {
        Asked::At(at) => BTreeSet::from([at]),
        Asked::Last => BTreeSet::from([last(records, spec, now).await?]),
        Asked::Span(from, until) => in_span(records, spec, from, until).await?,
    };
    let mut answers = Vec::new();
    for &at in instants.iter().take(INSTANTS_MAX) {
        answers.push(one(records, spec, at, now).await?);
    }
    let timezone = spec.zone.iana_name().unwrap_or("UTC").to_owned();
    let left_out = instants.len().saturating_sub(INSTANTS_MAX) as u64;
    Ok(Whys { job: spec.name.clone(), timezone, answers, left_out })
}

/// The last fire by the schedule; of a job that has none, what its newest row stands for.
async fn last(records: &dyn Records, spec: &JobSpec, now: Timestamp) -> Result<Timestamp, RecordsError> {
    let past = fire_at(spec, now).or_else(|| previous_fire(spec, now));
    if let Some(fire) = past.or_else(|| next_fire(spec, now)) {
        return Ok(fire.at);
    }
    let query = RunQuery { job: Some(spec.name.clone()), limit: Some(1), ..RunQuery::default() };
    let newest = records.runs(&query).await?.pop();
    Ok(newest.and_then(|row| row.scheduled_at).unwrap_or(now))
}

/// The fires of a stretch of time by the present entry, and those of its rows, which may be another entry's.
async fn in_span(
    records: &dyn Records,
    spec: &JobSpec,
    from: Timestamp,
    until: Timestamp,
) -> Result<BTreeSet<Timestamp>, RecordsError> {
    let query = RunQuery {
        job: Some(spec.name.clone()),
        since: Some(from),
        until: Some(until),
        limit: Some(RUNS_MAX),
        ..RunQuery::default()
    };
    let rows = records.runs(&query).await?;
    let recorded = rows.iter().filter_map(|row| row.scheduled_at).filter(|at| (from..until).contains(at));
    let before = from.checked_sub(Duration::from_nanos(1)).unwrap_or(from);
    let named = fires(spec, before).map(|fire| fire.at).take_while(|at| *at < until);
    Ok(recorded.chain(named).collect())
}

async fn one(
    records: &dyn Records,
    spec: &JobSpec,
    at: Timestamp,
    now: Timestamp,
) -> Result<Why, RecordsError> {
    let fire = fire_at(spec, at);
    let rows = records.fire_rows(&spec.name, at).await?;
    let (mut covering, rows): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.scheduled_until.is_some());
    let account = records.known(&spec.name).await?;
    let in_force: Vec<Pause> = records.pauses().await?;
    let paused = in_force.iter().find(|pause| pause.covers(&spec.name, at));
    let excluded = || exclusion(spec, at).map(|reason| reason.to_string());
    let reason = if at > now { excluded().or_else(|| paused.map(in_words)) } else { None };
    let covered_by = covering.pop().filter(|_| fire.is_some());
    let decided = rows.last().or(covered_by.as_ref()).map(|row| row.status);
    let verdict = match decided {
        Some(status) => of_status(status),
        None if fire.is_none() => Verdict::NoFire,
        None if at > now && reason.is_some() => Verdict::WillSkip,
        None if at > now => Verdict::WillRun,
        None => of_none(at, account.as_ref()),
    };
    Ok(Why {
        at,
        verdict,
        reason: reason.filter(|_| verdict == Verdict::WillSkip),
        is_fire: fire.is_some(),
        starts: fire.map(|fire| fire.starts),
        objections: objections(spec, at),
        remarks: fire.map(|fire| words(spec, fire)).unwrap_or_default(),
        previous_fire: previous_fire(spec, at).map(|fire| fire.at),
        next_fire: next_fire(spec, at).map(|fire| fire.at),
        after: spec.after.as_ref().map(|after| after.jobs.clone()).unwrap_or_default(),
        active: active_at(records, &spec.name, at).await?,
        rows,
        covered_by,
        known_since: account.as_ref().map(|account| account.known_since),
        schedule_since: account.as_ref().map(|account| account.schedule_since),
        accounted_until: account.as_ref().map(|account| account.cursor),
        gaps: gaps(records, at).await?,
        pauses: pauses(records, &spec.name, at).await?,
    })
}

fn words(spec: &JobSpec, fire: crate::engine::occurrence::Fire) -> Vec<String> {
    remarks(spec, fire).iter().map(ToString::to_string).collect()
}

/// How the fire of a row stands.
const fn of_status(status: Status) -> Verdict {
    match status {
        Status::Queued | Status::Running => Verdict::Active,
        Status::Missed => Verdict::Missed,
        Status::Skipped => Verdict::Skipped,
        Status::Success | Status::Failed | Status::Timeout | Status::Killed | Status::Lost => Verdict::Ran,
    }
}

/// How a past fire without a row stands.
fn of_none(at: Timestamp, account: Option<&JobAccount>) -> Verdict {
    match account {
        None => Verdict::Undecided,
        Some(account) if at <= account.schedule_since => Verdict::NotOwed,
        Some(account) if at > account.cursor => Verdict::Undecided,
        Some(_) => Verdict::Unaccounted,
    }
}

fn in_words(pause: &Pause) -> String {
    let Pause { by, since, until, why, .. } = pause.clone();
    crate::engine::reason::Reason::Paused { by, since, until, why }.to_string()
}

/// The runs of a job that were active at an instant and are not of its fire, the latest first.
async fn active_at(
    records: &dyn Records,
    job: &JobName,
    at: Timestamp,
) -> Result<Vec<RunRecord>, RecordsError> {
    use Status::{Failed, Killed, Lost, Running, Success, Timeout};
    let query = RunQuery {
        job: Some(job.clone()),
        status: vec![Running, Success, Failed, Timeout, Killed, Lost],
        until: at.checked_add(Duration::from_nanos(1)).ok(),
        limit: Some(RUNS_MAX),
        ..RunQuery::default()
    };
    let mut runs = records.runs(&query).await?;
    runs.retain(|run| {
        let lasts = run.completed_at.is_none_or(|end| end >= at);
        lasts && run.started_at <= at && run.scheduled_at != Some(at)
    });
    Ok(runs)
}

/// The times around an instant in which nobody was there, the nearest ones.
async fn gaps(records: &dyn Records, at: Timestamp) -> Result<Vec<Gap>, RecordsError> {
    let from = at.checked_sub(AROUND).unwrap_or(Timestamp::MIN);
    let until = at.checked_add(AROUND).unwrap_or(Timestamp::MAX);
    let mut gaps = records.gaps(from, until).await?;
    let distance = |gap: &Gap| {
        let (before, after) = (gap.from.duration_since(at), at.duration_since(gap.until));
        before.max(after).max(jiff::SignedDuration::ZERO)
    };
    gaps.sort_by_key(distance);
    gaps.truncate(GAPS_MAX);
    gaps.sort_by_key(|gap| gap.from);
    Ok(gaps)
}

/// The pauses that an instant lies in.
async fn pauses(
    records: &dyn Records,
    job: &JobName,
    at: Timestamp,
) -> Result<Vec<PauseRecord>, RecordsError> {
    let just_after = at.checked_add(Duration::from_millis(1)).unwrap_or(at);
    let mut pauses = records.pause_log(job, at, just_after).await?;
    pauses.retain(|one| one.pause.covers(job, at) && one.ended_at.is_none_or(|ended| at < ended));
    Ok(pauses)
}
