//! Changes of rows: fires without a run, and how runs end.

use std::time::Duration;

use sqlx::Row as _;

use super::Work;
use crate::engine::ledger::Accounted;
use crate::engine::reason::Reason;
use crate::engine::run::{Report, RunId, Status, Trigger};
use crate::engine::time::Timestamp;
use crate::store::text::{int, number_or_null, stamp};
use crate::store::verdict::Verdict;

impl Work<'_> {
    /// A row of many fires is no try of any, and no other than one of many is in its way.
    pub(super) async fn account(&mut self, fires: &Accounted) -> sqlx::Result<()> {
        let inserted = sqlx::query(
            "INSERT INTO cron_job_logs (task_name, status, started_at, completed_at, host, run_id, scheduled_at,
                                        scheduled_until, fires, triggered_by, attempt, reason, config_hash)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?3, ?7, ?8, ?9, ?10, ?11, ?12
             WHERE NOT EXISTS (SELECT 1 FROM cron_job_logs
                               WHERE run_id IS NOT NULL AND host = ?5 AND task_name = ?1 AND scheduled_at = ?3
                                     AND (scheduled_until IS NULL) = (?7 IS NULL))",
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
        .bind(i64::from(fires.scheduled_until.is_none()))
        .bind(fires.reason.to_string())
        .bind(&fires.config_hash)
        .execute(&mut *self.connection)
        .await?;
        if let (Reason::Overlap { run }, 1..) = (&fires.reason, inserted.rows_affected()) {
            self.kept_from_starting(*run, fires.fires).await?;
        }
        Ok(())
    }

    async fn kept_from_starting(&mut self, by: RunId, fires: u64) -> sqlx::Result<()> {
        sqlx::query("UPDATE claims SET skips = skips + ? WHERE run_id = ?")
            .bind(int(fires))
            .bind(int(by.0))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    pub(super) async fn extend(&mut self, run: RunId, until: Timestamp, fires: u64) -> sqlx::Result<()> {
        sqlx::query(
            "UPDATE cron_job_logs SET scheduled_until = max(scheduled_until, ?), fires = fires + ?
             WHERE host = ? AND run_id = ? AND scheduled_until IS NOT NULL",
        )
        .bind(stamp(until))
        .bind(int(fires))
        .bind(self.host)
        .bind(int(run.0))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    pub(super) async fn note(&mut self, run: RunId, reason: &str) -> sqlx::Result<()> {
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

    pub(super) async fn finish(
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
        let timeout = number_or_null(&claim, "timeout_ms")?.map(Duration::from_millis);
        let verdict = Verdict::new(status, reason, report, timeout);
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
}
