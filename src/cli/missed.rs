//! `jobctl missed`: fires without a run, newest first, and why.

use clap::Args;

use super::Session;
use super::error::{CliError, exit};
use super::history::pages;
use super::instant;
use super::source::Source;
use super::table::{self, Table, cell};
use super::terminal::Terminal;
use super::text;
use crate::api::types::{RunQuery, Runs};
use crate::engine::record::RunRecord;
use crate::engine::run::{RunId, Status};

#[derive(Debug, Args)]
pub(crate) struct MissedArgs {
    /// Of this job only
    job: Option<String>,
    /// Due at this time or later: 2026-11-01, '2026-11-01 10:00', RFC 3339, or so long ago: 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Fires that were decided against as well
    #[arg(long)]
    skipped: bool,
    /// How many rows
    #[arg(short, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    n: u32,
    /// With a number below this row's
    #[arg(long, value_name = "ROW")]
    before: Option<u64>,
}

pub(crate) async fn missed(session: &mut Session<'_>, args: MissedArgs) -> Result<u8, CliError> {
    let source = Source::open(session).await?;
    let job = match &args.job {
        Some(name) => Some(source.name(name).await?),
        None => None,
    };
    let since = args.since.as_ref().map(|text| {
        instant::or_ago(text, &session.terminal.zone, session.terminal.now)
            .map_err(|source| CliError::Instant { option: "--since", source })
    });
    let mut status = vec![Status::Missed];
    if args.skipped {
        status.push(Status::Skipped);
    }
    let before = args.before.map(RunId);
    let query = RunQuery { job, status, since: since.transpose()?, before, ..RunQuery::default() };
    let found = pages(&source, query, args.n).await?;
    if session.json {
        session.terminal.print_json(&found)?;
    } else if found.runs.is_empty() {
        let none = if args.skipped { "no fire was missed or skipped" } else { "no fire was missed" };
        session.terminal.say(none);
    } else {
        let text = render(&session.terminal, &found.runs);
        session.terminal.print(&text)?;
        say_what_to_do(&mut session.terminal, &found);
    }
    Ok(exit::DONE)
}

fn render(terminal: &Terminal, rows: &[RunRecord]) -> String {
    let header = ["ROW", "JOB", "STATUS", "FIRE", "FIRES", "REASON"];
    let mut table = Table::new(terminal, &header).right(0).right(4);
    let local = |at| text::local(at, &terminal.zone);
    for row in rows {
        let first = local(row.scheduled_at.unwrap_or(row.started_at));
        let fire = row.scheduled_until.map_or(first.clone(), |until| format!("{first} .. {}", local(until)));
        table.row(vec![
            cell(&row.run_id.to_string()),
            cell(row.task_name.as_str()),
            table::status(row.status),
            cell(&fire),
            cell(&row.fires.to_string()),
            cell(row.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table.render()
}

fn say_what_to_do(terminal: &mut Terminal, found: &Runs) {
    if let Some(next) = found.next {
        terminal.say(&format!("there may be more: go on with --before {next}"));
    }
    let newest = found.runs.iter().find(|row| row.status == Status::Missed);
    if let Some((row, at)) = newest.and_then(|row| Some((row, row.scheduled_until.or(row.scheduled_at)?))) {
        let at = text::rfc3339(at, &terminal.zone);
        terminal.say(&format!(
            "'jobctl catchup {}@{at}' makes up for one; 'jobctl catchup --all --dry-run' shows what all would be",
            row.task_name
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::terminal::testing::pipe;
    use super::super::testing::record;
    use super::*;

    #[test]
    fn a_row_of_many_shows_from_when_to_when() {
        let terminal = pipe("2026-11-02T00:00:00Z");
        let mut many = record(9, "each_second", Status::Missed);
        (many.scheduled_until, many.fires) = ("2026-11-01T02:00:00Z".parse().ok(), 3601);
        many.reason = Some("jobd was not running".to_owned());
        let mut skipped = record(8, "backup", Status::Skipped);
        skipped.reason = Some("run 7 was still active".to_owned());
        let expected = "\
ROW  JOB          STATUS   FIRE                                        FIRES  REASON
  9  each_second  MISSED   2026-11-01 10:00:00 .. 2026-11-01 11:00:00   3601  jobd was not running
  8  backup       SKIPPED  2026-11-01 10:00:00                             1  run 7 was still active
";
        assert_eq!(render(&terminal, &[many, skipped]), expected);
    }
}
