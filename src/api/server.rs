//! The daemon's side of the API: axum over the Unix socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`StatusReport`] |
//! | `GET /v1/jobs` | [`Jobs`] |
//! | `GET /v1/jobs/{name}` | [`JobView`](super::types::JobView) |
//! | `POST /v1/jobs/{name}/runs` `{"at"?}` | 202 [`Accepted`]: the run's row is durable |
//! | `GET /v1/runs?job=&status=&since=&until=&before=&limit=` | [`Runs`] |
//! | `GET /v1/runs/{id}?wait=1` | [`RunDetail`]; with `wait` when the run is over, or as it stands after 55 s |
//! | `GET /v1/runs/{id}/inspect` | [`Evidence`]: what its processes are doing now |
//! | `POST /v1/runs/{id}/stop` | 202 [`Accepted`]: the run is being ended |
//! | `POST /v1/reload` | 202 [`Reloading`]: the configuration is good, and a jobd that has read it takes over |
//! | `GET /v1/runs/{id}/output?offset=&follow=1` | the bytes of the output file; with `follow` to the run's end |
//!
//! An answer that is no success is an [`ErrorBody`](super::types::ErrorBody). A connection carries one request.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State as Part};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::detail::detail;
use super::follow;
use super::peers::{self, Access, Peer};
use super::problem::Problem;
use super::query;
use super::records::RecordsError;
use super::socket::Socket;
use super::supervisor::{Api, Command, Facts, Refusal};
use super::types::{
    Accepted, ErrorCode, Jobs, Reloading, RunDetail, RunRequest, Runs, State, StatusReport, StoreHealth,
};
use super::views;
use crate::clock;
use crate::engine::job::JobName;
use crate::engine::run::{RunId, Status};
use crate::run::Evidence;

/// The longest `wait`; whoever wants to wait longer asks again, so a connection never hangs for ever unnoticed.
pub const WAIT_MAX: Duration = Duration::from_secs(55);
/// The longest a request may take that does not wait or follow.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The largest request body. The only body there is holds one instant.
const BODY_MAX: usize = 64 * 1024;
/// How long answers under way may take when the daemon stops.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves until `stop` resolves.
///
/// # Errors
/// When the socket fails for good.
pub async fn serve(
    socket: Socket,
    api: Api,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = router(api, socket.access());
    let (stopped, mut stopping) = watch::channel(false);
    let served = axum::serve(socket, router.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(async move {
            stop.await;
            stopped.send_replace(true);
        });
    tokio::select! {
        done = served.into_future() => done,
        () = async { if stopping.wait_for(|&stop| stop).await.is_ok() { tokio::time::sleep(GOODBYE).await } } => Ok(()),
    }
}

#[derive(Clone)]
struct Server {
    api: Api,
    access: Access,
}

fn router(api: Api, access: Access) -> Router {
    let quick = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/jobs", get(jobs))
        .route("/v1/jobs/{name}", get(job))
        .route("/v1/jobs/{name}/runs", post(start_run))
        .route("/v1/runs", get(runs))
        .route("/v1/runs/{id}/inspect", get(inspect_run))
        .route("/v1/runs/{id}/stop", post(stop_run))
        .route("/v1/reload", post(reload))
        .layer(axum::middleware::from_fn(limit_time));
    let slow = Router::new().route("/v1/runs/{id}", get(run)).route("/v1/runs/{id}/output", get(output));
    quick
        .merge(slow)
        .fallback(async || no_such_path())
        .method_not_allowed_fallback(async || no_such_path())
        .layer(axum::middleware::map_response(one_request))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Server { api, access })
}

async fn limit_time(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    match timeout(ANSWER_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(ErrorCode::Unavailable, "jobd's store did not answer in time")
            .help("'jobctl status' says how the store does; look at the disk of the state directory")
            .into_response(),
    }
}

