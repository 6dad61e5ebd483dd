//! What people and programs ask about runs.
//!
//! **Invariant:** a reader changes nothing, makes no file and waits for no writer. Rows without a run number are the
//! users' own and are not shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::outbox::{self, OutboxStatus};
use super::readonly::Session;
use super::text::{int, job, number, number_or_null, stamp, time, time_or_null, word};
use super::{Store, StoreError, open, snapshot};
use crate::engine::job::JobName;
use crate::engine::ledger::{KnownJob, OpenIncident};
use crate::engine::record::RunRecord;
use crate::engine::run::{RunId, Status, Trigger};
use crate::engine::time::Timestamp;

/// How many runs a listing has unless told.
const LIMIT_DEFAULT: u32 = 50;

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this job only.
    pub job: Option<JobName>,
    /// In these statuses only; empty for all.
    pub status: Vec<Status>,
    /// Started, or due if never started, at or after this instant; of many fires the last of them.
    pub since: Option<Timestamp>,
    /// Started, or due if never started, before this instant.
    pub until: Option<Timestamp>,
    /// Numbered below this one: the last of the page before.
    pub before_run: Option<RunId>,
    /// At most so many.
    pub limit: u32,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self {
            job: None,
            status: Vec::new(),
            since: None,
            until: None,
            before_run: None,
            limit: LIMIT_DEFAULT,
        }
    }
}

/// The database, open for reading. Clones share it.
#[derive(Debug, Clone)]
pub struct Reader {
    path: PathBuf,
    host: String,
    session: Session,
}

impl Reader {
    /// Opens the database of a state directory, whether or not jobd is running.
    ///
    /// # Errors
    /// When there is no database, or it can't be read, is not jobd's, or another version's.
    pub async fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = open::database_path(state_dir)?;
        if !open::exists(&path)? {
            return Err(StoreError::Missing { path });
        }
        let session = Session::open(&path)?;
        open::check_readable(&path, &session).await?;
        let mut reader = Self { path, host: String::new(), session };
        reader.host =
            reader.one(|| QueryBuilder::new("SELECT host FROM meta"), |row| row.try_get("host")).await?;
        Ok(reader)
    }

    /// A reader over the connections of an open store.
    pub(super) fn of_store(store: &Store) -> Self {
        Self {
            path: store.inner.path.clone(),
            host: store.inner.host.clone(),
            session: Session::over(store.inner.readers.clone()),
        }
    }

    /// The host's identity.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// When the database can't be read; likewise below.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>, StoreError> {
        self.all(|| listing(&self.host, filter), record).await
    }

    /// One run.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn run(&self, run: RunId) -> Result<Option<RunRecord>, StoreError> {
        Ok(self.all(|| single(&self.host, run), record).await?.pop())
    }

    /// The runs that are not over, oldest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn open_runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        self.all(|| open_ones(&self.host), record).await
    }

    /// The newest row of each job ever known.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn last_run_per_job(&self) -> Result<BTreeMap<JobName, RunRecord>, StoreError> {
        let records = self.all(|| newest_of_each_job(&self.host), record).await?;
        Ok(records.into_iter().map(|record| (record.task_name.clone(), record)).collect())
    }

    /// Every job ever known, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn jobs(&self) -> Result<Vec<KnownJob>, StoreError> {
        self.one(|| QueryBuilder::new(snapshot::JOBS), snapshot::known_jobs).await
    }

    /// The jobs in trouble, the longest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn incidents(&self) -> Result<Vec<OpenIncident>, StoreError> {
        self.all(|| QueryBuilder::new(snapshot::INCIDENTS), snapshot::open_incident).await
    }

    /// How the deliveries stand.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn outbox_status(&self) -> Result<OutboxStatus, StoreError> {
        self.one(|| QueryBuilder::new(outbox::STATUS), outbox::status).await
    }

    /// When jobd was last known to be there.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn last_seen(&self) -> Result<Option<Timestamp>, StoreError> {
        let query = || QueryBuilder::new("SELECT last_seen FROM meta");
        self.one(query, |row| time_or_null(row, "last_seen")).await
    }

    async fn one<T>(
        &self,
        query: impl Fn() -> QueryBuilder<Sqlite>,
        read: impl Fn(&SqliteRow) -> sqlx::Result<T>,
    ) -> Result<T, StoreError> {
        let mut rows = self.all(query, read).await?;
        rows.pop().ok_or_else(|| StoreError::new(&self.path, sqlx::Error::RowNotFound))
    }

    /// Every row that a query finds.
    pub(super) async fn all<T>(
        &self,
        query: impl Fn() -> QueryBuilder<Sqlite>,
        read: impl Fn(&SqliteRow) -> sqlx::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut session = self.session.clone();
        loop {
            let rows = query().build().fetch_all(&session.pool).await;
            // Each turn means that jobd was started or stopped while the query ran.
            if session.holds(&self.path)? {
                return rows
                    .and_then(|rows| rows.iter().map(&read).collect())
                    .map_err(|error| StoreError::new(&self.path, error));
            }
            session = Session::open(&self.path)?;
        }
    }
}

