//! `jobd`: the parts joined into a process.
//!
//! [`run`] opens the store and finds out what became of the runs of a former jobd (`reconciliation`). `dispatcher` is
//! the loop that puts events in order, `executor` its hands; `channels` and `systemd` are the way out.

mod channels;
mod dispatcher;
mod executor;
mod host;
mod log;
mod reconciliation;
mod systemd;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::ledger::Ledger;
use crate::api::server;
use crate::api::socket::{BindError, Socket};
use crate::api::supervisor::{Api, Command, Facts};
use crate::api::types::State;
use crate::clock;
use crate::config::{self, Config, Diagnostic, LoadOptions, Rejected};
use crate::engine::event::Event;
use crate::engine::job::{JobName, JobSpec};
use crate::engine::recovery::Boot;
use crate::engine::scheduler::{Scheduler, Settings};
use crate::forward::alerts::{self, Language, Limits, TextError, Wording};
use crate::os;
use crate::process::Launcher;
use crate::run::RunError;
use crate::store::{Store, StoreError};

use dispatcher::Dispatcher;
use executor::{Executor, RunPlaces, Signals};
use host::StateLock;

pub use crate::api::places::Places;
pub use crate::engine::words::causes;
pub use host::StateDirError;

/// Requests that may wait for the loop.
const COMMANDS_MAX: usize = 64;

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

/// Runs jobd in the foreground until SIGTERM or SIGINT. Runs go on without it.
///
/// # Errors
/// When it cannot start, or the kernel takes away what it cannot do without.
pub fn run(options: &Places) -> Result<(), DaemonError> {
    log::start();
    // Shims and jobs have working directories of their own.
    let absolute =
        |path: &PathBuf| std::path::absolute(path).map_err(DaemonError::os("find the working directory"));
    let state_dir = absolute(&options.state_dir)?;
    let options =
        &Places { state_dir, socket: absolute(&options.socket)?, config: absolute(&options.config)? };
    let config = config::load(&options.config, &LoadOptions::daemon(nix::unistd::geteuid().as_raw()))?;
    for warning in &config.warnings {
        warn!("{}", warning.render(false).trim_end());
    }
    let lock = StateLock::take(&options.state_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::os("start the threads of jobd"))?;
    let done = runtime.block_on(serve(options, &config));
    // A task that hangs in the kernel must not keep jobd from ending; what it was at is found out at the next start.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    drop(lock);
    done
}

/// What the parts share.
struct Shared {
    store: Store,
    facts: watch::Sender<Arc<Facts>>,
    commits: watch::Receiver<u64>,
    store_error: watch::Receiver<Option<String>>,
    outbox: Arc<Notify>,
    shutdown: CancellationToken,
}

async fn serve(options: &Places, config: &Config) -> Result<(), DaemonError> {
    let stop = stop_signal()?;
    let store = Store::open(&options.state_dir, &host::default_name()).await?;
    let jobs = Arc::new(config.jobs.clone());
    let (facts, _) = watch::channel(Arc::new(first_facts(options, config, &jobs, store.host())));
    let (commits, commits_seen) = watch::channel(0);
    let (store_error, store_error_seen) = watch::channel(None);
    let shared = Shared {
        store,
        facts,
        commits: commits_seen,
        store_error: store_error_seen,
        outbox: Arc::new(Notify::new()),
        shutdown: CancellationToken::new(),
    };
    let (commands, commands_seen) = mpsc::channel(COMMANDS_MAX);
    let socket = Socket::bind(&options.socket)?;
    let api = tokio::spawn(server::serve(
        socket,
        shared.api(options, commands),
        shared.shutdown.clone().cancelled_owned(),
    ));
    let alerts = tokio::spawn(shared.alerts(config)?);
    tokio::spawn(shared.tell_store_errors());
    let signals = Signals { commits, store_error, outbox: Arc::clone(&shared.outbox) };
    let mut dispatcher = shared.dispatcher(options, config, jobs, signals, commands_seen).await?;
    let ran = dispatcher.run(stop, || shared.announce_ready()).await;
    shared.announce_stop();
    shared.shutdown.cancel();
    let _ = tokio::join!(api, alerts);
    shared.say_goodbye(options).await;
    ran.map_err(DaemonError::os("wait for the next fire"))
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
        let language = match config.language {
            config::Language::Ko => Language::Ko,
            config::Language::En => Language::En,
        };
        let wording = Wording::new(language, config.timezone.clone(), self.store.host())?;
        Ok(alerts::run(
            self.store.clone(),
            channels::senders(config),
            wording,
            Limits::default(),
            Arc::clone(&self.outbox),
            self.shutdown.clone(),
        ))
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
        jobs: Arc<BTreeMap<JobName, JobSpec>>,
        signals: Signals,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Dispatcher, DaemonError> {
        let boot_id = os::boot_id().map_err(DaemonError::os("read the host's boot id"))?;
        let launcher = Launcher::find().map_err(DaemonError::os("find jobd-shim"))?;
        let snapshot = self.store.snapshot().await?;
        let open = snapshot.open.clone();
        let proofs = reconciliation::gather(&options.state_dir, &open, &boot_id)
            .await
            .map_err(DaemonError::Reconcile)?;
        let held: Vec<_> = open.into_iter().filter(|open| reconciliation::is_held(&proofs, open)).collect();
        let (events, events_seen) = mpsc::unbounded_channel::<Event>();
        let places = RunPlaces {
            state_dir: options.state_dir.clone(),
            launcher,
            specs: Arc::clone(&jobs),
            boot_id: boot_id.clone(),
            lang: std::env::var("LANG").ok(),
        };
        let executor = Executor::new(self.store.clone(), places, signals, events);
        for open in &held {
            executor.adopt(&open.claim);
        }
        let settings = Settings { default_alert: config.default_alert.clone() };
        let boot = Boot { id: boot_id, at: clock::booted_at() };
        let specs = jobs.values().cloned().map(Arc::new);
        let mut effects = Vec::new();
        let engine = Scheduler::recover(settings, specs, snapshot, proofs, &boot, clock::now(), &mut effects);
        let mut dispatcher = Dispatcher::new(engine, executor, events_seen, commands)
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

    fn announce_stop(&self) {
        self.set_state(State::Stopping);
        info!("stopping; runs go on");
        systemd::stopping();
    }

    fn set_state(&self, state: State) {
        self.facts.send_modify(|facts| Arc::make_mut(facts).state = state);
    }

    async fn say_goodbye(&self, options: &Places) {
        if let Err(error) = self.store.touch(clock::now().wall).await {
            warn!("the time of leaving could not be stored: {}", causes(&error));
        }
        self.store.close().await;
        // The next jobd would replace it; until then nobody should knock in vain.
        let _ = std::fs::remove_file(&options.socket);
    }
}

fn first_facts(
    options: &Places,
    config: &Config,
    jobs: &Arc<BTreeMap<JobName, JobSpec>>,
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
        problems: config.warnings.iter().map(problem).collect(),
    }
}

/// A warning in a line, with its place.
fn problem(warning: &Diagnostic) -> String {
    match &warning.place {
        Some(place) => format!("{}:{}: {}", place.file.display(), place.line, warning.message),
        None => warning.message.clone(),
    }
}

/// Resolves at the first SIGTERM or SIGINT. The handlers are there when this returns, so none is missed.
fn stop_signal() -> Result<impl Future<Output = ()>, DaemonError> {
    let failed = "listen for signals";
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::os(failed))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::os(failed))?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
