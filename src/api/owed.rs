//! The missed fires that could be made up for, one by one: rows that stand for many are taken apart by the schedule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::records::{Records, RecordsError};
use super::types::{RUNS_MAX, RunQuery};
use crate::engine::inquiry::last_fires;
use crate::engine::job::{JobName, JobSpec};
use crate::engine::record::RunRecord;
use crate::engine::run::{RunId, Status};
use crate::engine::time::Timestamp;

/// The most fires one answer holds: the newest.
pub const FIRES_MAX: usize = 1_000;
/// How many fires of a row of many are looked at in one go, and in all.
const CHUNK: usize = 200;
const LOOKS_MAX: usize = 10_000;

/// Which fires are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwedQuery {
    /// Of this job only.
    pub job: Option<JobName>,
    /// Not before this.
    pub since: Option<Timestamp>,
}

/// `GET /v1/owed`: the missed fires that could be made up for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Owed {
    /// The fires, newest first.
    pub fires: Vec<OwedFire>,
    /// What is not among them, by job.
    pub left_out: Vec<LeftOut>,
}

/// A missed fire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedFire {
    /// The job.
    pub job: JobName,
    /// The fire.
    pub at: Timestamp,
    /// The row that says so.
    pub row: RunId,
    /// Why it was missed, in words.
    pub reason: Option<String>,
}

/// Missed fires of a job that are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The job.
    pub job: JobName,
    /// How many, at most: those of a row of many that were made up for are counted with it.
    pub fires: u64,
    /// Why.
    pub why: LeftOutFor,
}

/// Why missed fires are not listed: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutFor {
    /// There are more than [`FIRES_MAX`] newer ones.
    TooMany,
    /// The job is no longer configured.
    Removed,
    /// The job's schedule has changed since, so what the row stands for can't be told.
    ScheduleChanged,
}

/// The newest missed fires that could be made up for.
///
/// # Errors
/// When the records can't be read.
pub async fn owed(
    records: &dyn Records,
    specs: &BTreeMap<JobName, Arc<JobSpec>>,
    query: &OwedQuery,
) -> Result<Owed, RecordsError> {
    let mut search = Search { records, since: query.since, fires: Vec::new(), left_out: BTreeMap::new() };
    let mut page = RunQuery {
        job: query.job.clone(),
        status: vec![Status::Missed],
        since: query.since,
        limit: Some(RUNS_MAX),
        ..RunQuery::default()
    };
    loop {
        let rows = records.runs(&page).await?;
        let is_last = rows.len() < RUNS_MAX as usize;
        page.before = rows.last().map(|row| row.run_id);
        for row in rows {
            search.add(specs.get(&row.task_name).map(AsRef::as_ref), row).await?;
        }
        search.keep_the_newest();
        if is_last {
            return Ok(search.done());
        }
    }
}

struct Search<'a> {
    records: &'a dyn Records,
    since: Option<Timestamp>,
    fires: Vec<OwedFire>,
    left_out: BTreeMap<(JobName, LeftOutFor), u64>,
}

impl Search<'_> {
    async fn add(&mut self, spec: Option<&JobSpec>, row: RunRecord) -> Result<(), RecordsError> {
        let Some(at) = row.scheduled_at else { return Ok(()) };
        let Some(spec) = spec else {
            self.leave_out(&row, row.fires, LeftOutFor::Removed);
            return Ok(());
        };
        match row.scheduled_until {
            None => self.fires.push(fire(&row, at)),
            Some(until) => self.take_apart(spec, &row, at, until).await?,
        }
        Ok(())
    }

    /// The newest fires of a row of many that have no row of their own.
    async fn take_apart(
        &mut self,
        spec: &JobSpec,
        row: &RunRecord,
        first: Timestamp,
        until: Timestamp,
    ) -> Result<(), RecordsError> {
        let account = self.records.known(&spec.name).await?;
        if account.is_none_or(|account| first < account.schedule_since) {
            self.leave_out(row, row.fires, LeftOutFor::ScheduleChanged);
            return Ok(());
        }
        let first = self.since.map_or(first, |since| since.max(first));
        let mut before = until.checked_add(Duration::from_secs(1)).unwrap_or(until);
        let (mut looked, mut found) = (0, 0);
        while found < FIRES_MAX && looked < LOOKS_MAX {
            let mut chunk = last_fires(spec, before, CHUNK);
            chunk.retain(|fire| first <= fire.at);
            let Some(oldest) = chunk.first() else { return Ok(()) };
            before = oldest.at;
            looked += chunk.len();
            for one in chunk.iter().rev() {
                let rows = self.records.fire_rows(&spec.name, one.at).await?;
                if rows.iter().all(|row| row.scheduled_until.is_some()) {
                    self.fires.push(fire(row, one.at));
                    found += 1;
                }
            }
        }
        self.leave_out(row, row.fires.saturating_sub(looked as u64), LeftOutFor::TooMany);
        Ok(())
    }

    fn leave_out(&mut self, row: &RunRecord, fires: u64, why: LeftOutFor) {
        if fires > 0 {
            *self.left_out.entry((row.task_name.clone(), why)).or_default() += fires;
        }
    }

    fn keep_the_newest(&mut self) {
        self.fires.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.job.cmp(&b.job)));
        for more in self.fires.split_off(self.fires.len().min(FIRES_MAX)) {
            *self.left_out.entry((more.job, LeftOutFor::TooMany)).or_default() += 1;
        }
    }

    fn done(self) -> Owed {
        let left_out = self.left_out.into_iter();
        Owed {
            fires: self.fires,
            left_out: left_out.map(|((job, why), fires)| LeftOut { job, fires, why }).collect(),
        }
    }
}

fn fire(row: &RunRecord, at: Timestamp) -> OwedFire {
    OwedFire { job: row.task_name.clone(), at, row: row.run_id, reason: row.reason.clone() }
}
