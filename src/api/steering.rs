//! The requests that change something. Each looks at the peer first, and hands what is asked to the daemon.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{ConnectInfo, Path, State as Part};
use axum::http::StatusCode;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::peers::{self, Peer};
use super::problem::Problem;
use super::server::{Reply, Server, no_such_job, no_such_run, part};
use super::supervisor::{Api, Command, Facts, Refusal};
use super::types::{
    Accepted, CatchUpRequest, Done, ErrorCode, PauseRequest, Reloading, ResumeRequest, RunRequest, State,
};
use crate::clock;
use crate::engine::inquiry::{fire_at, objections, previous_fire};
use crate::engine::job::JobSpec;
use crate::engine::occurrence::next_fire;
use crate::engine::pause::Pause;
use crate::engine::record::RunRecord;
use crate::engine::run::{RunId, Status};
use crate::engine::time::Timestamp;

/// How long the word of whoever pauses may be, in characters.
const WHY_MAX: usize = 500;

pub(super) async fn start_run(
    Part(server): Part<Server>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let name = part(name)?;
    let help = "it is empty, or {\"at\": \"2026-11-01T10:00:00+09:00\"}";
    let request: RunRequest = read(body, "run request", help)?.unwrap_or_default();
    let by = may_steer(&server, peer).await?;
    let facts = Arc::clone(&server.api.facts.borrow());
    let job = configured(&name, &facts)?.name.clone();
    ask_for_run(&server.api, |reply| Command::Run { job, at: request.at, by, reply }).await
}

