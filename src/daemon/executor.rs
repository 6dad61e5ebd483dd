//! Carries out what the engine wants: each effect becomes a task, and the task's end an event.
//!
//! **Invariant:** nothing here decides. Whatever can go wrong comes back to the engine as an event.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tracing::{error, info, warn};

use super::causes;
use crate::clock;
use crate::engine::event::Event;
use crate::engine::job::{JobName, JobSpec};
use crate::engine::ledger::{Batch, Change};
use crate::engine::run::{Claim, Exit, Report, RunId};
use crate::engine::time::describe_duration;
use crate::failpoint::Failpoint;
use crate::process::{self, LaunchError, Launcher, Shim};
use crate::run::{RunFolder, RunSpec, find};
use crate::store::Store;

/// Shims being started at once: each costs descriptors and syncs of the disk, and more at a time are no quicker.
const LAUNCHES_MAX: usize = 32;

/// The hands of the dispatcher. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Executor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    places: RunPlaces,
    events: mpsc::UnboundedSender<Event>,
    signals: Signals,
    launches: Semaphore,
}

/// What a run is made of.
#[derive(Debug)]
pub(super) struct RunPlaces {
    pub(super) state_dir: PathBuf,
    pub(super) launcher: Launcher,
    pub(super) specs: Arc<BTreeMap<JobName, JobSpec>>,
    pub(super) boot_id: String,
    pub(super) lang: Option<String>,
}

/// Who is told of what was stored.
#[derive(Debug)]
pub(super) struct Signals {
    /// The number of the last batch: whoever waits for a row looks again.
    pub(super) commits: watch::Sender<u64>,
    /// Why the store could not be written last time; none while it works.
    pub(super) store_error: watch::Sender<Option<String>>,
    /// A message waits.
    pub(super) outbox: Arc<Notify>,
}

impl Executor {
    pub(super) fn new(
        store: Store,
        places: RunPlaces,
        signals: Signals,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self(Arc::new(Inner { store, places, events, signals, launches: Semaphore::new(LAUNCHES_MAX) }))
    }

    /// Stores a batch.
    pub(super) fn commit(&self, batch: Arc<Batch>) {
        let this = self.clone();
        tokio::spawn(async move {
            let number = batch.number;
            let is_claim = batch.changes.iter().any(|change| matches!(change, Change::Claim { .. }));
            let is_end = batch.changes.iter().any(|change| matches!(change, Change::Finish { .. }));
            if is_claim {
                Failpoint::BeforeClaim.pass();
            }
            if is_end {
                Failpoint::BeforeRow.pass();
            }
            let event = match this.0.store.commit(&batch).await {
                Ok(answers) => {
                    if is_claim {
                        Failpoint::AfterClaim.pass();
                    }
                    if is_end {
                        Failpoint::AfterRow.pass();
                    }
                    this.stored(&batch);
                    Event::Committed { number, answers }
                }
                Err(problem) => {
                    this.not_stored(&causes(&problem));
                    Event::CommitFailed { number }
                }
            };
            this.tell(event);
        });
    }

    fn stored(&self, batch: &Batch) {
        let signals = &self.0.signals;
        signals.commits.send_replace(batch.number);
        if signals.store_error.send_if_modified(|error| error.take().is_some()) {
            info!("the store can be written again");
        }
        if batch.changes.iter().any(|change| matches!(change, Change::Notify { .. })) {
            signals.outbox.notify_one();
        }
    }

    fn not_stored(&self, problem: &str) {
        let is_news = |error: &mut Option<String>| {
            let is_news = error.as_deref() != Some(problem);
            *error = Some(problem.to_owned());
            is_news
        };
        if self.0.signals.store_error.send_if_modified(is_news) {
            error!("the store cannot be written, so no run starts: {problem}");
        }
    }

