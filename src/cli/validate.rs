//! `jobctl validate`: every mistake in a configuration at once.

use serde::Serialize;

use super::Session;
use super::args::ValidateArgs;
use super::error::{CliError, exit};
use super::sources::Rejection;

/// What `validate --json` prints.
#[derive(Serialize)]
struct Verdict {
    /// Whether jobd would take it.
    valid: bool,
    /// How many jobs it has; `null` if it is not valid.
    jobs: Option<usize>,
    /// What will not work as written, each a text for people.
    warnings: Vec<String>,
    /// The report on every mistake; `null` if it is valid.
    report: Option<String>,
}

pub(crate) fn validate(session: &mut Session<'_>, args: ValidateArgs) -> Result<u8, CliError> {
    let file = args.file.unwrap_or_else(|| session.places.config.clone());
    let colour = session.terminal.colour && !session.json;
    let mut summary = String::new();
    let (verdict, code) = match session.sources.load(&file, colour) {
        Ok(loaded) => {
            let jobs = Some(loaded.specs.len());
            summary = loaded.summary;
            (Verdict { valid: true, jobs, warnings: loaded.warnings, report: None }, exit::DONE)
        }
        Err(Rejection(report)) => {
            (Verdict { valid: false, jobs: None, warnings: Vec::new(), report: Some(report) }, exit::USAGE)
        }
    };
    if session.json {
        session.terminal.print_json(&verdict)?;
        return Ok(code);
    }
    for warning in &verdict.warnings {
        session.terminal.say(warning);
    }
    match verdict.report {
        Some(report) => session.terminal.say(report.trim_end()),
        None => session.terminal.print(&(summary + "\n"))?,
    }
    Ok(code)
}