/// All runs. Which host they are of is left to be said, by one of the two terms below.
pub(super) const RUNS: &str = "SELECT * FROM cron_job_logs WHERE run_id IS NOT NULL";

/// For queries that go by the run's number.
pub(super) const OF_HOST: &str = " AND host = ";

/// For queries that go by something else. The plus sign keeps `SQLite` from going by the host all the same, which
/// nearly every row has in common (<https://sqlite.org/queryplanner-ng.html>).
pub(super) const AND_OF_HOST: &str = " AND +host = ";

fn single(host: &str, run: RunId) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(RUNS);
    query.push(OF_HOST).push_bind(host.to_owned()).push(" AND run_id = ").push_bind(int(run.0));
    query
}

fn open_ones(host: &str) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(RUNS);
    query.push(" AND status IN ('QUEUED', 'RUNNING')").push(AND_OF_HOST).push_bind(host.to_owned());
    query.push(" ORDER BY run_id");
    query
}

fn newest_of_each_job(host: &str) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(
        "SELECT runs.* FROM jobs JOIN cron_job_logs AS runs ON runs.id = (
             SELECT id FROM cron_job_logs WHERE run_id IS NOT NULL AND task_name = jobs.name",
    );
    query.push(AND_OF_HOST).push_bind(host.to_owned()).push(" ORDER BY run_id DESC LIMIT 1)");
    query
}

/// A page of runs. Several statuses are asked one by one inside the statement: each is then read from an index in the
/// right order and no further than the page, however many rows there are.
fn listing(host: &str, filter: &RunFilter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("");
    let Some((first, others)) = filter.status.split_first() else {
        push_page(&mut query, host, filter, None);
        return query;
    };
    query.push("SELECT * FROM (");
    push_page(&mut query, host, filter, Some(*first));
    for status in others {
        query.push(") UNION SELECT * FROM (");
        push_page(&mut query, host, filter, Some(*status));
    }
    query.push(") ORDER BY run_id DESC LIMIT ").push_bind(filter.limit);
    query
}

fn push_page(query: &mut QueryBuilder<Sqlite>, host: &str, filter: &RunFilter, status: Option<Status>) {
    let by_number = filter.job.is_none() && status.is_none();
    query.push(RUNS).push(if by_number { OF_HOST } else { AND_OF_HOST }).push_bind(host.to_owned());
    if let Some(job) = &filter.job {
        query.push(" AND task_name = ").push_bind(job.as_str().to_owned());
    }
    if let Some(status) = status {
        query.push(" AND status = ").push_bind(status.as_str());
    }
    if let Some(since) = filter.since {
        query.push(" AND ifnull(scheduled_until, started_at) >= ").push_bind(stamp(since));
    }
    if let Some(until) = filter.until {
        query.push(" AND started_at < ").push_bind(stamp(until));
    }
    if let Some(before) = filter.before_run {
        query.push(" AND run_id < ").push_bind(int(before.0));
    }
    query.push(" ORDER BY run_id DESC LIMIT ").push_bind(filter.limit);
}