    /// Starts a run and stays with it to its end.
    pub(super) fn launch(&self, claim: Claim) {
        let this = self.clone();
        tokio::spawn(async move {
            let folder = this.folder(&claim);
            let launched = {
                // Never closed, so there is always a permit to come.
                let _turn = this.0.launches.acquire().await;
                this.start(&claim, &folder).await
            };
            match launched {
                Ok(shim) => {
                    info!(run = %claim.run, job = %claim.job, trigger = %claim.trigger, "started");
                    this.tell(Event::Launched { run: claim.run });
                    this.attend(&claim, &folder, Some(shim)).await;
                }
                Err(NotLaunched::Active) => this.attend(&claim, &folder, None).await,
                Err(NotLaunched::Failed { step, error }) => {
                    let exit = Exit::SpawnFailed { step: step.to_owned(), error };
                    this.ended(&claim, Report { exit, ..Report::lost("", None, clock::now().wall) });
                }
            }
        });
    }

    async fn start(&self, claim: &Claim, folder: &RunFolder) -> Result<Shim, NotLaunched> {
        let places = &self.0.places;
        let Some(job) = places.specs.get(&claim.job) else {
            let error = format!("{} is not in the configuration any more", claim.job);
            return Err(NotLaunched::Failed { step: "configuration", error });
        };
        let spec = RunSpec::new(job, claim, &places.boot_id, places.lang.as_deref());
        match places.launcher.launch(folder, &spec).await {
            Ok(shim) => Ok(shim),
            Err(LaunchError::Held(_) | LaunchError::AlreadyStarted(_)) => Err(NotLaunched::Active),
            Err(problem) => Err(NotLaunched::Failed { step: "launch", error: causes(&problem) }),
        }
    }

    /// Takes up a run that a former jobd has launched.
    pub(super) fn adopt(&self, claim: &Claim) {
        info!(run = %claim.run, job = %claim.job, "goes on");
        let (this, claim, folder) = (self.clone(), claim.clone(), self.folder(claim));
        tokio::spawn(async move { this.attend(&claim, &folder, None).await });
    }

    async fn attend(&self, claim: &Claim, folder: &RunFolder, shim: Option<Shim>) {
        let watched = process::watch(folder, shim, || clock::now().wall).await;
        let report = watched.unwrap_or_else(|problem| {
            let why = format!("its run folder cannot be read: {}", causes(&problem));
            Report::lost(why, None, clock::now().wall)
        });
        self.ended(claim, report);
    }

    fn ended(&self, claim: &Claim, report: Report) {
        let (run, job, status) = (claim.run, &claim.job, report.status());
        let (took, how) = (describe_duration(report.duration), report.describe_end(claim.timeout));
        if status.is_bad() {
            warn!(%run, %job, %status, %took, "ended: {how}");
        } else {
            info!(%run, %job, %status, %took, "ended: {how}");
        }
        if let Some(remark) = &report.remark {
            warn!(%run, %job, "{remark}");
        }
        self.tell(Event::Exited { run, report: Box::new(report) });
    }

    /// Asks a run's shim to end it.
    pub(super) fn stop(&self, run: RunId, by: String) {
        let this = self.clone();
        tokio::spawn(async move {
            let Some(folder) = find(&this.0.places.state_dir, run) else { return };
            match process::stop(&folder, &by).await {
                Ok(()) => info!(%run, %by, "the run is being stopped"),
                Err(problem) => warn!(%run, %by, "the run was not stopped: {}", causes(&problem)),
            }
        });
    }

    /// Ends a run whose shim does not.
    pub(super) fn reap(&self, run: RunId) {
        let this = self.clone();
        tokio::spawn(async move {
            let Some(folder) = find(&this.0.places.state_dir, run) else { return };
            match process::reap(&folder).await {
                Ok(None) => warn!(%run, "the run's shim did not end it in time; it was killed from outside"),
                Ok(Some(left)) => error!(%run, "the run was killed from outside: {left}"),
                Err(problem) => {
                    error!(%run, "the run is overdue and could not be killed: {}", causes(&problem));
                }
            }
        });
    }

    fn folder(&self, claim: &Claim) -> RunFolder {
        RunFolder::new(&self.0.places.state_dir, claim.claimed_at, claim.run)
    }

    fn tell(&self, event: Event) {
        // Nobody listens once the dispatcher has stopped; the next jobd finds out for itself.
        let _ = self.0.events.send(event);
    }
}

/// Why a run was not launched.
enum NotLaunched {
    /// It is, or was: by a jobd before this one.
    Active,
    /// A step failed, and nothing has run.
    Failed { step: &'static str, error: String },
}
