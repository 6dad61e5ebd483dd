//! Where a reading verb has its facts from: jobd if it is there, else the state directory.

use std::path::Path;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::Session;
use super::error::CliError;
use super::offline::{Offline, no_such_job};
use super::tail;
use crate::api::client::{Client, ClientError};
use crate::api::owed::{Owed, OwedQuery};
use crate::api::types::{JobView, RUNS_MAX, RunDetail, RunQuery, Runs, StatusReport};
use crate::api::waiting::Waiting;
use crate::api::why::{Asked, Whys};
use crate::engine::job::JobName;
use crate::engine::record::RunRecord;
use crate::engine::run::{RunId, Status};

/// Pieces of a run's output file.
pub(crate) type Pieces<'a> = BoxStream<'a, Result<Vec<u8>, CliError>>;

/// Where facts come from.
pub(crate) enum Source<'a> {
    Jobd(Client),
    Files(Offline<'a>),
}

impl<'a> Source<'a> {
    /// jobd if somebody listens on its socket, else the state directory, and then says so. A jobd that is there and
    /// does not answer is an error: behind its back things may look other than they are.
    pub(crate) async fn open(session: &mut Session<'a>) -> Result<Self, CliError> {
        let source = Self::open_without_zone(session).await?;
        let zone = match &source {
            Self::Jobd(client) => timezone(client).await?,
            Self::Files(offline) => offline.timezone(),
        };
        session.terminal.use_zone(zone.as_deref());
        Ok(source)
    }

    /// As [`Source::open`], for a verb that gets to know the zone with its facts.
    pub(crate) async fn open_without_zone(session: &mut Session<'a>) -> Result<Self, CliError> {
        Self::jobd_or(session, &session.places.state_dir).await
    }

    /// As [`Source::open`], for a verb that needs only the configuration.
    pub(crate) async fn open_configuration(session: &mut Session<'a>) -> Result<Self, CliError> {
        Self::jobd_or(session, &session.places.config).await
    }

    async fn jobd_or(session: &mut Session<'a>, file: &Path) -> Result<Self, CliError> {
        match Client::connect(&session.places.socket).await {
            Ok(client) => Ok(Self::Jobd(client)),
            Err(ClientError::NotRunning { .. }) => {
                let note = format!("jobd is not running: read from {}", file.display());
                session.terminal.say(&note);
                Ok(Self::Files(session.offline()))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn jobs(&self) -> Result<Vec<JobView>, CliError> {
        match self {
            Self::Jobd(client) => Ok(client.jobs().await?),
            Self::Files(offline) => offline.jobs().await,
        }
    }

    pub(crate) async fn job(&self, name: &str) -> Result<JobView, CliError> {
        self.name(name).await?;
        match self {
            Self::Jobd(client) => Ok(client.job(name).await?),
            Self::Files(offline) => offline.job(name).await,
        }
    }

    /// A job's name from the command line. What can't be one is an unknown job like any other, nearest name and all.
    pub(crate) async fn name(&self, name: &str) -> Result<JobName, CliError> {
        if let Ok(job) = JobName::new(name) {
            return Ok(job);
        }
        let names: Vec<JobName> = match self {
            Self::Jobd(client) => client.jobs().await?.into_iter().map(|job| job.name).collect(),
            Self::Files(offline) => offline.specs()?.into_keys().collect(),
        };
        Err(no_such_job(name, &names))
    }

    pub(crate) async fn runs(&self, query: &RunQuery) -> Result<Runs, CliError> {
        match self {
            Self::Jobd(client) => Ok(client.runs(query).await?),
            Self::Files(offline) => offline.runs(query).await,
        }
    }

    pub(crate) async fn run(&self, run: RunId) -> Result<RunDetail, CliError> {
        match self {
            Self::Jobd(client) => Ok(client.run(run).await?),
            Self::Files(offline) => offline.run(run).await,
        }
    }

    /// The runs that are not over, oldest first.
    pub(crate) async fn open_runs(&self) -> Result<Vec<RunRecord>, CliError> {
        match self {
            Self::Jobd(client) => {
                let status = vec![Status::Queued, Status::Running];
                let query = RunQuery { status, limit: Some(RUNS_MAX), ..RunQuery::default() };
                let mut runs = client.runs(&query).await?.runs;
                runs.reverse();
                Ok(runs)
            }
            Self::Files(offline) => offline.open_runs().await,
        }
    }

    /// What QUEUED runs wait for.
    pub(crate) async fn waiting(&self) -> Result<Waiting, CliError> {
        match self {
            Self::Jobd(client) => Ok(client.waiting().await?),
            Self::Files(offline) => offline.waiting().await,
        }
    }

    /// The missed fires that could be made up for.
    pub(crate) async fn owed(&self, query: &OwedQuery) -> Result<Owed, CliError> {
        match self {
            Self::Jobd(client) => Ok(client.owed(query).await?),
            Self::Files(offline) => offline.owed(query).await,
        }
    }

    /// What became of instants of a job, or will.
    pub(crate) async fn why(&self, job: &str, asked: Asked) -> Result<Whys, CliError> {
        match self {
            Self::Jobd(client) => Ok(client.why(job, asked).await?),
            Self::Files(offline) => offline.why(job, asked).await,
        }
    }

    /// Whether there is no jobd.
    pub(crate) const fn is_offline(&self) -> bool {
        matches!(self, Self::Files(_))
    }

    pub(crate) async fn status(&self) -> Result<StatusReport, CliError> {
        match self {
            Self::Jobd(client) => Ok(client.status().await?),
            Self::Files(offline) => offline.status().await,
        }
    }

    /// A run's output from `offset` on; with `follow`, to the run's end.
    pub(crate) async fn output(&self, run: RunId, offset: u64, follow: bool) -> Result<Pieces<'_>, CliError> {
        match self {
            Self::Jobd(client) => {
                let bytes = client.output(run, offset, follow).await?;
                Ok(bytes.map(|piece| Ok(piece?.to_vec())).boxed())
            }
            Self::Files(offline) => {
                let detail = offline.run(run).await?;
                let Some(folder) = detail.folder else {
                    let why = detail.run.reason.unwrap_or_else(|| "it has no folder".to_owned());
                    return Err(CliError::NoOutput { run, why: format!("{} ({why})", detail.run.status) });
                };
                let tail = tail::Tail::new(offline, detail.run, folder, offset, follow);
                Ok(stream::try_unfold(tail, tail::Tail::step).boxed())
            }
        }
    }
}

/// The zone that jobd's configuration names: what is scheduled in it is shown in it.
pub(crate) async fn timezone(client: &Client) -> Result<Option<String>, CliError> {
    Ok(client.status().await?.timezone)
}
