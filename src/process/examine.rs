//! What a live run's processes are doing, asked from outside of its shim.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use super::finding::{Finding, inspect};
use super::launch::Launcher;
use crate::engine::time::Now;
use crate::os;
use crate::run::evidence::{Gathered, Task};
use crate::run::{Evidence, RunError, RunFolder};

/// How long it may take to look.
const LIMIT: Duration = Duration::from_secs(2);
/// How much is read at once, bytes.
const READ_BYTES: usize = 64 * 1024;

/// Why nothing is known of what a run's processes are doing.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// It is not active, or no longer.
    #[error("the run is not active")]
    NotActive,
    /// Its shim has not started the job yet, or is just about to end the run.
    #[error("no process of the run is there at this moment; try again")]
    NoProcess,
    /// A file of the run folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The process that looks could not be started.
    #[error("failed to start {} to look at the run", shim.display())]
    Spawn {
        /// Its file.
        shim: std::path::PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It said nothing in the time it had.
    #[error("nothing was found out within {} s: the host may be too busy", LIMIT.as_secs())]
    Nothing,
}

/// Looks at what the processes of a live run are doing, for 2 s at most. They do not take note of it.
///
/// # Errors
/// When the run is not active, its folder cannot be read, or nothing was found out.
pub async fn examine(
    launcher: &Launcher,
    folder: &RunFolder,
    now: impl Fn() -> Now,
) -> Result<Evidence, ExamineError> {
    let boot_id = os::boot_id().map_err(RunError::io("read", "/proc/sys/kernel/random/boot_id".as_ref()))?;
    let mark = match inspect(folder, &boot_id)? {
        Finding::Held { mark: Some(mark) } if mark.boot_id == boot_id => mark,
        Finding::Held { .. } => return Err(ExamineError::NoProcess),
        Finding::Ended(_) | Finding::NeverStarted | Finding::Lost { .. } => {
            return Err(ExamineError::NotActive);
        }
    };
    let began = now();
    let mut command = Command::new(&launcher.shim);
    command.arg("--evidence").arg(folder.path());
    command.args([mark.pid.to_string(), mark.start_time.to_string()]).arg(Task::Compare.as_str());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let failed = |source| ExamineError::Spawn { shim: launcher.shim.clone(), source };
    let mut child = command.spawn().map_err(failed)?;
    let mut gathered = Gathered::default();
    if let Some(pipe) = child.stdout.take() {
        // What has come when the time is up is what there is.
        let _ = timeout(LIMIT, listen(pipe, &mut gathered)).await;
    }
    let took = now().monotonic.since(began.monotonic);
    let evidence = gathered.into_evidence(None, began.wall, took);
    if !evidence.processes.is_empty() {
        return Ok(evidence);
    }
    // It may have ended meanwhile.
    match inspect(folder, &boot_id)? {
        Finding::Held { .. } if evidence.is_whole => Err(ExamineError::NoProcess),
        Finding::Held { .. } => Err(ExamineError::Nothing),
        _ => Err(ExamineError::NotActive),
    }
}

async fn listen(mut pipe: ChildStdout, gathered: &mut Gathered) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match pipe.read(&mut buffer).await? {
            0 => return Ok(()),
            count => gathered.feed(&buffer[..count]),
        }
    }
}
