//! The daemon's side of the API: axum over the Unix socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`StatusReport`] |
//! | `GET /v1/jobs` | [`Jobs`] |
//! | `GET /v1/jobs/{name}` | [`JobView`] |
//! | `POST /v1/jobs/{name}/runs` `{"at"?}` | 202 [`Accepted`]: the run's row is durable |
//! | `POST /v1/jobs/{name}/catch-up` `{"at"}` | 202 [`Accepted`]: the fire has a run |
//! | `POST /v1/jobs/{name}/acknowledge` | [`Done`]: nobody waits for a success of the job |
//! | `GET /v1/jobs/{name}/why?at=` or `?from=&until=` | [`Whys`]: what became of an instant, or of each fire |
//! | `POST /v1/pause` `{"job"?, "until"?, "why"?}` | [`Pause`], durable |
//! | `POST /v1/resume` `{"job"?}` | [`Done`] |
//! | `GET /v1/owed?job=&since=` | [`Owed`]: the missed fires one by one |
//! | `GET /v1/waiting` | [`Waiting`]: what QUEUED runs wait for |
//! | `GET /v1/runs?job=&status=&since=&until=&before=&limit=` | [`Runs`] |
//! | `GET /v1/runs/{id}?wait=1` | [`RunDetail`]; with `wait` when the run is over, or as it stands after 55 s |
//! | `GET /v1/runs/{id}/inspect` | [`Evidence`]: what its processes are doing now |
//! | `POST /v1/runs/{id}/stop` | 202 [`Accepted`]: the run is being ended |
//! | `POST /v1/reload` | 202 [`Reloading`]: the configuration is good, and a jobd that has read it takes over |
//! | `GET /v1/runs/{id}/output?offset=&follow=1` | the bytes of the output file; with `follow` to the run's end |
//!
//! An answer that is no success is an [`ErrorBody`]. A connection carries one request.
//!
//! [`Accepted`]: super::types::Accepted
//! [`Done`]: super::types::Done
//! [`ErrorBody`]: super::types::ErrorBody
//! [`JobView`]: super::types::JobView
//! [`Pause`]: crate::engine::pause::Pause
//! [`Reloading`]: super::types::Reloading

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State as Part};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;

use super::detail::detail;
use super::follow;
use super::owed::{self, Owed, OwedQuery};
use super::peers::{Access, Peer};
use super::problem::Problem;
use super::query;
use super::records::RecordsError;
use super::socket::Socket;
use super::steering::{self, ask};
use super::supervisor::{Api, Command, Facts};
use super::types::{ErrorCode, Jobs, RunDetail, Runs, StatusReport, StoreHealth};
use super::views;
use super::waiting::{self, Waiting};
use super::why::{self, Asked, Whys};
use crate::clock;
use crate::engine::job::JobName;
use crate::engine::run::{RunId, Status};
use crate::engine::time::Timestamp;
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
pub(super) struct Server {
    pub(super) api: Api,
    pub(super) access: Access,
}

fn router(api: Api, access: Access) -> Router {
    let quick = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/jobs", get(jobs))
        .route("/v1/jobs/{name}", get(job))
        .route("/v1/jobs/{name}/runs", post(steering::start_run))
        .route("/v1/jobs/{name}/catch-up", post(steering::catch_up))
        .route("/v1/jobs/{name}/acknowledge", post(steering::acknowledge))
        .route("/v1/jobs/{name}/why", get(why))
        .route("/v1/pause", post(steering::pause))
        .route("/v1/resume", post(steering::resume))
        .route("/v1/owed", get(owed))
        .route("/v1/waiting", get(waiting))
        .route("/v1/runs", get(runs))
        .route("/v1/runs/{id}/inspect", get(inspect_run))
        .route("/v1/runs/{id}/stop", post(steering::stop_run))
        .route("/v1/reload", post(steering::reload))
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

pub(super) type Reply<T> = Result<Json<T>, Problem>;

async fn status(Part(server): Part<Server>) -> Reply<StatusReport> {
    let Api { records, facts, .. } = &server.api;
    let facts = Arc::clone(&facts.borrow());
    let open = records.open_runs().await?;
    let queued = open.iter().filter(|run| run.status == Status::Queued).count();
    let pauses = views::in_force(records.pauses().await?, clock::now().wall);
    let endless = views::endless_pauses(&pauses, &facts.timezone);
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
        problems: facts.problems.iter().cloned().chain(endless).collect(),
        pauses,
    }))
}

