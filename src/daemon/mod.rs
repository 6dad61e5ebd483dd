//! `jobd`: the parts joined into a process.
//!
//! [`run`] opens the store and finds out what became of the runs of a former jobd (`reconciliation`). `dispatcher` is
//! the loop that puts events in order, `executor` its hands, `attend` what they do for one run; `channels` and
//! `systemd` are the way out. `reload` makes way for the next jobd in the same process, which `check` has tried out.

mod announcement;
mod attend;
mod auditor;
mod channels;
mod check;
mod descriptors;
mod dispatcher;
mod executor;
mod gates;
mod host;
mod housekeeping;
mod inherited;
mod inspection;
mod log;
mod program;
mod reconciliation;
mod reload;
mod signals;
mod supervision;
mod systemd;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::ledger::Ledger;
use crate::api::server;
use crate::api::socket::{BindError, Socket};
use crate::api::supervisor::{Api, Command, Facts};
use crate::api::types::State;
use crate::clock;
use crate::config::{self, Config, LoadOptions, Rejected};
use crate::engine::event::Event;
use crate::engine::job::{JobName, JobSpec};
use crate::engine::memory::remembered;
use crate::engine::recovery::Boot;
use crate::engine::scheduler::{Scheduler, Settings};
use crate::forward::alerts::{self, Limits, TextError, Wording};
use crate::os::{self, Process};
use crate::process::Launcher;
use crate::run::RunError;
use crate::store::{Store, StoreError};

use auditor::Auditor;
use descriptors::FileLimit;
use dispatcher::Dispatcher;
use executor::{Executor, RunPlaces, Signals as Told};
use host::StateLock;
use program::Program;
use reload::Reloader;
use signals::{Signals, WatchedSignals};
use supervision::caught;

pub use crate::api::places::Places;
pub use crate::engine::words::causes;
pub use announcement::{AnnounceError, announce_failure};
pub use check::{Verdict, check};
pub use host::StateDirError;

/// Requests that may wait for the loop.
const COMMANDS_MAX: usize = 64;
/// Reasons to leave that may wait for it: the first is taken.
const LEAVES_MAX: usize = 4;

