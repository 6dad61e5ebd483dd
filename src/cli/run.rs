//! `jobctl run`: start a run, and stay with it if asked to.

use std::time::Duration;

use futures_util::StreamExt;

use super::Session;
use super::args::RunArgs;
use super::cri::Entries;
use super::error::{CliError, exit};
use super::instant;
use super::offline::no_such_job;
use super::source;
use super::text;
use crate::api::client::{Client, ClientError};
use crate::api::types::{Accepted, RunDetail};
use crate::engine::job::JobName;
use crate::engine::record::RunRecord;
use crate::engine::run::{RunId, Status};
use crate::output::Stream;

/// How often a jobd that has gone is looked for, and how many times. A restart or an upgrade takes seconds, and the
/// run goes on meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const LOOKS_MAX: u32 = 120;

pub(crate) async fn run(session: &mut Session<'_>, args: RunArgs) -> Result<u8, CliError> {
    let client = Client::connect(&session.places.socket).await?;
    let at = match &args.at {
        Some(text) => {
            session.terminal.use_zone(source::timezone(&client).await?.as_deref());
            let at = instant::absolute(text, &session.terminal.zone);
            Some(at.map_err(|source| CliError::Instant { option: "--at", source })?)
        }
        None => None,
    };
    let Ok(job) = JobName::new(&args.job) else {
        let names: Vec<JobName> = client.jobs().await?.into_iter().map(|job| job.name).collect();
        return Err(no_such_job(&args.job, &names));
    };
    let run_id = client.start(&job, at).await?;
    if !(args.wait || args.follow) {
        if session.json {
            session.terminal.print_json(&Accepted { run_id })?;
        } else {
            session.terminal.print(&format!("run {run_id} of {job} is on its way\n"))?;
        }
        return Ok(exit::DONE);
    }
    session.terminal.say(&format!("run {run_id} of {job} is on its way; 'jobctl kill {run_id}' ends it"));
    if args.follow {
        follow(session, run_id).await?;
    }
    let detail = final_row(session, run_id).await?;
    if session.json {
        session.terminal.print_json(&detail)?;
    } else {
        session.terminal.say(&verdict(&detail.run));
    }
    Ok(exit_code(&detail.run))
}

/// Prints what the job writes, its stderr on stderr, until the run is over. When jobd goes away, the next one goes on
/// where it left off; when the reader goes away, the run is still waited for.
async fn follow(session: &mut Session<'_>, run: RunId) -> Result<(), CliError> {
    let mut entries = Entries::default();
    let mut patience = Patience::default();
    loop {
        match follow_once(session, run, &mut entries).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_closed_pipe() => return Ok(()),
            Err(CliError::Client(error)) => patience.wait(session, run, error).await?,
            Err(error) => return Err(error),
        }
    }
}

