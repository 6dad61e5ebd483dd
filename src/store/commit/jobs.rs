//! Changes of what is known of the jobs and of the host.

use std::collections::BTreeMap;

use super::Work;
use crate::engine::job::JobName;
use crate::engine::ledger::Change;
use crate::engine::time::Timestamp;
use crate::engine::watch::SuccessWatch;
use crate::store::text::{millis, stamp, to_json};

impl Work<'_> {
    pub(super) async fn know(&mut self, jobs: &[Change]) -> sqlx::Result<()> {
        let known = |change: &Change| match change {
            Change::Know { job, schedule_hash, cursor } => {
                Some((job.clone(), schedule_hash.clone(), stamp(*cursor)))
            }
            _ => None,
        };
        let known: Vec<_> = jobs.iter().filter_map(known).collect();
        // The condition tells the parser that what follows is no part of a join.
        sqlx::query(
            "INSERT INTO jobs (name, schedule_hash, cursor, known_since, schedule_since)
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 2, value ->> 2 FROM json_each(?) WHERE TRUE
             ON CONFLICT (name) DO UPDATE SET schedule_hash = excluded.schedule_hash, cursor = excluded.cursor,
                                              schedule_since = excluded.schedule_since",
        )
        .bind(to_json(&known)?)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    pub(super) async fn forget(&mut self, job: &JobName) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM jobs WHERE name = ?")
            .bind(job.as_str())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// A job that is there more than once has got to the furthest of its cursors.
    pub(super) async fn advance(&mut self, jobs: &[Change]) -> sqlx::Result<()> {
        let mut cursors: BTreeMap<&JobName, Timestamp> = BTreeMap::new();
        for change in jobs {
            if let Change::Advance { job, cursor } = change {
                let furthest = cursors.entry(job).or_insert(*cursor);
                *furthest = (*furthest).max(*cursor);
            }
        }
        let cursors: Vec<_> = cursors.into_iter().map(|(job, cursor)| (job, stamp(cursor))).collect();
        sqlx::query(
            "UPDATE jobs SET cursor = max(cursor, moved.value ->> 1)
             FROM json_each(?) AS moved WHERE jobs.name = moved.value ->> 0",
        )
        .bind(to_json(&cursors)?)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    pub(super) async fn booted(&mut self, boot_id: &str) -> sqlx::Result<()> {
        sqlx::query("UPDATE meta SET boot_id = ?").bind(boot_id).execute(&mut *self.connection).await?;
        Ok(())
    }

    pub(super) async fn keep_watch(&mut self, watch: &SuccessWatch) -> sqlx::Result<()> {
        sqlx::query("REPLACE INTO watches (job, limit_ms, last_success, told, alert) VALUES (?, ?, ?, ?, ?)")
            .bind(watch.job.as_str())
            .bind(millis(watch.limit))
            .bind(stamp(watch.last_success))
            .bind(watch.told)
            .bind(to_json(&watch.alert)?)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    pub(super) async fn drop_watch(&mut self, job: &JobName) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM watches WHERE job = ?")
            .bind(job.as_str())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}
