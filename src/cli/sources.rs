//! What `jobctl` reads without jobd's help: the configuration and the state directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::api::records::{Records, RecordsError};
use crate::engine::admission::Admission;
use crate::engine::job::{JobName, JobSpec};
use crate::engine::run::{Report, RunId};

/// A configuration without mistakes.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What is in it, in one line.
    pub summary: String,
    /// The zone of schedules that name none, an IANA name.
    pub timezone: Option<String>,
    /// The jobs.
    pub specs: BTreeMap<JobName, Arc<JobSpec>>,
    /// What holds for all runs together.
    pub admission: Admission,
    /// A fingerprint of all of it, except of secrets.
    pub hash: String,
    /// What will not work as written, each a text for people.
    pub warnings: Vec<String>,
}

/// A configuration with mistakes: the report on all of them, for people.
#[derive(Debug)]
pub struct Rejection(pub String);

/// A run that is over, by the word of its own folder.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub report: Report,
    /// Its time limit.
    pub timeout: Option<Duration>,
}

/// The readers `jobctl` needs. The real ones are the configuration's, the store's and the run folder's.
pub trait Sources: Sync {
    /// Reads a configuration.
    ///
    /// # Errors
    /// When it has mistakes; the report is coloured if asked for.
    fn load(&self, config: &Path, colour: bool) -> Result<Loaded, Rejection>;

    /// Opens the records of a state directory, read only.
    fn records<'a>(&'a self, state_dir: &'a Path) -> BoxFuture<'a, Result<Box<dyn Records>, RecordsError>>;

    /// How a run ended by its own folder, if it is over.
    fn ended(&self, state_dir: &Path, run: RunId) -> Option<Ended>;
}
