//! Changes of incidents, and the messages that tell of them.

use super::Work;
use crate::engine::job::JobName;
use crate::engine::notice::Notice;
use crate::engine::run::{RunId, Status};
use crate::engine::time::Timestamp;
use crate::store::text::{int, stamp, to_json};

impl Work<'_> {
    pub(super) async fn open_incident(
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

    pub(super) async fn join_incident(&mut self, job: &JobName, status: Status) -> sqlx::Result<()> {
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

    pub(super) async fn close_incident(
        &mut self,
        job: &JobName,
        run: RunId,
        at: Timestamp,
    ) -> sqlx::Result<()> {
        sqlx::query("UPDATE incidents SET closed_at = ?, closed_run = ? WHERE job = ? AND closed_at IS NULL")
            .bind(stamp(at))
            .bind(int(run.0))
            .bind(job.as_str())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    pub(super) async fn notify(&mut self, channel: &str, notice: &Notice) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO outbox (channel, facts, created_at, next_try_at) VALUES (?1, ?2, ?3, ?3)")
            .bind(channel)
            .bind(to_json(notice)?)
            .bind(stamp(self.at))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}
