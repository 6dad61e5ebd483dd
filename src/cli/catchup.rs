//! `jobctl catchup`: make up for fires that were missed or skipped.

use clap::{ArgGroup, Args};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Session;
use super::error::{CliError, exit};
use super::instant;
use super::run::{exit_code, final_row, verdict};
use super::source::Source;
use super::table::{Table, cell};
use super::terminal::Terminal;
use super::text;
use crate::api::client::{Client, ClientError};
use crate::api::owed::{LeftOut, LeftOutFor, Owed, OwedQuery};
use crate::engine::job::JobName;
use crate::engine::run::{RunId, Status};
use crate::engine::time::Timestamp;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["fires", "all"]))]
pub(crate) struct CatchupArgs {
    /// A job and a fire of it, in the job's zone: backup@'2026-11-01 10:00'
    #[arg(value_name = "JOB@INSTANT")]
    fires: Vec<String>,
    /// Every missed fire, oldest first; SKIPPED ones were decided against and are named one by one
    #[arg(long)]
    all: bool,
    /// With --all: due at this time or later
    #[arg(long, value_name = "TIME", conflicts_with = "fires")]
    since: Option<String>,
    /// With --all: of this job only
    #[arg(long, value_name = "JOB", conflicts_with = "fires")]
    job: Option<String>,
    /// With --all: print what would run, and change nothing
    #[arg(long, conflicts_with = "fires")]
    dry_run: bool,
    /// Wait until the runs are over; of a single one, exit with the job's own code
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
}

/// What `catchup --json` prints.
#[derive(Serialize)]
struct Outcome {
    /// The runs that make up for fires.
    runs: Vec<MadeUp>,
    /// The fires that have none.
    refused: Vec<Refused>,
    /// Missed fires that were not looked at.
    left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
struct MadeUp {
    job: JobName,
    at: Timestamp,
    run_id: RunId,
}

#[derive(Serialize)]
struct Refused {
    job: JobName,
    at: Timestamp,
    error: String,
}

pub(crate) async fn catchup(session: &mut Session<'_>, args: CatchupArgs) -> Result<u8, CliError> {
    if args.dry_run {
        return rehearse(session, &args).await;
    }
    let client = Client::connect(&session.places.socket).await?;
    let source = Source::Jobd(client.clone());
    session.terminal.use_zone(client.status().await?.timezone.as_deref());
    let mut outcome = Outcome { runs: Vec::new(), refused: Vec::new(), left_out: Vec::new() };
    let fires = if args.all {
        let mut owed = owed(session, &source, &args).await?;
        outcome.left_out = std::mem::take(&mut owed.left_out);
        owed.fires.into_iter().rev().map(|fire| (fire.job, fire.at)).collect()
    } else {
        // All are read before the first one is asked for: a slip of the pen in the last starts nothing.
        let mut fires = Vec::new();
        for text in &args.fires {
            fires.push(named(&source, text).await?);
        }
        fires
    };
    if fires.is_empty() && !session.json {
        session.terminal.say("no fire was missed");
    }
    for (job, at) in fires {
        match client.catch_up(&job, at).await {
            Ok(run_id) => {
                if !session.json {
                    let at = text::local(at, &session.terminal.zone);
                    session.terminal.print(&format!("run {run_id} makes up for {job} at {at}\n"))?;
                }
                outcome.runs.push(MadeUp { job, at, run_id });
            }
            Err(ClientError::Answered(body)) if args.all => {
                if !session.json {
                    session.terminal.say(&format!("jobctl: {}", text::inert(&body.error)));
                }
                outcome.refused.push(Refused { job, at, error: body.error });
            }
            Err(error) => return Err(error.into()),
        }
    }
    finish(session, &args, &outcome).await
}

/// A job and an instant of it, as `JOB@INSTANT` names them.
async fn named(source: &Source<'_>, text: &str) -> Result<(JobName, Timestamp), CliError> {
    let (name, at) = text.split_once('@').ok_or_else(|| CliError::Fire(text::inert(text).into_owned()))?;
    let job = source.job(name).await?;
    let zone = TimeZone::get(&job.timezone).unwrap_or(TimeZone::UTC);
    let at =
        instant::absolute(at, &zone).map_err(|source| CliError::Instant { option: "JOB@INSTANT", source })?;
    Ok((job.name, at))
}

async fn owed(session: &Session<'_>, source: &Source<'_>, args: &CatchupArgs) -> Result<Owed, CliError> {
    let job = match &args.job {
        Some(name) => Some(source.name(name).await?),
        None => None,
    };
    let Terminal { zone, now, .. } = &session.terminal;
    let since = args.since.as_ref().map(|text| instant::or_ago(text, zone, *now)).transpose();
    let since = since.map_err(|source| CliError::Instant { option: "--since", source })?;
    source.owed(&OwedQuery { job, since }).await
}

/// Prints what would run. It works with jobd down, too.
async fn rehearse(session: &mut Session<'_>, args: &CatchupArgs) -> Result<u8, CliError> {
    let source = Source::open(session).await?;
    let owed = owed(session, &source, args).await?;
    if session.json {
        session.terminal.print_json(&owed)?;
        return Ok(exit::DONE);
    }
    if owed.fires.is_empty() {
        session.terminal.say("no fire was missed that could be made up for");
    } else {
        let table = render(&session.terminal, &owed);
        session.terminal.print(&table)?;
        let fires = counted(owed.fires.len() as u64);
        session.terminal.say(&format!("{fires} would run, oldest first; without --dry-run they do"));
    }
    say_left_out(&mut session.terminal, &owed.left_out);
    Ok(exit::DONE)
}

fn render(terminal: &Terminal, owed: &Owed) -> String {
    let mut table = Table::new(terminal, &["JOB", "FIRE", "REASON"]);
    for fire in owed.fires.iter().rev() {
        let at = text::local(fire.at, &terminal.zone);
        table.row(vec![cell(fire.job.as_str()), cell(&at), cell(fire.reason.as_deref().unwrap_or_default())]);
    }
    table.render()
}

fn counted(fires: u64) -> String {
    if fires == 1 { "1 fire".to_owned() } else { format!("{fires} fires") }
}

fn say_left_out(terminal: &mut Terminal, left_out: &[LeftOut]) {
    for LeftOut { job, fires, why } in left_out {
        let why = match why {
            LeftOutFor::TooMany => "only the newest 1,000 are taken at a time: call again, or name --since",
            LeftOutFor::Removed => "the job is no longer configured",
            LeftOutFor::ScheduleChanged => {
                "its schedule has changed since: 'jobctl run JOB --at INSTANT' runs one"
            }
        };
        terminal.say(&format!("left out: {} of {job}: {why}", counted(*fires)));
    }
}

/// Says what came of it, once the runs are over if they are waited for.
async fn finish(session: &mut Session<'_>, args: &CatchupArgs, outcome: &Outcome) -> Result<u8, CliError> {
    let mut codes = Vec::new();
    if args.wait {
        for made_up in &outcome.runs {
            let detail = final_row(session, made_up.run_id).await?;
            session.terminal.say(&verdict(&detail.run));
            codes.push((detail.run.status, exit_code(&detail.run)));
        }
    }
    if session.json {
        session.terminal.print_json(outcome)?;
    } else {
        say_left_out(&mut session.terminal, &outcome.left_out);
    }
    Ok(match codes[..] {
        _ if !outcome.refused.is_empty() => exit::FAILED,
        [(_, code)] => code,
        _ if codes.iter().any(|(status, _)| *status != Status::Success) => exit::FAILED,
        _ => exit::DONE,
    })
}
