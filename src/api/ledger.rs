//! The recorded facts as they are kept: rows in the store, the rest in the run folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;

use super::records::{Answer, Records, RecordsError};
use super::types::{AlertBacklog, Incident, RunQuery};
use crate::engine::job::JobName;
use crate::engine::ledger::OpenClaim;
use crate::engine::pause::Pause;
use crate::engine::record::{Gap, JobAccount, PauseRecord, RunRecord};
use crate::engine::run::{RunId, Status};
use crate::engine::time::Timestamp;
use crate::engine::watch::SuccessWatch;
use crate::run;
use crate::store::{Reader, RunFilter, StoreError};

/// The records of a state directory.
#[derive(Debug, Clone)]
pub struct Ledger {
    reader: Reader,
    state_dir: PathBuf,
}

impl Ledger {
    /// The records behind a reader of this state directory's store.
    #[must_use]
    pub const fn new(reader: Reader, state_dir: PathBuf) -> Self {
        Self { reader, state_dir }
    }

    /// Opens the records of a state directory, whether or not jobd is running.
    ///
    /// # Errors
    /// When the store can't be opened.
    pub async fn open(state_dir: &Path) -> Result<Self, RecordsError> {
        let reader = Reader::open(state_dir).await?;
        Ok(Self::new(reader, state_dir.to_owned()))
    }

    /// The row of a run that goes on does not know the job's process yet; its shim does.
    fn alive(&self, run: RunRecord) -> RunRecord {
        if run.status != Status::Running {
            return run;
        }
        let mark = run::find(&self.state_dir, run.run_id).and_then(|folder| folder.mark().ok().flatten());
        match mark.and_then(|mark| mark.job) {
            Some(job) => RunRecord { pid: Some(job.pid), started_at: job.at, ..run },
            None => run,
        }
    }
}

impl From<StoreError> for RecordsError {
    fn from(error: StoreError) -> Self {
        Self(Box::new(error))
    }
}

impl Records for Ledger {
    fn runs<'a>(&'a self, query: &'a RunQuery) -> Answer<'a, Vec<RunRecord>> {
        let filter = RunFilter {
            job: query.job.clone(),
            status: query.status.clone(),
            since: query.since,
            until: query.until,
            before_run: query.before,
            limit: query.rows(),
        };
        async move { Ok(self.reader.runs(&filter).await?.into_iter().map(|run| self.alive(run)).collect()) }
            .boxed()
    }

    fn run(&self, run: RunId) -> Answer<'_, Option<RunRecord>> {
        async move { Ok(self.reader.run(run).await?.map(|run| self.alive(run))) }.boxed()
    }

    fn open_runs(&self) -> Answer<'_, Vec<RunRecord>> {
        async { Ok(self.reader.open_runs().await?.into_iter().map(|run| self.alive(run)).collect()) }.boxed()
    }

    fn last_runs(&self) -> Answer<'_, BTreeMap<JobName, RunRecord>> {
        async { Ok(self.reader.last_run_per_job().await?) }.boxed()
    }

    fn fire_rows<'a>(&'a self, job: &'a JobName, at: Timestamp) -> Answer<'a, Vec<RunRecord>> {
        let rows = async move {
            let rows = self.reader.fire_rows(job, at).await?.into_iter();
            Ok(rows.map(|run| self.alive(run)).collect())
        };
        rows.boxed()
    }

    fn open_claims(&self) -> Answer<'_, Vec<OpenClaim>> {
        async { Ok(self.reader.open_claims().await?) }.boxed()
    }

    fn known<'a>(&'a self, job: &'a JobName) -> Answer<'a, Option<JobAccount>> {
        async move { Ok(self.reader.known(job).await?) }.boxed()
    }

    fn gaps(&self, from: Timestamp, until: Timestamp) -> Answer<'_, Vec<Gap>> {
        async move { Ok(self.reader.gaps(from, until).await?) }.boxed()
    }

    fn pauses(&self) -> Answer<'_, Vec<Pause>> {
        async { Ok(self.reader.pauses().await?) }.boxed()
    }

    fn pause_log<'a>(
        &'a self,
        job: &'a JobName,
        from: Timestamp,
        until: Timestamp,
    ) -> Answer<'a, Vec<PauseRecord>> {
        async move { Ok(self.reader.pause_log(job, from, until).await?) }.boxed()
    }

    fn watches(&self) -> Answer<'_, Vec<SuccessWatch>> {
        async { Ok(self.reader.watches().await?) }.boxed()
    }

    fn incidents(&self) -> Answer<'_, Vec<Incident>> {
        let incidents = async {
            let open = self.reader.incidents().await?.into_iter();
            Ok(open.map(|one| Incident { job: one.job, since: one.since, bad_runs: one.bad_runs }).collect())
        };
        incidents.boxed()
    }

    fn alerts(&self) -> Answer<'_, AlertBacklog> {
        let alerts = async {
            let outbox = self.reader.outbox_status().await?;
            Ok(AlertBacklog { waiting: outbox.waiting, oldest: outbox.oldest, last_error: outbox.last_error })
        };
        alerts.boxed()
    }

    fn last_seen(&self) -> Answer<'_, Option<Timestamp>> {
        async { Ok(self.reader.last_seen().await?) }.boxed()
    }

    fn host(&self) -> Answer<'_, String> {
        async { Ok(self.reader.host().to_owned()) }.boxed()
    }

    fn folder(&self, run: RunId) -> Option<PathBuf> {
        run::find(&self.state_dir, run).map(|folder| folder.path().to_owned())
    }
}
