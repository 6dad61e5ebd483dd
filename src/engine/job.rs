//! What a job is: an entry of `jobs.toml` with every default filled in.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::admission::Holds;
use super::after::After;
use super::calendar::{Blackout, CalendarRule};
use super::policy::{Busy, CatchUp, Leftover, Overlap};
use super::resources::Resources;
use super::retry::Retry;
use super::schedule::Schedule;
use super::stop::StopLadder;
use super::time::Timestamp;
use super::watch::{Usual, Watch};

/// The longest job name, in bytes: it becomes a folder, a log stream and a cgroup name.
pub const NAME_BYTES_MAX: usize = 64;

/// A job's name: `[a-z0-9][a-z0-9._-]{0,63}`, checked once here so that it is inert everywhere else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(Arc<str>);

/// The text is no job name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a job name is 1 to {NAME_BYTES_MAX} of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit"
)]
pub struct JobNameError;

impl JobName {
    /// Checks a name.
    ///
    /// # Errors
    /// When the text has other characters, begins with a mark, or is empty or too long.
    pub fn new(text: &str) -> Result<Self, JobNameError> {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let valid = (1..=NAME_BYTES_MAX).contains(&bytes.len())
            && word(bytes[0])
            && bytes.iter().all(|&b| word(b) || b"._-".contains(&b));
        valid.then(|| Self(text.into())).ok_or(JobNameError)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for JobName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobName {
    type Error = JobNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// What a run executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// A program and its arguments, started as they are.
    #[serde(rename = "command")]
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// The limit of a run where nothing else is said.
pub const TIMEOUT: Duration = Duration::from_hours(1);
/// From SIGTERM to SIGKILL where nothing else is said.
const KILL_GRACE: Duration = Duration::from_secs(10);
/// How much of a run's output is kept where nothing else is said, bytes.
const OUTPUT_LIMIT: u64 = 100_000_000;
/// How many runs of a job may wait where nothing else is said.
const QUEUE_LIMIT: usize = 10;
/// How old a missed fire may be where nothing else is said.
const CATCH_UP_WINDOW: Duration = Duration::from_hours(24);
/// The file mode creation mask where nothing else is said.
const UMASK: u32 = 0o022;

/// The name of an alert channel, a key of `[channels]`.
pub type ChannelName = String;

/// A job with every default filled in: what the engine decides by, and what a run is made of.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// The key under `[jobs]`.
    pub name: JobName,
    /// For people.
    pub description: Option<String>,
    /// When it fires; one fire per instant, however many schedules name it.
    pub schedules: Vec<Schedule>,
    /// The zone the schedules are read in.
    pub zone: TimeZone,
    /// What it runs.
    pub command: Command,
    /// The limit of a run; `None` only where the file says `timeout = "none"`.
    pub timeout: Option<Duration>,
    /// How a run is made to end.
    pub stop: StopLadder,
    /// What becomes of processes that outlive a main process that succeeded.
    pub leftover: Leftover,
    /// How much of a run's output is kept, bytes: its beginning and its end. `None` is all of it.
    pub output_limit: Option<u64>,
    /// How far its start may be spread from its instant; never beyond the next one.
    pub jitter: Duration,
    /// Its holidays.
    pub calendar: Option<CalendarRule>,
    /// When it is not started.
    pub blackouts: Vec<Blackout>,
    /// The first instant at which it may fire.
    pub from: Option<Timestamp>,
    /// The first instant at which it no longer fires.
    pub until: Option<Timestamp>,
    /// What a fire does while a run of the job is active.
    pub overlap: Overlap,
    /// How many runs of it may wait under `overlap = "queue"`.
    pub queue_limit: usize,
    /// The locks and places that a run of it holds.
    pub holds: Holds,
    /// What a fire does while one of them is taken.
    pub busy: Busy,
    /// Where its runs stand among those that wait: higher is earlier.
    pub priority: i32,
    /// What follows a bad end.
    pub retry: Option<Retry>,
    /// Which jobs come first.
    pub after: Option<After>,
    /// What it is watched for.
    pub watch: Watch,
    /// How its limit is learned from its own history (`timeout = "auto"`); [`timeout`](Self::timeout) until then.
    pub auto_timeout: Option<Usual>,
    /// What follows missed fires.
    pub catch_up: CatchUp,
    /// How old a missed fire may be and still be caught up.
    pub catch_up_window: Duration,
    /// Where its alerts go; empty is silence.
    pub alert: Vec<ChannelName>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Variables on top of the clean environment.
    pub env: BTreeMap<String, String>,
    /// A file of `NAME=value` lines, read when a run starts; `env` wins over it.
    pub env_file: Option<PathBuf>,
    /// What the job reads on descriptor 0; `None` is `/dev/null`.
    pub stdin: Option<PathBuf>,
    /// The user the job runs as; `None` is jobd's own.
    pub user: Option<String>,
    /// Its supplementary groups; `None` is those that the user database gives the user.
    pub groups: Option<Vec<String>>,
    /// Whether the job may never gain rights that it does not start with (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// What it may use of the host.
    pub resources: Resources,
    /// The file mode creation mask.
    pub umask: u32,
    /// A fingerprint of the entry, for the history (`config_hash`).
    pub config_hash: String,
    /// A fingerprint of what says which instants it fires at: when it changes, it is accounted for anew from there.
    pub schedule_hash: String,
}

impl JobSpec {
    /// A job of which nothing is said but what it runs: every default, no schedule, no fingerprints.
    #[must_use]
    pub fn new(name: JobName, command: Command) -> Self {
        Self {
            name,
            description: None,
            schedules: Vec::new(),
            zone: TimeZone::UTC,
            command,
            timeout: Some(TIMEOUT),
            stop: StopLadder::term(KILL_GRACE),
            leftover: Leftover::default(),
            output_limit: Some(OUTPUT_LIMIT),
            jitter: Duration::ZERO,
            calendar: None,
            blackouts: Vec::new(),
            from: None,
            until: None,
            overlap: Overlap::default(),
            queue_limit: QUEUE_LIMIT,
            holds: Holds::default(),
            busy: Busy::default(),
            priority: 0,
            retry: None,
            after: None,
            watch: Watch::default(),
            auto_timeout: None,
            catch_up: CatchUp::default(),
            catch_up_window: CATCH_UP_WINDOW,
            alert: Vec::new(),
            cwd: PathBuf::from("/"),
            env: BTreeMap::new(),
            env_file: None,
            stdin: None,
            user: None,
            groups: None,
            no_new_privileges: false,
            resources: Resources::default(),
            umask: UMASK,
            config_hash: String::new(),
            schedule_hash: String::new(),
        }
    }
}
