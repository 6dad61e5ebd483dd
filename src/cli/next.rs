//! `jobctl next`: the instants that come, of a job or of any expression.

use jiff::tz::TimeZone;

use super::Session;
use super::args::NextArgs;
use super::error::CliError;
use super::source::Source;
use super::{instant, text};
use crate::engine::schedule::Schedule;
use crate::engine::time::Timestamp;

pub(crate) async fn next(session: &mut Session<'_>, args: NextArgs) -> Result<u8, CliError> {
    let (schedules, zone) = match (&args.cron, &args.job) {
        (Some(text), _) => (vec![parse(text)?], zone(args.tz.as_deref(), &session.terminal.zone)?),
        (None, Some(name)) => of_job(session, name).await?,
        (None, None) => (Vec::new(), TimeZone::UTC),
    };
    let after = match &args.after {
        Some(text) => instant::absolute(text, &zone)
            .map_err(|source| CliError::Instant { option: "--after", source })?,
        None => session.terminal.now,
    };
    let fires: Vec<String> =
        fires(&schedules, &zone, after).take(args.n as usize).map(|at| text::rfc3339(at, &zone)).collect();
    if session.json {
        session.terminal.print_json(&fires)?;
    } else {
        for at in &fires {
            session.terminal.print(&format!("{at}\n"))?;
        }
    }
    if fires.is_empty() {
        let reboot = !schedules.is_empty() && schedules.iter().all(Schedule::is_reboot);
        let why =
            if reboot { "it fires once at each boot, at no instant of the clock" } else { "it never fires" };
        session.terminal.say(why);
    }
    Ok(super::exit::DONE)
}

/// The instants that any of the schedules names, each once.
fn fires<'a>(
    schedules: &'a [Schedule],
    zone: &'a TimeZone,
    after: Timestamp,
) -> impl Iterator<Item = Timestamp> + 'a {
    let next = move |after: Timestamp| schedules.iter().filter_map(|one| one.next(zone, after)).min();
    std::iter::successors(next(after), move |&at| next(at))
}

fn parse(text: &str) -> Result<Schedule, CliError> {
    Schedule::parse(text).map_err(|error| CliError::Expression(Box::new(error), text.to_owned()))
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

async fn of_job(session: &mut Session<'_>, name: &str) -> Result<(Vec<Schedule>, TimeZone), CliError> {
    let source = Source::open_configuration(session).await?;
    if let Source::Files(offline) = &source {
        // The schedule stands in the configuration; a state directory is not needed for it.
        let mut specs = offline.specs()?;
        let spec = specs.remove(source.name(name).await?.as_str());
        let names: Vec<_> = specs.into_keys().collect();
        let spec = spec.ok_or_else(|| super::offline::no_such_job(name, &names))?;
        return Ok((spec.schedules, spec.zone));
    }
    let job = source.job(name).await?;
    let schedules = job.schedules.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
    Ok((schedules, zone(Some(&job.timezone), &TimeZone::UTC)?))
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
