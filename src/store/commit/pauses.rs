//! Changes of the times in which nothing is started: pauses, and gaps in which nobody was there to start it.

use super::Work;
use crate::engine::job::JobName;
use crate::engine::pause::Pause;
use crate::engine::reason::Reason;
use crate::engine::time::Timestamp;
use crate::store::text::{stamp, to_json};

/// How many gaps, and how many pauses that are over, are remembered.
const LOG_ROWS_MAX: i64 = 10_000;

impl Work<'_> {
    pub(super) async fn gap(
        &mut self,
        from: Timestamp,
        until: Timestamp,
        reason: &Reason,
    ) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO gaps (from_at, until_at, reason) VALUES (?, ?, ?)")
            .bind(stamp(from))
            .bind(stamp(until))
            .bind(to_json(reason)?)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query("DELETE FROM gaps WHERE id <= (SELECT max(id) FROM gaps) - ?")
            .bind(LOG_ROWS_MAX)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    pub(super) async fn pause(&mut self, pause: &Pause) -> sqlx::Result<()> {
        self.resume(pause.job.as_ref(), Some(&pause.by), self.at).await?;
        sqlx::query("INSERT INTO pauses (job, paused_by, since, until, why) VALUES (?, ?, ?, ?, ?)")
            .bind(pause.job.as_ref().map(JobName::as_str))
            .bind(&pause.by)
            .bind(stamp(pause.since))
            .bind(pause.until.map(stamp))
            .bind(&pause.why)
            .execute(&mut *self.connection)
            .await?;
        let old = "DELETE FROM pauses WHERE ended_at IS NOT NULL AND id <= (SELECT max(id) FROM pauses) - ?";
        sqlx::query(old).bind(LOG_ROWS_MAX).execute(&mut *self.connection).await?;
        Ok(())
    }

    pub(super) async fn resume(
        &mut self,
        job: Option<&JobName>,
        by: Option<&str>,
        at: Timestamp,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "UPDATE pauses SET ended_at = ?, ended_by = ? WHERE ended_at IS NULL AND ifnull(job, '') = ?",
        )
        .bind(stamp(at))
        .bind(by)
        .bind(job.map_or("", JobName::as_str))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
