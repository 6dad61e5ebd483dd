//! A jobd made of memory behind the real API: its runs end as their job's name says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::tz::TimeZone;
use jobctl::api::records::{Answer, Records};
use jobctl::api::server::serve;
use jobctl::api::socket::Socket;
use jobctl::api::supervisor::{Api, Command, Facts, Refusal};
use jobctl::api::types::{AlertBacklog, Incident, RunQuery, State};
use jobctl::engine::job::{Command as Program, JobName, JobSpec};
use jobctl::engine::ledger::OpenClaim;
use jobctl::engine::pause::Pause;
use jobctl::engine::reason::Reason;
use jobctl::engine::record::{Gap, JobAccount, PauseRecord, RunRecord};
use jobctl::engine::run::{RunId, Status, Trigger};
use jobctl::engine::schedule::Schedule;
use jobctl::engine::time::Timestamp;
use jobctl::engine::watch::SuccessWatch;
use jobctl::run::{Evidence, RunFolder};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// The instant at which every run of the fake begins: 10:00 in Seoul.
pub(crate) const BEGAN: &str = "2026-11-01T01:00:00Z";

/// Since when the fake has known its jobs: midnight in Seoul.
pub(crate) const KNOWN_SINCE: &str = "2024-12-31T15:00:00Z";

/// The jobs: what they are called is how their runs end.
pub(crate) const JOBS: [&str; 5] = ["backup", "fails", "hangs", "refuses", "writes"];

#[derive(Default)]
struct Memory {
    rows: Mutex<BTreeMap<RunId, RunRecord>>,
    pauses: Mutex<Vec<Pause>>,
    gaps: Mutex<Vec<Gap>>,
    folders: PathBuf,
}

/// The fake, running until it is dropped.
pub(crate) struct Fake {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    pub(crate) facts: watch::Sender<Arc<Facts>>,
    memory: Arc<Memory>,
    runtime: Option<Runtime>,
}

impl Fake {
    /// A fake that is ready.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("jobd.sock");
        let memory = Arc::new(Memory { folders: dir.path().to_owned(), ..Memory::default() });
        let facts = watch::channel(Arc::new(facts(dir.path()))).0;
        let mut fake = Self { dir, socket, facts, memory, runtime: None };
        fake.begin();
        fake
    }

    /// Stops without a goodbye; what it remembers is kept.
    pub(crate) fn die(&mut self) {
        drop(self.runtime.take());
    }

    /// Listens and answers, anew after [`Fake::die`].
    pub(crate) fn begin(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listening = {
            let _context = runtime.enter();
            Socket::bind(&self.socket).unwrap()
        };
        let (commands, received) = mpsc::channel(8);
        let (commit, commits) = watch::channel(0);
        let records: Arc<dyn Records> = Arc::<Memory>::clone(&self.memory);
        let api = Api { records, facts: self.facts.subscribe(), commits, commands };
        runtime.spawn(serve(listening, api, std::future::pending()));
        runtime.spawn(act(Arc::clone(&self.memory), received, commit));
        self.runtime = Some(runtime);
    }

    /// Puts rows there, as if they had been for long.
    pub(crate) fn remember(&self, rows: impl IntoIterator<Item = RunRecord>) {
        self.memory.rows.lock().unwrap().extend(rows.into_iter().map(|row| (row.run_id, row)));
    }

    /// Gives a job another schedule in another zone.
    pub(crate) fn reschedule(&self, job: &str, schedule: &str, zone: &str) {
        self.facts.send_modify(|facts| {
            let mut changed = facts.as_ref().clone();
            let mut specs = changed.specs.as_ref().clone();
            let spec = Arc::make_mut(specs.get_mut(job).unwrap());
            spec.schedules = vec![Schedule::parse(schedule).unwrap()];
            spec.zone = TimeZone::get(zone).unwrap();
            changed.specs = specs.into();
            *facts = changed.into();
        });
    }

    /// Remembers that nobody was there for a while.
    pub(crate) fn was_down(&self, from: &str, until: &str) {
        let gap = Gap { from: from.parse().unwrap(), until: until.parse().unwrap(), reason: Reason::Down };
        self.memory.gaps.lock().unwrap().push(gap);
    }

    /// Writes a run's output file.
    pub(crate) fn write_output(&self, run: RunId, text: &str) {
        self.memory.write_output(run, text);
    }
}

impl Memory {
    fn folder_of(&self, run: RunId) -> PathBuf {
        self.folders.join(run.to_string())
    }

    fn write_output(&self, run: RunId, text: &str) {
        std::fs::create_dir_all(self.folder_of(run)).unwrap();
        std::fs::write(RunFolder::at(self.folder_of(run)).output_path(), text).unwrap();
    }
}

