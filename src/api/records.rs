//! What has been recorded, as the server and `jobctl` ask for it.
//!
//! The store answers in production; a test answers from memory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::future::BoxFuture;

use super::types::{AlertBacklog, Incident, RunQuery};
use crate::engine::job::JobName;
use crate::engine::record::RunRecord;
use crate::engine::run::RunId;
use crate::engine::time::Timestamp;

/// The recorded facts could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the run table can't be read")]
pub struct RecordsError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// An answer that has to be waited for.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, RecordsError>>;

/// The questions that have recorded answers. Rows come newest number first, except where it says otherwise.
pub trait Records: Send + Sync {
    /// The rows a query names, at most [`RunQuery::rows`].
    fn runs<'a>(&'a self, query: &'a RunQuery) -> Answer<'a, Vec<RunRecord>>;
    /// One row.
    fn run(&self, run: RunId) -> Answer<'_, Option<RunRecord>>;
    /// Every row that is QUEUED or RUNNING, oldest number first.
    fn open_runs(&self) -> Answer<'_, Vec<RunRecord>>;
    /// The newest row of each job.
    fn last_runs(&self) -> Answer<'_, BTreeMap<JobName, RunRecord>>;
    /// The incidents that are not over.
    fn incidents(&self) -> Answer<'_, Vec<Incident>>;
    /// Alerts on their way.
    fn alerts(&self) -> Answer<'_, AlertBacklog>;
    /// When jobd was last known to be there.
    fn last_seen(&self) -> Answer<'_, Option<Timestamp>>;
    /// The host's identity.
    fn host(&self) -> Answer<'_, String>;
    /// The folder of a run, if it has one.
    fn folder(&self, run: RunId) -> Option<PathBuf>;
}
