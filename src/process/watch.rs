//! Waiting for the end of a run, ours or adopted.

use std::time::Duration;

use tokio::time::sleep;

use super::finding::{Finding, inspect};
use super::launch::Shim;
use super::remains;
use crate::engine::left::cannot_be_killed;
use crate::engine::run::{Exit, Report, Tree};
use crate::engine::time::Timestamp;
use crate::os::{self, Pidfd};
use crate::run::{Mark, RunError, RunFolder, Silent, Stuck};

/// How soon a shim is looked at again that holds the lock and has not written its mark: it is about to.
const MARK_INTERVAL: Duration = Duration::from_millis(20);
/// How soon a held lock is looked at again whose shim cannot be watched: we are out of descriptors, or the shim is gone
/// and a process that is just being started has a copy of our descriptors until it execs.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How soon it is looked again whether processes of a run do not die: it is rare, and a person is to be told who cannot
/// do much about it.
const STUCK_INTERVAL: Duration = Duration::from_secs(5);
/// How soon it is looked again whether a run has fallen silent: it may be silent for minutes.
const SILENT_INTERVAL: Duration = Duration::from_secs(5);

/// Waits until a run is over, and says how it ended. With the shim that was launched for it, or without one for a
/// run that is found active after a restart of jobd.
///
/// A run whose shim has vanished is LOST; what it has left running is killed first. `now` is asked once, when there is
/// no result to say when the run ended.
///
/// # Errors
/// When the folder cannot be read, or a newer jobd wrote it.
pub async fn watch(
    folder: &RunFolder,
    shim: Option<Shim>,
    now: impl Fn() -> Timestamp,
) -> Result<Report, RunError> {
    let boot_id = os::boot_id().map_err(RunError::io("read", "/proc/sys/kernel/random/boot_id".as_ref()))?;
    if let Some(mut shim) = shim {
        // An error here means that somebody else has waited for our child; the lock tells what is so.
        let _ = shim.child.wait().await;
    }
    loop {
        match inspect(folder, &boot_id)? {
            Finding::Held { mark: Some(mark) } => until_ended(&mark).await,
            Finding::Held { mark: None } => sleep(MARK_INTERVAL).await,
            Finding::Ended(report) => return Ok(*report),
            Finding::NeverStarted => return Ok(not_started(now())),
            Finding::Lost { why, mark } => {
                let tree = match &mark {
                    Some(mark) => remains::kill(folder, mark).await,
                    None => None,
                };
                return Ok(lost(why, mark, tree, now()));
            }
        }
    }
}

/// Waits until the shim of a run leaves word that processes of it do not die of SIGKILL; for ever, if it never does.
///
/// # Errors
/// When the word cannot be read, or a newer jobd wrote it.
pub async fn until_stuck(folder: &RunFolder) -> Result<Stuck, RunError> {
    loop {
        sleep(STUCK_INTERVAL).await;
        if let Some(stuck) = folder.stuck()? {
            return Ok(stuck);
        }
    }
}

/// Waits until the shim of a run leaves word that it says nothing and does nothing; for ever, if it never does.
///
/// # Errors
/// When the word cannot be read, or a newer jobd wrote it.
pub async fn until_silent(folder: &RunFolder) -> Result<Silent, RunError> {
    loop {
        if let Some(silent) = folder.silent()? {
            return Ok(silent);
        }
        sleep(SILENT_INTERVAL).await;
    }
}

/// Waits for the end of the process that the mark names, or a moment if that cannot be waited for.
async fn until_ended(mark: &Mark) {
    let ended = match Pidfd::open(mark.pid, mark.start_time) {
        Ok(Some(pidfd)) => pidfd.ended().await.is_ok(),
        Ok(None) | Err(_) => false,
    };
    if !ended {
        sleep(LOOK_INTERVAL).await;
    }
}

/// The shim has ended without a mark: what it had to say is in jobd's own log.
fn not_started(at: Timestamp) -> Report {
    let error = "it ended before it started the job; jobd's log says why".to_owned();
    Report { exit: Exit::SpawnFailed { step: "shim".to_owned(), error }, ..Report::lost("", None, at) }
}

fn lost(why: String, mark: Option<Mark>, tree: Option<Tree>, at: Timestamp) -> Report {
    let job = mark.and_then(|mark| mark.job);
    let left = tree.as_ref().filter(|tree| !tree.left.is_empty());
    let remark = left.map(|tree| cannot_be_killed(&tree.left));
    let pid = job.as_ref().map(|job| job.pid);
    Report { pid, remark, tree, ..Report::lost(why, job.map(|job| job.at), at) }
}
