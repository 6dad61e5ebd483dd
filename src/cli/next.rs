//! `jobctl next`: the instants that come, of a job or of any expression.

use std::path::Path;
use std::sync::Arc;

use clap::{ArgGroup, Args};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Session;
use super::error::CliError;
use super::offline::no_such_job;
use super::source::Source;
use super::stretch::Stretch;
use super::table::{Table, cell};
use super::terminal::Terminal;
use super::{instant, text};
use crate::api::types::JobView;
use crate::engine::job::{Command, JobName, JobSpec};
use crate::engine::occurrence::{Fire, fires, remarks};
use crate::engine::schedule::{Schedule, ScheduleError};
use crate::engine::time::Timestamp;

/// How many fires are shown where nothing else is said.
const FIRES: usize = 5;
/// How many are shown of a stretch.
const STRETCH_FIRES: usize = 10_000;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["job", "cron"]))]
pub(crate) struct NextArgs {
    /// A job's name
    job: Option<String>,
    /// An expression instead of a job: 5 fields, 6 with seconds ahead, a nickname such as @daily, or '@every 90s'
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    cron: Option<String>,
    /// The zone the expression is read in, by its IANA name [default: the system's]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    tz: Option<String>,
    /// Fires strictly after this instant [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    after: Option<String>,
    /// Fires from this instant on
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "after")]
    from: Option<String>,
    /// Fires before this instant, or for how long: 12h, 7d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// How many [default: 5, or all up to --to, of which 10000 at most]
    #[arg(short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    n: Option<u32>,
    /// Of an expression too: local time, UTC, and what is to be said of a fire
    #[arg(long)]
    remarks: bool,
}

/// What `next JOB --json` prints, and `next --cron --remarks --json`; `next --cron --json` prints a list of instants.
#[derive(Serialize)]
struct NextFires {
    /// `null` of an expression.
    job: Option<JobName>,
    /// The zone of `local`.
    timezone: String,
    fires: Vec<FireView>,
}

#[derive(Serialize)]
struct FireView {
    scheduled_at: Timestamp,
    /// The same instant with the zone's offset.
    local: String,
    /// When its run starts: later than the fire where the job's entry spreads it.
    starts_at: Timestamp,
    remarks: Vec<String>,
}

pub(crate) async fn next(session: &mut Session<'_>, args: NextArgs) -> Result<u8, CliError> {
    let spec = match (&args.cron, &args.job) {
        (Some(text), _) => of_expression(text, zone(args.tz.as_deref(), &session.terminal.zone)?)?,
        (None, name) => of_job(session, name.as_deref().unwrap_or_default()).await?,
    };
    let found = args.fires(&spec, session.terminal.now)?;
    let is_plain = args.cron.is_some() && !args.remarks;
    if is_plain {
        print_instants(session, &spec.zone, &found)?;
    } else if session.json {
        let job = args.job.is_some().then(|| spec.name.clone());
        session.terminal.print_json(&view(job, &spec, &found))?;
    } else if !found.is_empty() {
        let text = render(&session.terminal, &spec, &found);
        session.terminal.print(&text)?;
    }
    if found.is_empty() {
        session.terminal.say(args.silence(&spec));
    }
    Ok(super::exit::DONE)
}

impl NextArgs {
    /// The fires that are asked for.
    fn fires(&self, spec: &JobSpec, now: Timestamp) -> Result<Vec<Fire>, CliError> {
        let read = |option: &'static str, text: Option<&String>| {
            let read = |text: &String| instant::absolute(text, &spec.zone);
            text.map(read).transpose().map_err(|source| CliError::Instant { option, source })
        };
        let (after, from) = (read("--after", self.after.as_ref())?, read("--from", self.from.as_ref())?);
        let begin = from.or(after).unwrap_or(now);
        let to = match &self.to {
            Some(text) => instant::or_later(text, &spec.zone, begin)
                .map_err(|source| CliError::Instant { option: "--to", source })?,
            None => Timestamp::MAX,
        };
        let before = from.map_or(begin, |from| Stretch { from, to }.before());
        let most = if self.to.is_some() { STRETCH_FIRES } else { FIRES };
        let most = self.n.map_or(most, |n| n as usize);
        Ok(fires(spec, before).take_while(|fire| fire.at < to).take(most).collect())
    }

    /// Why there is no fire.
    fn silence(&self, spec: &JobSpec) -> &'static str {
        if spec.after.is_some() {
            "it starts when the jobs that it follows have ended, at no instant of the clock"
        } else if !spec.schedules.is_empty() && spec.schedules.iter().all(Schedule::is_reboot) {
            "it fires once at each boot, at no instant of the clock"
        } else if self.to.is_some() {
            "it does not fire in that time"
        } else {
            "it never fires"
        }
    }
}

/// One instant a line: what scripts read.
fn print_instants(session: &mut Session<'_>, zone: &TimeZone, found: &[Fire]) -> Result<(), CliError> {
    let instants: Vec<String> = found.iter().map(|fire| text::rfc3339(fire.at, zone)).collect();
    if session.json {
        return session.terminal.print_json(&instants);
    }
    for at in &instants {
        session.terminal.print(&format!("{at}\n"))?;
    }
    Ok(())
}