async fn jobs(Part(server): Part<Server>) -> Reply<Jobs> {
    let Api { records, facts, .. } = &server.api;
    let facts = Arc::clone(&facts.borrow());
    let mut last: BTreeMap<_, _> = records.last_runs().await?;
    let incidents = records.incidents().await?;
    let pauses = records.pauses().await?;
    let now = clock::now().wall;
    let view = |spec: &Arc<crate::engine::job::JobSpec>| {
        views::job_view(spec, now, last.remove(&spec.name), &incidents, &pauses)
    };
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
    let pauses = records.pauses().await?;
    Ok(Json(views::job_view(spec, clock::now().wall, last, &incidents, &pauses)))
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
    let facts = Arc::clone(&server.api.facts.borrow());
    let spec = facts.specs.get(&run.task_name).map(AsRef::as_ref);
    Ok(Json(detail(&*server.api.records, spec, run).await?))
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

#[derive(Deserialize)]
struct WhyOf {
    at: Option<Timestamp>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

async fn why(
    Part(server): Part<Server>,
    name: Result<Path<String>, PathRejection>,
    what: Result<Query<WhyOf>, QueryRejection>,
) -> Reply<Whys> {
    let name = part(name)?;
    let Query(what) = what.map_err(|error| Problem::new(ErrorCode::BadRequest, error.body_text()))?;
    let asked = match what {
        WhyOf { at: Some(at), .. } => Asked::At(at),
        WhyOf { from: Some(from), until: Some(until), .. } => Asked::Span(from, until),
        _ => Asked::Last,
    };
    let facts = Arc::clone(&server.api.facts.borrow());
    let spec = facts.specs.get(name.as_str()).ok_or_else(|| no_such_job(&name, &facts))?;
    Ok(Json(why::answer(&*server.api.records, spec, asked, clock::now().wall).await?))
}

#[derive(Deserialize)]
struct OwedOf {
    job: Option<JobName>,
    since: Option<Timestamp>,
}

async fn owed(Part(server): Part<Server>, what: Result<Query<OwedOf>, QueryRejection>) -> Reply<Owed> {
    let Query(OwedOf { job, since }) =
        what.map_err(|error| Problem::new(ErrorCode::BadRequest, error.body_text()))?;
    let facts = Arc::clone(&server.api.facts.borrow());
    if let Some(job) = job.as_ref().filter(|job| !facts.specs.contains_key(*job)) {
        return Err(no_such_job(job.as_str(), &facts));
    }
    Ok(Json(owed::owed(&*server.api.records, &facts.specs, &OwedQuery { job, since }).await?))
}

async fn waiting(Part(server): Part<Server>) -> Reply<Waiting> {
    let specs = Arc::clone(&server.api.facts.borrow().specs);
    Ok(Json(waiting::waiting(&*server.api.records, &specs, clock::now().wall).await?))
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
pub(super) fn part<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(value)| value).map_err(|error| Problem::new(ErrorCode::BadRequest, error.body_text()))
}

pub(super) fn no_such_job(name: &str, facts: &Facts) -> Problem {
    Problem::new(ErrorCode::NoSuchJob, format!("there is no job '{name}'"))
        .help(views::suggestion(name, facts.specs.keys().map(JobName::as_str)))
}

pub(super) fn no_such_run(id: RunId) -> Problem {
    Problem::new(ErrorCode::NoSuchRun, format!("there is no run {id}"))
        .help("'jobctl history' shows the runs")
}

fn no_such_path() -> Problem {
    Problem::new(ErrorCode::NoSuchPath, "there is nothing at this path, or not by this method")
        .help("jobctl and jobd may be of different versions: 'jobctl status' names jobd's")
}
