//! `jobs.toml` → job specs, or every mistake at once.
//!
//! **Invariant:** a configuration is taken whole or not at all. [`load`] gives a [`Config`] whose every name,
//! schedule, zone and duration was checked, or a [`Rejected`] that names each mistake with its file, line, column,
//! the offending text and what would be right. It changes nothing.
//!
//! The road of a text: `file` reads what may be anything, `syntax` finds the errors of the grammar, `loader` walks
//! through the tables and the included files, `job`, `channel` and `calendar` read the keys (`stop`, `identity`,
//! `resources`, `days`, `order`, `follow` and `watch` some of a job's), `resolve` looks at them together and puts the
//! defaults in.

mod calendar;
mod channel;
mod days;
mod diagnostic;
mod duration;
mod file;
mod fingerprint;
mod follow;
mod ics;
mod identity;
mod include;
mod job;
mod loader;
mod nearest;
mod order;
mod report;
mod resolve;
mod resources;
mod salvage;
mod secret;
mod size;
mod source;
mod stop;
mod syntax;
mod value;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::engine::admission::Admission;
use crate::engine::job::{ChannelName, JobName, JobSpec};
use crate::engine::time::Timestamp;

pub use diagnostic::{Diagnostic, Place, Rejected, Severity};
pub use salvage::{Salvage, salvage};
pub use secret::{Secret, SecretError, SecretText};

use loader::Loader;

/// For whom a configuration is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// Refuse files, and folders of files, that anyone but root could change.
    pub trust: bool,
    /// The user jobs would be started by; `None` when that is not known, and any `user` may be right.
    pub uid: Option<u32>,
    /// The time, where calendars are to be warned of that come to their end.
    pub now: Option<Timestamp>,
}

impl LoadOptions {
    /// For a daemon that runs as this user. Root trusts only what root alone can change.
    #[must_use]
    pub const fn daemon(uid: u32) -> Self {
        Self { trust: uid == 0, uid: Some(uid), now: None }
    }

    /// For a look at a file that another user's daemon may use.
    #[must_use]
    pub const fn validate() -> Self {
        Self { trust: false, uid: None, now: None }
    }

    /// The same, at this time.
    #[must_use]
    pub const fn at(self, now: Timestamp) -> Self {
        Self { now: Some(now), ..self }
    }
}

/// The language of alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Korean.
    Ko,
    /// English.
    #[default]
    En,
}

/// Where alerts go.
#[derive(Debug, Clone)]
pub enum Channel {
    /// A webhook that takes Slack's JSON.
    Slack {
        /// The webhook's address, which is all one needs to post there.
        url: Secret,
    },
}

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Config {
    /// The main file, absolute.
    pub path: PathBuf,
    /// The zone of schedules that name none.
    pub timezone: TimeZone,
    /// The language of alerts.
    pub language: Language,
    /// The jobs by name.
    pub jobs: BTreeMap<JobName, Arc<JobSpec>>,
    /// The channels by name.
    pub channels: BTreeMap<ChannelName, Channel>,
    /// Where the alerts of jobd itself go (`[defaults] alert`).
    pub default_alert: Vec<ChannelName>,
    /// What holds for all runs together.
    pub admission: Admission,
    /// What will not work as written, but refuses nothing.
    pub warnings: Vec<Diagnostic>,
    /// A fingerprint of all of it, except of secrets.
    pub hash: String,
}

/// Reads a configuration and all that it includes.
///
/// # Errors
/// When it has mistakes: all that could be found.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Config, Rejected> {
    let mut loader = Loader::new(path, options);
    loader.read(path, None);
    resolve::check(&mut loader);
    days::check(&mut loader, options.now);
    let Loader { mut report, zone, language, defaults, jobs, channels, calendars, admission, .. } = loader;
    let timezone = zone.unwrap_or_else(|| system_zone(&mut report));
    let (diagnostics, failed) = report.finish();
    if failed {
        return Err(Rejected { file: path.to_owned(), diagnostics });
    }
    let jobs = resolve::specs(jobs, &defaults, &calendars, &timezone);
    let channels = channels.into_iter().filter_map(|(name, (channel, _))| Some((name, channel?))).collect();
    let mut config = Config {
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        timezone,
        language: language.unwrap_or_default(),
        jobs,
        channels,
        default_alert: resolve::default_alert(&defaults),
        admission,
        warnings: diagnostics,
        hash: String::new(),
    };
    config.hash = fingerprint::of_config(&config);
    Ok(config)
}

/// The system's zone; UTC, with a warning, where it has none.
fn system_zone(report: &mut report::Report) -> TimeZone {
    TimeZone::try_system().unwrap_or_else(|error| {
        report
            .warning(None, format!("the system's time zone can't be read ({error}); schedules are in UTC"))
            .help("timezone = \"Asia/Seoul\"");
        TimeZone::UTC
    })
}

/// The line that `jobctl validate` prints for a configuration without mistakes.
#[must_use]
pub fn summary(path: &Path, config: &Config) -> String {
    let count = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
    let (jobs, channels) = (count(config.jobs.len(), "job"), count(config.channels.len(), "channel"));
    format!("{}: {jobs}, {channels}: valid", diagnostic::shown(path))
}