async fn follow_once(session: &mut Session<'_>, run: RunId, entries: &mut Entries) -> Result<(), CliError> {
    let client = Client::connect(&session.places.socket).await?;
    let mut pieces = match client.output(run, entries.offset(), true).await {
        Ok(pieces) => pieces,
        // A run that never started has nothing to follow; its row says why.
        Err(ClientError::Answered(body)) if body.code == crate::api::types::ErrorCode::NoOutput => {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    while let Some(piece) = pieces.next().await {
        let escape = session.terminal.tty;
        for entry in entries.feed(&piece?) {
            let full = entry.is_full();
            let mut line = if escape { text::inert_bytes(&entry.text).into_bytes() } else { entry.text };
            if full {
                line.push(b'\n');
            }
            match entry.stream {
                Stream::Stdout => session.terminal.write(&line)?,
                Stream::Stderr => session.terminal.write_err(&line)?,
            }
        }
    }
    Ok(())
}

/// The row when it is final.
pub(super) async fn final_row(session: &mut Session<'_>, run: RunId) -> Result<RunDetail, CliError> {
    let mut patience = Patience::default();
    loop {
        let answer = match Client::connect(&session.places.socket).await {
            Ok(client) => client.wait(run).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(detail) if detail.run.status.is_final() => return Ok(detail),
            Ok(_) => patience = Patience::default(),
            Err(error) => patience.wait(session, run, error).await?,
        }
    }
}

/// How long jobd may stay away while its run is waited for.
#[derive(Default)]
pub(super) struct Patience {
    looks: u32,
}

impl Patience {
    /// Waits a little if the error may pass; returns it, or that enough was waited, if not.
    pub(super) async fn wait(
        &mut self,
        session: &mut Session<'_>,
        run: RunId,
        error: ClientError,
    ) -> Result<(), CliError> {
        if !error.may_pass() {
            return Err(error.into());
        }
        if self.looks == 0 {
            session.terminal.say(&format!("{error}; run {run} goes on, waiting for jobd to come back"));
        }
        self.looks += 1;
        if self.looks > LOOKS_MAX {
            return Err(CliError::Abandoned(run));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        Ok(())
    }
}

/// How the run went, in one line.
pub(super) fn verdict(run: &RunRecord) -> String {
    let took = run.duration_ms.map(|ms| format!(" after {}", text::took(ms))).unwrap_or_default();
    let ending = match (run.status, super::history::ending(run)) {
        (Status::Success, _) | (_, None) => String::new(),
        (_, Some(ending)) if run.exit_code.is_some() => format!(", exit code {ending}"),
        (_, Some(ending)) => format!(", {ending}"),
    };
    // What never ran has no output that would tell why.
    let why = run.reason.as_ref().or(run.error_message.as_ref().filter(|_| run.pid.is_none()));
    let line = why.and_then(|why| why.lines().next());
    let reason = line.map(|why| format!(": {}", text::inert(why))).unwrap_or_default();
    format!("run {} of {}: {}{took}{ending}{reason}", run.run_id, run.task_name, run.status)
}

/// The job's own exit code, or what stands for it.
pub(super) fn exit_code(run: &RunRecord) -> u8 {
    let signal = run.term_signal.and_then(|signal| u8::try_from(exit::SIGNAL + signal).ok());
    let code = run.exit_code.and_then(|code| u8::try_from(code).ok());
    match run.status {
        Status::Success => exit::DONE,
        Status::Timeout => exit::TIMEOUT,
        Status::Missed | Status::Skipped => exit::NEVER_STARTED,
        Status::Failed if code == Some(0) => exit::FAILED,
        Status::Failed => signal.or(code).unwrap_or(exit::NEVER_STARTED),
        // A job that ends with 0 on SIGTERM has still been killed.
        Status::Killed => signal.or(code.filter(|&code| code != 0)).unwrap_or(exit::FAILED),
        Status::Lost | Status::Queued | Status::Running => exit::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;

    fn ended(status: Status, code: Option<i32>, signal: Option<i32>) -> RunRecord {
        RunRecord { exit_code: code, term_signal: signal, ..record(7, "backup", status) }
    }

    #[test]
    fn the_exit_code_is_the_jobs_own() {
        let cases = [
            (Status::Success, Some(0), None, 0),
            (Status::Failed, Some(3), None, 3),
            (Status::Failed, None, Some(11), 139),
            (Status::Failed, None, None, 125),
            (Status::Timeout, None, Some(15), 124),
            (Status::Timeout, Some(0), None, 124),
            (Status::Killed, None, Some(9), 137),
            (Status::Killed, Some(0), None, 1),
            (Status::Killed, Some(5), None, 5),
            (Status::Lost, None, None, 1),
            (Status::Skipped, None, None, 125),
        ];
        for (status, code, signal, expected) in cases {
            assert_eq!(exit_code(&ended(status, code, signal)), expected, "{status} {code:?} {signal:?}");
        }
    }

    #[test]
    fn the_verdict_is_one_line() {
        assert_eq!(verdict(&ended(Status::Success, Some(0), None)), "run 7 of backup: SUCCESS after 31m 12s");
        assert_eq!(
            verdict(&ended(Status::Failed, Some(3), None)),
            "run 7 of backup: FAILED after 31m 12s, exit code 3"
        );
        let mut killed = ended(Status::Killed, None, Some(15));
        killed.reason = Some("by uid 0 (root)".to_owned());
        assert_eq!(verdict(&killed), "run 7 of backup: KILLED after 31m 12s, SIGTERM: by uid 0 (root)");
    }
}
