//! Applying a batch: one transaction, whole or not at all, at most once.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};

use super::text::{int, millis, number, number_or_null, stamp};
use super::verdict::Verdict;
use super::{Store, StoreError};
use crate::engine::job::JobName;
use crate::engine::ledger::{Accounted, Answer, Batch, Change, Notice};
use crate::engine::run::{Claim, Report, RunId, Status, Trigger};
use crate::engine::time::Timestamp;

/// What became of a batch.
enum Outcome {
    Applied(Vec<(RunId, Answer)>),
    OutOfOrder { expected: u64 },
}

impl Store {
    /// Makes a batch durable and answers its claims, in order.
    ///
    /// A batch that was applied already changes nothing and is answered again. After an error the batch may have been
    /// applied or not: sending it again is right in both cases.
    ///
    /// # Errors
    /// When the database can't be written, or the batch is neither the next one nor an old one.
    pub async fn commit(&self, batch: &Batch) -> Result<Vec<(RunId, Answer)>, StoreError> {
        let mut connection = self.inner.writer.acquire().await.map_err(|error| self.error(error))?;
        match transact(&mut connection, self.host(), batch).await {
            Ok(Outcome::Applied(answers)) => Ok(answers),
            Ok(Outcome::OutOfOrder { expected }) => {
                Err(StoreError::OutOfOrder { path: self.inner.path.clone(), number: batch.number, expected })
            }
            Err(error) => {
                // SQLite ends a transaction by itself on some errors, behind the driver's back, which would
                // then take the connection to be inside one for ever. A new connection knows nothing of it.
                connection.close_on_drop();
                Err(self.error(error))
            }
        }
    }
}

async fn transact(connection: &mut SqliteConnection, host: &str, batch: &Batch) -> sqlx::Result<Outcome> {
    // A transaction that begins by reading may find that it can't write any more; this one can from the start.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let meta = sqlx::query("SELECT last_batch FROM meta").fetch_one(&mut *transaction).await?;
    let expected = number::<u64>(&meta, "last_batch")? + 1;
    if batch.number > expected {
        return Ok(Outcome::OutOfOrder { expected });
    }
    let mut work = Work { connection: &mut transaction, host, at: batch.at };
    if batch.number < expected {
        return Ok(Outcome::Applied(work.answer_again(&batch.changes).await?));
    }
    let mut answers = Vec::new();
    for change in &batch.changes {
        if let Some(answer) = work.apply(change).await? {
            answers.push(answer);
        }
    }
    work.number(batch).await?;
    transaction.commit().await?;
    Ok(Outcome::Applied(answers))
}

/// A batch being applied.
struct Work<'c> {
    connection: &'c mut SqliteConnection,
    host: &'c str,
    at: Timestamp,
}

