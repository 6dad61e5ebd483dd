//! Starting a shim: the folder, the spec, the lock, and then the process.

use std::env;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::{Child, Command};
use tokio::task::JoinError;

use super::gate::Gate;
use crate::failpoint::{self, Failpoint};
use crate::os;
use crate::run::{RunError, RunFolder, RunSpec};

/// Tells a shim to wait at its gate, which is its standard output.
const GATE_FLAG: &str = "--gate";

/// Why a run could not be launched. Nothing has been started then.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The run folder or a file in it could not be made.
    #[error("failed to prepare the run folder")]
    Folder(#[from] RunError),
    /// The file system has no locks.
    #[error("failed to lock {}", path.display())]
    Lock {
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Somebody holds the run already.
    #[error("{} is held: the run is active", .0.display())]
    Held(PathBuf),
    /// The run has been started before.
    #[error("{} has been started before, and a run is never started twice", .0.display())]
    AlreadyStarted(PathBuf),
    /// The shim could not be started.
    #[error("failed to start {}; it belongs beside jobd, or where JOBD_SHIM says", shim.display())]
    Spawn {
        /// The shim's file.
        shim: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The runtime is shutting down.
    #[error("jobd is stopping")]
    Stopping,
}

impl LaunchError {
    /// Whether it may pass by itself, so that another try makes sense: the host is out of processes, memory or
    /// descriptors. A full disk is no such want; it lasts.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        match self {
            Self::Folder(problem) => problem.is_shortage(),
            Self::Lock { source, .. } | Self::Spawn { source, .. } => os::is_shortage(source),
            Self::Held(_) | Self::AlreadyStarted(_) | Self::Stopping => false,
        }
    }
}

/// Starts shims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The file of `jobd-shim`.
    pub shim: PathBuf,
}

/// A shim that we have started: our child. Dropping it leaves the shim alone.
#[derive(Debug)]
pub struct Shim {
    pub(super) child: Child,
}

impl Shim {
    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        // An error means that somebody else has waited for our child: then it has ended.
        let _ = self.child.wait().await;
    }

    /// Its pid; `None` once it has been waited for.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

impl Launcher {
    /// Finds `jobd-shim`: where `JOBD_SHIM` says, or beside the program that runs.
    ///
    /// # Errors
    /// When the program's own place is not known.
    pub fn find() -> io::Result<Self> {
        if let Some(shim) = env::var_os("JOBD_SHIM") {
            return Ok(Self { shim: shim.into() });
        }
        Ok(Self { shim: env::current_exe()?.with_file_name("jobd-shim") })
    }

    /// Launches a run. When this returns, the shim has the lock; the job starts a moment later, or its result says
    /// why it did not.
    ///
    /// # Errors
    /// When a step fails; nothing has been started then, the lock is free, and the launch may be tried again on the
    /// same folder.
    pub async fn launch(&self, folder: &RunFolder, spec: &RunSpec) -> Result<Shim, LaunchError> {
        let lock = aside(folder, spec, prepare).await?;
        Failpoint::BeforeFork.pass();
        let shim = self.spawn(folder, spec, lock, &[], Stdio::null());
        Failpoint::AfterFork.pass();
        shim
    }

    /// Starts the shim of a run that waits at its gate. When this returns, the shim has the lock, and is on its way to
    /// the gate.
    ///
    /// # Errors
    /// As those of [`launch`](Self::launch).
    pub async fn arm(&self, folder: &RunFolder, spec: &RunSpec) -> Result<(Shim, Gate), LaunchError> {
        let lock = aside(folder, spec, prepare_ahead).await?;
        let failed = |source| LaunchError::Spawn { shim: self.shim.clone(), source };
        let (gate, theirs) = Gate::new().map_err(failed)?;
        let shim = self.spawn(folder, spec, lock, &[GATE_FLAG], Stdio::from(theirs))?;
        Ok((shim, gate))
    }

    fn spawn(
        &self,
        folder: &RunFolder,
        spec: &RunSpec,
        lock: File,
        flags: &[&str],
        stdout: Stdio,
    ) -> Result<Shim, LaunchError> {
        let mut command = Command::new(&self.shim);
        command.args(flags).arg(folder.path()).current_dir("/");
        command.env_clear().env("LANG", &spec.lang);
        for name in failpoint::INHERITED {
            command.envs(env::var_os(name).map(|value| (name, value)));
        }
        command.stdin(Stdio::from(lock)).stdout(stdout).stderr(Stdio::inherit());
        let spawned =
            command.spawn().map_err(|source| LaunchError::Spawn { shim: self.shim.clone(), source });
        // The command holds our copy of the lock until it is dropped, here. Closing is no unlocking: the shim's copy
        // keeps it held.
        drop(command);
        Ok(Shim { child: spawned? })
    }
}

/// Prepares on a thread that nobody waits for.
async fn aside(
    folder: &RunFolder,
    spec: &RunSpec,
    prepare: fn(&RunFolder, &RunSpec) -> Result<File, LaunchError>,
) -> Result<File, LaunchError> {
    let (prepared, contents) = (folder.clone(), spec.clone());
    tokio::task::spawn_blocking(move || prepare(&prepared, &contents)).await.map_err(stopping)?
}

/// Prepares a run whose row will come after its start: until then the folder is the only sign of it.
fn prepare_ahead(folder: &RunFolder, spec: &RunSpec) -> Result<File, LaunchError> {
    let lock = prepare(folder, spec)?;
    folder.keep()?;
    Ok(lock)
}

/// Why a task on another thread did not end: the runtime is shutting down. A panic in it is a panic here.
fn stopping(error: JoinError) -> LaunchError {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => LaunchError::Stopping,
    }
}

/// All that must be there before a process is started. Returns the lock, held.
fn prepare(folder: &RunFolder, spec: &RunSpec) -> Result<File, LaunchError> {
    folder.create()?;
    let lock = folder.create_lock()?;
    let failed = |source| LaunchError::Lock { path: folder.lock_path(), source };
    if !os::try_lock(&lock).map_err(failed)? {
        return Err(LaunchError::Held(folder.lock_path()));
    }
    if folder.mark()?.is_some() || folder.result()?.is_some() {
        return Err(LaunchError::AlreadyStarted(folder.path().to_owned()));
    }
    Failpoint::BeforeSpec.pass();
    folder.write_spec(spec)?;
    Ok(lock)
}
