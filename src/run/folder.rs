//! Where a run's files are.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{EVIDENCE_VERSION, MARK_VERSION, RESULT_VERSION, SILENT_VERSION, SPEC_VERSION, STUCK_VERSION};
use super::{Evidence, Mark, RunError, RunResult, RunSpec, Silent, Stuck, durable, parse, to_line};
use crate::engine::run::RunId;
use crate::engine::time::Timestamp;

/// `<state>/runs/<date>/<run id>`: the date is that of the claim, in UTC, so that old runs are removed by folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

/// Looks for the folder of a run whose date is not known.
#[must_use]
pub fn find(state: &Path, run: RunId) -> Option<RunFolder> {
    let dates = fs::read_dir(state.join("runs")).ok()?;
    let mut found = dates.flatten().map(|date| date.path().join(run.to_string()));
    found.find(|path| path.is_dir()).map(RunFolder::at)
}

/// Who asked for a run to be stopped, as jobd leaves it for the shim.
#[derive(Debug, Serialize, Deserialize)]
struct StopRequest {
    by: String,
}

impl RunFolder {
    /// The folder of a run, which need not exist. `state` is an absolute path: the shim and the job have working
    /// directories of their own.
    #[must_use]
    pub fn new(state: &Path, claimed_at: Timestamp, run: RunId) -> Self {
        let date = claimed_at.strftime("%Y-%m-%d").to_string();
        Self { path: state.join("runs").join(date).join(run.to_string()) }
    }