/// Does what is asked: a run of `hangs` waits to be stopped, every other ends by itself a little later.
async fn act(memory: Arc<Memory>, mut commands: mpsc::Receiver<Command>, commit: watch::Sender<u64>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Run { job, reply, .. } if job.as_str() == "refuses" => {
                let _ = reply.send(Err(Refusal::NotNow("run 1 of refuses is active".to_owned())));
            }
            Command::Run { job, at, reply, .. } => {
                let run = RunId(memory.rows.lock().unwrap().len() as u64 + 1);
                let mut row = record(run.0, job.as_str(), Status::Running);
                row.scheduled_at = at;
                memory.rows.lock().unwrap().insert(run, row);
                let _ = reply.send(Ok(Some(run)));
                if job.as_str() != "hangs" {
                    tokio::spawn(end(Arc::clone(&memory), run, job, commit.clone()));
                }
            }
            Command::Inspect { run, reply } => {
                let summary = Some(format!("sh pid 7 of run {run} waits in read()"));
                let evidence = Evidence { summary, ..Evidence::none(BEGAN.parse().unwrap()) };
                let _ = reply.send(Ok(Box::new(evidence)));
            }
            Command::Stop { run, by, reply } => {
                let _ = reply.send(Ok(Some(run)));
                memory.rows.lock().unwrap().entry(run).and_modify(|row| {
                    (row.status, row.term_signal) = (Status::Killed, Some(15));
                    row.reason = Some(format!("by {by}"));
                });
                commit.send_modify(|commits| *commits += 1);
            }
            Command::CatchUp { job, at, reply, .. } => {
                let mut rows = memory.rows.lock().unwrap();
                let run = rows.last_key_value().map_or(RunId(1), |(last, _)| RunId(last.0 + 1));
                let is_its = |row: &RunRecord| row.scheduled_at == Some(at) && row.scheduled_until.is_none();
                rows.retain(|_, row| row.task_name != job || !is_its(row));
                let mut row = record(run.0, job.as_str(), Status::Running);
                (row.scheduled_at, row.triggered_by) = (Some(at), Trigger::CatchUp);
                rows.insert(run, row);
                drop(rows);
                let _ = reply.send(Ok(Some(run)));
                tokio::spawn(end(Arc::clone(&memory), run, job, commit.clone()));
            }
            Command::Pause { pause, reply } => {
                let mut pauses = memory.pauses.lock().unwrap();
                pauses.retain(|known| known.job != pause.job);
                pauses.push(pause);
                let _ = reply.send(Ok(None));
            }
            Command::Resume { job, reply, .. } => {
                let mut pauses = memory.pauses.lock().unwrap();
                let known = pauses.len();
                pauses.retain(|pause| pause.job != job);
                let ended = pauses.len() < known;
                let _ = reply.send(if ended { Ok(None) } else { Err(refused("it is not paused")) });
            }
            Command::Acknowledge { job, reply, .. } => {
                let known = job.as_str() == "fails";
                let _ = reply.send(if known {
                    Ok(None)
                } else {
                    Err(refused("there is nothing to acknowledge"))
                });
            }
            Command::Reload { reply, .. } => {
                let report = "error: there is no such key\n --> jobs.toml:3:5\n\njobs.toml: 1 mistake";
                let _ = reply.send(Err(Refusal::Rejected { report: report.to_owned() }));
            }
        }
    }
}

fn refused(why: &str) -> Refusal {
    Refusal::NotNow(why.to_owned())
}

/// Lets a run write two lines, with a moment in between, and end.
async fn end(memory: Arc<Memory>, run: RunId, job: JobName, commit: watch::Sender<u64>) {
    let first = format!("{BEGAN} stdout F [START] {job}\n");
    memory.write_output(run, &first);
    tokio::time::sleep(Duration::from_millis(50)).await;
    memory.write_output(run, &format!("{first}{BEGAN} stderr F a warning\n"));
    memory.rows.lock().unwrap().entry(run).and_modify(|row| {
        let failed = job.as_str() == "fails";
        row.status = if failed { Status::Failed } else { Status::Success };
        row.exit_code = Some(if failed { 3 } else { 0 });
        row.completed_at = Some(row.started_at);
        row.duration_ms = Some(31_200);
    });
    commit.send_modify(|commits| *commits += 1);
}

impl Records for Memory {
    fn runs<'a>(&'a self, query: &'a RunQuery) -> Answer<'a, Vec<RunRecord>> {
        let wanted = |row: &&RunRecord| {
            query.job.as_ref().is_none_or(|job| *job == row.task_name)
                && (query.status.is_empty() || query.status.contains(&row.status))
                && query.before.is_none_or(|before| row.run_id < before)
                && query.since.is_none_or(|since| row.scheduled_until.unwrap_or(row.started_at) >= since)
                && query.until.is_none_or(|until| row.started_at < until)
        };
        let rows = self.rows.lock().unwrap();
        let found = rows.values().rev().filter(wanted).take(query.rows() as usize).cloned().collect();
        async { Ok(found) }.boxed()
    }

