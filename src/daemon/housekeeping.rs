//! What is done by the clock on the wall, whatever the jobs do: the audit, the heartbeat, the copy of the store.
//!
//! It runs on a scheduler of its own, on a thread of its own. That scheduler wakes twice a second and may be half a
//! second late, which is why it fires no jobs; here neither matters. It shares nothing with what is audited: jobd's
//! threads may all stand still, and it still tells.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;

use tokio::sync::{Mutex, oneshot, watch};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::auditor::Auditor;
use super::causes;
use crate::api::supervisor::Facts;
use crate::api::types::State;
use crate::clock;
use crate::store::{BackupError, Store};

/// When fires are audited: two looks find what is missing within a minute of its instant.
const AUDIT: &str = "*/20 * * * * *";
/// When it is noted that jobd is there.
const HEARTBEAT: &str = "30 * * * * *";
/// When the store is copied: in UTC, since it has to be some time.
const BACKUP: &str = "0 47 18 * * *";
/// Messages between the scheduler's own parts; it loses some where there is no room.
const CHANNEL_SIZE: usize = 1024;

/// Its name, in which `ps -L` shows it.
const THREAD: &str = "house-keeping";

/// Why nobody keeps house.
#[derive(Debug, thiserror::Error)]
pub(super) enum HouseError {
    /// The kernel.
    #[error("no thread for it")]
    Thread(#[from] io::Error),
    /// The scheduler.
    #[error("its scheduler does not work")]
    Scheduler(#[source] JobSchedulerError),
    /// A fault of ours.
    #[error("a panic")]
    Panic,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Keeps house until `shutdown`, on a thread of its own. Nothing is done until jobd is ready. Resolves when it is over.
///
/// # Errors
/// When the kernel has no thread for it, or the scheduler does not start.
pub(super) async fn run(
    store: Store,
    facts: watch::Receiver<Arc<Facts>>,
    auditor: impl FnOnce() -> Auditor + Send + 'static,
    shutdown: CancellationToken,
) -> Result<(), HouseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (end, ended) = oneshot::channel();
    let work = move || {
        let done = runtime.block_on(serve(store, facts, auditor, shutdown));
        // Whoever waits for it has not gone before.
        let _ = end.send(done);
    };
    thread::Builder::new().name(THREAD.to_owned()).spawn(work)?;
    ended.await.map_err(|_| HouseError::Panic)?.map_err(HouseError::Scheduler)
}

async fn serve(
    store: Store,
    mut facts: watch::Receiver<Arc<Facts>>,
    auditor: impl FnOnce() -> Auditor,
    shutdown: CancellationToken,
) -> Result<(), JobSchedulerError> {
    let is_ready = facts.wait_for(|facts| facts.state == State::Ready);
    let ready = tokio::select! {
        () = shutdown.cancelled() => false,
        ready = is_ready => ready.is_ok(),
    };
    if !ready {
        return Ok(());
    }
    let auditor = Arc::new(Mutex::new(auditor()));
    let mut scheduler = JobScheduler::new_with_channel_size(CHANNEL_SIZE).await?;
    scheduler.add(every(AUDIT, move || look(Arc::clone(&auditor)))?).await?;
    let beating = store.clone();
    scheduler.add(every(HEARTBEAT, move || beat(beating.clone()))?).await?;
    scheduler.add(every(BACKUP, move || back_up(store.clone()))?).await?;
    scheduler.start().await?;
    shutdown.cancelled().await;
    scheduler.shutdown().await
}

fn every<F: Future<Output = ()> + Send + 'static>(
    schedule: &str,
    work: impl Fn() -> F + Send + Sync + 'static,
) -> Result<Job, JobSchedulerError> {
    Job::new_async(schedule, move |_, _| -> Work { Box::pin(work()) })
}

/// A look that takes longer than the time to the next one is the only one under way.
async fn look(auditor: Arc<Mutex<Auditor>>) {
    if let Ok(mut auditor) = auditor.try_lock() {
        auditor.look(clock::now()).await;
    }
}

/// So that a downtime is known to the minute, however seldom anything fires.
async fn beat(store: Store) {
    if let Err(problem) = store.heartbeat(clock::now().wall).await {
        warn!("the time could not be noted: {}", causes(&problem));
    }
}

async fn back_up(store: Store) {
    match store.back_up().await {
        Ok(file) => info!(file = %file.display(), "the store is copied"),
        Err(BackupError::NoRoom { needed, free, .. }) => {
            warn!(needed, free, "there is no room for a copy of the store; the last one stays");
        }
        Err(problem) => warn!("the store could not be copied; the last copy stays: {}", causes(&problem)),
    }
}
