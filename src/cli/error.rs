//! What can go wrong in `jobctl`, what it says then, and the exit code.

use std::io;
use std::path::PathBuf;

use super::instant::InstantError;
use crate::api::client::ClientError;
use crate::api::records::RecordsError;
use crate::engine::job::JobName;
use crate::engine::run::RunId;
use crate::engine::schedule::ScheduleError;

/// What `jobctl` tells the shell, see `jobctl --help`.
pub(crate) mod exit {
    pub(crate) const DONE: u8 = 0;
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const NOT_REACHABLE: u8 = 3;
    pub(crate) const NOT_FOUND: u8 = 4;
    /// As timeout(1) has it.
    pub(crate) const TIMEOUT: u8 = 124;
    /// As timeout(1) has it where it fails before the command is started.
    pub(crate) const NEVER_STARTED: u8 = 125;
    /// The shell's: a signal's number on top of this.
    pub(crate) const SIGNAL: i32 = 128;
}

/// Why a verb was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error("can't write the output")]
    Output(#[source] io::Error),
    #[error("can't read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is no job '{name}'")]
    NoSuchJob { name: String, help: String },
    #[error("there is no run {0}")]
    NoSuchRun(RunId),
    #[error("run {run} has no output: {why}")]
    NoOutput { run: RunId, why: String },
    #[error("no run of {0} has any output yet")]
    NeverRan(JobName),
    #[error("{0} is not running")]
    NotActive(JobName),
    #[error("jobd stayed away; run {0} goes on without it")]
    Abandoned(RunId),
    #[error("jobd is reloading and was not ready again within {seconds} s")]
    NotBack { seconds: u64 },
    #[error("{}", .0.message)]
    Expression(Box<ScheduleError>, String),
    #[error("there is no time zone '{name}'")]
    Zone { name: String, nearest: Option<String> },
    #[error("{option}: {source}")]
    Instant { option: &'static str, source: InstantError },
    #[error("--to is {to}, which is not after --from, {from}")]
    Backwards { from: String, to: String },
    #[error("--took {given}: {why}")]
    Took { given: String, why: String },
    #[error("'{0}' names no fire of a job")]
    Fire(String),
    #[error("'{0}' is no length of time")]
    Span(String),
    /// The report names each mistake with its place.
    #[error("the configuration has mistakes")]
    Rejected(String),
    #[error("jobctl can't begin to work")]
    Runtime(#[source] io::Error),
}

impl CliError {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Client(error) if error.is_not_found() => exit::NOT_FOUND,
            Self::Client(error) if error.is_unreachable() => exit::NOT_REACHABLE,
            Self::Abandoned(_) => exit::NOT_REACHABLE,
            Self::NoSuchJob { .. } | Self::NoSuchRun(_) | Self::NeverRan(_) => exit::NOT_FOUND,
            Self::Expression(..)
            | Self::Zone { .. }
            | Self::Instant { .. }
            | Self::Backwards { .. }
            | Self::Took { .. }
            | Self::Fire(_)
            | Self::Span(_) => exit::USAGE,
            Self::Client(_)
            | Self::Records(_)
            | Self::Output(_)
            | Self::Read { .. }
            | Self::NoOutput { .. }
            | Self::NotActive(_)
            | Self::NotBack { .. }
            | Self::Rejected(_)
            | Self::Runtime(_) => exit::FAILED,
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.help(),
            Self::NoSuchJob { help, .. } => Some(help.clone()),
            Self::NoSuchRun(_) => Some("'jobctl history' shows the runs".to_owned()),
            Self::NeverRan(job) => {
                Some(format!("'jobctl history --job {job}' shows what became of its fires"))
            }
            Self::NotActive(_) => Some("'jobctl ps' shows the runs that are".to_owned()),
            Self::Abandoned(run) => Some(format!("when jobd is back, 'jobctl show {run}' says how it ended")),
            Self::NotBack { .. } => Some(
                "runs go on meanwhile; 'jobctl status' and 'journalctl -u jobd -n 50' say what jobd is at"
                    .to_owned(),
            ),
            Self::Zone { nearest: Some(nearest), .. } => Some(format!("did you mean '{nearest}'?")),
            Self::Zone { nearest: None, .. } => {
                Some("zones have IANA names, such as Asia/Seoul or UTC".to_owned())
            }
            Self::Backwards { .. } => {
                Some("name a later instant, or how long the stretch is: --to 7d".to_owned())
            }
            Self::Took { .. } => Some("write --took backup=5m, or --took 5m for every job".to_owned()),
            Self::Fire(_) => Some("write JOB@INSTANT, as in backup@2026-11-01T10:00:00+09:00".to_owned()),
            Self::Span(_) => Some("write 90s, 30m, 2h or 1d12h".to_owned()),
            Self::Expression(error, _) => error.help.clone(),
            Self::Rejected(_) => Some("correct it and check again with 'jobctl validate'".to_owned()),
            _ => None,
        }
    }

    /// Whether the reader of the output has gone, as in `jobctl history | head`: nothing that needs to be said.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