    /// The folder at this path.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Makes the folder below a state directory that exists. Its own name becomes durable with its result, or when it
    /// is [kept](Self::keep).
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self) -> Result<(), RunError> {
        // From the state directory: <state>/runs/<date>/<run id>.
        let state = self.path.ancestors().nth(3).unwrap_or(Path::new("/"));
        durable::make_folder(state, &self.path).map_err(RunError::io("make", &self.path))
    }

    /// Makes its own name durable as well, for whoever has to know after a power cut that it was there.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn keep(&self) -> Result<(), RunError> {
        let folder_above = self.path.parent().unwrap_or(Path::new("/"));
        durable::sync_folder(folder_above).map_err(RunError::io("sync", folder_above))
    }

    /// Removes the folder with all that is in it: of a run that was never started. That it is gone already is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn discard(&self) -> Result<(), RunError> {
        // The lock goes first: who finds a folder without one knows that nobody holds it.
        for path in [self.lock_path(), self.spec_path()] {
            let _ = fs::remove_file(path);
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RunError::io("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What to run.
    #[must_use]
    pub fn spec_path(&self) -> PathBuf {
        self.path.join("spec.json")
    }

    /// How it ended.
    #[must_use]
    pub fn result_path(&self) -> PathBuf {
        self.path.join("result.json")
    }

    /// What the job wrote to stdout and stderr.
    #[must_use]
    pub fn output_path(&self) -> PathBuf {
        self.path.join("output.log")
    }

    /// Held for as long as the run is not over; holds the mark.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// What the job says of itself (`$JOBD_MESSAGE_FILE`).
    #[must_use]
    pub fn message_path(&self) -> PathBuf {
        self.path.join("message")
    }

    /// Who asked for the run to be stopped.
    #[must_use]
    pub fn stop_path(&self) -> PathBuf {
        self.path.join("stop.json")
    }

    /// Which processes do not die of SIGKILL.
    #[must_use]
    pub fn stuck_path(&self) -> PathBuf {
        self.path.join("stuck.json")
    }

    /// Since when the run says nothing and does nothing.
    #[must_use]
    pub fn silent_path(&self) -> PathBuf {
        self.path.join("silent.json")
    }

    /// What its processes were doing before they were made to end.
    #[must_use]
    pub fn evidence_path(&self) -> PathBuf {
        self.path.join("evidence.json")
    }

    /// Writes the evidence, durably.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub fn write_evidence(&self, evidence: &Evidence) -> Result<(), RunError> {
        let path = self.evidence_path();
        durable::write_durably(&path, &to_line(&path, evidence)?).map_err(RunError::io("write", &path))
    }

    /// Reads the evidence; `None` if there is none: the run ended by itself.
    ///
    /// # Errors
    /// When it cannot be read, is corrupt or newer than this build.
    pub fn evidence(&self) -> Result<Option<Evidence>, RunError> {
        read(&self.evidence_path(), EVIDENCE_VERSION)
    }

    /// Writes the spec, whole or not at all. A power cut may take it away.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub fn write_spec(&self, spec: &RunSpec) -> Result<(), RunError> {
        let path = self.spec_path();
        durable::write_whole(&path, &to_line(&path, spec)?).map_err(RunError::io("write", &path))
    }

    /// Reads the spec; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read, is corrupt or newer than this build.
    pub fn spec(&self) -> Result<Option<RunSpec>, RunError> {
        read(&self.spec_path(), SPEC_VERSION)
    }

    /// Reads the result; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read, is corrupt or newer than this build.
    pub fn result(&self) -> Result<Option<RunResult>, RunError> {
        read(&self.result_path(), RESULT_VERSION)
    }

    /// Reads the mark; `None` if the shim has not got so far.
    ///
    /// # Errors
    /// When it cannot be read, is corrupt or newer than this build.
    pub fn mark(&self) -> Result<Option<Mark>, RunError> {
        read(&self.lock_path(), MARK_VERSION)
    }

    /// Leaves word, durably, of processes that do not die of SIGKILL.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub fn write_stuck(&self, stuck: &Stuck) -> Result<(), RunError> {
        let path = self.stuck_path();
        durable::write_durably(&path, &to_line(&path, stuck)?).map_err(RunError::io("write", &path))
    }

    /// Reads which processes do not die of SIGKILL; `None` if the shim has not said so.
    ///
    /// # Errors
    /// When it cannot be read, is corrupt or newer than this build.
    pub fn stuck(&self) -> Result<Option<Stuck>, RunError> {
        read(&self.stuck_path(), STUCK_VERSION)
    }

    /// Leaves word, durably, that the run says nothing and does nothing.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub fn write_silent(&self, silent: &Silent) -> Result<(), RunError> {
        let path = self.silent_path();
        durable::write_durably(&path, &to_line(&path, silent)?).map_err(RunError::io("write", &path))
    }

    /// Reads since when the run says nothing; `None` if the shim has not said so.
    ///
    /// # Errors
    /// When it cannot be read, is corrupt or newer than this build.
    pub fn silent(&self) -> Result<Option<Silent>, RunError> {
        read(&self.silent_path(), SILENT_VERSION)
    }

    /// Opens the lock file; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_lock(&self) -> Result<Option<File>, RunError> {
        let path = self.lock_path();
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RunError::io("open", &path)(error)),
        }
    }

    /// Opens the lock file, and makes it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_lock(&self) -> Result<File, RunError> {
        let path = self.lock_path();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(&path).map_err(RunError::io("open", &path))
    }

    /// Leaves word, durably, of who asks for the run to be stopped. The first word stays.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub fn write_stop(&self, by: &str) -> Result<(), RunError> {
        let path = self.stop_path();
        if path.exists() {
            return Ok(());
        }
        let line = to_line(&path, &StopRequest { by: by.to_owned() })?;
        durable::write_durably(&path, &line).map_err(RunError::io("write", &path))
    }

    /// Who asked for the run to be stopped; `None` if nobody left word.
    #[must_use]
    pub fn stopped_by(&self) -> Option<String> {
        let bytes = fs::read(self.stop_path()).ok()?;
        serde_json::from_slice::<StopRequest>(&bytes).ok().map(|request| request.by)
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path, known: u32) -> Result<Option<T>, RunError> {
    match fs::read(path) {
        // The lock file is empty until the shim has written its mark.
        Ok(bytes) if bytes.is_empty() => Ok(None),
        Ok(bytes) => parse(path, &bytes, known).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RunError::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(state: &Path) -> RunFolder {
        let folder = RunFolder::new(state, "2026-03-01T23:30:00Z".parse().unwrap(), RunId(7));
        folder.create().unwrap();
        folder
    }

    #[test]
    fn a_folder_is_named_by_date_and_run_and_found_by_run() {
        let state = tempfile::tempdir().unwrap();
        let folder = folder(state.path());
        assert_eq!(folder.path(), state.path().join("runs/2026-03-01/7"));
        assert_eq!(find(state.path(), RunId(7)), Some(folder));
        assert_eq!(find(state.path(), RunId(8)), None);
    }

    #[test]
    fn a_torn_or_newer_file_is_an_error_and_a_missing_one_is_none() {
        let state = tempfile::tempdir().unwrap();
        let folder = folder(state.path());
        assert!(folder.result().unwrap().is_none());
        fs::write(folder.result_path(), "{\"version\":1,\"ex").unwrap();
        assert!(matches!(folder.result(), Err(RunError::Corrupt { .. })));
        fs::write(folder.result_path(), "{\"version\":3,\"new\":\"shape\"}").unwrap();
        let error = folder.result().unwrap_err();
        assert!(matches!(error, RunError::Newer { version: 3, .. }));
        assert!(error.to_string().contains("this jobd reads up to version 2"));
    }

    #[test]
    fn the_first_to_stop_a_run_is_named() {
        let state = tempfile::tempdir().unwrap();
        let folder = folder(state.path());
        assert_eq!(folder.stopped_by(), None);
        folder.write_stop("uid 1000").unwrap();
        folder.write_stop("uid 0").unwrap();
        assert_eq!(folder.stopped_by().as_deref(), Some("uid 1000"));
    }
}
