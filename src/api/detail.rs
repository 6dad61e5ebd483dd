//! One run with what its folder says of it.

use std::path::PathBuf;

use super::types::{RunDetail, RunEnd};
use crate::engine::record::RunRecord;
use crate::run::{RunFolder, RunResult};

/// Puts a row and what is in its folder together. A file that cannot be read is as one that is not there: the row is
/// what counts.
pub async fn detail(run: RunRecord, folder: Option<PathBuf>) -> RunDetail {
    let path = folder.clone();
    // Not for a thread that others wait for: the disk may be slow.
    let read = tokio::task::spawn_blocking(move || {
        let folder = RunFolder::at(path?);
        Some((folder.result().ok().flatten(), folder.evidence().ok().flatten()))
    });
    let (result, evidence) = read.await.ok().flatten().unwrap_or_default();
    RunDetail { run, folder, end: result.map(RunEnd::from), evidence }
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
