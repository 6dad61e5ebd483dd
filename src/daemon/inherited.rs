//! Children from before a re-execution: the shims that this process started when it was another jobd.
//!
//! They are adopted like any run, by their folders. But they are still children, and a child that has ended stays a
//! zombie until its parent takes note.

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use crate::os::{self, Process, Reaped};

/// The children that live. Those that have ended are waited for here and now, so this must be called before the first
/// child of our own is started.
pub(super) fn children() -> Vec<Process> {
    while matches!(os::reap(), Ok(Reaped::Child(..))) {}
    os::children(std::process::id())
}

/// Waits for each of the children as it ends, and returns when there is none left.
pub(super) async fn reap(mut children: Vec<Process>) {
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => return warn!(%error, "shims from before the reload stay zombies when they end"),
    };
    loop {
        children.retain(|child| is_still_running(*child));
        if children.is_empty() || ended.recv().await.is_none() {
            return;
        }
    }
}

/// Takes note of a child's end. Its number stays its own until then, unless somebody else has waited for it.
fn is_still_running(child: Process) -> bool {
    let Ok(pid) = i32::try_from(child.pid) else { return false };
    if os::start_time(child.pid) != Some(child.start_time) {
        return false;
    }
    match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(status) => status.pid().is_none(),
        Err(_) => false,
    }
}