/// Ends the connection after its answer, so that one that idles holds no slot.
async fn one_request(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

type Reply<T> = Result<Json<T>, Problem>;

async fn status(Part(server): Part<Server>) -> Reply<StatusReport> {
    let Api { records, facts, .. } = &server.api;
    let facts = Arc::clone(&facts.borrow());
    let open = records.open_runs().await?;
    let queued = open.iter().filter(|run| run.status == Status::Queued).count();
    Ok(Json(StatusReport {
        state: facts.state,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: facts.host.clone(),
        timezone: facts.timezone.iana_name().map(str::to_owned),
        pid: Some(std::process::id()),
        started_at: Some(facts.started_at),
        last_seen: None,
        config: facts.config.clone(),
        jobs: Some(facts.specs.len()),
        running: open.len() - queued,
        queued,
        next_fire: views::next_of_all(&facts.specs, clock::now().wall),
        store: StoreHealth { path: facts.state_dir.clone(), error: facts.store_error.clone() },
        alerts: records.alerts().await?,
        incidents: records.incidents().await?,
        problems: facts.problems.clone(),
    }))
}

async fn jobs(Part(server): Part<Server>) -> Reply<Jobs> {
    let Api { records, facts, .. } = &server.api;
    let facts = Arc::clone(&facts.borrow());
    let mut last: BTreeMap<_, _> = records.last_runs().await?;
    let incidents = records.incidents().await?;
    let now = clock::now().wall;
    let view =
        |spec: &crate::engine::job::JobSpec| views::job_view(spec, now, last.remove(&spec.name), &incidents);
    Ok(Json(Jobs { jobs: facts.specs.values().map(view).collect() }))
}

async fn job(
    Part(server): Part<Server>,
    name: Result<Path<String>, PathRejection>,
) -> Reply<super::types::JobView> {
    let Api { records, facts, .. } = &server.api;
    let facts = Arc::clone(&facts.borrow());
    let name = part(name)?;
    let spec = facts.specs.get(name.as_str()).ok_or_else(|| no_such_job(&name, &facts))?;
    let last = records.last_runs().await?.remove(&spec.name);
    let incidents = records.incidents().await?;
    Ok(Json(views::job_view(spec, clock::now().wall, last, &incidents)))
}

async fn runs(
    Part(server): Part<Server>,
    pairs: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Reply<Runs> {
    let Query(pairs) = pairs.map_err(|error| Problem::new(ErrorCode::BadRequest, error.body_text()))?;
    let query =
        query::from_pairs(pairs).map_err(|error| Problem::new(ErrorCode::BadRequest, error.to_string()))?;
    let runs = server.api.records.runs(&query).await?;
    // A job that has left jobs.toml keeps its history, so its name is wrong only when nothing was found.
    if let (true, Some(job)) = (runs.is_empty(), &query.job) {
        let facts = Arc::clone(&server.api.facts.borrow());
        if !facts.specs.contains_key(job) {
            return Err(no_such_job(job.as_str(), &facts));
        }
    }
    Ok(Json(Runs::page(runs, &query)))
}

#[derive(Deserialize)]
struct WaitFor {
    wait: Option<u8>,
}

async fn run(
    Part(server): Part<Server>,
    id: Result<Path<u64>, PathRejection>,
    wait: Result<Query<WaitFor>, QueryRejection>,
) -> Reply<RunDetail> {
    let id = RunId(part(id)?);
    let Query(WaitFor { wait }) =
        wait.map_err(|error| Problem::new(ErrorCode::BadRequest, error.body_text()))?;
    let patience = if wait == Some(1) { WAIT_MAX } else { Duration::ZERO };
    let leaving = |facts: &Arc<Facts>| facts.state.is_leaving();
    let mut facts = server.api.facts.clone();
    // At the end of its patience, or of jobd, the row is answered as it stands.
    tokio::select! {
        _ = timeout(patience, until_final(&server.api, id)) => {}
        _ = facts.wait_for(leaving) => {}
    }
    let run = server.api.records.run(id).await?.ok_or_else(|| no_such_run(id))?;
    Ok(Json(detail(run, server.api.records.folder(id)).await))
}

/// Resolves when there is nothing more to wait for: the run is over or unknown, or nobody commits any more.
async fn until_final(api: &Api, id: RunId) -> Result<(), RecordsError> {
    let mut commits = api.commits.clone();
    loop {
        commits.borrow_and_update();
        match api.records.run(id).await? {
            Some(run) if !run.status.is_final() => {}
            _ => return Ok(()),
        }
        if commits.changed().await.is_err() {
            return Ok(());
        }
    }
}

async fn start_run(
    Part(server): Part<Server>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let name = part(name)?;
    let body = body.map_err(|error| Problem::new(ErrorCode::BadRequest, error.body_text()))?;
    let request: RunRequest = if body.is_empty() {
        RunRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            Problem::new(ErrorCode::BadRequest, format!("the body is no run request: {error}"))
                .help("it is empty, or {\"at\": \"2026-11-01T10:00:00+09:00\"}")
        })?
    };
    let by = may_steer(&server, peer).await?;
    let facts = Arc::clone(&server.api.facts.borrow());
    let job: JobName = match facts.specs.get_key_value(name.as_str()) {
        Some((job, _)) => job.clone(),
        None => return Err(no_such_job(&name, &facts)),
    };
    ask_for_run(&server.api, |reply| Command::Run { job, at: request.at, by, reply }).await
}

