//! What the engine is told when jobd starts.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::text::{job, number, number_or_null, time, time_or_null, word};
use super::{Store, StoreError};
use crate::engine::ledger::{KnownJob, OpenClaim, OpenIncident, Snapshot};
use crate::engine::run::{Claim, RunId, Status, Trigger};

impl Store {
    /// Everything the engine must know to go on from here, as of one moment.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        read(self).await.map_err(|error| self.error(error))
    }
}

async fn read(store: &Store) -> sqlx::Result<Snapshot> {
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
        jobs: collect(&mut transaction, JOBS, known_job).await?,
        open: collect(&mut transaction, OPEN, open_claim).await?,
        incidents: collect(&mut transaction, INCIDENTS, open_incident).await?,
    })
}

/// Every claim that is not settled.
const OPEN: &str = "SELECT claims.*, EXISTS (SELECT 1 FROM cron_job_logs AS run, meta
                                            WHERE run.host = meta.host AND run.run_id = claims.run_id
                                                  AND run.reason IS NOT NULL) AS noted
                    FROM claims ORDER BY run_id";

/// Every job ever known.
pub(super) const JOBS: &str = "SELECT name, schedule_hash, cursor FROM jobs ORDER BY name";

/// Every job in trouble.
pub(super) const INCIDENTS: &str =
    "SELECT job, opened_at, kinds, bad_runs FROM incidents WHERE closed_at IS NULL ORDER BY id";

async fn collect<T>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    read: impl Fn(&SqliteRow) -> sqlx::Result<T>,
) -> sqlx::Result<Vec<T>> {
    sqlx::query(sql).fetch_all(connection).await?.iter().map(read).collect()
}

/// A row of [`JOBS`].
pub(super) fn known_job(row: &SqliteRow) -> sqlx::Result<KnownJob> {
    Ok(KnownJob {
        job: job(row, "name")?,
        schedule_hash: row.try_get("schedule_hash")?,
        cursor: time(row, "cursor")?,
    })
}

/// A row of [`INCIDENTS`].
pub(super) fn open_incident(row: &SqliteRow) -> sqlx::Result<OpenIncident> {
    Ok(OpenIncident {
        job: job(row, "job")?,
        since: time(row, "opened_at")?,
        kinds: word::<Vec<Status>>(row, "kinds", |text| serde_json::from_str(text).ok())?,
        bad_runs: number(row, "bad_runs")?,
    })
}

fn open_claim(row: &SqliteRow) -> sqlx::Result<OpenClaim> {
    let claim = Claim {
        run: RunId(number(row, "run_id")?),
        job: job(row, "job")?,
        scheduled_at: time_or_null(row, "scheduled_at")?,
        trigger: word(row, "triggered_by", Trigger::parse)?,
        attempt: number(row, "attempt")?,
        claimed_at: time(row, "claimed_at")?,
        timeout: number_or_null(row, "timeout_ms")?.map(Duration::from_millis),
        kill_grace: Duration::from_millis(number(row, "kill_grace_ms")?),
        alert: word(row, "alert", |text| serde_json::from_str(text).ok())?,
        config_hash: row.try_get("config_hash")?,
    };
    Ok(OpenClaim { claim, queued: row.try_get("queued")?, noted: row.try_get("noted")? })
}
