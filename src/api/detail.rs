//! One run with what its folder says of it.

use super::records::{Records, RecordsError};
use super::types::{RunDetail, RunEnd};
use crate::engine::job::JobSpec;
use crate::engine::record::RunRecord;
use crate::engine::run::Status;
use crate::run::{RunFolder, RunResult};

/// Puts a row, the other rows of its fire and what is in its folder together. A file that cannot be read is as one
/// that is not there: the row is what counts.
///
/// # Errors
/// When the records can't be read.
pub async fn detail(
    records: &dyn Records,
    spec: Option<&JobSpec>,
    run: RunRecord,
) -> Result<RunDetail, RecordsError> {
    let folder = records.folder(run.run_id);
    let path = folder.clone();
    // Not for a thread that others wait for: the disk may be slow.
    let read = tokio::task::spawn_blocking(move || {
        let folder = RunFolder::at(path?);
        Some((folder.result().ok().flatten(), folder.evidence().ok().flatten()))
    });
    let (result, evidence) = read.await.ok().flatten().unwrap_or_default();
    let mut tries = match run.scheduled_at {
        Some(at) if run.scheduled_until.is_none() => records.fire_rows(&run.task_name, at).await?,
        _ => Vec::new(),
    };
    tries.retain(|row| row.run_id != run.run_id && row.scheduled_until.is_none());
    let not_before = match run.status {
        Status::Queued => {
            let claims = records.open_claims().await?;
            claims.iter().find(|open| open.claim.run == run.run_id).and_then(|open| open.claim.not_before)
        }
        _ => None,
    };
    Ok(RunDetail {
        folder,
        end: result.map(RunEnd::from),
        evidence,
        tries,
        attempts_max: spec.and_then(|spec| spec.retry.as_ref()).map(|retry| retry.attempts),
        not_before,
        run,
    })
}

impl From<RunResult> for RunEnd {
    fn from(result: RunResult) -> Self {
        Self {
            stop: result.stop,
            remark: result.remark,
            output_left_out: result.output_left_out,
            tree: result.tree,
            waited_for: result.waited_for,
            oom: result.oom,
        }
    }
}