async fn stop_run(
    Part(server): Part<Server>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let run = RunId(part(id)?);
    let by = may_steer(&server, peer).await?;
    match ask_for_run(&server.api, |reply| Command::Stop { run, by, reply }).await {
        // The daemon knows the runs that are active. Only now is the store asked about the others: ending a run must
        // not need it.
        Err(problem) if problem.0.code == ErrorCode::Refused => match server.api.records.run(run).await {
            Ok(None) => Err(no_such_run(run)),
            Ok(Some(_)) | Err(_) => Err(problem),
        },
        done => done,
    }
}

/// Whoever may read may look: it changes nothing, and what is shown are names and addresses.
async fn inspect_run(
    Part(server): Part<Server>,
    id: Result<Path<u64>, PathRejection>,
) -> Reply<Box<Evidence>> {
    let id = RunId(part(id)?);
    let run = server.api.records.run(id).await?.ok_or_else(|| no_such_run(id))?;
    if run.status.is_final() {
        return Err(Problem::new(ErrorCode::Refused, format!("run {id} is over: {}", run.status))
            .help(format!("'jobctl show {id}' has what is known of it")));
    }
    ask(&server.api, |reply| Command::Inspect { run: id, reply }).await.map(Json)
}

/// Who asks, in words, if they may steer.
async fn may_steer(server: &Server, peer: Peer) -> Result<String, Problem> {
    let access = server.access;
    // The user database may be a network away; the daemon's threads don't wait for it.
    let looked_up =
        tokio::task::spawn_blocking(move || (access.may_steer(peer), peers::describe(peer))).await;
    match looked_up {
        Ok((true, by)) => Ok(by),
        Ok((false, by)) => Err(Problem::new(ErrorCode::Forbidden, format!("{by} may look, not steer"))
            .help(format!("root, uid {} and members of group {} may", access.owner, access.group))),
        Err(_) => Err(Problem::new(ErrorCode::Unavailable, "the user database could not be asked")),
    }
}

async fn reload(
    Part(server): Part<Server>,
    ConnectInfo(peer): ConnectInfo<Peer>,
) -> Result<(StatusCode, Json<Reloading>), Problem> {
    let by = may_steer(&server, peer).await?;
    let started_at = ask(&server.api, |reply| Command::Reload { by, reply }).await?;
    Ok((StatusCode::ACCEPTED, Json(Reloading { started_at })))
}

async fn ask_for_run(
    api: &Api,
    command: impl FnOnce(oneshot::Sender<Result<RunId, Refusal>>) -> Command,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let run_id = ask(api, command).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { run_id })))
}

/// Hands a command to the daemon and waits for its reply.
async fn ask<T>(
    api: &Api,
    command: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Command,
) -> Result<T, Problem> {
    let state = api.facts.borrow().state;
    if state != State::Ready {
        return Err(Problem::new(ErrorCode::Unavailable, format!("jobd is {}", state.as_str()))
            .help("'jobctl status' says when it is ready"));
    }
    let stopped = || Problem::new(ErrorCode::Unavailable, "jobd is stopping");
    let (reply, answer) = oneshot::channel();
    api.commands.send(command(reply)).await.map_err(|_| stopped())?;
    answer.await.map_err(|_| stopped())?.map_err(Problem::from)
}

#[derive(Deserialize)]
struct OutputOf {
    offset: Option<u64>,
    follow: Option<u8>,
}