fn render(terminal: &Terminal, spec: &JobSpec, found: &[Fire]) -> String {
    let mut table = Table::new(terminal, &["LOCAL", "UTC", "REMARKS"]);
    for &fire in found {
        table.row(vec![
            cell(&text::rfc3339(fire.at, &spec.zone)),
            cell(&format!("{:.0}", fire.at)),
            cell(&told(spec, fire).join("; ")),
        ]);
    }
    table.render()
}

fn view(job: Option<JobName>, spec: &JobSpec, found: &[Fire]) -> NextFires {
    let fire = |&fire: &Fire| FireView {
        scheduled_at: fire.at,
        local: text::rfc3339(fire.at, &spec.zone),
        starts_at: fire.starts,
        remarks: told(spec, fire),
    };
    let timezone = spec.zone.iana_name().unwrap_or("UTC").to_owned();
    NextFires { job, timezone, fires: found.iter().map(fire).collect() }
}

fn told(spec: &JobSpec, fire: Fire) -> Vec<String> {
    remarks(spec, fire).iter().map(ToString::to_string).collect()
}

/// A job of which nothing is said but when it fires.
fn bare(name: JobName, schedules: Vec<Schedule>, zone: TimeZone) -> Arc<JobSpec> {
    Arc::new(JobSpec { schedules, zone, ..JobSpec::new(name, Command::Argv(Vec::new())) })
}

fn of_expression(text: &str, zone: TimeZone) -> Result<Arc<JobSpec>, CliError> {
    // The name is never shown: it only has to be one.
    let name = JobName::new("expression").map_err(|_| no_such_job("expression", &[]))?;
    Ok(bare(name, vec![Schedule::parse(text).map_err(|error| wrong(error, text))?], zone))
}

/// The entry of a job. That of a jobd that is there is read from its file, if that still says what jobd says.
async fn of_job(session: &mut Session<'_>, name: &str) -> Result<Arc<JobSpec>, CliError> {
    let source = Source::open_configuration(session).await?;
    let client = match &source {
        Source::Jobd(client) => client,
        Source::Files(offline) => {
            // The schedule stands in the configuration; a state directory is not needed for it.
            let mut specs = offline.specs()?;
            let spec = specs.remove(source.name(name).await?.as_str());
            let names: Vec<_> = specs.into_keys().collect();
            return spec.ok_or_else(|| no_such_job(name, &names));
        }
    };
    let job = source.job(name).await?;
    let path = client.status().await?.config;
    if let Some(spec) = from_file(session, &path, &job) {
        return Ok(spec);
    }
    let path = text::inert(&path.to_string_lossy()).into_owned();
    let note = format!(
        "{path} can't be read, or has changed since jobd read it: days off, blackouts and spread starts are left out"
    );
    session.terminal.say(&note);
    let parse = |text: &String| Schedule::parse_for(&job.name, text).map_err(|error| wrong(error, text));
    let schedules = job.schedules.iter().map(parse).collect::<Result<_, _>>()?;
    Ok(bare(job.name, schedules, zone(Some(&job.timezone), &TimeZone::UTC)?))
}

/// The entry as the file has it, unless it names other instants than the jobd that runs.
fn from_file(session: &Session<'_>, path: &Path, job: &JobView) -> Option<Arc<JobSpec>> {
    let spec = session.sources.load(path, false).ok()?.specs.remove(&job.name)?;
    let schedules = spec.schedules.iter().map(Schedule::as_str);
    let is_same = schedules.eq(job.schedules.iter().map(String::as_str))
        && spec.zone.iana_name().unwrap_or("UTC") == job.timezone;
    is_same.then_some(spec)
}

fn wrong(error: ScheduleError, text: &str) -> CliError {
    CliError::Expression(Box::new(error), text.to_owned())
}

fn zone(name: Option<&str>, system: &TimeZone) -> Result<TimeZone, CliError> {
    let Some(name) = name else { return Ok(system.clone()) };
    TimeZone::get(name).map_err(|_| {
        let likeness = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
        let names = jiff::tz::db().available().map(|known| known.as_str().to_owned());
        let nearest = names.filter(|known| likeness(known) > 0.8);
        let nearest = nearest.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        CliError::Zone { name: text::inert(name).into_owned(), nearest }
    })
}

/// The expression with a mark under what is wrong in it.
pub(crate) fn underlined(expression: &str, span: &std::ops::Range<usize>) -> String {
    let part =
        |range: std::ops::Range<usize>| text::inert(expression.get(range).unwrap_or("")).chars().count();
    let before = part(0..span.start);
    let marked = part(span.clone()).max(1);
    format!("  {}\n  {}{}", text::inert(expression), " ".repeat(before), "^".repeat(marked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_under_what_is_wrong() {
        assert_eq!(underlined("0 10 * * 8", &(9..10)), "  0 10 * * 8\n           ^");
        assert_eq!(underlined("0 25 * * *", &(2..4)), "  0 25 * * *\n    ^^");
        assert_eq!(underlined("", &(0..0)), "  \n  ^");
        assert_eq!(underlined("a\x1bb", &(2..3)), "  a\\u{1b}b\n         ^");
    }

    #[test]
    fn a_zone_that_is_none_is_answered_with_the_nearest() {
        let error = zone(Some("Asia/Seuol"), &TimeZone::UTC).unwrap_err();
        assert_eq!(error.help().as_deref(), Some("did you mean 'Asia/Seoul'?"));
        assert_eq!(error.code(), 2);
    }
}