pub(super) async fn stop_run(
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

/// Makes up for a fire, once it is sure that it is one that has had no run.
pub(super) async fn catch_up(
    Part(server): Part<Server>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let name = part(name)?;
    let help = "it is {\"at\": \"2026-11-01T10:00:00+09:00\"}";
    let request: Option<CatchUpRequest> = read(body, "request to make up for a fire", help)?;
    let by = may_steer(&server, peer).await?;
    let CatchUpRequest { at } = request
        .ok_or_else(|| Problem::new(ErrorCode::BadRequest, "the body does not say which fire").help(help))?;
    let facts = Arc::clone(&server.api.facts.borrow());
    let spec = configured(&name, &facts)?;
    let rows = server.api.records.fire_rows(&spec.name, at).await?;
    may_be_made_up_for(spec, at, &rows)?;
    let job = spec.name.clone();
    ask_for_run(&server.api, |reply| Command::CatchUp { job, at, by, reply }).await
}

/// Why a fire is none that can be made up for, if it is not.
fn may_be_made_up_for(spec: &JobSpec, at: Timestamp, rows: &[RunRecord]) -> Result<(), Problem> {
    let refused = |error: String| Problem::new(ErrorCode::Refused, error);
    let (job, shown) = (&spec.name, local(at, &spec.zone));
    if at > clock::now().wall {
        return Err(refused(format!("{shown} has not come yet"))
            .help(format!("'jobctl why {job} --at {shown}' says what will happen")));
    }
    let own = rows.iter().rfind(|row| row.scheduled_until.is_none());
    match own {
        Some(row) if matches!(row.status, Status::Missed | Status::Skipped) => return Ok(()),
        Some(row) => {
            let (run, status) = (row.run_id, row.status);
            return Err(refused(format!("the fire of {job} at {shown} has its run: run {run}, {status}"))
                .help(format!(
                    "'jobctl show {run}' shows it; 'jobctl run {job} --at {shown}' starts another"
                )));
        }
        None => {}
    }
    if fire_at(spec, at).is_none() {
        let why = objections(spec, at).join("; ");
        let near = [previous_fire(spec, at), next_fire(spec, at)].into_iter().flatten();
        let near: Vec<String> = near.map(|fire| local(fire.at, &spec.zone)).collect();
        return Err(refused(format!("{job} does not fire at {shown}: {why}"))
            .help(format!("the fires next to it: {}", near.join(" and "))));
    }
    if rows.is_empty() {
        return Err(refused(format!("nothing is recorded of the fire of {job} at {shown}")).help(format!(
            "'jobctl why {job} --at {shown}' says why; 'jobctl run {job} --at {shown}' runs it"
        )));
    }
    Ok(())
}

pub(super) async fn pause(
    Part(server): Part<Server>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Reply<Pause> {
    let help = "it may hold \"job\", \"until\" (2026-11-01T10:00:00+09:00) and \"why\"";
    let PauseRequest { job, until, why } = read(body, "pause", help)?.unwrap_or_default();
    let by = may_steer(&server, peer).await?;
    let bad = |error: String| Problem::new(ErrorCode::BadRequest, error);
    let why = why.map(|why| why.trim().to_owned()).filter(|why| !why.is_empty());
    if why.as_ref().is_some_and(|why| why.chars().count() > WHY_MAX || why.chars().any(char::is_control)) {
        return Err(bad(format!("why a job is paused is said in one line of at most {WHY_MAX} characters")));
    }
    let facts = Arc::clone(&server.api.facts.borrow());
    let zone = match &job {
        Some(job) => &configured(job.as_str(), &facts)?.zone,
        None => &facts.timezone,
    };
    let since = clock::now().wall;
    if let Some(until) = until.filter(|until| *until <= since) {
        return Err(bad(format!("{} is over: a pause lasts until an instant to come", local(until, zone))));
    }
    let pause = Pause { job, by, since, until, why };
    let asked = pause.clone();
    ask(&server.api, |reply| Command::Pause { pause: asked, reply }).await?;
    Ok(Json(pause))
}

pub(super) async fn resume(
    Part(server): Part<Server>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Reply<Done> {
    let help = "it is {\"job\": \"backup\"}, or {} for every job";
    let ResumeRequest { job } = read(body, "request to resume", help)?.unwrap_or_default();
    let by = may_steer(&server, peer).await?;
    let pauses = server.api.records.pauses().await?;
    let facts = Arc::clone(&server.api.facts.borrow());
    // A pause outlives the job's entry, and can be ended all the same.
    if let Some(job) = job.as_ref().filter(|_| pauses.iter().all(|pause| pause.job != job)) {
        configured(job.as_str(), &facts)?;
    }
    let asked = job.clone();
    match ask(&server.api, |reply| Command::Resume { job: asked, by, reply }).await {
        Err(problem) if problem.0.code == ErrorCode::Refused => Err(match &job {
            Some(_) if pauses.iter().any(|pause| pause.job.is_none()) => {
                problem.help("all jobs are paused together: 'jobctl resume --all' ends that")
            }
            _ => problem.help("'jobctl list' shows which jobs are paused"),
        }),
        done => done.map(|_| Json(Done { job })),
    }
}

pub(super) async fn acknowledge(
    Part(server): Part<Server>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    name: Result<Path<String>, PathRejection>,
) -> Reply<Done> {
    let name = part(name)?;
    let by = may_steer(&server, peer).await?;
    let facts = Arc::clone(&server.api.facts.borrow());
    // It is the jobs that are gone which have to be acknowledged.
    let watches = server.api.records.watches().await?;
    let watched = watches.into_iter().map(|watch| watch.job).find(|job| job.as_str() == name);
    let job = match watched {
        Some(job) => job,
        None => configured(&name, &facts)?.name.clone(),
    };
    let asked = job.clone();
    ask(&server.api, |reply| Command::Acknowledge { job: asked, by, reply }).await?;
    Ok(Json(Done { job: Some(job) }))
}

/// The job of this name.
fn configured<'a>(name: &str, facts: &'a Facts) -> Result<&'a JobSpec, Problem> {
    facts.specs.get(name).map(AsRef::as_ref).ok_or_else(|| no_such_job(name, facts))
}

/// The body of a request; `None` if it is empty.
fn read<T: DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
    what: &str,
    help: &str,
) -> Result<Option<T>, Problem> {
    let body = body.map_err(|error| Problem::new(ErrorCode::BadRequest, error.body_text()))?;
    if body.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&body).map(Some).map_err(|error| {
        Problem::new(ErrorCode::BadRequest, format!("the body is no {what}: {error}")).help(help)
    })
}

