//! Whether a jobd would start: `jobd --check`, which a running jobd asks of its own program file before it makes way.
//!
//! The file is asked and not the process, as they differ after an upgrade: what counts is whether the one that will
//! read the configuration can.

use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::timeout;

use super::program::Program;
use super::{Places, absolute};
use crate::config::{self, Diagnostic, LoadOptions, Rejected, Severity};
use crate::engine::words::causes;

/// How long it may take. Less than a request to jobd may, so that its end is told.
const LIMIT: Duration = Duration::from_secs(8);
/// How much of what a broken program says is shown, in characters.
const COMPLAINT_CHARS_MAX: usize = 300;

/// What `jobd --check` prints, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The first mistake, in a line with its place; `null` when there is none.
    pub first: Option<String>,
    /// The report on every mistake, for people; `null` when there is none.
    pub report: Option<String>,
}

/// Reads the configuration as a daemon would, and says whether it would work by it.
#[must_use]
pub fn check(places: &Places) -> Verdict {
    let path = absolute(&places.config).unwrap_or_else(|_| places.config.clone());
    let options = LoadOptions::daemon(nix::unistd::geteuid().as_raw());
    match config::load(&path, &options) {
        Ok(_) => Verdict { first: None, report: None },
        Err(rejected) => Verdict { first: first(&rejected), report: Some(rejected.render(false)) },
    }
}

/// The first mistake in a line.
pub(super) fn first(rejected: &Rejected) -> Option<String> {
    rejected.diagnostics.iter().find(|found| found.severity == Severity::Error).map(line)
}

/// A mistake or a warning in a line, with its place.
pub(super) fn line(found: &Diagnostic) -> String {
    match &found.place {
        Some(place) => format!("{}:{}:{}: {}", place.file.display(), place.line, place.column, found.message),
        None => found.message.clone(),
    }
}

/// Why a new jobd is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// The configuration has mistakes.
    Config { first: String, report: String },
    /// The program file cannot take over.
    Program(String),
}

/// Asks a program file whether it would start.
pub(super) async fn ask(program: &Program) -> Result<(), Refused> {
    let mut command = Command::new(program.file());
    command.args(program.arguments()).arg("--check");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(Refused::Program(format!("it cannot be started: {}", causes(&error)))),
        Err(_) => return Err(Refused::Program(format!("no answer in {} s", LIMIT.as_secs()))),
    };
    match serde_json::from_slice(&output.stdout) {
        Ok(Verdict { report: None, .. }) if output.status.success() => Ok(()),
        Ok(Verdict { first, report: Some(report) }) => {
            let first = first.unwrap_or_else(|| "it has mistakes".to_owned());
            Err(Refused::Config { first, report })
        }
        _ => {
            let said: String =
                String::from_utf8_lossy(&output.stderr).chars().take(COMPLAINT_CHARS_MAX).collect();
            Err(Refused::Program(format!(
                "asked whether it would start, it ended with {}: {}",
                output.status,
                said.trim()
            )))
        }
    }
}
