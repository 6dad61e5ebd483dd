//! Carries out what the engine wants: each effect becomes a task, and the task's end an event.
//!
//! **Invariant:** nothing here decides. Whatever can go wrong comes back to the engine as an event.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tracing::{error, info, warn};

use super::attend::Launches;
use super::causes;
use super::gates::Gates;
use super::inspection::INSPECTIONS_MAX;
use super::supervision::caught;
use crate::engine::event::Event;
use crate::engine::job::{JobName, JobSpec};
use crate::engine::ledger::{Answer, Batch, Change};
use crate::engine::run::{Claim, RunId};
use crate::failpoint::{self, Failpoint};
use crate::process::{self, Launcher};
use crate::run::{RunFolder, Stuck, find};
use crate::store::Store;

/// The hands of the dispatcher. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Executor(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    store: Store,
    pub(super) places: RunPlaces,
    events: mpsc::UnboundedSender<Event>,
    signals: Signals,
    pub(super) launches: Launches,
    pub(super) gates: Gates,
    pub(super) inspections: Semaphore,
}

/// What a run is made of.
#[derive(Debug)]
pub(super) struct RunPlaces {
    pub(super) state_dir: PathBuf,
    pub(super) launcher: Launcher,
    pub(super) specs: Arc<BTreeMap<JobName, Arc<JobSpec>>>,
    pub(super) boot_id: String,
    pub(super) lang: Option<String>,
    /// The soft limit of open files that jobs get.
    pub(super) nofile_soft: u64,
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
        let inspections = Semaphore::new(INSPECTIONS_MAX);
        let (launches, gates) = (Launches::new(), Gates::new());
        Self(Arc::new(Inner { store, places, events, signals, launches, gates, inspections }))
    }

    /// Stores a batch. Whatever happens, the engine hears of it: it waits for nothing else.
    pub(super) fn commit(&self, batch: Arc<Batch>) {
        let this = self.clone();
        tokio::spawn(async move {
            let number = batch.number;
            let stored = caught(this.store(&batch)).await;
            let stored = stored.unwrap_or_else(|fault| Err(format!("a fault in jobd itself: {fault}")));
            this.tell(match stored {
                Ok(answers) => Event::Committed { number, answers },
                Err(problem) => {
                    this.not_stored(&problem);
                    Event::CommitFailed { number }
                }
            });
        });
    }

    async fn store(&self, batch: &Batch) -> Result<Vec<(RunId, Answer)>, String> {
        let claim = batch.changes.iter().find_map(|change| match change {
            Change::Claim { claim, .. } => Some(claim),
            _ => None,
        });
        let is_ahead = batch.changes.iter().any(|change| matches!(change, Change::Ahead { .. }));
        let is_turn = batch.changes.iter().any(|change| matches!(change, Change::Start { .. }));
        let is_end = batch.changes.iter().any(|change| matches!(change, Change::Finish { .. }));
        if let Some(claim) = claim {
            Failpoint::BeforeClaim.pass();
            failpoint::panic_at("commit", claim.job.as_str());
        }
        if is_end {
            Failpoint::BeforeRow.pass();
        }
        let answers = self.0.store.commit(batch).await.map_err(|problem| causes(&problem))?;
        if claim.is_some() {
            Failpoint::AfterClaim.pass();
        }
        if is_ahead {
            Failpoint::AfterAhead.pass();
        }
        if is_turn {
            Failpoint::AfterTurn.pass();
        }
        if is_end {
            Failpoint::AfterRow.pass();
        }
        self.stored(batch);
        Ok(answers)
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

    /// Asks a run's shim to end it.
    pub(super) fn stop(&self, run: RunId, by: String) {
        if self.0.launches.stop(run, &by) {
            info!(%run, %by, "the run was waiting to be started, and is not started any more");
            return;
        }
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
            if let Ok(Some(stuck)) = process::stuck(&folder) {
                this.stuck(run, stuck);
                return;
            }
            match process::reap(&folder).await {
                Ok(None) => warn!(%run, "the run's shim did not end it in time; it was killed from outside"),
                Ok(Some(left)) => error!(%run, "the run was killed from outside: {left}"),
                Err(problem) => {
                    error!(%run, "the run is overdue and could not be killed: {}", causes(&problem));
                }
            }
        });
    }

    pub(super) fn stuck(&self, run: RunId, Stuck { since, left, .. }: Stuck) {
        self.tell(Event::Stuck { run, since, left });
    }

    pub(super) fn folder(&self, claim: &Claim) -> RunFolder {
        RunFolder::new(&self.0.places.state_dir, claim.claimed_at, claim.run)
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody listens once the dispatcher has stopped; the next jobd finds out for itself.
        let _ = self.0.events.send(event);
    }
}