impl Work<'_> {
    async fn apply(&mut self, change: &Change) -> sqlx::Result<Option<(RunId, Answer)>> {
        match change {
            Change::Know { job, schedule_hash, cursor } => self.know(job, schedule_hash, *cursor).await?,
            Change::Forget { job } => self.forget(job).await?,
            Change::Advance { job, cursor } => self.advance(job, *cursor).await?,
            Change::Booted { boot_id } => self.booted(boot_id).await?,
            Change::Claim { claim, queued } => {
                return Ok(Some((claim.run, self.claim(claim, *queued).await?)));
            }
            Change::Start { run, at } => self.start(*run, *at).await?,
            Change::Account(accounted) => self.account(accounted).await?,
            Change::Note { run, reason } => self.note(*run, reason).await?,
            Change::Finish { run, status, reason, report, at } => {
                self.finish(*run, *status, reason.as_deref(), report.as_deref(), *at).await?;
            }
            Change::OpenIncident { job, run, status, at } => {
                self.open_incident(job, *run, *status, *at).await?;
            }
            Change::JoinIncident { job, status } => self.join_incident(job, *status).await?,
            Change::CloseIncident { job, run, at } => self.close_incident(job, *run, *at).await?,
            Change::Notify { channel, notice } => self.notify(channel, notice).await?,
        }
        Ok(None)
    }

    /// The answers to a batch applied earlier: a claim that was granted has a row of its number, for good.
    async fn answer_again(&mut self, changes: &[Change]) -> sqlx::Result<Vec<(RunId, Answer)>> {
        let mut answers = Vec::new();
        for change in changes {
            let Change::Claim { claim, .. } = change else { continue };
            let row = sqlx::query("SELECT attempt FROM cron_job_logs WHERE host = ? AND run_id = ?")
                .bind(self.host)
                .bind(int(claim.run.0))
                .fetch_optional(&mut *self.connection)
                .await?;
            let answer = match row {
                Some(row) => Answer::Granted { attempt: number(&row, "attempt")? },
                None => Answer::Taken,
            };
            answers.push((claim.run, answer));
        }
        Ok(answers)
    }

    async fn number(&mut self, batch: &Batch) -> sqlx::Result<()> {
        let number_of = |change: &Change| match change {
            Change::Claim { claim, .. } => Some(claim.run.0),
            Change::Account(accounted) => Some(accounted.run.0),
            _ => None,
        };
        let last_run = batch.changes.iter().filter_map(number_of).max().unwrap_or(0);
        sqlx::query("UPDATE meta SET last_batch = ?, last_run = max(last_run, ?), last_seen = ?")
            .bind(int(batch.number))
            .bind(int(last_run))
            .bind(stamp(batch.at))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn know(&mut self, job: &JobName, schedule_hash: &str, cursor: Timestamp) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO jobs (name, schedule_hash, cursor, known_since) VALUES (?, ?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET schedule_hash = excluded.schedule_hash, cursor = excluded.cursor",
        )
        .bind(job.as_str())
        .bind(schedule_hash)
        .bind(stamp(cursor))
        .bind(stamp(self.at))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn forget(&mut self, job: &JobName) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM jobs WHERE name = ?")
            .bind(job.as_str())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn advance(&mut self, job: &JobName, cursor: Timestamp) -> sqlx::Result<()> {
        sqlx::query("UPDATE jobs SET cursor = max(cursor, ?) WHERE name = ?")
            .bind(stamp(cursor))
            .bind(job.as_str())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn booted(&mut self, boot_id: &str) -> sqlx::Result<()> {
        sqlx::query("UPDATE meta SET boot_id = ?").bind(boot_id).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn claim(&mut self, claim: &Claim, queued: bool) -> sqlx::Result<Answer> {
        self.give_way(claim).await?;
        let attempt = self.attempt_of(claim).await?;
        let (status, started_at) =
            if queued { (Status::Queued, claim.due_at()) } else { (Status::Running, self.at) };
        // The index of fires alone may turn a claim down; a number given twice is an error.
        let inserted = sqlx::query(
            "INSERT INTO cron_job_logs (task_name, status, started_at, host, run_id, scheduled_at, triggered_by,
                                        attempt, config_hash)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (host, task_name, scheduled_at, attempt) WHERE run_id IS NOT NULL DO NOTHING",
        )
        .bind(claim.job.as_str())
        .bind(status.as_str())
        .bind(stamp(started_at))
        .bind(self.host)
        .bind(int(claim.run.0))
        .bind(claim.scheduled_at.map(stamp))
        .bind(claim.trigger.as_str())
        .bind(attempt)
        .bind(&claim.config_hash)
        .execute(&mut *self.connection)
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok(Answer::Taken);
        }
        self.keep_claim(claim, attempt, queued).await?;
        Ok(Answer::Granted { attempt })
    }

    /// A fire that is made up for is its run's row, not a MISSED row beside it.
    async fn give_way(&mut self, claim: &Claim) -> sqlx::Result<()> {
        sqlx::query(
            "DELETE FROM cron_job_logs
             WHERE run_id IS NOT NULL AND host = ? AND task_name = ? AND scheduled_at = ? AND status = 'MISSED'
                   AND scheduled_until IS NULL",
        )
        .bind(self.host)
        .bind(claim.job.as_str())
        .bind(claim.scheduled_at.map(stamp))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn keep_claim(&mut self, claim: &Claim, attempt: u32, queued: bool) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO claims (run_id, job, scheduled_at, triggered_by, attempt, claimed_at, timeout_ms,
                                 kill_grace_ms, alert, config_hash, queued)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(int(claim.run.0))
        .bind(claim.job.as_str())
        .bind(claim.scheduled_at.map(stamp))
        .bind(claim.trigger.as_str())
        .bind(attempt)
        .bind(stamp(claim.claimed_at))
        .bind(claim.timeout.map(millis))
        .bind(millis(claim.kill_grace))
        .bind(json(&claim.alert)?)
        .bind(&claim.config_hash)
        .bind(queued)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Which try of its fire a claim is: as it says, or the next one if it may repeat a fire that has rows.
    async fn attempt_of(&mut self, claim: &Claim) -> sqlx::Result<u32> {
        let Some(scheduled_at) = claim.scheduled_at.filter(|_| claim.trigger.may_repeat()) else {
            return Ok(claim.attempt);
        };
        let row = sqlx::query(
            "SELECT ifnull(max(attempt), 0) + 1 AS attempt FROM cron_job_logs
             WHERE run_id IS NOT NULL AND host = ? AND task_name = ? AND scheduled_at = ?",
        )
        .bind(self.host)
        .bind(claim.job.as_str())
        .bind(stamp(scheduled_at))
        .fetch_one(&mut *self.connection)
        .await?;
        number(&row, "attempt")
    }

    async fn start(&mut self, run: RunId, at: Timestamp) -> sqlx::Result<()> {
        sqlx::query(
            "UPDATE cron_job_logs SET status = 'RUNNING', started_at = ?
             WHERE host = ? AND run_id = ? AND status = 'QUEUED'",
        )
        .bind(stamp(at))
        .bind(self.host)
        .bind(int(run.0))
        .execute(&mut *self.connection)
        .await?;
        sqlx::query("UPDATE claims SET queued = 0 WHERE run_id = ?")
            .bind(int(run.0))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn account(&mut self, fires: &Accounted) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO cron_job_logs (task_name, status, started_at, completed_at, host, run_id, scheduled_at,
                                        scheduled_until, fires, triggered_by, reason, config_hash)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?3, ?7, ?8, ?9, ?10, ?11
             WHERE NOT EXISTS (SELECT 1 FROM cron_job_logs WHERE run_id IS NOT NULL AND host = ?5
                                                             AND task_name = ?1 AND scheduled_at = ?3)",
        )
        .bind(fires.job.as_str())
        .bind(fires.status.as_str())
        .bind(stamp(fires.scheduled_at))
        .bind(stamp(self.at))
        .bind(self.host)
        .bind(int(fires.run.0))
        .bind(fires.scheduled_until.map(stamp))
        .bind(int(fires.fires))
        .bind(Trigger::Schedule.as_str())
        .bind(fires.reason.to_string())
        .bind(&fires.config_hash)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn note(&mut self, run: RunId, reason: &str) -> sqlx::Result<()> {
        sqlx::query(
            "UPDATE cron_job_logs SET reason = ? WHERE host = ? AND run_id = ? AND completed_at IS NULL",
        )
        .bind(reason)
        .bind(self.host)
        .bind(int(run.0))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn finish(
        &mut self,
        run: RunId,
        status: Status,
        reason: Option<&str>,
        report: Option<&Report>,
        at: Timestamp,
    ) -> sqlx::Result<()> {
        let claim = sqlx::query(
            "DELETE FROM claims WHERE run_id = ? RETURNING ifnull(scheduled_at, claimed_at) AS due_at, timeout_ms",
        )
        .bind(int(run.0))
        .fetch_optional(&mut *self.connection)
        .await?;
        // Without a claim the run is over, and its row is final.
        let Some(claim) = claim else { return Ok(()) };
        let due_at: String = claim.try_get("due_at")?;
        let started_at = report.and_then(|report| report.started_at).map_or(due_at, stamp);
        let verdict = Verdict::new(status, reason, report, timeout_of(&claim)?);
        sqlx::query(
            "UPDATE cron_job_logs
             SET status = ?, started_at = ?, completed_at = ?, message = ?, error_message = ?, reason = ?,
                 exit_code = ?, term_signal = ?, pid = ?, duration_ms = ?, cpu_ms = ?, max_rss_kib = ?,
                 output_bytes = ?
             WHERE host = ? AND run_id = ? AND completed_at IS NULL",
        )
        .bind(status.as_str())
        .bind(started_at)
        .bind(stamp(at))
        .bind(verdict.message)
        .bind(verdict.error_message)
        .bind(verdict.reason)
        .bind(verdict.exit_code)
        .bind(verdict.term_signal)
        .bind(verdict.pid)
        .bind(verdict.duration_ms)
        .bind(verdict.cpu_ms)
        .bind(verdict.max_rss_kib)
        .bind(verdict.output_bytes)
        .bind(self.host)
        .bind(int(run.0))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn open_incident(
        &mut self,
        job: &JobName,
        run: RunId,
        status: Status,
        at: Timestamp,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO incidents (job, opened_at, opened_run, kinds) VALUES (?, ?, ?, json_array(?))",
        )
        .bind(job.as_str())
        .bind(stamp(at))
        .bind(int(run.0))
        .bind(status.as_str())
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn join_incident(&mut self, job: &JobName, status: Status) -> sqlx::Result<()> {
        sqlx::query(
            "UPDATE incidents
             SET bad_runs = bad_runs + 1,
                 kinds = CASE WHEN EXISTS (SELECT 1 FROM json_each(kinds) WHERE value = ?1)
                              THEN kinds ELSE json_insert(kinds, '$[#]', ?1) END
             WHERE job = ?2 AND closed_at IS NULL",
        )
        .bind(status.as_str())
        .bind(job.as_str())
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn close_incident(&mut self, job: &JobName, run: RunId, at: Timestamp) -> sqlx::Result<()> {
        sqlx::query("UPDATE incidents SET closed_at = ?, closed_run = ? WHERE job = ? AND closed_at IS NULL")
            .bind(stamp(at))
            .bind(int(run.0))
            .bind(job.as_str())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn notify(&mut self, channel: &str, notice: &Notice) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO outbox (channel, facts, created_at, next_try_at) VALUES (?1, ?2, ?3, ?3)")
            .bind(channel)
            .bind(json(notice)?)
            .bind(stamp(self.at))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}

fn timeout_of(claim: &SqliteRow) -> sqlx::Result<Option<Duration>> {
    Ok(number_or_null(claim, "timeout_ms")?.map(Duration::from_millis))
}

fn json(value: &impl serde::Serialize) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ledger::Reason;

    fn silence(number: u64) -> Batch {
        let at: Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        let fires = Accounted {
            run: RunId(number),
            job: JobName::new("backup").unwrap(),
            status: Status::Missed,
            scheduled_at: at + Duration::from_secs(number),
            scheduled_until: None,
            fires: 1,
            reason: Reason::Down,
            config_hash: "c".repeat(8_192),
        };
        Batch { number, at, changes: vec![Change::Account(fires)] }
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_forgotten_when_there_is_room_again() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), "web-1").await.unwrap();
        // A limit of this connection alone, which fails as a full disk does.
        let room = async |pages: &'static str| {
            sqlx::query(pages).execute(&store.inner.writer).await.unwrap();
        };
        room("PRAGMA max_page_count = 1").await;
        let error = store.commit(&silence(1)).await.expect_err("there is no room");
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert_eq!(store.snapshot().await.unwrap().last_batch, 0);
        room("PRAGMA max_page_count = 1000000").await;
        for number in 1..10 {
            store.commit(&silence(number)).await.unwrap();
        }
        assert_eq!(store.snapshot().await.unwrap().last_batch, 9);
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_ends_by_itself_does_not_stop_the_next() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), "web-1").await.unwrap();
        let sql = async |sql: &'static str| {
            sqlx::query(sql).execute(&store.inner.writer).await.unwrap();
        };
        sql(
            "CREATE TRIGGER end_it BEFORE INSERT ON cron_job_logs BEGIN SELECT raise(ROLLBACK, 'ended'); END",
        )
        .await;
        store.commit(&silence(1)).await.expect_err("the trigger ends the transaction");
        sql("DROP TRIGGER end_it").await;
        store.commit(&silence(1)).await.unwrap();
        store.commit(&silence(2)).await.unwrap();
        assert_eq!(store.snapshot().await.unwrap().last_batch, 2);
    }

    #[tokio::test]
    async fn a_commit_given_up_in_the_middle_leaves_nothing_behind() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), "web-1").await.unwrap();
        for polls in 0..40 {
            let batch = silence(1);
            let commit = store.commit(&batch);
            let mut commit = std::pin::pin!(commit);
            for _ in 0..polls {
                if futures_util::poll!(commit.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        store.commit(&silence(1)).await.unwrap();
        store.commit(&silence(2)).await.unwrap();
        assert_eq!(store.snapshot().await.unwrap().last_batch, 2);
    }
}
