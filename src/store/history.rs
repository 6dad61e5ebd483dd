//! How jobs have ended lately.
//!
//! A row a job, however long its history is: the last ends are read from an index, the latest run first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::text::{job, json, time_or_null, to_json};
use crate::engine::job::JobName;
use crate::engine::ledger::{HISTORY_MAX, JobHistory};
use crate::engine::run::Status;
use crate::engine::time::Timestamp;

/// How the jobs have ended lately.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    host: &str,
    jobs: &BTreeSet<JobName>,
) -> sqlx::Result<BTreeMap<JobName, JobHistory>> {
    if jobs.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query(HISTORY)
        .bind(to_json(jobs)?)
        .bind(host)
        .bind(i64::try_from(HISTORY_MAX).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((job(row, "name")?, history(row)?))).collect()
}

/// `?1` is the names, `?2` the host, `?3` how much of each. Runs follow each other by their numbers: by a clock that
/// was set, a further try may seem the earlier one. Each status is asked for by itself, since the index has the ends of
/// one status in their order. An end counts as its fire's unless a later try has ended or is still to come; what was
/// killed before it started took no time, and is the end of nothing.
pub(super) const HISTORY: &str = "
    SELECT wanted.value AS name,
           (SELECT completed_at FROM cron_job_logs
            WHERE run_id IS NOT NULL AND +host = ?2 AND task_name = wanted.value AND status = 'SUCCESS'
                  AND status IN ('SUCCESS', 'FAILED', 'TIMEOUT', 'KILLED', 'LOST')
            ORDER BY run_id DESC LIMIT 1) AS last_success,
           (SELECT json_group_array(duration_ms) FROM (
                SELECT duration_ms FROM cron_job_logs
                WHERE run_id IS NOT NULL AND +host = ?2 AND task_name = wanted.value AND status = 'SUCCESS'
                      AND status IN ('SUCCESS', 'FAILED', 'TIMEOUT', 'KILLED', 'LOST')
                ORDER BY run_id DESC LIMIT ?3)) AS successes,
           (SELECT json_group_array(json_array(scheduled_at, status)) FROM (
                SELECT ended.scheduled_at, ended.status
                FROM (SELECT value AS status
                      FROM json_each(json_array('SUCCESS', 'FAILED', 'TIMEOUT', 'KILLED', 'LOST'))) AS of
                CROSS JOIN cron_job_logs AS ended ON ended.id IN (
                    SELECT run.id FROM cron_job_logs AS run
                    WHERE run.run_id IS NOT NULL AND +run.host = ?2 AND run.task_name = wanted.value
                          AND run.status = of.status
                          AND run.status IN ('SUCCESS', 'FAILED', 'TIMEOUT', 'KILLED', 'LOST')
                          AND run.scheduled_at IS NOT NULL
                          AND (run.status <> 'KILLED' OR run.duration_ms IS NOT NULL)
                          AND NOT EXISTS (
                              SELECT 1 FROM cron_job_logs AS later
                              WHERE later.run_id IS NOT NULL AND later.host = run.host
                                    AND later.task_name = run.task_name AND later.scheduled_at = run.scheduled_at
                                    AND later.attempt > run.attempt
                                    AND (later.status IN ('SUCCESS', 'FAILED', 'TIMEOUT', 'KILLED', 'LOST')
                                             AND (later.status <> 'KILLED' OR later.duration_ms IS NOT NULL)
                                         OR (later.triggered_by = 'retry' AND later.completed_at IS NULL)))
                    ORDER BY run.run_id DESC LIMIT ?3)
                ORDER BY ended.run_id DESC LIMIT ?3)) AS ends
    FROM json_each(?1) AS wanted";

/// A row of [`HISTORY`], whose lists have the latest first.
fn history(row: &SqliteRow) -> sqlx::Result<JobHistory> {
    let successes: Vec<Option<u64>> = json(row, "successes")?;
    let ends: Vec<(Timestamp, Status)> = json(row, "ends")?;
    Ok(JobHistory {
        successes: successes.into_iter().rev().flatten().map(Duration::from_millis).collect(),
        ends: ends.into_iter().rev().collect(),
        last_success: time_or_null(row, "last_success")?,
    })
}
