//! `jobctl history`: past and present runs, newest first.

use super::Session;
use super::args::HistoryArgs;
use super::error::CliError;
use super::instant::{self, InstantError};
use super::source::Source;
use super::table::{self, Table, cell, optional};
use super::terminal::Terminal;
use super::text;
use crate::api::types::{RUNS_MAX, RunQuery, Runs};
use crate::engine::record::RunRecord;
use crate::engine::run::{RunId, Status};
use crate::engine::time::Timestamp;

pub(crate) async fn history(session: &mut Session<'_>, args: HistoryArgs) -> Result<u8, CliError> {
    let source = Source::open(session).await?;
    let instant = |option: &'static str, text: Option<&String>| -> Result<Option<Timestamp>, CliError> {
        let terminal = &session.terminal;
        let read = |text: &String| instant::or_ago(text, &terminal.zone, terminal.now);
        text.map(read).transpose().map_err(|source: InstantError| CliError::Instant { option, source })
    };
    let (since, until) = (instant("--since", args.since.as_ref())?, instant("--until", args.until.as_ref())?);
    let job = match &args.job {
        Some(name) => Some(source.name(name).await?),
        None => None,
    };
    let query =
        RunQuery { job, status: args.status, since, until, before: args.before.map(RunId), limit: None };
    let found = pages(&source, query, args.n).await?;
    if session.json {
        session.terminal.print_json(&found)?;
    } else if found.runs.is_empty() {
        session.terminal.say("no such runs");
    } else {
        let text = render(&session.terminal, &found.runs);
        session.terminal.print(&text)?;
    }
    Ok(super::exit::DONE)
}

/// As many rows as were asked for, page by page.
pub(super) async fn pages(source: &Source<'_>, mut query: RunQuery, rows: u32) -> Result<Runs, CliError> {
    let mut found = Runs { runs: Vec::new(), next: None };
    let mut left = rows;
    loop {
        query.limit = Some(left.min(RUNS_MAX));
        let page = source.runs(&query).await?;
        left = left.saturating_sub(u32::try_from(page.runs.len()).unwrap_or(u32::MAX));
        found.runs.extend(page.runs);
        found.next = page.next;
        query.before = page.next;
        if left == 0 || page.next.is_none() {
            return Ok(found);
        }
    }
}

fn render(terminal: &Terminal, runs: &[RunRecord]) -> String {
    let header = ["RUN", "JOB", "STATUS", "STARTED", "TOOK", "EXIT", "TRIGGER", "MESSAGE"];
    let mut table = Table::new(terminal, &header).right(0).right(4).right(5);
    for run in runs {
        table.row(vec![
            cell(&run.run_id.to_string()),
            cell(run.task_name.as_str()),
            table::status(run.status),
            cell(&text::local(run.started_at, &terminal.zone)),
            optional(run.duration_ms.map(text::took)),
            optional(ending(run)),
            cell(&trigger(run)),
            cell(&word(run)),
        ]);
    }
    table.render()
}

/// What asked for the run, and of a further try of its fire which one it is.
fn trigger(run: &RunRecord) -> String {
    let trigger = run.triggered_by.as_str();
    if run.attempt > 1 { format!("{trigger} {}", run.attempt) } else { trigger.to_owned() }
}

/// The exit code, or the signal by its name.
pub(crate) fn ending(run: &RunRecord) -> Option<String> {
    let signal = |number: i32| match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {number}"),
    };
    run.exit_code.map(|code| code.to_string()).or_else(|| run.term_signal.map(signal))
}

/// What a line about a run says of it: of a good one its message, of another the reason.
fn word(run: &RunRecord) -> String {
    let first_line = |text: &String| text.lines().find(|line| !line.trim().is_empty()).map(str::to_owned);
    let fires = if run.fires > 1 { format!("{} fires: ", run.fires) } else { String::new() };
    let why = || run.reason.clone().or_else(|| run.error_message.as_ref().and_then(first_line));
    let word = if run.status == Status::Success { None } else { why() };
    fires + &word.or_else(|| run.message.as_ref().and_then(first_line)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::terminal::testing::pipe;
    use super::super::testing::record;
    use super::*;
    use crate::engine::run::Trigger;

    #[test]
    fn each_run_tells_how_it_went() {
        let terminal = pipe("2026-11-01T12:00:00Z");
        let mut good = record(9, "invoice_generation", Status::Success);
        (good.exit_code, good.message) = (Some(0), Some("[SUCCESS] 213건 청구서 발행 완료".to_owned()));
        let mut bad = record(8, "backup", Status::Failed);
        (bad.term_signal, bad.error_message) = (Some(11), Some("\nsegfault at 0\nmore".to_owned()));
        (bad.attempt, bad.triggered_by) = (2, Trigger::Retry);
        let mut missed = record(7, "backup", Status::Missed);
        (missed.duration_ms, missed.fires) = (None, 3);
        missed.reason = Some("jobd was not running".to_owned());
        let expected = "\
RUN  JOB                 STATUS   STARTED                 TOOK     EXIT  TRIGGER   MESSAGE
  9  invoice_generation  SUCCESS  2026-11-01 10:00:00  31m 12s        0  schedule  [SUCCESS] 213건 청구서 발행 완료
  8  backup              FAILED   2026-11-01 10:00:00  31m 12s  SIGSEGV  retry 2   segfault at 0
  7  backup              MISSED   2026-11-01 10:00:00        -        -  schedule  3 fires: jobd was not running
";
        assert_eq!(render(&terminal, &[good, bad, missed]), expected);
    }
}
