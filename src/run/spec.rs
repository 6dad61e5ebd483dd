//! `spec.json`: all that a shim needs to know to run a job.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::SPEC_VERSION;
use crate::engine::job::{Command, JobName, JobSpec};
use crate::engine::policy::Leftover;
use crate::engine::resources::Resources;
use crate::engine::run::{Claim, RunId, Trigger};
use crate::engine::stop::StopLadder;
use crate::engine::time::Timestamp;
use crate::engine::watch::Silence;

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
    /// How it is made to end. Version 1 had a grace here, and SIGTERM was all that went ahead of it.
    #[serde(alias = "kill_grace_ms", deserialize_with = "ladder")]
    pub stop: StopLadder,
    /// When the run counts as silent, and what then happens.
    #[serde(default)]
    pub silence: Option<Silence>,
    /// What becomes of processes that outlive a main process that succeeded.
    #[serde(default)]
    pub leftover: Leftover,
    /// How much of the output is kept, bytes; `None` is all of it.
    #[serde(default)]
    pub output_limit: Option<u64>,
    /// What the job reads on descriptor 0; `None` is `/dev/null`.
    #[serde(default)]
    pub stdin: Option<PathBuf>,
    /// Supplementary groups by name; `None` is those that the user database gives the user.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// Whether the job may never gain rights (`PR_SET_NO_NEW_PRIVS`).
    #[serde(default)]
    pub no_new_privileges: bool,
    /// What the job may use of the host.
    #[serde(default)]
    pub resources: Resources,
    /// The soft limit of open files that jobd itself was started with, which the job gets unless `resources` says
    /// otherwise: jobd's own is raised, and programs that use select(2) break above 1024.
    #[serde(default)]
    pub nofile_soft: Option<u64>,
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

/// A ladder, or the milliseconds of a spec written before specs had one.
fn ladder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StopLadder, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Grace(u64),
        Ladder(StopLadder),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Grace(ms) => StopLadder::term(Duration::from_millis(ms)),
        Written::Ladder(ladder) => ladder,
    })
}

impl RunSpec {
    /// The spec of a claimed run of a job. `lang` is jobd's own `LANG`, if it has one.
    #[must_use]
    pub fn new(job: &JobSpec, claim: &Claim, boot_id: &str, lang: Option<&str>) -> Self {
        Self {
            version: SPEC_VERSION,
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
            stop: job.stop.clone(),
            silence: job.watch.silence,
            leftover: job.leftover,
            output_limit: job.output_limit,
            stdin: job.stdin.clone(),
            groups: job.groups.clone(),
            no_new_privileges: job.no_new_privileges,
            resources: job.resources.clone(),
            nofile_soft: None,
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
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
