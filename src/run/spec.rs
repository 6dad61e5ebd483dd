//! `spec.json`: all that a shim needs to know to run a job.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::VERSION;
use crate::engine::job::{Command, JobName, JobSpec};
use crate::engine::run::{Claim, RunId, Trigger};
use crate::engine::time::Timestamp;

/// One run, complete: a shim reads nothing else of jobd's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The version of this file.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// Its job.
    pub job: JobName,
    /// The boot in which the run was launched.
    pub boot_id: String,
    /// The fire, or of a run without one the instant of the request.
    pub due_at: Timestamp,
    /// What asked for it.
    pub trigger: Trigger,
    /// Which try of its fire, from 1.
    pub attempt: u32,
    /// What to run.
    pub command: Command,
    /// The working directory.
    pub cwd: PathBuf,
    /// Variables on top of the clean environment.
    pub env: BTreeMap<String, String>,
    /// A file of `NAME=value` lines; `env` wins over it.
    #[serde(default)]
    pub env_file: Option<PathBuf>,
    /// The user to run as; `None` is the shim's own.
    #[serde(default)]
    pub user: Option<String>,
    /// The file mode creation mask.
    pub umask: u32,
    /// The limit of the run, milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// From SIGTERM to SIGKILL, milliseconds.
    pub kill_grace_ms: u64,
    /// The job's zone, an IANA name: `TZ` and the offset of `JOBD_SCHEDULED_AT`.
    pub zone: String,
    /// `LANG` of the job.
    pub lang: String,
    /// Whether to use a control group where one can be made. Without one the shim follows the process tree.
    #[serde(default = "yes")]
    pub cgroup: bool,
}

const fn yes() -> bool {
    true
}

impl RunSpec {
    /// The spec of a claimed run of a job. `lang` is jobd's own `LANG`, if it has one.
    #[must_use]
    pub fn new(job: &JobSpec, claim: &Claim, boot_id: &str, lang: Option<&str>) -> Self {
        Self {
            version: VERSION,
            run: claim.run,
            job: claim.job.clone(),
            boot_id: boot_id.to_owned(),
            due_at: claim.due_at(),
            trigger: claim.trigger,
            attempt: claim.attempt,
            command: job.command.clone(),
            cwd: job.cwd.clone(),
            env: job.env.clone(),
            env_file: job.env_file.clone(),
            user: job.user.clone(),
            umask: job.umask,
            timeout_ms: claim.timeout.map(milliseconds),
            kill_grace_ms: milliseconds(claim.kill_grace),
            zone: job.zone.iana_name().unwrap_or("UTC").to_owned(),
            lang: lang.unwrap_or("C.UTF-8").to_owned(),
            cgroup: true,
        }
    }

    /// The limit of the run.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }

    /// From SIGTERM to SIGKILL.
    #[must_use]
    pub const fn kill_grace(&self) -> Duration {
        Duration::from_millis(self.kill_grace_ms)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
