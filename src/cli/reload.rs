//! `jobctl reload`: let a jobd with the present configuration take over, and wait until it has.

use std::time::Duration;

use serde::Serialize;

use super::Session;
use super::error::{CliError, exit};
use super::text;
use crate::api::client::{Client, ClientError};
use crate::api::types::{ErrorBody, State, StatusReport};
use crate::engine::time::Timestamp;

/// How often it is looked whether the new jobd is ready, and how many times. It takes a moment; a store that is slow,
/// or systemd that has to start jobd again, takes longer.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 600;

/// What `reload --json` prints.
#[derive(Serialize)]
struct Outcome {
    /// Whether a new jobd has taken over.
    reloaded: bool,
    /// How many jobs it has; `null` if none has.
    jobs: Option<usize>,
    /// What a person should look at in the new configuration, one sentence each.
    problems: Vec<String>,
    /// The report on every mistake; `null` if there is none.
    report: Option<String>,
}

pub(crate) async fn reload(session: &mut Session<'_>) -> Result<u8, CliError> {
    let client = Client::connect(&session.places.socket).await?;
    let before = match client.reload().await {
        Ok(reloading) => reloading.started_at,
        Err(ClientError::Answered(ErrorBody { report: Some(report), .. })) => {
            return refused(session, report);
        }
        Err(error) => return Err(error.into()),
    };
    let status = taken_over(session, before).await?;
    if session.json {
        let StatusReport { jobs, problems, .. } = status;
        session.terminal.print_json(&Outcome { reloaded: true, jobs, problems, report: None })?;
        return Ok(exit::DONE);
    }
    for problem in &status.problems {
        session.terminal.say(&format!("problem: {}", text::inert(problem)));
    }
    let jobs = status.jobs.unwrap_or_default();
    session.terminal.print(&format!("reloaded: {jobs} {}\n", if jobs == 1 { "job" } else { "jobs" }))?;
    Ok(exit::DONE)
}

fn refused(session: &mut Session<'_>, report: String) -> Result<u8, CliError> {
    if session.json {
        let (jobs, problems) = (None, Vec::new());
        session.terminal.print_json(&Outcome { reloaded: false, jobs, problems, report: Some(report) })?;
    } else {
        session.terminal.say(report.trim_end());
        session.terminal.say("nothing has changed: jobd goes on with the configuration it has");
    }
    Ok(exit::FAILED)
}

/// Waits until another jobd than the one that was started then is ready.
async fn taken_over(session: &Session<'_>, before: Timestamp) -> Result<StatusReport, CliError> {
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK_AGAIN).await;
        let status = match Client::connect(&session.places.socket).await {
            Ok(client) => client.status().await,
            Err(error) => Err(error),
        };
        match status {
            Ok(status) if status.state == State::Ready && status.started_at != Some(before) => {
                return Ok(status);
            }
            Err(error) if !error.may_pass() => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
    }
    Err(CliError::NotBack { seconds: (LOOK_AGAIN * LOOKS_MAX).as_secs() })
}
