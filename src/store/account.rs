//! What became of a fire, and of the time around it: for whoever asks why.

use std::ops::RangeInclusive;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::StoreError;
use super::read::{AND_OF_HOST, OF_HOST, RUNS, Reader, record};
use super::snapshot::{self, pause};
use super::text::{job, json, number, stamp, time, time_or_null, word};
use crate::engine::job::JobName;
use crate::engine::ledger::OpenClaim;
use crate::engine::pause::Pause;
use crate::engine::record::{AccountedFire, Gap, JobAccount, PauseRecord, RunRecord};
use crate::engine::run::{RunId, Status};
use crate::engine::time::Timestamp;
use crate::engine::watch::SuccessWatch;

impl Reader {
    /// The rows of one fire: each try of it, in order, then the rows of many fires that cover its instant.
    ///
    /// # Errors
    /// When the database can't be read; likewise below.
    pub async fn fire_rows(&self, job: &JobName, at: Timestamp) -> Result<Vec<RunRecord>, StoreError> {
        self.all(|| rows_of_fire(self.host(), job, at), record).await
    }

    /// All rows of a job that stand for fires in a stretch of time, in the order of their fires: what the rows are
    /// does not matter, and they are many, so there is no more of each than where it stands.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn accounted(
        &self,
        job: &JobName,
        fires: RangeInclusive<Timestamp>,
    ) -> Result<Vec<AccountedFire>, StoreError> {
        self.all(|| rows_between(self.host(), job, &fires), accounted_fire).await
    }

    /// What is promised and not settled, in the order of the numbers.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn open_claims(&self) -> Result<Vec<OpenClaim>, StoreError> {
        self.all(|| QueryBuilder::new(snapshot::OPEN), snapshot::open_claim).await
    }

    /// From when to when a job is accounted for; `None` for a job that is not configured.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn known(&self, job: &JobName) -> Result<Option<JobAccount>, StoreError> {
        let of_job = || {
            let mut query = QueryBuilder::new(ACCOUNTS);
            query.push(" WHERE name = ").push_bind(job.as_str().to_owned());
            query
        };
        Ok(self.all(of_job, job_account).await?.pop())
    }

    /// From when to when each configured job is accounted for, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn all_known(&self) -> Result<Vec<JobAccount>, StoreError> {
        self.all(|| QueryBuilder::new(format!("{ACCOUNTS} ORDER BY name")), job_account).await
    }

    /// The times in which nobody was there or could act that have a part between two instants, oldest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn gaps(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Gap>, StoreError> {
        self.all(|| gaps_between(from, until), gap).await
    }

    /// The pauses in force, those whose time is over and that jobd has not ended yet included.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        self.all(|| QueryBuilder::new(snapshot::PAUSES), pause).await
    }

    /// The pauses of a job, and of every job, that have a part between two instants, oldest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn pause_log(
        &self,
        job: &JobName,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<PauseRecord>, StoreError> {
        self.all(|| pauses_between(job, from, until), pause_record).await
    }

    /// The jobs that must succeed every so often, configured or not, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn watches(&self) -> Result<Vec<SuccessWatch>, StoreError> {
        self.all(|| QueryBuilder::new(snapshot::WATCHES), snapshot::success_watch).await
    }
}

pub(super) fn rows_of_fire(host: &str, job: &JobName, at: Timestamp) -> QueryBuilder<Sqlite> {
    let (host, job, at) = (host.to_owned(), job.as_str().to_owned(), stamp(at));
    let mut query = QueryBuilder::new("SELECT * FROM (");
    // By its number a job's rows may seem fewer than by the fire, where most of them are of none.
    query.push("SELECT * FROM cron_job_logs INDEXED BY run_of_fire WHERE run_id IS NOT NULL");
    query.push(OF_HOST).push_bind(host.clone());
    query.push(" AND task_name = ").push_bind(job.clone());
    query.push(" AND scheduled_at = ").push_bind(at.clone());
    query.push(" AND scheduled_until IS NULL UNION ALL ").push(RUNS);
    query.push(AND_OF_HOST).push_bind(host).push(" AND task_name = ").push_bind(job);
    query.push(" AND scheduled_at <= ").push_bind(at.clone());
    query.push(" AND scheduled_until >= ").push_bind(at);
    query.push(") ORDER BY scheduled_until IS NOT NULL, attempt, run_id");
    query
}

pub(super) fn rows_between(
    host: &str,
    job: &JobName,
    fires: &RangeInclusive<Timestamp>,
) -> QueryBuilder<Sqlite> {
    const FIRES: &str = "SELECT run_id, status, scheduled_at, scheduled_until, fires FROM cron_job_logs
                         WHERE run_id IS NOT NULL";
    let (host, job) = (host.to_owned(), job.as_str().to_owned());
    let (first, last) = (stamp(*fires.start()), stamp(*fires.end()));
    let mut query = QueryBuilder::new(FIRES);
    query.push(OF_HOST).push_bind(host.clone()).push(" AND task_name = ").push_bind(job.clone());
    query.push(" AND scheduled_at >= ").push_bind(first.clone());
    query.push(" AND scheduled_at <= ").push_bind(last).push(" UNION ALL ").push(FIRES);
    // Of those that began before, the rows of many that reach into it.
    query.push(AND_OF_HOST).push_bind(host).push(" AND task_name = ").push_bind(job);
    query.push(" AND scheduled_at < ").push_bind(first.clone());
    query.push(" AND scheduled_until >= ").push_bind(first);
    query.push(" ORDER BY scheduled_at, run_id");
    query
}

fn accounted_fire(row: &SqliteRow) -> sqlx::Result<AccountedFire> {
    Ok(AccountedFire {
        run: RunId(number(row, "run_id")?),
        status: word(row, "status", Status::parse)?,
        scheduled_at: time(row, "scheduled_at")?,
        scheduled_until: time_or_null(row, "scheduled_until")?,
        fires: number(row, "fires")?,
    })
}

const ACCOUNTS: &str = "SELECT name, known_since, schedule_since, cursor FROM jobs";

fn job_account(row: &SqliteRow) -> sqlx::Result<JobAccount> {
    Ok(JobAccount {
        job: job(row, "name")?,
        known_since: time(row, "known_since")?,
        schedule_since: time(row, "schedule_since")?,
        cursor: time(row, "cursor")?,
    })
}

fn gaps_between(from: Timestamp, until: Timestamp) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT from_at, until_at, reason FROM gaps WHERE until_at > ");
    query.push_bind(stamp(from)).push(" AND from_at < ").push_bind(stamp(until));
    query.push(" ORDER BY from_at, id");
    query
}

fn gap(row: &SqliteRow) -> sqlx::Result<Gap> {
    Ok(Gap { from: time(row, "from_at")?, until: time(row, "until_at")?, reason: json(row, "reason")? })
}

fn pauses_between(job: &JobName, from: Timestamp, until: Timestamp) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM pauses WHERE (job IS NULL OR job = ");
    query.push_bind(job.as_str().to_owned()).push(") AND since <= ").push_bind(stamp(until));
    query.push(" AND ifnull(ended_at > ").push_bind(stamp(from));
    query.push(", 1) AND ifnull(until > ").push_bind(stamp(from));
    query.push(", 1) ORDER BY since, id");
    query
}

fn pause_record(row: &SqliteRow) -> sqlx::Result<PauseRecord> {
    Ok(PauseRecord {
        pause: pause(row)?,
        ended_at: time_or_null(row, "ended_at")?,
        ended_by: row.try_get("ended_by")?,
    })
}
