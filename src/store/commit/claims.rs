//! Changes of claims: a promise is made, comes due, or is taken back.

use super::Work;
use crate::engine::ledger::Answer;
use crate::engine::run::{Claim, RunId, Status};
use crate::engine::time::Timestamp;
use crate::engine::watch::ConcernKind;
use crate::store::text::{int, millis, number, stamp, to_json};

impl Work<'_> {
    pub(super) async fn claim(&mut self, claim: &Claim, queued: bool) -> sqlx::Result<Answer> {
        let mut attempt = claim.attempt;
        if claim.trigger.may_repeat() {
            self.give_way(claim).await?;
            attempt = self.next_attempt(claim).await?;
        }
        let mut is_ours = self.insert_row(claim, attempt, queued).await?;
        // What is in the way is seldom there, and is not looked for before.
        if !is_ours && self.give_way(claim).await? {
            is_ours = self.insert_row(claim, attempt, queued).await?;
        }
        if !is_ours {
            return Ok(Answer::Taken);
        }
        let state = if queued { "queued" } else { "due" };
        self.keep_claim(claim, attempt, state).await?;
        Ok(Answer::Granted { attempt })
    }

    /// Whether the claim has got its row: the index of fires alone may turn it down, or a claim ahead of the fire's
    /// instant; a number given twice is an error.
    async fn insert_row(&mut self, claim: &Claim, attempt: u32, queued: bool) -> sqlx::Result<bool> {
        let (status, started_at) =
            if queued { (Status::Queued, claim.due_at()) } else { (Status::Running, self.at) };
        let inserted = sqlx::query(
            "INSERT INTO cron_job_logs (task_name, status, started_at, host, run_id, scheduled_at, triggered_by,
                                        attempt, config_hash)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
             WHERE NOT EXISTS (SELECT 1 FROM claims
                               WHERE job = ?1 AND scheduled_at = ?6 AND attempt = ?8 AND state = 'ahead')
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
        Ok(inserted.rows_affected() > 0)
    }

    /// A fire that is made up for is its run's row, not a MISSED row beside it, nor a SKIPPED one if a person wants the
    /// run. Whether such a row was in the way.
    async fn give_way(&mut self, claim: &Claim) -> sqlx::Result<bool> {
        let removed = sqlx::query(
            "DELETE FROM cron_job_logs
             WHERE run_id IS NOT NULL AND host = ? AND task_name = ? AND scheduled_at = ? AND scheduled_until IS NULL
                   AND (status = 'MISSED' OR (status = 'SKIPPED' AND ?)) AND (attempt = ? OR ?)",
        )
        .bind(self.host)
        .bind(claim.job.as_str())
        .bind(claim.scheduled_at.map(stamp))
        .bind(claim.trigger.may_undo_skip())
        .bind(claim.attempt)
        .bind(claim.trigger.may_repeat())
        .execute(&mut *self.connection)
        .await?;
        Ok(removed.rows_affected() > 0)
    }

    /// Which try of its fire a claim is that may repeat it: the one after all that were made or are promised.
    async fn next_attempt(&mut self, claim: &Claim) -> sqlx::Result<u32> {
        let Some(scheduled_at) = claim.scheduled_at else { return Ok(claim.attempt) };
        let row = sqlx::query(
            "SELECT ifnull(max(attempt), 0) + 1 AS attempt
             FROM (SELECT attempt FROM cron_job_logs
                   WHERE run_id IS NOT NULL AND host = ?1 AND task_name = ?2 AND scheduled_at = ?3
                   UNION ALL SELECT attempt FROM claims WHERE job = ?2 AND scheduled_at = ?3)",
        )
        .bind(self.host)
        .bind(claim.job.as_str())
        .bind(stamp(scheduled_at))
        .fetch_one(&mut *self.connection)
        .await?;
        number(&row, "attempt")
    }

    pub(super) async fn ahead(&mut self, claim: &Claim) -> sqlx::Result<Answer> {
        let attempt = claim.attempt;
        let is_ours = self.keep_claim(claim, attempt, "ahead").await?;
        Ok(if is_ours { Answer::Granted { attempt } } else { Answer::Taken })
    }

    /// Whether the claim is kept: one ahead of its instant only where nothing has its fire.
    async fn keep_claim(&mut self, claim: &Claim, attempt: u32, state: &str) -> sqlx::Result<bool> {
        let inserted = sqlx::query(
            "INSERT INTO claims (run_id, job, scheduled_at, triggered_by, attempt, not_before, holds, claimed_at,
                                 timeout_ms, kill_grace_ms, alert, config_hash, state)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
             WHERE ?13 <> 'ahead' OR NOT EXISTS (
                 SELECT 1 FROM claims WHERE job = ?2 AND scheduled_at = ?3
                 UNION ALL SELECT 1 FROM cron_job_logs
                 WHERE run_id IS NOT NULL AND host = ?14 AND task_name = ?2 AND scheduled_at = ?3
                       AND scheduled_until IS NULL)",
        )
        .bind(int(claim.run.0))
        .bind(claim.job.as_str())
        .bind(claim.scheduled_at.map(stamp))
        .bind(claim.trigger.as_str())
        .bind(attempt)
        .bind(claim.not_before.map(stamp))
        .bind(to_json(&claim.holds)?)
        .bind(stamp(claim.claimed_at))
        .bind(claim.timeout.map(millis))
        .bind(millis(claim.kill_grace))
        .bind(to_json(&claim.alert)?)
        .bind(&claim.config_hash)
        .bind(state)
        .bind(self.host)
        .execute(&mut *self.connection)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }

    pub(super) async fn begin(&mut self, run: RunId, at: Timestamp) -> sqlx::Result<()> {
        let has_row = self.insert_row_of_ahead(run, at).await?
            || (self.give_way_to_ahead(run).await? && self.insert_row_of_ahead(run, at).await?);
        if !has_row {
            return self.withdraw(run).await;
        }
        sqlx::query("UPDATE claims SET state = 'due' WHERE run_id = ?")
            .bind(int(run.0))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn insert_row_of_ahead(&mut self, run: RunId, at: Timestamp) -> sqlx::Result<bool> {
        let inserted = sqlx::query(
            "INSERT INTO cron_job_logs (task_name, status, started_at, host, run_id, scheduled_at, triggered_by,
                                        attempt, config_hash)
             SELECT job, 'RUNNING', ?, ?, run_id, scheduled_at, triggered_by, attempt, config_hash
             FROM claims WHERE run_id = ? AND state = 'ahead'
             ON CONFLICT (host, task_name, scheduled_at, attempt) WHERE run_id IS NOT NULL DO NOTHING",
        )
        .bind(stamp(at))
        .bind(self.host)
        .bind(int(run.0))
        .execute(&mut *self.connection)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }

    /// Whether a MISSED row was in the way of a claim ahead whose instant has come all the same.
    async fn give_way_to_ahead(&mut self, run: RunId) -> sqlx::Result<bool> {
        let removed = sqlx::query(
            "DELETE FROM cron_job_logs
             WHERE run_id IS NOT NULL AND host = ? AND status = 'MISSED' AND scheduled_until IS NULL
                   AND (task_name, scheduled_at, attempt) = (SELECT job, scheduled_at, attempt FROM claims
                                                             WHERE run_id = ? AND state = 'ahead')",
        )
        .bind(self.host)
        .bind(int(run.0))
        .execute(&mut *self.connection)
        .await?;
        Ok(removed.rows_affected() > 0)
    }

    pub(super) async fn withdraw(&mut self, run: RunId) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM claims WHERE run_id = ? AND state = 'ahead'")
            .bind(int(run.0))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    pub(super) async fn start(&mut self, run: RunId, at: Timestamp) -> sqlx::Result<()> {
        sqlx::query(
            "UPDATE cron_job_logs SET status = 'RUNNING', started_at = ?
             WHERE host = ? AND run_id = ? AND status = 'QUEUED'",
        )
        .bind(stamp(at))
        .bind(self.host)
        .bind(int(run.0))
        .execute(&mut *self.connection)
        .await?;
        sqlx::query("UPDATE claims SET state = 'due' WHERE run_id = ?")
            .bind(int(run.0))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    pub(super) async fn told(&mut self, run: RunId, concern: ConcernKind) -> sqlx::Result<()> {
        sqlx::query(
            "UPDATE claims
             SET told = json_insert(told, '$[#]', ?1 ->> '$')
             WHERE run_id = ?2 AND NOT EXISTS (SELECT 1 FROM json_each(told) WHERE value = ?1 ->> '$')",
        )
        .bind(to_json(&concern)?)
        .bind(int(run.0))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
