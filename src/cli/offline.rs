//! The answers of a jobd that is not there, read from the configuration and the state directory.
//!
//! A shim goes on without jobd and writes down how its run ended; the row learns of it only from jobd. So here the
//! run folder's word is laid over a row that still says RUNNING.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::error::CliError;
use super::sources::{Loaded, Sources};
use crate::api::detail::detail;
use crate::api::owed::{self, Owed, OwedQuery};
use crate::api::places::Places;
use crate::api::records::Records;
use crate::api::types::{JobView, RunDetail, RunQuery, Runs, State, StatusReport, StoreHealth};
use crate::api::views;
use crate::api::waiting::{self, Waiting};
use crate::api::why::{self, Asked, Verdict, Whys};
use crate::engine::job::{JobName, JobSpec};
use crate::engine::record::RunRecord;
use crate::engine::run::{RunId, Status};
use crate::engine::time::Timestamp;
use crate::store::settled;

/// What can be read without jobd.
pub(crate) struct Offline<'a> {
    pub(crate) sources: &'a dyn Sources,
    pub(crate) places: &'a Places,
    pub(crate) now: Timestamp,
    pub(crate) colour: bool,
}

impl Offline<'_> {
    /// The configuration.
    pub(crate) fn load(&self) -> Result<Loaded, CliError> {
        self.sources
            .load(&self.places.config, self.colour)
            .map_err(|rejection| CliError::Rejected(rejection.0))
    }

    pub(crate) fn specs(&self) -> Result<BTreeMap<JobName, Arc<JobSpec>>, CliError> {
        Ok(self.load()?.specs)
    }

    /// The zone of the configuration, if it can be read.
    pub(crate) fn timezone(&self) -> Option<String> {
        self.load().ok()?.timezone
    }

    async fn records(&self) -> Result<Box<dyn Records>, CliError> {
        Ok(self.sources.records(&self.places.state_dir).await?)
    }

    pub(crate) async fn jobs(&self) -> Result<Vec<JobView>, CliError> {
        let specs = self.specs()?;
        let records = self.records().await?;
        let mut last = records.last_runs().await?;
        let incidents = records.incidents().await?;
        let pauses = records.pauses().await?;
        let view = |spec: &Arc<JobSpec>| {
            let run = last.remove(&spec.name).map(|run| self.present(run));
            views::job_view(spec, self.now, run, &incidents, &pauses)
        };
        Ok(specs.values().map(view).collect())
    }

    pub(crate) async fn job(&self, name: &str) -> Result<JobView, CliError> {
        let jobs = self.jobs().await?;
        let names: Vec<JobName> = jobs.iter().map(|job| job.name.clone()).collect();
        jobs.into_iter().find(|job| job.name.as_str() == name).ok_or_else(|| no_such_job(name, &names))
    }

    pub(crate) async fn runs(&self, query: &RunQuery) -> Result<Runs, CliError> {
        let runs = self.records().await?.runs(query).await?;
        if let (true, Some(job)) = (runs.is_empty(), &query.job) {
            let specs = self.specs()?;
            if !specs.contains_key(job) {
                let names: Vec<JobName> = specs.into_keys().collect();
                return Err(no_such_job(job.as_str(), &names));
            }
        }
        let runs = runs.into_iter().map(|run| self.present(run)).collect();
        Ok(Runs::page(runs, query))
    }

    pub(crate) async fn run(&self, id: RunId) -> Result<RunDetail, CliError> {
        let records = self.records().await?;
        let run = records.run(id).await?.ok_or(CliError::NoSuchRun(id))?;
        let specs = self.specs().unwrap_or_default();
        let spec = specs.get(&run.task_name).map(AsRef::as_ref);
        let mut detail = detail(&*records, spec, self.present(run)).await?;
        detail.tries = detail.tries.into_iter().map(|run| self.present(run)).collect();
        Ok(detail)
    }

    pub(crate) async fn why(&self, name: &str, asked: Asked) -> Result<Whys, CliError> {
        let specs = self.specs()?;
        let Some(spec) = specs.get(name) else {
            return Err(no_such_job(name, &specs.into_keys().collect::<Vec<_>>()));
        };
        let mut whys = why::answer(&*self.records().await?, spec, asked, self.now).await?;
        for why in &mut whys.answers {
            why.rows = std::mem::take(&mut why.rows).into_iter().map(|run| self.present(run)).collect();
            why.active = std::mem::take(&mut why.active).into_iter().map(|run| self.present(run)).collect();
            why.active.retain(|run| run.completed_at.is_none_or(|end| end >= why.at));
            if why.rows.last().is_some_and(|run| run.status.is_final()) && why.verdict == Verdict::Active {
                why.verdict = Verdict::Ran;
            }
        }
        Ok(whys)
    }

    pub(crate) async fn owed(&self, query: &OwedQuery) -> Result<Owed, CliError> {
        let specs = self.specs()?;
        if let Some(job) = query.job.as_ref().filter(|job| !specs.contains_key(*job)) {
            return Err(no_such_job(job.as_str(), &specs.keys().cloned().collect::<Vec<_>>()));
        }
        Ok(owed::owed(&*self.records().await?, &specs, query).await?)
    }

    pub(crate) async fn waiting(&self) -> Result<Waiting, CliError> {
        Ok(waiting::waiting(&*self.records().await?, &self.specs()?, self.now).await?)
    }

    pub(crate) async fn open_runs(&self) -> Result<Vec<RunRecord>, CliError> {
        let open = self.records().await?.open_runs().await?;
        let present = open.into_iter().map(|run| self.present(run));
        Ok(present.filter(|run| !run.status.is_final()).collect())
    }

    /// The last known state of a jobd that is down.
    pub(crate) async fn status(&self) -> Result<StatusReport, CliError> {
        let records = self.records().await?;
        let pauses = views::in_force(records.pauses().await?, self.now);
        let (specs, timezone) = match self.load() {
            Ok(loaded) => (Some(loaded.specs), loaded.timezone),
            Err(_) => (None, None),
        };
        let open = self.open_runs().await?;
        let queued = open.iter().filter(|run| run.status == Status::Queued).count();
        let mut problems = vec!["jobd is not running: nothing is started".to_owned()];
        if specs.is_none() {
            problems.push(format!(
                "the configuration has mistakes: 'jobctl validate {}' names them",
                self.places.config.display()
            ));
        }
        let zone =
            timezone.as_deref().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::system());
        problems.extend(views::endless_pauses(&pauses, &zone));
        Ok(StatusReport {
            state: State::Down,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: records.host().await?,
            timezone,
            pid: None,
            started_at: None,
            last_seen: records.last_seen().await?,
            config: self.places.config.clone(),
            jobs: specs.as_ref().map(BTreeMap::len),
            running: open.len() - queued,
            queued,
            next_fire: specs.and_then(|specs| views::next_of_all(&specs, self.now)),
            store: StoreHealth { path: self.places.state_dir.clone(), error: None },
            alerts: records.alerts().await?,
            incidents: records.incidents().await?,
            pauses,
            problems,
        })
    }

    /// The row as it would be if jobd had been there.
    pub(crate) fn present(&self, run: RunRecord) -> RunRecord {
        if run.status != Status::Running {
            return run;
        }
        match self.sources.ended(&self.places.state_dir, run.run_id) {
            Some(ended) => settled(run, &ended.report, ended.timeout),
            None => run,
        }
    }
}

/// The error for a name that is no job's, with the nearest one.
pub(crate) fn no_such_job(name: &str, names: &[JobName]) -> CliError {
    let help = views::suggestion(name, names.iter().map(JobName::as_str));
    CliError::NoSuchJob { name: name.to_owned(), help }
}
