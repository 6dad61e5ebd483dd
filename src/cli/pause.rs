//! `jobctl pause`: a job, or every job, is started no more until somebody resumes it, or its time is over.

use clap::{ArgGroup, Args};
use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::Session;
use super::error::{CliError, exit};
use super::source::{Source, timezone};
use super::{instant, text};
use crate::api::client::Client;
use crate::api::types::PauseRequest;
use crate::engine::job::JobName;
use crate::engine::pause::Pause;
use crate::engine::time::Timestamp;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["job", "all"]))]
pub(crate) struct PauseArgs {
    /// The job
    job: Option<String>,
    /// Every job
    #[arg(long)]
    all: bool,
    /// Until this time: 2026-11-01, '2026-11-01 10:00' or RFC 3339 [default: until it is resumed]
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    until: Option<String>,
    /// For so long: 90s, 30m, 2h, 1d12h
    #[arg(long = "for", value_name = "TIME")]
    length: Option<String>,
    /// Why, for whoever wonders later: a line
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

pub(crate) async fn pause(session: &mut Session<'_>, args: PauseArgs) -> Result<u8, CliError> {
    let client = Client::connect(&session.places.socket).await?;
    let (job, zone) = if let Some(name) = &args.job {
        of_job(client.clone(), name).await?
    } else {
        session.terminal.use_zone(timezone(&client).await?.as_deref());
        (None, session.terminal.zone.clone())
    };
    let until = until(&args, &zone, session.terminal.now)?;
    let pause = client.pause(&PauseRequest { job, until, why: args.why }).await?;
    if session.json {
        session.terminal.print_json(&pause)?;
    } else {
        session.terminal.print(&told(&pause, &zone))?;
    }
    Ok(exit::DONE)
}

async fn of_job(client: Client, name: &str) -> Result<(Option<JobName>, TimeZone), CliError> {
    let job = Source::Jobd(client).job(name).await?;
    Ok((Some(job.name), TimeZone::get(&job.timezone).unwrap_or(TimeZone::UTC)))
}

fn until(args: &PauseArgs, zone: &TimeZone, now: Timestamp) -> Result<Option<Timestamp>, CliError> {
    if let Some(text) = &args.until {
        let at = instant::absolute(text, zone);
        return at.map(Some).map_err(|source| CliError::Instant { option: "--until", source });
    }
    let Some(text) = &args.length else { return Ok(None) };
    let unreadable = || CliError::Span(text.clone());
    let length = instant::span(text).filter(SignedDuration::is_positive).ok_or_else(unreadable)?;
    now.checked_add(length).map(Some).map_err(|_| unreadable())
}

fn told(pause: &Pause, zone: &TimeZone) -> String {
    let (whose, fires, name) = match &pause.job {
        Some(job) => (format!("{job} is"), "its fires", job.as_str()),
        None => ("all jobs are".to_owned(), "their fires", "--all"),
    };
    let until = pause.until.map(|at| format!(" until {}", text::local(at, zone))).unwrap_or_default();
    format!("{whose} paused{until}: {fires} are SKIPPED; 'jobctl resume {name}' ends it\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_says_what_it_does_and_how_it_ends() {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        let mut pause = Pause {
            job: JobName::new("backup").ok(),
            by: "uid 0 (root)".to_owned(),
            since: "2026-11-01T01:00:00Z".parse().unwrap(),
            until: "2026-11-01T03:00:00Z".parse().ok(),
            why: None,
        };
        assert_eq!(
            told(&pause, &zone),
            "backup is paused until 2026-11-01 12:00:00: its fires are SKIPPED; 'jobctl resume backup' ends it\n"
        );
        (pause.job, pause.until) = (None, None);
        assert_eq!(
            told(&pause, &zone),
            "all jobs are paused: their fires are SKIPPED; 'jobctl resume --all' ends it\n"
        );
    }
}
