//! `jobctl list`: every job at a glance.

use super::Session;
use super::error::CliError;
use super::source::Source;
use super::table::{self, Table, cell, optional};
use super::terminal::Terminal;
use super::text;
use crate::api::types::{JobView, Jobs};
use crate::engine::job::JobName;

pub(crate) async fn list(session: &mut Session<'_>) -> Result<u8, CliError> {
    let jobs = Source::open(session).await?.jobs().await?;
    if session.json {
        session.terminal.print_json(&Jobs { jobs })?;
    } else if jobs.is_empty() {
        session.terminal.say("no jobs: register one under [jobs] in the configuration");
    } else {
        let text = render(&session.terminal, &jobs);
        session.terminal.print(&text)?;
    }
    Ok(super::exit::DONE)
}

fn render(terminal: &Terminal, jobs: &[JobView]) -> String {
    let header = ["JOB", "SCHEDULE", "NEXT", "LAST RUN", "STATUS", "TOOK", "DESCRIPTION"];
    let mut table = Table::new(terminal, &header).right(5);
    let local = |at| text::local(at, &terminal.zone);
    for job in jobs {
        let last = job.last_run.as_ref();
        table.row(vec![
            cell(job.name.as_str()),
            cell(&when(job)),
            match &job.paused {
                Some(pause) => cell(&paused(pause.until.map(local))),
                None => optional(job.next_fire.map(local)),
            },
            optional(last.map(|run| local(run.started_at))),
            last.map_or_else(|| optional(None), |run| table::status(run.status)),
            optional(last.and_then(|run| run.duration_ms).map(text::took)),
            cell(job.description.as_deref().unwrap_or("")),
        ]);
    }
    table.render()
}

/// Its schedules, or the jobs that it follows instead.
fn when(job: &JobView) -> String {
    match &job.rules.after {
        Some(after) if job.schedules.is_empty() => {
            let jobs: Vec<_> = after.jobs.iter().map(JobName::as_str).collect();
            format!("after {}", jobs.join(" "))
        }
        _ => job.schedules.join(" | "),
    }
}

/// What stands in place of the next fire of a paused job.
fn paused(until: Option<String>) -> String {
    until.map_or_else(|| "paused".to_owned(), |until| format!("paused until {until}"))
}

#[cfg(test)]
mod tests {
    use super::super::terminal::testing::pipe;
    use super::super::testing::{job, record};
    use super::*;
    use crate::api::rules::AfterView;
    use crate::engine::after::{AfterEnd, Same};
    use crate::engine::run::Status;

    #[test]
    fn every_job_has_a_line() {
        let terminal = pipe("2026-11-01T01:00:00Z");
        let mut invoice = job("invoice_generation");
        invoice.description = Some("청구서 발행 및 발송".to_owned());
        invoice.last_run = Some(record(7, "invoice_generation", Status::Timeout));
        let mut backup = job("backup");
        (backup.next_fire, backup.schedules) = (None, vec!["@reboot".to_owned()]);
        let mut report = job("report");
        (report.next_fire, report.schedules) = (None, Vec::new());
        report.rules.after = Some(AfterView {
            jobs: vec![backup.name.clone()],
            on: AfterEnd::Success,
            same: Same::Day,
            within_ms: 1,
        });
        let expected = "\
JOB                 SCHEDULE      NEXT                 LAST RUN             STATUS      TOOK  DESCRIPTION
backup              @reboot       -                    -                    -              -
invoice_generation  0 10 1 * *    2026-12-01 10:00:00  2026-11-01 10:00:00  TIMEOUT  31m 12s  청구서 발행 및 발송
report              after backup  -                    -                    -              -
";
        assert_eq!(render(&terminal, &[backup, invoice, report]), expected);
    }
}