/// Why jobd does not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration has mistakes.
    #[error(transparent)]
    Config(#[from] Rejected),
    /// The state directory.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The embedded store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The socket.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// A run of a former jobd.
    #[error("cannot tell what became of a run of the jobd before this one, and will not guess")]
    Reconcile(#[source] RunError),
    /// The words of the alerts.
    #[error(transparent)]
    Words(#[from] TextError),
    /// The program file could not be executed anew.
    #[error("reloading, but {} cannot be executed; runs go on, start jobd again", program.display())]
    Execute {
        /// The file.
        program: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A panic that leaves jobd without one of its parts.
    #[error("a fault in jobd itself, which has to be started again; runs go on: {0}")]
    Fault(String),
    /// The operating system.
    #[error("failed to {action}")]
    Os {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl DaemonError {
    fn os(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Os { action, source }
    }
}

/// Why jobd leaves its loop.
#[derive(Debug)]
enum Leave {
    /// It was told to stop.
    Stop,
    /// It makes way for itself.
    Reload,
    /// A part of it has panicked.
    Fault(String),
}

/// What jobd knows of its own process.
struct Host {
    program: Program,
    signals: Signals,
    children: Vec<Process>,
    files: FileLimit,
}

impl Host {
    /// To be called before the first thread and the first child.
    fn of_process() -> Result<Self, DaemonError> {
        Ok(Self {
            signals: Signals::block().map_err(DaemonError::os("take signals"))?,
            program: Program::of_process().map_err(DaemonError::os("find our own program file"))?,
            children: inherited::children(),
            files: FileLimit::raise().map_err(DaemonError::os("raise the limit of open files"))?,
        })
    }
}

/// Runs jobd in the foreground until SIGTERM or SIGINT. Runs go on without it. To reload, it executes its program file
/// anew, and then this does not return.
///
/// # Errors
/// When it cannot start, or the kernel takes away what it cannot do without.
pub fn run(options: &Places) -> Result<(), DaemonError> {
    let host = Host::of_process()?;
    let (program, files) = (host.program.clone(), host.files);
    log::start();
    // Shims and jobs have working directories of their own.
    let options = &Places {
        state_dir: absolute(&options.state_dir)?,
        socket: absolute(&options.socket)?,
        config: absolute(&options.config)?,
    };
    let load = LoadOptions::daemon(nix::unistd::geteuid().as_raw()).at(clock::now().wall);
    let config = config::load(&options.config, &load)?;
    for warning in &config.warnings {
        warn!("{}", warning.render(false).trim_end());
    }
    let _lock = StateLock::take(&options.state_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::os("start the threads of jobd"))?;
    let done = runtime.block_on(caught(serve(options, &config, host)));
    // A task that hangs in the kernel must not keep jobd from ending; what it was at is found out at the next start.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match done.map_err(DaemonError::Fault)?? {
        Leave::Stop => Ok(()),
        Leave::Fault(fault) => Err(DaemonError::Fault(fault)),
        Leave::Reload => {
            files.restore();
            Err(DaemonError::Execute { program: program.file().to_owned(), source: program.execute() })
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, DaemonError> {
    std::path::absolute(path).map_err(DaemonError::os("find the working directory"))
}

/// What the parts share.
struct Shared {
    store: Store,
    reloader: Reloader,
    facts: watch::Sender<Arc<Facts>>,
    commits: watch::Receiver<u64>,
    store_error: watch::Receiver<Option<String>>,
    outbox: Arc<Notify>,
    shutdown: CancellationToken,
    nofile_soft: u64,
}

async fn serve(options: &Places, config: &Config, host: Host) -> Result<Leave, DaemonError> {
    let signals = host.signals.watch().map_err(DaemonError::os("take signals"))?;
    tokio::spawn(inherited::reap(host.children));
    let store = Store::open(&options.state_dir, &host::default_name()).await?;
    let jobs = Arc::new(config.jobs.clone());
    let (facts, _) = watch::channel(Arc::new(first_facts(options, config, &jobs, store.host())));
    let (commits, commits_seen) = watch::channel(0);
    let (store_error, store_error_seen) = watch::channel(None);
    let (leave, mut left) = mpsc::channel(LEAVES_MAX);
    let shared = Shared {
        store,
        reloader: Reloader::new(host.program, facts.clone(), leave.clone()),
        facts,
        commits: commits_seen,
        store_error: store_error_seen,
        outbox: Arc::new(Notify::new()),
        shutdown: CancellationToken::new(),
        nofile_soft: host.files.soft(),
    };
    let (commands, commands_seen) = mpsc::channel(COMMANDS_MAX);
    let socket = Socket::bind(&options.socket)?;
    let stop = shared.shutdown.clone().cancelled_owned();
    let api = server::serve(socket, shared.api(options, commands), stop);
    let api = tokio::spawn(part("the API", leave.clone(), api));
    let alerts = tokio::spawn(part("the alerts", leave.clone(), shared.alerts(config)?));
    let house = tokio::spawn(part("house-keeping", leave.clone(), shared.keep_house(config)));
    tokio::spawn(part("the store's health", leave.clone(), shared.tell_store_errors()));
    let told = Told { commits, store_error, outbox: Arc::clone(&shared.outbox) };
    let mut dispatcher = shared.dispatcher(options, config, jobs, told, commands_seen).await?;
    let hangup = Arc::new(Notify::new());
    tokio::spawn(part("reloading", leave, shared.reloader.clone().on_hangup(Arc::clone(&hangup))));
    let leave = until_leave(&signals, &mut left, &hangup);
    let why = dispatcher.run(leave, || shared.announce_ready()).await;
    let is_reload = matches!(why, Ok(Leave::Reload));
    shared.announce_leave(is_reload);
    shared.shutdown.cancel();
    let _ = tokio::join!(api, alerts, house);
    shared.say_goodbye().await;
    if !is_reload {
        // The next jobd would replace it; until then nobody should knock in vain. After a reload that is in a moment.
        let _ = std::fs::remove_file(&options.socket);
    }
    why.map_err(DaemonError::os("wait for the next fire"))
}

/// A part that jobd cannot be without: a panic in it ends jobd, so that whoever keeps it up starts it again.
async fn part<T>(name: &str, leave: mpsc::Sender<Leave>, task: impl Future<Output = T>) {
    if let Err(fault) = caught(task).await {
        let _ = leave.try_send(Leave::Fault(format!("{name}: {fault}")));
    }
}

/// Resolves when jobd is to leave its loop. What comes after that is left to the next jobd.
async fn until_leave(
    signals: &WatchedSignals,
    left: &mut mpsc::Receiver<Leave>,
    hangup: &Notify,
) -> io::Result<Leave> {
    loop {
        tokio::select! {
            biased;
            Some(leave) = left.recv() => return Ok(leave),
            signal = signals.next() => match signal? {
                Signal::SIGHUP => hangup.notify_one(),
                _ => return Ok(Leave::Stop),
            },
        }
    }
}

impl Shared {
    fn api(&self, options: &Places, commands: mpsc::Sender<Command>) -> Api {
        Api {
            records: Arc::new(Ledger::new(self.store.reader(), options.state_dir.clone())),
            facts: self.facts.subscribe(),
            commits: self.commits.clone(),
            commands,
        }
    }

    fn alerts(&self, config: &Config) -> Result<impl Future<Output = ()> + use<>, DaemonError> {
        let language = channels::language(config.language);
        let wording = Wording::new(language, config.timezone.clone(), self.store.host())?;
        Ok(alerts::run(
            self.store.clone(),
            channels::senders(&config.channels),
            wording,
            Limits::default(),
            Arc::clone(&self.outbox),
            self.shutdown.clone(),
        ))
    }

    fn keep_house(&self, config: &Config) -> impl Future<Output = ()> + use<> {
        let (store, facts, seen) = (self.store.clone(), self.facts.clone(), self.facts.subscribe());
        let (alert, outbox) = (config.default_alert.clone(), Arc::clone(&self.outbox));
        let shutdown = self.shutdown.clone();
        let audited = store.clone();
        let auditor = move || Auditor::new(audited, facts, outbox, alert, clock::now());
        async move {
            if let Err(problem) = housekeeping::run(store, seen, auditor, shutdown).await {
                warn!("nobody audits the fires or copies the store: {}", causes(&problem));
            }
        }
    }

    /// Keeps what `jobctl status` says of the store up to date.
    fn tell_store_errors(&self) -> impl Future<Output = ()> + use<> {
        let (mut errors, facts) = (self.store_error.clone(), self.facts.clone());
        async move {
            while errors.changed().await.is_ok() {
                let error = errors.borrow_and_update().clone();
                facts.send_modify(|facts| Arc::make_mut(facts).store_error = error);
            }
        }
    }

    /// Recovers the engine, and takes up the runs that a former jobd has left.
    async fn dispatcher(
        &self,
        options: &Places,
        config: &Config,
        jobs: Arc<BTreeMap<JobName, Arc<JobSpec>>>,
        told: Told,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Dispatcher, DaemonError> {
        let boot_id = os::boot_id().map_err(DaemonError::os("read the host's boot id"))?;
        let launcher = Launcher::find().map_err(DaemonError::os("find jobd-shim"))?;
        let snapshot = self.store.snapshot(&remembered(jobs.values().map(AsRef::as_ref))).await?;
        let open = snapshot.open.clone();
        let before = snapshot.boot_id.as_deref();
        let proofs = reconciliation::gather(&options.state_dir, &open, before, &boot_id)
            .await
            .map_err(DaemonError::Reconcile)?;
        os::Cgroup::sweep();
        let held: Vec<_> = open.into_iter().filter(|open| reconciliation::is_held(&proofs, open)).collect();
        let (events, events_seen) = mpsc::unbounded_channel::<Event>();
        let places = RunPlaces {
            state_dir: options.state_dir.clone(),
            launcher,
            specs: Arc::clone(&jobs),
            boot_id: boot_id.clone(),
            lang: std::env::var("LANG").ok(),
            nofile_soft: self.nofile_soft,
        };
        let executor = Executor::new(self.store.clone(), places, told, events);
        for open in &held {
            executor.adopt(&open.claim);
        }
        let settings =
            Settings { default_alert: config.default_alert.clone(), admission: config.admission.clone() };
        let boot = Boot { id: boot_id, at: clock::booted_at() };
        let specs = jobs.values().cloned();
        let mut effects = Vec::new();
        let engine = Scheduler::recover(settings, specs, snapshot, proofs, &boot, clock::now(), &mut effects);
        let mut dispatcher = Dispatcher::new(engine, executor, events_seen, commands, self.reloader.clone())
            .map_err(DaemonError::os("make a timer"))?;
        dispatcher.act(effects);
        Ok(dispatcher)
    }

    fn announce_ready(&self) {
        let jobs = self.facts.borrow().specs.len();
        self.set_state(State::Ready);
        info!(jobs, "ready");
        systemd::ready(&format!("{jobs} jobs"));
    }

    fn announce_leave(&self, is_reload: bool) {
        if is_reload {
            self.set_state(State::Reloading);
            info!("reloading; runs go on");
            systemd::reloading();
        } else {
            self.set_state(State::Stopping);
            info!("stopping; runs go on");
            systemd::stopping();
        }
    }

    fn set_state(&self, state: State) {
        self.facts.send_modify(|facts| Arc::make_mut(facts).state = state);
    }

    async fn say_goodbye(&self) {
        if let Err(error) = self.store.heartbeat(clock::now().wall).await {
            warn!("the time of leaving could not be stored: {}", causes(&error));
        }
        self.store.close().await;
    }
}

fn first_facts(
    options: &Places,
    config: &Config,
    jobs: &Arc<BTreeMap<JobName, Arc<JobSpec>>>,
    host: &str,
) -> Facts {
    Facts {
        state: State::Starting,
        started_at: clock::now().wall,
        config: config.path.clone(),
        state_dir: options.state_dir.clone(),
        host: host.to_owned(),
        timezone: config.timezone.clone(),
        specs: Arc::clone(jobs),
        store_error: None,
        problems: config.warnings.iter().map(check::line).collect(),
    }
}
