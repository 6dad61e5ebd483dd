//! `jobctl`'s side of the API.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{Stream, StreamExt};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::owed::{Owed, OwedQuery};
use super::query;
use super::server::WAIT_MAX;
use super::types::{
    Accepted, CatchUpRequest, Done, ErrorBody, ErrorCode, JobView, Jobs, PauseRequest, Reloading,
    ResumeRequest, RunDetail, RunQuery, RunRequest, Runs, StatusReport,
};
use super::waiting::Waiting;
use super::why::{Asked, Whys};
use crate::engine::job::JobName;
use crate::engine::pause::Pause;
use crate::engine::run::RunId;
use crate::engine::time::Timestamp;
use crate::run::Evidence;

/// What every address begins with; over a Unix socket the host's name says nothing.
const BASE: &str = "http://jobd/v1/";
/// How long an answer to a question may take. A daemon that needs longer hangs.
const READ_MAX: Duration = Duration::from_secs(2);
/// How long an answer to a request that changes something may take, or that looks at processes: it waits for the disk.
const CHANGE_MAX: Duration = Duration::from_secs(12);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("jobd is not running: nobody answers on {socket}")]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// Why the connection failed.
        #[source]
        source: io::Error,
    },
    /// The socket may not be opened by this user.
    #[error("no permission to connect to jobd on {0}")]
    NoPermission(PathBuf),
    /// Somebody listens and does not answer.
    #[error("jobd does not answer on {socket} within {seconds} s")]
    NotAnswering {
        /// The socket.
        socket: PathBuf,
        /// How long it had.
        seconds: u64,
    },
    /// The connection ended before the answer was whole.
    #[error("the connection to jobd on {socket} broke")]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// jobd says no.
    #[error("{}", .0.error)]
    Answered(ErrorBody),
    /// What came back is not what jobd says.
    #[error("what answers on {0} does not speak as this version of jobctl expects")]
    Foreign(PathBuf),
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => Some(
                "'systemctl status jobd' says why; with a jobd of your own, name its socket by --socket"
                    .to_owned(),
            ),
            Self::NoPermission(_) => Some("run as root, or as a member of the socket's group".to_owned()),
            Self::NotAnswering { .. } => {
                Some("'systemctl status jobd' and 'journalctl -u jobd' say more".to_owned())
            }
            Self::Broken { .. } => Some("jobd may have been restarted: try again".to_owned()),
            Self::Answered(body) => body.help.clone(),
            Self::Foreign(_) => Some("jobctl and jobd may be of different versions".to_owned()),
        }
    }

    /// Whether there is no such job or run.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Answered(ErrorBody { code: ErrorCode::NoSuchJob | ErrorCode::NoSuchRun, .. }))
    }

    /// Whether jobd gave no answer, or said that it can't give one now.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Answered(body) => body.code == ErrorCode::Unavailable,
            _ => true,
        }
    }

    /// Whether a jobd that is being restarted, or hangs for a moment, would look like this.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.is_unreachable() && !matches!(self, Self::NoPermission(_) | Self::Foreign(_))
    }
}

/// A way to a jobd; each request is a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    base: Url,
    http: reqwest::Client,
}

