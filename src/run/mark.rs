//! The started mark: what the shim writes into the lock file before it starts the job.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{MARK_VERSION, RunError, to_line};
use crate::engine::time::Timestamp;

/// What a mark is padded to with spaces: it is rewritten in place, and its file keeps its length.
const LINE_BYTES: usize = 1024;

/// Who holds a run. From here on the run has been started, or must be taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The version of this file.
    pub version: u32,
    /// The shim.
    pub pid: u32,
    /// When the shim was started, in clock ticks since boot; with the boot id it makes the pid unique.
    pub start_time: u64,
    /// The boot in which all this holds.
    pub boot_id: String,
    /// The run's control group, if it has one.
    pub cgroup: Option<PathBuf>,
    /// The job's main process, once it runs.
    #[serde(default)]
    pub job: Option<Started>,
}

/// The job's main process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its pid.
    pub pid: u32,
    /// When it was started.
    pub at: Timestamp,
}

impl Mark {
    /// The mark of a shim that has not started its job yet.
    #[must_use]
    pub const fn new(pid: u32, start_time: u64, boot_id: String, cgroup: Option<PathBuf>) -> Self {
        Self { version: MARK_VERSION, pid, start_time, boot_id, cgroup, job: None }
    }

    /// Writes the mark into the lock file, in one piece.
    ///
    /// # Errors
    /// When the disk fails or is full. The file is then left without a mark, so that nobody takes the run for started.
    pub fn write(&self, lock: &File, path: &Path) -> Result<(), RunError> {
        let written = self.write_further(lock, path);
        if written.is_err() {
            // If even this fails, the torn mark counts as LOST, which is the safe side.
            let _ = lock.set_len(0);
        }
        written
    }

    /// Writes the mark again over itself, with the main process.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write_further(&self, lock: &File, path: &Path) -> Result<(), RunError> {
        let mut line = to_line(path, self)?;
        line.resize(line.len().max(LINE_BYTES), b' ');
        lock.write_all_at(&line, 0).map_err(RunError::io("write", path))
    }
}
