//! `jobctl pressure`: what starts together, and where there is room.

use clap::Args;
use jiff::SignedDuration;
use serde::Serialize;

use super::Session;
use super::error::CliError;
use super::load::{Load, Minute};
use super::stretch::{Stretch, StretchArgs};
use super::table::{Table, cell};
use super::terminal::Terminal;
use super::text;
use crate::engine::job::{JobName, JobSpec};
use crate::engine::schedule::Schedule;
use crate::engine::time::Timestamp;

/// How long a stretch is where nothing else is said: each day of the week once.
const LENGTH: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So many jobs in a minute are worth a thought.
const TOGETHER: usize = 3;
/// The most jobs for which another schedule is shown.
const MOVES_MAX: usize = 20;
/// The most jobs of a minute that are named in JSON.
const JOBS_MAX: usize = 100;
/// How many columns the names of a minute's jobs may take.
const NAMES_WIDTH: usize = 48;
/// How many of the quietest minutes and hours are named.
const ROOM: usize = 8;
/// What spreads a start where the schedule itself does not say more than it must.
const JITTER: &str = "jitter = \"5m\"";
const DAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

#[derive(Debug, Args)]
pub(crate) struct PressureArgs {
    #[command(flatten)]
    stretch: StretchArgs,
}

/// What `pressure --json` prints.
#[derive(Serialize)]
struct Pressure<'a> {
    from: Timestamp,
    to: Timestamp,
    /// Where the count ended, if that was before `to`: there were too many fires.
    ended_early: Option<Timestamp>,
    fires: u64,
    jobs: usize,
    busiest: Vec<MinuteView<'a>>,
    /// Starts by hour of the day (24) and day of the week, from Monday on (7), in the configuration's zone.
    hours: &'a [[u64; 7]],
    /// Starts by minute of the hour (60).
    minutes: &'a [u64],
    moves: Vec<Move<'a>>,
}

#[derive(Serialize)]
struct MinuteView<'a> {
    at: Timestamp,
    fires: u64,
    jobs: usize,
    /// The first hundred of them by name.
    names: Vec<&'a JobName>,
}

/// A job that starts together with many others, and what would spread it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Move<'a> {
    job: &'a JobName,
    /// The schedules as they are.
    now: Vec<&'a str>,
    /// A line for its entry.
    instead: String,
}

pub(crate) fn pressure(session: &mut Session<'_>, args: &PressureArgs) -> Result<u8, CliError> {
    let loaded = session.offline().load()?;
    session.terminal.use_zone(loaded.timezone.as_deref());
    let terminal = &session.terminal;
    let stretch = args.stretch.read(&terminal.zone, terminal.now, LENGTH)?;
    let load = Load::count(loaded.specs.values().map(AsRef::as_ref), &stretch, &terminal.zone);
    let together = |minute: &&Minute| minute.jobs.len() >= TOGETHER;
    let busy: Vec<&Minute> = load.busiest.iter().filter(together).collect();
    let specs =
        loaded.specs.values().filter(|spec| busy.iter().any(|minute| minute.jobs.contains(&spec.name)));
    let moves: Vec<Move<'_>> = specs.filter_map(|spec| spread(spec)).take(MOVES_MAX).collect();
    if session.json {
        session.terminal.print_json(&view(&load, &stretch, moves))?;
        return Ok(super::exit::DONE);
    }
    let text = render(terminal, &load, &stretch, &moves);
    session.terminal.print(&text)?;
    if let Some(at) = load.ended_early {
        let at = text::local(at, &session.terminal.zone);
        session.terminal.say(&format!("counted only until {at}: choose a shorter stretch"));
    }
    Ok(super::exit::DONE)
}

/// What would spread a job whose start says more than it must. One that is spread already is left alone.
fn spread(spec: &JobSpec) -> Option<Move<'_>> {
    let now: Vec<&str> = spec.schedules.iter().map(Schedule::as_str).collect();
    if !spec.jitter.is_zero() || now.iter().any(|text| text.contains('H')) {
        return None;
    }
    let instead = match now.as_slice() {
        [one] => hashed(one).map(|schedule| format!("schedule = \"{schedule}\"")),
        _ => None,
    };
    Some(Move { job: &spec.name, now, instead: instead.unwrap_or_else(|| JITTER.to_owned()) })
}

/// The same schedule with the minute left to the job's name, where the minute is a plain number or step.
fn hashed(schedule: &str) -> Option<String> {
    match schedule.trim() {
        "@hourly" => return Some("H * * * *".to_owned()),
        "@daily" | "@midnight" => return Some("H 0 * * *".to_owned()),
        "@weekly" => return Some("H 0 * * 0".to_owned()),
        "@monthly" => return Some("H 0 1 * *".to_owned()),
        _ => {}
    }
    let mut fields: Vec<String> = schedule.split_whitespace().map(str::to_owned).collect();
    // Seconds ahead of five fields are left as they are.
    let minute = fields.len().checked_sub(5).filter(|ahead| *ahead <= 1).and_then(|at| fields.get_mut(at))?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match minute.strip_prefix("*/") {
        Some(step) if number(step) => *minute = format!("H/{step}"),
        None if number(minute) => "H".clone_into(minute),
        _ => return None,
    }
    Some(fields.join(" "))
}