/// An instant as a person can type it again.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.display_with_offset(zone.to_offset(at)).to_string()
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

pub(super) async fn reload(
    Part(server): Part<Server>,
    ConnectInfo(peer): ConnectInfo<Peer>,
) -> Result<(StatusCode, Json<Reloading>), Problem> {
    let by = may_steer(&server, peer).await?;
    let started_at = ask(&server.api, |reply| Command::Reload { by, reply }).await?;
    Ok((StatusCode::ACCEPTED, Json(Reloading { started_at })))
}

async fn ask_for_run(
    api: &Api,
    command: impl FnOnce(oneshot::Sender<Result<Option<RunId>, Refusal>>) -> Command,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let run_id = ask(api, command).await?;
    let run_id = run_id.ok_or_else(|| Problem::new(ErrorCode::Unavailable, "jobd names no run"))?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { run_id })))
}

/// Hands a command to the daemon and waits for its reply.
pub(super) async fn ask<T>(
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::api::peers::Access;
    use crate::api::records::Answer;
    use crate::api::records::Records;
    use crate::api::types::{AlertBacklog, Incident, RunQuery};
    use crate::engine::job::JobName;
    use crate::engine::ledger::OpenClaim;
    use crate::engine::pause::Pause;
    use crate::engine::record::{Gap, JobAccount, PauseRecord, RunRecord};
    use crate::engine::time::Timestamp;
    use crate::engine::watch::SuccessWatch;

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
        fn fire_rows<'a>(&'a self, _: &'a JobName, _: Timestamp) -> Answer<'a, Vec<RunRecord>> {
            unreachable!()
        }
        fn open_claims(&self) -> Answer<'_, Vec<OpenClaim>> {
            unreachable!()
        }
        fn known<'a>(&'a self, _: &'a JobName) -> Answer<'a, Option<JobAccount>> {
            unreachable!()
        }
        fn gaps(&self, _: Timestamp, _: Timestamp) -> Answer<'_, Vec<Gap>> {
            unreachable!()
        }
        fn pauses(&self) -> Answer<'_, Vec<Pause>> {
            unreachable!()
        }
        fn pause_log<'a>(
            &'a self,
            _: &'a JobName,
            _: Timestamp,
            _: Timestamp,
        ) -> Answer<'a, Vec<PauseRecord>> {
            unreachable!()
        }
        fn watches(&self) -> Answer<'_, Vec<SuccessWatch>> {
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
        let Problem(reloaded) = reload(Part(server.clone()), stranger).await.unwrap_err();
        let Problem(paused) = pause(Part(server.clone()), stranger, Ok(Bytes::new())).await.unwrap_err();
        let Problem(resumed) = resume(Part(server.clone()), stranger, Ok(Bytes::new())).await.unwrap_err();
        let path = || Ok(Path("backup".to_owned()));
        let body = Ok(Bytes::from_static(b"{\"at\": \"2026-11-01T10:00:00Z\"}"));
        let Problem(made_up) = catch_up(Part(server.clone()), stranger, path(), body).await.unwrap_err();
        let Problem(known) = acknowledge(Part(server), stranger, path()).await.unwrap_err();
        let answers = [&started, &stopped, &reloaded, &paused, &resumed, &made_up, &known];
        assert_eq!(answers.map(|answer| answer.code), [ErrorCode::Forbidden; 7]);
        assert_eq!(started.error, "uid 4000000001 may look, not steer");
        assert!(asked.try_recv().is_err());
    }
}
