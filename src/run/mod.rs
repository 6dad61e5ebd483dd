//! The run folder: what jobd and a shim tell each other, in files that survive both.
//!
//! **Invariant:** each file is written by one side, once, and whole before the other side is told of it. A reader
//! tolerates fields it does not know, and refuses a version it does not know.
//!
//! What a start waits for is not synced: the folder's name, the spec, the lock and its mark. They matter only to a jobd
//! that is started again in the same boot, and there a `kill -9` of everything leaves the kernel's own memory as it
//! was. After a power cut it is another boot, in which no process of a run can be alive, and none of these files could
//! tell whether the job was started: a claim that says RUNNING is LOST then, unless its result is there. The result is
//! durable before the lock is released, with the names of the folder and of all above it.

mod durable;
pub mod evidence;
mod folder;
mod mark;
mod result;
mod silent;
mod spec;
mod stuck;

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::os;

pub use durable::{Reserved, make_folder, sync_folder, write_durably};
pub use evidence::Evidence;
pub use folder::{RunFolder, find};
pub use mark::{Mark, Started};
pub use result::RunResult;
pub use silent::Silent;
pub use spec::RunSpec;
pub use stuck::Stuck;

/// The version of `spec.json` that this build writes, and the newest that it reads. It goes up with every field that a
/// shim must not pass over: one that knows fewer limits than the spec has must not run it without them.
pub const SPEC_VERSION: u32 = 3;
/// The same of the mark.
pub const MARK_VERSION: u32 = 1;
/// The same of `result.json`: an end for silence came with version 2.
pub const RESULT_VERSION: u32 = 2;
/// The same of `stuck.json`.
pub const STUCK_VERSION: u32 = 1;
/// The same of `silent.json`.
pub const SILENT_VERSION: u32 = 1;
/// The same of `evidence.json`.
pub const EVIDENCE_VERSION: u32 = 1;

/// Why a file of a run folder could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system refused.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was being done: `read`, `write`, …
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The file is torn, or is none of ours.
    #[error("{} is corrupt", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A newer jobd wrote it.
    #[error(
        "{} has version {version}, and this jobd reads up to version {known}; start the newer jobd again",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The newest version that this build reads.
        known: u32,
    },
}

impl RunError {
    /// Whether it may pass by itself: the host is out of processes, memory or descriptors.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::Io { source, .. } if os::is_shortage(source))
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Reads the version ahead of the rest, which a newer version may have changed in any way.
fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8], known: u32) -> Result<T, RunError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let corrupt = |source| RunError::Corrupt { path: path.to_owned(), source };
    let Version { version } = serde_json::from_slice(bytes).map_err(corrupt)?;
    if version > known {
        return Err(RunError::Newer { path: path.to_owned(), version, known });
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}

/// One line of JSON.
fn to_line<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, RunError> {
    let corrupt = |source| RunError::Corrupt { path: path.to_owned(), source };
    let mut line = serde_json::to_vec(value).map_err(corrupt)?;
    line.push(b'\n');
    Ok(line)
}
