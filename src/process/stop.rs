//! Ending a run before its time.

use std::io;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::finding::{Finding, inspect};
use super::remains;
use crate::engine::left::cannot_be_killed;
use crate::failpoint::Failpoint;
use crate::os::{self, Pidfd};
use crate::run::{Mark, RunError, RunFolder, Stuck};

/// How long a shim that has just been launched may take to write its mark.
const MARK_LIMIT: Duration = Duration::from_secs(10);
const MARK_INTERVAL: Duration = Duration::from_millis(20);
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Why a run could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// It is not active, or no longer.
    #[error("the run is not active")]
    NotActive,
    /// Its shim holds the lock and does not get on.
    #[error("the run's shim has not started its job in {} s; try again", MARK_LIMIT.as_secs())]
    NotReady,
    /// A file of the run folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The system refused.
    #[error("failed to signal the run's shim (pid {pid})")]
    Signal {
        /// The shim.
        pid: u32,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Asks a run's shim to end it: the job's stop signals, and SIGKILL. Returns when the shim has been asked, not
/// when the run is over. `by` says who asks: `uid 1000`. Asking again changes nothing.
///
/// # Errors
/// When the run is not active or its shim cannot be asked.
pub async fn stop(folder: &RunFolder, by: &str) -> Result<(), StopError> {
    let mark = active(folder).await?;
    let (word, by) = (folder.clone(), by.to_owned());
    // Durable before the signal: the shim reads it when the signal arrives.
    let written = tokio::task::spawn_blocking(move || word.write_stop(&by));
    // A task that does not write can only have been cancelled, and then the runtime is going down.
    written.await.map_err(|_| StopError::NotActive)??;
    Failpoint::BeforeSignal.pass();
    signal(&mark, SIGTERM)
}

/// Kills a run at once, with its shim: the last resort, for a shim that does not do its work. The run is then LOST.
/// Returns what could not be killed.
///
/// # Errors
/// When the run is not active or its folder cannot be read.
pub async fn reap(folder: &RunFolder) -> Result<Option<String>, StopError> {
    let mark = active(folder).await?;
    // The shim first, so that it does not take the end of its job for the job's own doing. What it had below it is
    // listed before, as long as there is a parent to be found by.
    let below = os::descendants(mark.pid);
    signal(&mark, SIGKILL)?;
    for process in below {
        process.signal(SIGKILL);
    }
    let left = remains::kill(folder, &mark).await.map(|tree| tree.left).unwrap_or_default();
    Ok((!left.is_empty()).then(|| cannot_be_killed(&left)))
}

/// What the shim of an active run says of processes that do not die of SIGKILL; `None` if it does not, or the run is
/// not active. There is nothing that [`reap`] could do about them, and without the shim nobody would see their end.
///
/// # Errors
/// When the run folder cannot be read, or a newer jobd wrote it.
pub fn stuck(folder: &RunFolder) -> Result<Option<Stuck>, StopError> {
    let boot_id = os::boot_id().map_err(RunError::io("read", "/proc/sys/kernel/random/boot_id".as_ref()))?;
    match inspect(folder, &boot_id)? {
        Finding::Held { .. } => Ok(folder.stuck()?),
        Finding::Ended(_) | Finding::NeverStarted | Finding::Lost { .. } => Ok(None),
    }
}

/// The mark of a run that is active, waited for if it is about to be written.
async fn active(folder: &RunFolder) -> Result<Mark, StopError> {
    let boot_id = os::boot_id().map_err(RunError::io("read", "/proc/sys/kernel/random/boot_id".as_ref()))?;
    let marked = async {
        loop {
            match inspect(folder, &boot_id)? {
                Finding::Held { mark: Some(mark) } if mark.boot_id == boot_id => return Ok(mark),
                Finding::Held { .. } => sleep(MARK_INTERVAL).await,
                Finding::Ended(_) | Finding::NeverStarted | Finding::Lost { .. } => {
                    return Err(StopError::NotActive);
                }
            }
        }
    };
    timeout(MARK_LIMIT, marked).await.unwrap_or(Err(StopError::NotReady))
}

fn signal(mark: &Mark, signal: i32) -> Result<(), StopError> {
    let failed = |source| StopError::Signal { pid: mark.pid, source };
    match Pidfd::open(mark.pid, mark.start_time).map_err(failed)? {
        Some(pidfd) => pidfd.signal(signal).map_err(failed),
        None => Err(StopError::NotActive),
    }
}