async fn output(
    Part(server): Part<Server>,
    id: Result<Path<u64>, PathRejection>,
    what: Result<Query<OutputOf>, QueryRejection>,
) -> Result<Response, Problem> {
    let id = RunId(part(id)?);
    let Query(what) = what.map_err(|error| Problem::new(ErrorCode::BadRequest, error.body_text()))?;
    let run = server.api.records.run(id).await?.ok_or_else(|| no_such_run(id))?;
    if matches!(run.status, Status::Missed | Status::Skipped) {
        let why = run.reason.unwrap_or_else(|| "it was never started".to_owned());
        return Err(Problem::new(
            ErrorCode::NoOutput,
            format!("run {id} has no output: {} ({why})", run.status),
        ));
    }
    let bytes = follow::output(server.api, id, what.offset.unwrap_or(0), what.follow == Some(1));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(bytes)).into_response())
}

/// A part of the path, or why it can't be read.
fn part<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(value)| value).map_err(|error| Problem::new(ErrorCode::BadRequest, error.body_text()))
}

fn no_such_job(name: &str, facts: &Facts) -> Problem {
    Problem::new(ErrorCode::NoSuchJob, format!("there is no job '{name}'"))
        .help(views::suggestion(name, facts.specs.keys().map(JobName::as_str)))
}

fn no_such_run(id: RunId) -> Problem {
    Problem::new(ErrorCode::NoSuchRun, format!("there is no run {id}"))
        .help("'jobctl history' shows the runs")
}

fn no_such_path() -> Problem {
    Problem::new(ErrorCode::NoSuchPath, "there is nothing at this path, or not by this method")
        .help("jobctl and jobd may be of different versions: 'jobctl status' names jobd's")
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::api::records::Answer;
    use crate::api::records::Records;
    use crate::api::types::{AlertBacklog, Incident, RunQuery};
    use crate::engine::record::RunRecord;
    use crate::engine::time::Timestamp;

    /// Records that are never asked.
    struct Untouched;

    impl Records for Untouched {
        fn runs<'a>(&'a self, _: &'a RunQuery) -> Answer<'a, Vec<RunRecord>> {
            unreachable!()
        }
        fn run(&self, _: RunId) -> Answer<'_, Option<RunRecord>> {
            unreachable!()
        }
        fn open_runs(&self) -> Answer<'_, Vec<RunRecord>> {
            unreachable!()
        }
        fn last_runs(&self) -> Answer<'_, BTreeMap<JobName, RunRecord>> {
            unreachable!()
        }
        fn incidents(&self) -> Answer<'_, Vec<Incident>> {
            unreachable!()
        }
        fn alerts(&self) -> Answer<'_, AlertBacklog> {
            unreachable!()
        }
        fn last_seen(&self) -> Answer<'_, Option<Timestamp>> {
            unreachable!()
        }
        fn host(&self) -> Answer<'_, String> {
            unreachable!()
        }
        fn folder(&self, _: RunId) -> Option<std::path::PathBuf> {
            unreachable!()
        }
    }

    #[tokio::test]
    async fn a_stranger_changes_nothing() {
        let facts = Facts {
            state: State::Ready,
            started_at: Timestamp::UNIX_EPOCH,
            config: "/etc/jobd/jobs.toml".into(),
            state_dir: "/var/lib/jobd".into(),
            host: "erp-1".to_owned(),
            timezone: jiff::tz::TimeZone::UTC,
            specs: Arc::default(),
            store_error: None,
            problems: Vec::new(),
        };
        let (commands, mut asked) = mpsc::channel(1);
        let api = Api {
            records: Arc::new(Untouched),
            facts: watch::channel(Arc::new(facts)).1,
            commits: watch::channel(0).1,
            commands,
        };
        let server = Server { api, access: Access { owner: 4_000_000_002, group: 4_000_000_003 } };
        let stranger = ConnectInfo(Peer { uid: 4_000_000_001, gid: 4_000_000_001 });
        let path = Ok(Path("backup".to_owned()));
        let Problem(started) =
            start_run(Part(server.clone()), stranger, path, Ok(Bytes::new())).await.unwrap_err();
        let Problem(stopped) = stop_run(Part(server.clone()), stranger, Ok(Path(7))).await.unwrap_err();
        let Problem(reloaded) = reload(Part(server), stranger).await.unwrap_err();
        assert_eq!([started.code, stopped.code, reloaded.code], [ErrorCode::Forbidden; 3]);
        assert_eq!(started.error, "uid 4000000001 may look, not steer");
        assert!(asked.try_recv().is_err());
    }
}
