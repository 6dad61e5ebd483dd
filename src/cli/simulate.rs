//! `jobctl simulate`: every fire of a stretch of time and what would become of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use jiff::SignedDuration;
use serde::Serialize;

use super::Session;
use super::error::CliError;
use super::offline::no_such_job;
use super::rehearsal::{Outcome, Row, rehearse};
use super::stretch::{Stretch, StretchArgs};
use super::table::{self, Table, cell, optional};
use super::terminal::Terminal;
use super::text;
use super::took::{KnownFrom, Took};
use crate::engine::job::{JobName, JobSpec};
use crate::engine::occurrence::next_fire;
use crate::engine::run::{RunId, Status, Trigger};
use crate::engine::scheduler::Settings;
use crate::engine::time::Timestamp;

/// How long a stretch is where nothing else is said.
const LENGTH: SignedDuration = SignedDuration::from_hours(24);
/// The most fires that are gone through: seconds of work.
const ROWS_MAX: usize = 200_000;

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    stretch: StretchArgs,
    /// Show the fires of this job only; all of them are gone through
    #[arg(long)]
    job: Option<String>,
    /// How long runs take: of one job (backup=5m), or of all others (5m) [default: the 95th percentile of history]
    #[arg(long, value_name = "[JOB=]TIME")]
    took: Vec<String>,
    /// Show at most so many fires
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

/// What `simulate --json` prints.
#[derive(Serialize)]
struct Simulation<'a> {
    from: Timestamp,
    to: Timestamp,
    /// Where it ended, if that was before `to`: there were too many fires.
    ended_early: Option<Timestamp>,
    fires: Vec<FireView<'a>>,
    /// How many fires more there are than `fires` shows.
    left_out: usize,
    jobs: Vec<JobTotals<'a>>,
}

/// What would become of a fire. The names are those of the run table.
#[derive(Serialize)]
struct FireView<'a> {
    run_id: RunId,
    task_name: &'a JobName,
    scheduled_at: Timestamp,
    scheduled_until: Option<Timestamp>,
    fires: u64,
    triggered_by: Trigger,
    attempt: u32,
    status: Status,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    reason: Option<&'a str>,
}

/// A job's fires by what would become of them.
#[derive(Serialize)]
struct JobTotals<'a> {
    job: &'a JobName,
    took_ms: u64,
    took_known_from: KnownFrom,
    fires: BTreeMap<Status, u64>,
}

pub(crate) async fn simulate(session: &mut Session<'_>, args: SimulateArgs) -> Result<u8, CliError> {
    let loaded = session.offline().load()?;
    session.terminal.use_zone(loaded.timezone.as_deref());
    let stretch = args.stretch.read(&session.terminal.zone, session.terminal.now, LENGTH)?;
    let only = args.job.as_deref().map(|name| known(name, &loaded.specs)).transpose()?;
    let fires = |spec: &JobSpec| {
        // Of a job that follows others one does not know beforehand.
        spec.after.is_some() || next_fire(spec, stretch.before()).is_some_and(|fire| fire.at < stretch.to)
    };
    let took = Took::read(session, &args.took, &loaded.specs, fires).await?;
    let settings = Settings { admission: loaded.admission, ..Settings::default() };
    let mut outcome = rehearse(settings, &loaded.specs, &|job| took.of(job).0, &stretch, ROWS_MAX);
    outcome.rows.retain(|row| only.as_ref().is_none_or(|only| *only == row.job));
    if session.json {
        session.terminal.print_json(&view(&outcome, &stretch, &took, args.limit))?;
        return Ok(super::exit::DONE);
    }
    if !outcome.rows.is_empty() {
        let text = render(&session.terminal, &outcome.rows[..outcome.rows.len().min(args.limit)]);
        session.terminal.print(&text)?;
    }
    for note in notes(&session.terminal, &outcome, &stretch, &took, args.limit) {
        session.terminal.say(&note);
    }
    Ok(super::exit::DONE)
}

fn known(name: &str, specs: &BTreeMap<JobName, Arc<JobSpec>>) -> Result<JobName, CliError> {
    let names = || specs.keys().cloned().collect::<Vec<_>>();
    specs.get_key_value(name).map(|(name, _)| name.clone()).ok_or_else(|| no_such_job(name, &names()))
}

