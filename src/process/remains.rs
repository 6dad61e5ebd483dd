//! What a shim that was killed leaves behind: processes without anybody to end them.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::engine::run::{KnownBy, Tree};
use crate::os::{self, Cgroup, Process};
use crate::run::{Mark, RunFolder};

/// How long killed processes may take to vanish before they are called unkillable.
const KILL_LIMIT: Duration = Duration::from_millis(700);
/// How often it is looked whether they have.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How many processes that live on are told with what they do.
const LEFT_MAX: usize = 500;
const SIGKILL: i32 = 9;

/// Kills every process of a run whose shim is gone, and says what could not be killed. `None` if that is not known, or
/// there was nobody to look for: after a reboot.
///
/// The control group holds all of them. Without one they are known by their environment, which names the run folder
/// in `JOBD_MESSAGE_FILE`: one that has cleared its environment and left its parent escapes.
pub(super) async fn kill(folder: &RunFolder, mark: &Mark) -> Option<Tree> {
    // Another boot's processes are gone, and its groups and pids may be anybody's.
    if os::boot_id().ok().as_ref() != Some(&mark.boot_id) {
        return None;
    }
    let cgroup = mark.cgroup.as_deref().and_then(Cgroup::existing);
    let mut found = BTreeSet::new();
    let gone = async {
        loop {
            found = sweep(folder, cgroup.clone()).await;
            if found.is_empty() && cgroup.as_ref().and_then(Cgroup::is_populated) != Some(true) {
                return;
            }
            sleep(LOOK_INTERVAL).await;
        }
    };
    let is_gone = timeout(KILL_LIMIT, gone).await.is_ok();
    cgroup.iter().for_each(Cgroup::remove);
    let known_by = if cgroup.is_some() { KnownBy::Cgroup } else { KnownBy::Environment };
    let left = found.into_iter().filter_map(Process::look).take(LEFT_MAX).collect::<Vec<_>>();
    // In time, or they are named: else it is not known who is left.
    (is_gone || !left.is_empty()).then_some(Tree { known_by, left })
}

/// Sends SIGKILL to all that is found, and returns it.
async fn sweep(folder: &RunFolder, cgroup: Option<Cgroup>) -> BTreeSet<Process> {
    let entry = format!("JOBD_MESSAGE_FILE={}", folder.message_path().display());
    // Reads a file for each process of the host.
    let found = tokio::task::spawn_blocking(move || {
        let mut found: BTreeSet<Process> = os::with_environment(&entry).into_iter().collect();
        if let Some(cgroup) = cgroup {
            // If the group has gone meanwhile, there is nobody in it.
            let _ = cgroup.kill();
            found.extend(cgroup.processes().into_iter().filter_map(Process::of).filter(Process::lived));
        }
        for process in &found {
            process.signal(SIGKILL);
        }
        found
    });
    found.await.unwrap_or_default()
}