fn render(terminal: &Terminal, load: &Load, stretch: &Stretch, moves: &[Move<'_>]) -> String {
    let (fires, jobs) = (load.fires, load.jobs.len());
    let mut out = format!("{fires} fires of {jobs} jobs, {}\n", stretch.describe(&terminal.zone));
    if fires == 0 {
        return out;
    }
    out.push('\n');
    out.push_str(&busiest(terminal, load));
    out.push('\n');
    out.push_str(&hours(terminal, load));
    out.push('\n');
    out.push_str(&room(load));
    if !moves.is_empty() {
        out.push('\n');
        let mut table = Table::new(terminal, &["COULD MOVE", "NOW", "INSTEAD"]);
        for Move { job, now, instead } in moves {
            table.row(vec![cell(job.as_str()), cell(&now.join(" | ")), cell(instead)]);
        }
        out.push_str(&table.render());
    }
    out
}

fn busiest(terminal: &Terminal, load: &Load) -> String {
    let mut table = Table::new(terminal, &["BUSIEST MINUTE", "JOBS", "FIRES", "WHICH"]).right(1).right(2);
    for minute in &load.busiest {
        table.row(vec![
            cell(&minute.at.to_zoned(terminal.zone.clone()).strftime("%F %H:%M").to_string()),
            cell(&minute.jobs.len().to_string()),
            cell(&minute.fires.to_string()),
            cell(&names(minute)),
        ]);
    }
    table.render()
}

/// As many of the jobs as fit, and how many more there are.
fn names(minute: &Minute) -> String {
    let mut line = String::new();
    for (shown, job) in minute.jobs.iter().enumerate() {
        if shown > 0 && line.len() + job.as_str().len() >= NAMES_WIDTH {
            return format!("{line} +{}", minute.jobs.len() - shown);
        }
        line += if shown > 0 { " " } else { "" };
        line += job.as_str();
    }
    line
}

fn hours(terminal: &Terminal, load: &Load) -> String {
    let header: Vec<&str> = ["HOUR"].into_iter().chain(DAYS).chain(["ALL"]).collect();
    let mut table = (1..header.len()).fold(Table::new(terminal, &header), Table::right);
    for (hour, days) in load.hours.iter().enumerate() {
        let counts =
            days.iter().chain([&days.iter().sum()]).map(|&fires| cell(&shown(fires))).collect::<Vec<_>>();
        table.row([vec![cell(&format!("{hour:02}"))], counts].concat());
    }
    table.render()
}

/// A count in at most five columns: `0` is a dot, and large ones are in thousands.
fn shown(fires: u64) -> String {
    match fires {
        0 => ".".to_owned(),
        1..=99_999 => fires.to_string(),
        _ => format!("{}k", fires / 1000),
    }
}

/// The quietest minutes of the hour and hours of the day.
fn room(load: &Load) -> String {
    let by_hour: Vec<u64> = load.hours.iter().map(|days| days.iter().sum()).collect();
    let line = |what: &str, counts: &[u64], form: fn(usize) -> String| {
        let (quietest, fires) = quietest(counts);
        let each = if fires == 0 { "no fire".to_owned() } else { format!("at most {fires} fires") };
        let all: Vec<String> = quietest.into_iter().map(form).collect();
        format!("room in the {what} {} ({each})\n", all.join(" "))
    };
    line("minutes", &load.minutes, |minute| format!(":{minute:02}"))
        + &line("hours", &by_hour, |hour| format!("{hour:02}"))
}

/// The places of the lowest counts, in order, and the highest of those.
fn quietest(counts: &[u64]) -> (Vec<usize>, u64) {
    let mut places: Vec<usize> = (0..counts.len()).collect();
    places.sort_by_key(|&place| counts[place]);
    places.truncate(ROOM);
    let highest = places.iter().map(|&place| counts[place]).max().unwrap_or(0);
    places.sort_unstable();
    (places, highest)
}

fn view<'a>(load: &'a Load, stretch: &Stretch, moves: Vec<Move<'a>>) -> Pressure<'a> {
    let minute = |minute: &'a Minute| MinuteView {
        at: minute.at,
        fires: minute.fires,
        jobs: minute.jobs.len(),
        names: minute.jobs.iter().take(JOBS_MAX).collect(),
    };
    Pressure {
        from: stretch.from,
        to: stretch.to,
        ended_early: load.ended_early,
        fires: load.fires,
        jobs: load.jobs.len(),
        busiest: load.busiest.iter().map(minute).collect(),
        hours: &load.hours,
        minutes: &load.minutes,
        moves,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::spec;
    use super::*;

    #[test]
    fn a_schedule_is_spread_without_changing_its_rate() {
        let cases = [
            ("0 3 * * *", Some("H 3 * * *")),
            ("*/5 * * * *", Some("H/5 * * * *")),
            ("0 30 4 * * 1", Some("0 H 4 * * 1")),
            ("@daily", Some("H 0 * * *")),
            ("0,30 * * * *", None),
            ("* * * * *", None),
            ("@every 90s", None),
            ("@reboot", None),
        ];
        for (schedule, expected) in cases {
            assert_eq!(hashed(schedule).as_deref(), expected, "{schedule}");
        }
    }

    #[test]
    fn what_says_more_than_it_must_is_offered_a_line() {
        let mut job = spec("backup", "0 3 * * *");
        assert_eq!(spread(&job).unwrap().instead, "schedule = \"H 3 * * *\"");
        job.schedules.extend(spec("other", "0 4 * * *").schedules);
        assert_eq!(spread(&job).unwrap().instead, JITTER);
        job.jitter = std::time::Duration::from_mins(1);
        assert_eq!(spread(&job), None);
    }

    #[test]
    fn the_quietest_places_come_in_order() {
        let mut counts = [5; 24];
        (counts[3], counts[20]) = (0, 1);
        let (places, highest) = quietest(&counts);
        assert_eq!((places.len(), highest), (ROOM, 5));
        assert!(places.contains(&3) && places.contains(&20) && places.is_sorted());
    }
}
