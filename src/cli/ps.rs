//! `jobctl ps`: the runs that are active.

use super::Session;
use super::error::CliError;
use super::source::Source;
use super::table::{self, Table, cell, optional};
use super::terminal::Terminal;
use super::text;
use crate::api::types::Runs;
use crate::engine::record::RunRecord;
use crate::engine::run::Status;

pub(crate) async fn ps(session: &mut Session<'_>) -> Result<u8, CliError> {
    let runs = Source::open(session).await?.open_runs().await?;
    if session.json {
        session.terminal.print_json(&Runs { runs, next: None })?;
    } else if runs.is_empty() {
        session.terminal.say("no run is active");
    } else {
        let text = render(&session.terminal, &runs);
        session.terminal.print(&text)?;
    }
    Ok(super::exit::DONE)
}

fn render(terminal: &Terminal, runs: &[RunRecord]) -> String {
    let mut table =
        Table::new(terminal, &["RUN", "JOB", "STATUS", "STARTED", "FOR", "PID", "TRIGGER"]).right(0).right(4);
    for run in runs {
        let running = run.status == Status::Running;
        table.row(vec![
            cell(&run.run_id.to_string()),
            cell(run.task_name.as_str()),
            table::status(run.status),
            cell(&text::local(run.started_at, &terminal.zone)),
            optional(running.then(|| text::between(run.started_at, terminal.now))),
            optional(run.pid.map(|pid| pid.to_string())),
            cell(run.triggered_by.as_str()),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::super::terminal::testing::pipe;
    use super::super::testing::record;
    use super::*;

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
        assert_eq!(render(&terminal, &[running, record(13, "backup", Status::Queued)]), expected);
    }
}
