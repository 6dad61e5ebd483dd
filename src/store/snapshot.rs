//! What the engine is told when jobd starts.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::text::{job, json, number, number_or_null, time, time_or_null, word, word_or_null};
use super::{Store, StoreError, history};
use crate::engine::job::JobName;
use crate::engine::ledger::{ClaimState, KnownJob, OpenClaim, OpenIncident, Snapshot};
use crate::engine::pause::Pause;
use crate::engine::run::{Claim, RunId, Trigger};
use crate::engine::time::Timestamp;
use crate::engine::watch::SuccessWatch;

impl Store {
    /// Everything the engine must know to go on from here, as of one moment; of these jobs also how they have ended
    /// lately.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn snapshot(&self, history_of: &BTreeSet<JobName>) -> Result<Snapshot, StoreError> {
        read(self, history_of).await.map_err(|error| self.error(error))
    }
}

async fn read(store: &Store, history_of: &BTreeSet<JobName>) -> sqlx::Result<Snapshot> {
    // One transaction sees one state of the database, whatever is committed meanwhile.
    let mut transaction = store.inner.readers.begin().await?;
    let meta = sqlx::query("SELECT last_batch, last_run, last_seen, boot_id FROM meta")
        .fetch_one(&mut *transaction)
        .await?;
    Ok(Snapshot {
        last_batch: number(&meta, "last_batch")?,
        last_run: number(&meta, "last_run")?,
        last_seen: time_or_null(&meta, "last_seen")?,
        boot_id: meta.try_get("boot_id")?,
        jobs: known_jobs(&sqlx::query(JOBS).fetch_one(&mut *transaction).await?)?,
        open: collect(&mut transaction, OPEN, open_claim).await?,
        incidents: collect(&mut transaction, INCIDENTS, open_incident).await?,
        pauses: collect(&mut transaction, PAUSES, pause).await?,
        watches: collect(&mut transaction, WATCHES, success_watch).await?,
        history: history::read(&mut transaction, store.host(), history_of).await?,
    })
}

/// Every claim that is not settled.
pub(super) const OPEN: &str = "SELECT claims.*, EXISTS (SELECT 1 FROM cron_job_logs AS run, meta
                                            WHERE run.host = meta.host AND run.run_id = claims.run_id
                                                  AND run.reason IS NOT NULL) AS noted,
                           (SELECT run.started_at FROM cron_job_logs AS run, meta
                            WHERE run.host = meta.host AND run.run_id = claims.run_id
                                  AND run.status = 'RUNNING') AS running_since
                    FROM claims ORDER BY run_id";

/// Every job ever known, in one row: a row each would be handed over from the database's thread one by one, which a
/// start with many jobs would have to wait for.
pub(super) const JOBS: &str = "SELECT json_group_array(json_array(name, schedule_hash, cursor)) AS jobs
                               FROM (SELECT * FROM jobs ORDER BY name)";

/// Every job in trouble.
pub(super) const INCIDENTS: &str =
    "SELECT job, opened_at, kinds, bad_runs FROM incidents WHERE closed_at IS NULL ORDER BY id";

/// Every pause in force, the latest last.
pub(super) const PAUSES: &str =
    "SELECT job, paused_by, since, until, why FROM pauses WHERE ended_at IS NULL ORDER BY id";

/// Every job that must succeed every so often.
pub(super) const WATCHES: &str = "SELECT job, limit_ms, last_success, told, alert FROM watches ORDER BY job";

async fn collect<T>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    read: impl Fn(&SqliteRow) -> sqlx::Result<T>,
) -> sqlx::Result<Vec<T>> {
    sqlx::query(sql).fetch_all(connection).await?.iter().map(read).collect()
}

/// The row of [`JOBS`].
pub(super) fn known_jobs(row: &SqliteRow) -> sqlx::Result<Vec<KnownJob>> {
    let jobs: Vec<(JobName, String, Timestamp)> = json(row, "jobs")?;
    let known = |(job, schedule_hash, cursor)| KnownJob { job, schedule_hash, cursor };
    Ok(jobs.into_iter().map(known).collect())
}

/// A row of [`INCIDENTS`].
pub(super) fn open_incident(row: &SqliteRow) -> sqlx::Result<OpenIncident> {
    Ok(OpenIncident {
        job: job(row, "job")?,
        since: time(row, "opened_at")?,
        kinds: json(row, "kinds")?,
        bad_runs: number(row, "bad_runs")?,
    })
}

/// A row of [`OPEN`].
pub(super) fn open_claim(row: &SqliteRow) -> sqlx::Result<OpenClaim> {
    let claim = Claim {
        run: RunId(number(row, "run_id")?),
        job: job(row, "job")?,
        scheduled_at: time_or_null(row, "scheduled_at")?,
        trigger: word(row, "triggered_by", Trigger::parse)?,
        attempt: number(row, "attempt")?,
        not_before: time_or_null(row, "not_before")?,
        holds: json(row, "holds")?,
        claimed_at: time(row, "claimed_at")?,
        timeout: number_or_null(row, "timeout_ms")?.map(Duration::from_millis),
        kill_grace: Duration::from_millis(number(row, "kill_grace_ms")?),
        alert: json(row, "alert")?,
        config_hash: row.try_get("config_hash")?,
    };
    Ok(OpenClaim {
        claim,
        state: word(row, "state", claim_state)?,
        skips: number(row, "skips")?,
        told: json(row, "told")?,
        running_since: time_or_null(row, "running_since")?,
        noted: row.try_get("noted")?,
    })
}

fn claim_state(word: &str) -> Option<ClaimState> {
    match word {
        "ahead" => Some(ClaimState::Ahead),
        "queued" => Some(ClaimState::Queued),
        "due" => Some(ClaimState::Due),
        _ => None,
    }
}

/// A row of [`PAUSES`].
pub(super) fn pause(row: &SqliteRow) -> sqlx::Result<Pause> {
    Ok(Pause {
        job: word_or_null(row, "job", |text| JobName::new(text).ok())?,
        by: row.try_get("paused_by")?,
        since: time(row, "since")?,
        until: time_or_null(row, "until")?,
        why: row.try_get("why")?,
    })
}

/// A row of [`WATCHES`].
pub(super) fn success_watch(row: &SqliteRow) -> sqlx::Result<SuccessWatch> {
    Ok(SuccessWatch {
        job: job(row, "job")?,
        limit: Duration::from_millis(number(row, "limit_ms")?),
        last_success: time(row, "last_success")?,
        told: row.try_get("told")?,
        alert: json(row, "alert")?,
    })
}