impl Client {
    /// A client of the jobd that listens on the socket, after a look whether one does.
    ///
    /// # Errors
    /// When nobody listens, or this user may not connect.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        UnixStream::connect(socket).await.map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::NoPermission(socket.to_owned()),
            _ => ClientError::NotRunning { socket: socket.to_owned(), source },
        })?;
        let broken = |source| ClientError::Broken { socket: socket.to_owned(), source };
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            // No TLS is spoken here, and a host that has no certificates installed is a host all the same.
            .tls_certs_only([])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(broken)?;
        let base = http.get(BASE).build().map_err(broken)?.url().clone();
        Ok(Self { socket: socket.to_owned(), base, http })
    }

    /// How jobd is.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn status(&self) -> Result<StatusReport, ClientError> {
        self.read(&["status"], &[]).await
    }

    /// Every job, by name.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn jobs(&self) -> Result<Vec<JobView>, ClientError> {
        Ok(self.read::<Jobs>(&["jobs"], &[]).await?.jobs)
    }

    /// One job.
    ///
    /// # Errors
    /// When there is no such job, or no answer.
    pub async fn job(&self, name: &str) -> Result<JobView, ClientError> {
        self.read(&["jobs", name], &[]).await
    }

    /// Rows of the run table.
    ///
    /// # Errors
    /// When there is no such job, or no answer.
    pub async fn runs(&self, query: &RunQuery) -> Result<Runs, ClientError> {
        self.read(&["runs"], &query::to_pairs(query)).await
    }

    /// One run as it stands.
    ///
    /// # Errors
    /// When there is no such run, or no answer.
    pub async fn run(&self, run: RunId) -> Result<RunDetail, ClientError> {
        self.read(&["runs", &run.to_string()], &[]).await
    }

    /// One run when it is over, or as it stands after [`WAIT_MAX`].
    ///
    /// # Errors
    /// When there is no such run, or no answer.
    pub async fn wait(&self, run: RunId) -> Result<RunDetail, ClientError> {
        let url = self.url(&["runs", &run.to_string()], &[("wait", "1".to_owned())]);
        self.json(self.http.request(Method::GET, url), WAIT_MAX + READ_MAX).await
    }

    /// Starts a run.
    ///
    /// # Errors
    /// When jobd refuses, or gives no answer: then the run may have been started all the same.
    pub async fn start(&self, job: &JobName, at: Option<Timestamp>) -> Result<RunId, ClientError> {
        let url = self.url(&["jobs", job.as_str(), "runs"], &[]);
        let request = self.http.request(Method::POST, url).json(&RunRequest { at });
        Ok(self.json::<Accepted>(request, CHANGE_MAX).await?.run_id)
    }

    /// Makes up for a missed or skipped fire.
    ///
    /// # Errors
    /// When jobd refuses, or gives no answer: then the run may have been started all the same.
    pub async fn catch_up(&self, job: &JobName, at: Timestamp) -> Result<RunId, ClientError> {
        let url = self.url(&["jobs", job.as_str(), "catch-up"], &[]);
        let request = self.http.request(Method::POST, url).json(&CatchUpRequest { at });
        Ok(self.json::<Accepted>(request, CHANGE_MAX).await?.run_id)
    }

    /// Lets a job, or every job, be started no more. Takes the place of an earlier pause of the same.
    ///
    /// # Errors
    /// When jobd refuses, or gives no answer.
    pub async fn pause(&self, pause: &PauseRequest) -> Result<Pause, ClientError> {
        let request = self.http.request(Method::POST, self.url(&["pause"], &[]));
        self.json(request.json(pause), CHANGE_MAX).await
    }

    /// Lets a job, or every job, be started again.
    ///
    /// # Errors
    /// When it is not paused, or there is no answer.
    pub async fn resume(&self, resume: &ResumeRequest) -> Result<Done, ClientError> {
        let request = self.http.request(Method::POST, self.url(&["resume"], &[]));
        self.json(request.json(resume), CHANGE_MAX).await
    }

    /// Has it known that a job does not succeed any more.
    ///
    /// # Errors
    /// When nobody waits for it to succeed, or there is no answer.
    pub async fn acknowledge(&self, job: &str) -> Result<Done, ClientError> {
        let url = self.url(&["jobs", job, "acknowledge"], &[]);
        self.json(self.http.request(Method::POST, url), CHANGE_MAX).await
    }

    /// What became of instants of a job, or will.
    ///
    /// # Errors
    /// When there is no such job, or no answer.
    pub async fn why(&self, job: &str, asked: Asked) -> Result<Whys, ClientError> {
        let pairs = match asked {
            Asked::Last => Vec::new(),
            Asked::At(at) => vec![("at", at.to_string())],
            Asked::Span(from, until) => vec![("from", from.to_string()), ("until", until.to_string())],
        };
        let url = self.url(&["jobs", job, "why"], &pairs);
        self.json(self.http.request(Method::GET, url), CHANGE_MAX).await
    }

    /// The missed fires that could be made up for.
    ///
    /// # Errors
    /// When there is no such job, or no answer.
    pub async fn owed(&self, query: &OwedQuery) -> Result<Owed, ClientError> {
        let pairs = [
            ("job", query.job.as_ref().map(ToString::to_string)),
            ("since", query.since.map(|at| at.to_string())),
        ];
        let pairs: Vec<_> = pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        self.json(self.http.request(Method::GET, self.url(&["owed"], &pairs)), CHANGE_MAX).await
    }

    /// What QUEUED runs wait for.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn waiting(&self) -> Result<Waiting, ClientError> {
        self.read(&["waiting"], &[]).await
    }

    /// What the processes of a live run are doing.
    ///
    /// # Errors
    /// When there is no such run, it is over, or there is no answer.
    pub async fn inspect(&self, run: RunId) -> Result<Evidence, ClientError> {
        let url = self.url(&["runs", &run.to_string(), "inspect"], &[]);
        self.json(self.http.request(Method::GET, url), CHANGE_MAX).await
    }

    /// Ends a run; returns when that is under way.
    ///
    /// # Errors
    /// When jobd refuses, or gives no answer.
    pub async fn stop(&self, run: RunId) -> Result<(), ClientError> {
        let url = self.url(&["runs", &run.to_string(), "stop"], &[]);
        self.json::<Accepted>(self.http.request(Method::POST, url), CHANGE_MAX).await.map(|_| ())
    }

    /// Lets a jobd with the present configuration take over; returns when that is under way.
    ///
    /// # Errors
    /// When the configuration has mistakes, jobd refuses, or gives no answer.
    pub async fn reload(&self) -> Result<Reloading, ClientError> {
        self.json(self.http.request(Method::POST, self.url(&["reload"], &[])), CHANGE_MAX).await
    }

    /// The bytes of a run's output file from `offset` on; with `follow`, to the run's end.
    ///
    /// # Errors
    /// When there is no such run, it has no output, or there is no answer.
    pub async fn output(
        &self,
        run: RunId,
        offset: u64,
        follow: bool,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + use<>, ClientError> {
        let follow = u8::from(follow).to_string();
        let pairs = [("offset", offset.to_string()), ("follow", follow)];
        let url = self.url(&["runs", &run.to_string(), "output"], &pairs);
        let answer = self.within(READ_MAX, self.http.request(Method::GET, url).send()).await?;
        let socket = self.socket.clone();
        let bytes = self.checked(answer).await?.bytes_stream();
        Ok(bytes
            .map(move |piece| piece.map_err(|source| ClientError::Broken { socket: socket.clone(), source })))
    }

    async fn read<T: DeserializeOwned>(
        &self,
        path: &[&str],
        pairs: &[(&str, String)],
    ) -> Result<T, ClientError> {
        self.json(self.http.request(Method::GET, self.url(path, pairs)), READ_MAX).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        limit: Duration,
    ) -> Result<T, ClientError> {
        let answer = self.within(limit, request.send()).await?;
        let answer = self.checked(answer).await?;
        let body = self.within(limit, answer.bytes()).await?;
        serde_json::from_slice(&body).map_err(|_| ClientError::Foreign(self.socket.clone()))
    }

    async fn checked(&self, answer: Response) -> Result<Response, ClientError> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let body = self.within(READ_MAX, answer.bytes()).await?;
        let problem = serde_json::from_slice(&body).map_err(|_| ClientError::Foreign(self.socket.clone()))?;
        Err(ClientError::Answered(problem))
    }

    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, ClientError> {
        let socket = || self.socket.clone();
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|source| ClientError::Broken { socket: socket(), source }),
            Err(_) => Err(ClientError::NotAnswering { socket: socket(), seconds: limit.as_secs() }),
        }
    }

    fn url(&self, path: &[&str], pairs: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        url
    }
}
