//! What has been recorded, as the server and `jobctl` ask for it.
//!
//! The store answers in production; a test answers from memory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::future::BoxFuture;

use super::types::{AlertBacklog, Incident, RunQuery};
use crate::engine::job::JobName;
use crate::engine::ledger::OpenClaim;
use crate::engine::pause::Pause;
use crate::engine::record::{Gap, JobAccount, PauseRecord, RunRecord};
use crate::engine::run::RunId;
use crate::engine::time::Timestamp;
use crate::engine::watch::SuccessWatch;

/// The recorded facts could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the run table can't be read")]
pub struct RecordsError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// An answer that has to be waited for.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, RecordsError>>;

/// The questions that have recorded answers. Rows come newest number first, except where it says otherwise.
pub trait Records: Send + Sync {
    /// The rows a query names, at most [`RunQuery::rows`]. Fires without a run are those MISSED and SKIPPED.
    fn runs<'a>(&'a self, query: &'a RunQuery) -> Answer<'a, Vec<RunRecord>>;
    /// One row.
    fn run(&self, run: RunId) -> Answer<'_, Option<RunRecord>>;
    /// Every row that is QUEUED or RUNNING, oldest number first.
    fn open_runs(&self) -> Answer<'_, Vec<RunRecord>>;
    /// The newest row of each job.
    fn last_runs(&self) -> Answer<'_, BTreeMap<JobName, RunRecord>>;
    /// The rows of one fire: each try of it, in order, then the rows of many fires that cover its instant.
    fn fire_rows<'a>(&'a self, job: &'a JobName, at: Timestamp) -> Answer<'a, Vec<RunRecord>>;
    /// What is promised and not settled, in the order of the numbers: how far each has come, what it waits for.
    fn open_claims(&self) -> Answer<'_, Vec<OpenClaim>>;
    /// From when to when a job is accounted for; none for a job that is not configured.
    fn known<'a>(&'a self, job: &'a JobName) -> Answer<'a, Option<JobAccount>>;
    /// The times in which nobody was there or could act that have a part between the two instants, oldest first.
    fn gaps(&self, from: Timestamp, until: Timestamp) -> Answer<'_, Vec<Gap>>;
    /// The pauses in force, those whose time is over and that jobd has not ended yet included.
    fn pauses(&self) -> Answer<'_, Vec<Pause>>;
    /// The pauses of a job, and of every job, that have a part between the two instants, oldest first.
    fn pause_log<'a>(
        &'a self,
        job: &'a JobName,
        from: Timestamp,
        until: Timestamp,
    ) -> Answer<'a, Vec<PauseRecord>>;
    /// The jobs that must succeed every so often, configured or not, by name.
    fn watches(&self) -> Answer<'_, Vec<SuccessWatch>>;
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