/// A row of [`RUNS`].
pub(super) fn record(row: &SqliteRow) -> sqlx::Result<RunRecord> {
    Ok(RunRecord {
        run_id: RunId(number(row, "run_id")?),
        task_name: job(row, "task_name")?,
        status: word(row, "status", Status::parse)?,
        triggered_by: word(row, "triggered_by", Trigger::parse)?,
        attempt: number(row, "attempt")?,
        scheduled_at: time_or_null(row, "scheduled_at")?,
        scheduled_until: time_or_null(row, "scheduled_until")?,
        fires: number(row, "fires")?,
        started_at: time(row, "started_at")?,
        completed_at: time_or_null(row, "completed_at")?,
        reason: row.try_get("reason")?,
        message: row.try_get("message")?,
        error_message: row.try_get("error_message")?,
        exit_code: number_or_null(row, "exit_code")?,
        term_signal: number_or_null(row, "term_signal")?,
        pid: number_or_null(row, "pid")?,
        duration_ms: number_or_null(row, "duration_ms")?,
        cpu_ms: number_or_null(row, "cpu_ms")?,
        max_rss_kib: number_or_null(row, "max_rss_kib")?,
        output_bytes: number_or_null(row, "output_bytes")?,
        config_hash: row.try_get("config_hash")?,
        host: row.try_get("host")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::account::{rows_between, rows_of_fire};
    use crate::store::history::HISTORY;
    use sqlx::AssertSqlSafe;

    /// What `SQLite` means to do for a query, a line for each table it goes through.
    async fn plan(store: &Store, query: &QueryBuilder<Sqlite>) -> Vec<String> {
        let sql = format!("EXPLAIN QUERY PLAN {}", query.sql().as_str());
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&store.inner.readers).await.unwrap();
        rows.iter().map(|row| row.try_get("detail").unwrap()).collect()
    }

    /// Fills the run table with `runs` rows of ten jobs, one in a hundred FAILED.
    async fn fill(store: &Store, runs: u32) {
        sqlx::query(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
             INSERT INTO cron_job_logs (task_name, status, started_at, completed_at, host, run_id, triggered_by)
             SELECT 'job' || (n % 10), iif(n % 100 = 0, 'FAILED', 'SUCCESS'), '2026-11-22T01:00:00.000Z',
                    '2026-11-22T01:00:01.000Z', 'web-1', n, 'manual' FROM numbers",
        )
        .bind(runs)
        .execute(&store.inner.writer)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO jobs SELECT DISTINCT task_name, '', started_at, started_at, started_at FROM cron_job_logs",
        )
        .execute(&store.inner.writer)
        .await
        .unwrap();
    }

    /// What the users' monitoring asks.
    const USERS_QUERY: &str = "SELECT status, started_at FROM cron_job_logs WHERE task_name = 'job1'
                               ORDER BY started_at DESC LIMIT 1";

    fn queries() -> Vec<(&'static str, QueryBuilder<Sqlite>)> {
        let page = RunFilter { before_run: Some(RunId(9)), ..RunFilter::default() };
        let of_job = RunFilter { job: JobName::new("job1").ok(), ..page.clone() };
        let failed = RunFilter { status: vec![Status::Failed], ..page.clone() };
        let bad = RunFilter { status: vec![Status::Failed, Status::Timeout], ..page.clone() };
        let (job, at) = (JobName::new("job1").unwrap(), Timestamp::UNIX_EPOCH);
        vec![
            ("run_of_fire", rows_of_fire("web-1", &job, at)),
            ("run_of_many", rows_of_fire("web-1", &job, at)),
            ("run_of_fire", rows_between("web-1", &job, &(at..=at))),
            ("run_of_many", rows_between("web-1", &job, &(at..=at))),
            ("run_by_end", QueryBuilder::new(HISTORY)),
            ("run_number", listing("web-1", &page)),
            ("run_by_job", listing("web-1", &of_job)),
            ("run_by_status", listing("web-1", &failed)),
            ("run_by_status", listing("web-1", &bad)),
            ("run_number", single("web-1", RunId(1))),
            ("run_by_status", open_ones("web-1")),
            ("run_by_job", newest_of_each_job("web-1")),
            ("run_by_start", QueryBuilder::new(USERS_QUERY)),
        ]
    }

    #[tokio::test]
    async fn every_query_is_served_by_its_index_with_and_without_statistics() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), "web-1").await.unwrap();
        fill(&store, 10_000).await;
        for round in ["without statistics", "with statistics"] {
            for (index, query) in queries() {
                let plan = plan(&store, &query).await;
                let names = ["cron_job_logs", "runs", "run", "ended", "later"];
                let on_runs = |step: &&String| step.split(' ').any(|word| names.contains(&word));
                let used = plan.iter().any(|step| step.contains(&format!("INDEX {index}")));
                assert!(used, "{round}: {index} is not used: {plan:#?}");
                let scans = plan.iter().filter(on_runs).any(|step| step.starts_with("SCAN"));
                assert!(!scans, "{round}: every row is looked at: {plan:#?}");
            }
            sqlx::query("ANALYZE").execute(&store.inner.writer).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_page_of_a_long_history_is_read_in_order_without_sorting() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), "web-1").await.unwrap();
        fill(&store, 10_000).await;
        let page = RunFilter { before_run: Some(RunId(9_000)), limit: 2, ..RunFilter::default() };
        let of_job = RunFilter { job: JobName::new("job1").ok(), ..page.clone() };
        let failed = RunFilter { status: vec![Status::Failed], ..page.clone() };
        for (filter, expected) in [(page, [8_999, 8_998]), (of_job, [8_991, 8_981]), (failed, [8_900, 8_800])]
        {
            let plan =
                plan(&store, &listing("web-1", &RunFilter { status: Vec::new(), ..filter.clone() })).await;
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:#?}");
            let runs = store.reader().runs(&filter).await.unwrap();
            assert_eq!(runs.iter().map(|run| run.run_id.0).collect::<Vec<_>>(), expected);
        }
        assert_eq!(store.reader().last_run_per_job().await.unwrap().len(), 10);
    }
}