    fn run(&self, run: RunId) -> Answer<'_, Option<RunRecord>> {
        let row = self.rows.lock().unwrap().get(&run).cloned();
        async { Ok(row) }.boxed()
    }

    fn open_runs(&self) -> Answer<'_, Vec<RunRecord>> {
        let rows = self.rows.lock().unwrap();
        let open = rows.values().filter(|row| !row.status.is_final()).cloned().collect();
        async { Ok(open) }.boxed()
    }

    fn last_runs(&self) -> Answer<'_, BTreeMap<JobName, RunRecord>> {
        let rows = self.rows.lock().unwrap();
        let last = rows.values().map(|row| (row.task_name.clone(), row.clone())).collect();
        async { Ok(last) }.boxed()
    }

    fn fire_rows<'a>(&'a self, job: &'a JobName, at: Timestamp) -> Answer<'a, Vec<RunRecord>> {
        let rows = self.rows.lock().unwrap();
        let stands_for = |row: &&RunRecord| {
            let first = row.scheduled_at.filter(|_| row.task_name == *job);
            first.is_some_and(|first| first == at || (first < at && row.scheduled_until >= Some(at)))
        };
        let found = rows.values().filter(stands_for).cloned().collect();
        async { Ok(found) }.boxed()
    }

    fn open_claims(&self) -> Answer<'_, Vec<OpenClaim>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn known<'a>(&'a self, job: &'a JobName) -> Answer<'a, Option<JobAccount>> {
        let since = KNOWN_SINCE.parse().unwrap();
        let (job, cursor) = (job.clone(), jobctl::clock::now().wall);
        async move { Ok(Some(JobAccount { job, known_since: since, schedule_since: since, cursor })) }.boxed()
    }

    fn gaps(&self, from: Timestamp, until: Timestamp) -> Answer<'_, Vec<Gap>> {
        let gaps = self.gaps.lock().unwrap();
        let found = gaps.iter().filter(|gap| gap.from <= until && gap.until >= from).cloned().collect();
        async { Ok(found) }.boxed()
    }

    fn pauses(&self) -> Answer<'_, Vec<Pause>> {
        let pauses = self.pauses.lock().unwrap().clone();
        async { Ok(pauses) }.boxed()
    }

    fn pause_log<'a>(
        &'a self,
        job: &'a JobName,
        at: Timestamp,
        _: Timestamp,
    ) -> Answer<'a, Vec<PauseRecord>> {
        let pauses = self.pauses.lock().unwrap();
        let found = pauses.iter().filter(|pause| pause.covers(job, at));
        let record = |pause: &Pause| PauseRecord { pause: pause.clone(), ended_at: None, ended_by: None };
        let found = found.map(record).collect();
        async { Ok(found) }.boxed()
    }

    fn watches(&self) -> Answer<'_, Vec<SuccessWatch>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn incidents(&self) -> Answer<'_, Vec<Incident>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn alerts(&self) -> Answer<'_, AlertBacklog> {
        async { Ok(AlertBacklog::default()) }.boxed()
    }

    fn last_seen(&self) -> Answer<'_, Option<Timestamp>> {
        async { Ok(None) }.boxed()
    }

    fn host(&self) -> Answer<'_, String> {
        async { Ok("erp-1".to_owned()) }.boxed()
    }

    fn folder(&self, run: RunId) -> Option<PathBuf> {
        Some(self.folder_of(run)).filter(|folder| folder.exists())
    }
}

fn facts(dir: &Path) -> Facts {
    let specs = JOBS.map(|name| (JobName::new(name).unwrap(), Arc::new(spec(name))));
    Facts {
        state: State::Ready,
        started_at: BEGAN.parse().unwrap(),
        config: dir.join("jobs.toml"),
        state_dir: dir.to_owned(),
        host: "erp-1".to_owned(),
        timezone: TimeZone::get("Asia/Seoul").unwrap(),
        specs: Arc::new(specs.into_iter().collect()),
        store_error: None,
        problems: Vec::new(),
    }
}

fn spec(name: &str) -> JobSpec {
    JobSpec {
        description: Some(format!("{name}: 시험")),
        schedules: vec![Schedule::parse("0 23 * * *").unwrap()],
        zone: TimeZone::get("Asia/Seoul").unwrap(),
        alert: vec!["ops".to_owned()],
        env: BTreeMap::from([("API_KEY".to_owned(), "hunter2".to_owned())]),
        config_hash: "c0ffee".to_owned(),
        schedule_hash: "c0ffee".to_owned(),
        ..JobSpec::new(JobName::new(name).unwrap(), Program::Shell("true".to_owned()))
    }
}

/// A row that began at [`BEGAN`].
pub(crate) fn record(run: u64, job: &str, status: Status) -> RunRecord {
    RunRecord {
        run_id: RunId(run),
        task_name: JobName::new(job).unwrap(),
        status,
        triggered_by: Trigger::Manual,
        attempt: 1,
        scheduled_at: None,
        scheduled_until: None,
        fires: 1,
        started_at: BEGAN.parse().unwrap(),
        completed_at: None,
        reason: None,
        message: None,
        error_message: None,
        exit_code: None,
        term_signal: None,
        pid: None,
        duration_ms: None,
        cpu_ms: None,
        max_rss_kib: None,
        output_bytes: None,
        config_hash: None,
        host: "erp-1".to_owned(),
    }
}
