//! `jobctl ps`: the runs that are active.

use serde::Serialize;

use super::Session;
use super::error::CliError;
use super::source::Source;
use super::table::{self, Table, cell, optional};
use super::terminal::Terminal;
use super::text;
use crate::api::types::Runs;
use crate::api::waiting::{Waiting, WaitingRun};
use crate::engine::record::RunRecord;
use crate::engine::run::{Status, Trigger};

/// What `ps --json` prints.
#[derive(Serialize)]
struct Active {
    #[serde(flatten)]
    runs: Runs,
    /// What QUEUED runs wait for.
    waiting: Vec<WaitingRun>,
}

pub(crate) async fn ps(session: &mut Session<'_>) -> Result<u8, CliError> {
    let source = Source::open(session).await?;
    let runs = source.open_runs().await?;
    let queued = runs.iter().any(|run| run.status == Status::Queued);
    let Waiting { waiting } = if queued { source.waiting().await? } else { Waiting::default() };
    if session.json {
        session.terminal.print_json(&Active { runs: Runs { runs, next: None }, waiting })?;
    } else if runs.is_empty() {
        session.terminal.say("no run is active");
    } else {
        let text = render(&session.terminal, &runs, &waiting);
        session.terminal.print(&text)?;
    }
    Ok(super::exit::DONE)
}

fn render(terminal: &Terminal, runs: &[RunRecord], waiting: &[WaitingRun]) -> String {
    let mut header = vec!["RUN", "JOB", "STATUS", "STARTED", "FOR", "PID", "TRIGGER"];
    if !waiting.is_empty() {
        header.push("WAITS FOR");
    }
    let mut table = Table::new(terminal, &header).right(0).right(4);
    for run in runs {
        let running = run.status == Status::Running;
        let mut cells = vec![
            cell(&run.run_id.to_string()),
            cell(run.task_name.as_str()),
            table::status(run.status),
            cell(&text::local(run.started_at, &terminal.zone)),
            optional(running.then(|| text::between(run.started_at, terminal.now))),
            optional(run.pid.map(|pid| pid.to_string())),
            cell(run.triggered_by.as_str()),
        ];
        if !waiting.is_empty() {
            let waits = waiting.iter().find(|one| one.run_id == run.run_id);
            cells.push(cell(&waits.map(|one| waits_for(terminal, run, one)).unwrap_or_default()));
        }
        table.row(cells);
    }
    table.render()
}

/// `retry 2 of 3 at 10:05:00`, `run 7, lock db, held by run 9`, or that it is next.
fn waits_for(terminal: &Terminal, run: &RunRecord, waiting: &WaitingRun) -> String {
    let Some(at) = waiting.not_before else {
        let words = waiting.waits_for.join("; ");
        return if words.is_empty() { "its turn".to_owned() } else { words };
    };
    let at = text::local(at, &terminal.zone);
    match (run.triggered_by, waiting.attempts_max) {
        (Trigger::Retry, Some(most)) => format!("retry {} of {most} at {at}", waiting.attempt),
        (Trigger::Retry, None) => format!("retry {} at {at}", waiting.attempt),
        _ => format!("its turn at {at}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::terminal::testing::pipe;
    use super::super::testing::record;
    use super::*;
    use crate::engine::run::RunId;

    #[test]
    fn active_runs_show_for_how_long() {
        let terminal = pipe("2026-11-01T01:10:05Z");
        let mut running = record(12, "invoice_generation", Status::Running);
        running.pid = Some(4711);
        let expected = "\
RUN  JOB                 STATUS   STARTED                 FOR  PID   TRIGGER
 12  invoice_generation  RUNNING  2026-11-01 10:00:00  10m 5s  4711  schedule
 13  backup              QUEUED   2026-11-01 10:00:00       -  -     schedule
";
        assert_eq!(render(&terminal, &[running, record(13, "backup", Status::Queued)], &[]), expected);
    }

    #[test]
    fn a_run_that_waits_tells_for_what() {
        let terminal = pipe("2026-11-01T01:10:05Z");
        let wait = |run, waits_for: &[&str]| WaitingRun {
            run_id: RunId(run),
            attempt: 2,
            attempts_max: Some(3),
            not_before: waits_for.is_empty().then(|| "2026-11-01T01:15:00Z".parse().unwrap()),
            waits_for: waits_for.iter().map(|&word| word.to_owned()).collect(),
        };
        let mut retry = record(14, "invoices", Status::Queued);
        retry.triggered_by = Trigger::Retry;
        let waiting = [wait(13, &["run 12", "lock db, held by run 9"]), wait(14, &[])];
        let text = render(&terminal, &[record(13, "backup", Status::Queued), retry], &waiting);
        let expected = "\
RUN  JOB       STATUS  STARTED              FOR  PID  TRIGGER   WAITS FOR
 13  backup    QUEUED  2026-11-01 10:00:00    -  -    schedule  run 12; lock db, held by run 9
 14  invoices  QUEUED  2026-11-01 10:00:00    -  -    retry     retry 2 of 3 at 2026-11-01 10:15:00
";
        assert_eq!(text, expected);
    }
}
