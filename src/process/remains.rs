//! What a shim that was killed leaves behind: processes without anybody to end them.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::os::{self, Cgroup, Process};
use crate::run::{Mark, RunFolder};

/// How long killed processes may take to vanish before they are called unkillable.
const KILL_LIMIT: Duration = Duration::from_millis(700);
/// How often it is looked whether they have.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const SIGKILL: i32 = 9;

/// Kills every process of a run whose shim is gone, and says what could not be killed.
///
/// The control group holds all of them. Without one they are known by their environment, which names the run folder
/// in `JOBD_MESSAGE_FILE`: one that has cleared its environment and left its parent escapes.
pub(super) async fn kill(folder: &RunFolder, mark: &Mark) -> Option<String> {
    // Another boot's processes are gone, and its groups and pids may be anybody's.
    if os::boot_id().ok().as_ref() != Some(&mark.boot_id) {
        return None;
    }
    let cgroup = mark.cgroup.as_deref().and_then(Cgroup::existing);
    let gone = async {
        while !sweep(folder, cgroup.as_ref()).await.is_empty()
            || cgroup.as_ref().is_some_and(Cgroup::is_populated)
        {
            sleep(LOOK_INTERVAL).await;
        }
    };
    let is_gone = timeout(KILL_LIMIT, gone).await.is_ok();
    cgroup.iter().for_each(Cgroup::remove);
    (!is_gone).then(|| "processes of the run could not be killed".to_owned())
}

/// Sends SIGKILL to all that is found, and returns those found by their environment.
async fn sweep(folder: &RunFolder, cgroup: Option<&Cgroup>) -> Vec<Process> {
    if let Some(cgroup) = cgroup {
        // If the group has gone meanwhile, there is nobody in it.
        let _ = cgroup.kill();
    }
    let entry = format!("JOBD_MESSAGE_FILE={}", folder.message_path().display());
    // Reads a file for each process of the host.
    let found = tokio::task::spawn_blocking(move || {
        let found = os::with_environment(&entry);
        for process in &found {
            process.signal(SIGKILL);
        }
        found
    });
    found.await.unwrap_or_default()
}