fn render(terminal: &Terminal, rows: &[Row]) -> String {
    let header = ["WHEN", "JOB", "RUN", "STATUS", "WAITS", "TOOK", "REMARK"];
    let mut table = Table::new(terminal, &header).right(2).right(4).right(5);
    for row in rows {
        let waits = row.started_at.filter(|at| *at > row.scheduled_at);
        let took = row.started_at.zip(row.completed_at);
        table.row(vec![
            cell(&text::local(row.scheduled_at, &terminal.zone)),
            cell(row.job.as_str()),
            cell(&row.run.to_string()),
            table::status(row.status),
            optional(waits.map(|at| text::between(row.scheduled_at, at))),
            optional(took.map(|(start, end)| text::between(start, end))),
            cell(&remark(terminal, row)),
        ]);
    }
    table.render()
}

fn remark(terminal: &Terminal, row: &Row) -> String {
    let many = row
        .scheduled_until
        .map(|until| format!("{} fires until {}", row.fires, text::local(until, &terminal.zone)));
    let again = (row.attempt > 1).then(|| format!("try {}", row.attempt));
    let open = match row.status {
        Status::Running => {
            row.completed_at.map(|at| format!("goes on until {}", text::local(at, &terminal.zone)))
        }
        Status::Queued => Some("still waits at the end".to_owned()),
        _ => None,
    };
    let parts: Vec<String> = many.into_iter().chain(again).chain(open).chain(row.reason.clone()).collect();
    parts.join(": ")
}

/// What must be known besides the fires shown: how many there are, and what is taken for granted.
fn notes(
    terminal: &Terminal,
    outcome: &Outcome,
    stretch: &Stretch,
    took: &Took,
    limit: usize,
) -> Vec<String> {
    let mut notes = Vec::new();
    let mut totals: BTreeMap<Status, u64> = BTreeMap::new();
    for row in &outcome.rows {
        *totals.entry(row.status).or_default() += row.fires;
    }
    let all: u64 = totals.values().sum();
    let parts: Vec<String> = totals.iter().map(|(status, fires)| format!("{fires} {status}")).collect();
    let sum = if parts.is_empty() {
        "no fire".to_owned()
    } else {
        format!("{}: {}", count(all, "fire"), parts.join(", "))
    };
    notes.push(format!("{sum}, {}", stretch.describe(&terminal.zone)));
    if let Some(left) = outcome.rows.len().checked_sub(limit).filter(|left| *left > 0) {
        notes.push(format!("{left} more are not shown: --limit {} shows all", outcome.rows.len()));
    }
    if let Some(at) = outcome.ended_early {
        let at = text::local(at, &terminal.zone);
        notes.push(format!("it ends at {at}, after {ROWS_MAX} fires: choose a shorter stretch"));
    }
    let unknown = jobs(outcome).into_keys().filter(|job| took.of(job).1 == KnownFrom::Nothing).count();
    if unknown > 0 {
        let jobs = count(unknown as u64, "job");
        notes.push(format!(
            "of {jobs} no success is known; its runs are taken to last no time: --took 5m says how long"
        ));
    }
    notes
}

fn count(number: u64, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// The fires of each job by what would become of them.
fn jobs(outcome: &Outcome) -> BTreeMap<&JobName, BTreeMap<Status, u64>> {
    let mut jobs: BTreeMap<&JobName, BTreeMap<Status, u64>> = BTreeMap::new();
    for row in &outcome.rows {
        *jobs.entry(&row.job).or_default().entry(row.status).or_default() += row.fires;
    }
    jobs
}

fn view<'a>(outcome: &'a Outcome, stretch: &Stretch, took: &Took, limit: usize) -> Simulation<'a> {
    let fire = |row: &'a Row| FireView {
        run_id: row.run,
        task_name: &row.job,
        scheduled_at: row.scheduled_at,
        scheduled_until: row.scheduled_until,
        fires: row.fires,
        triggered_by: row.trigger,
        attempt: row.attempt,
        status: row.status,
        started_at: row.started_at,
        completed_at: row.completed_at,
        reason: row.reason.as_deref(),
    };
    let totals = |(job, fires): (&'a JobName, BTreeMap<Status, u64>)| {
        let (duration, took_known_from) = took.of(job);
        let took_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        JobTotals { job, took_ms, took_known_from, fires }
    };
    Simulation {
        from: stretch.from,
        to: stretch.to,
        ended_early: outcome.ended_early,
        fires: outcome.rows.iter().take(limit).map(fire).collect(),
        left_out: outcome.rows.len().saturating_sub(limit),
        jobs: jobs(outcome).into_iter().map(totals).collect(),
    }
}
