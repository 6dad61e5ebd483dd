//! Live equals foretold: a real jobd, on clocks that run fast, lives through nights in which the clocks change, and
//! starts what `jobctl next` names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;
use jobctl::engine::time::Timestamp;
use jobctl::failpoint::PACE;

use crate::jobd::{Jobd, text, wait_within};

/// How much faster than ours jobd's clocks run.
const RATE: u64 = 120;
/// All of these change their clocks at one instant, 01:00 UTC.
const ZONES: [&str; 30] = [
    "Atlantic/Azores",
    "Atlantic/Canary",
    "Europe/Amsterdam",
    "Europe/Andorra",
    "Europe/Athens",
    "Europe/Belgrade",
    "Europe/Berlin",
    "Europe/Brussels",
    "Europe/Bucharest",
    "Europe/Budapest",
    "Europe/Copenhagen",
    "Europe/Dublin",
    "Europe/Helsinki",
    "Europe/Lisbon",
    "Europe/London",
    "Europe/Luxembourg",
    "Europe/Madrid",
    "Europe/Malta",
    "Europe/Monaco",
    "Europe/Oslo",
    "Europe/Paris",
    "Europe/Prague",
    "Europe/Riga",
    "Europe/Rome",
    "Europe/Sofia",
    "Europe/Stockholm",
    "Europe/Tallinn",
    "Europe/Vienna",
    "Europe/Vilnius",
    "Europe/Warsaw",
];
/// What jobd may take until it is there, on its own clock: what was due before is none of its business.
const START: Duration = Duration::from_mins(40);
const FIXED: &str = "30 1,2,3 * * *";
const WILD: &str = "*/30 * * * *";

/// Two jobs a zone: one that fires at times of day, one that follows the clock.
fn jobs() -> BTreeMap<String, (&'static str, &'static str)> {
    let named = |zone: &'static str| {
        let name = zone.to_lowercase().replace('/', "-");
        [(format!("{name}-fixed"), (FIXED, zone)), (format!("{name}-wild"), (WILD, zone))]
    };
    ZONES.into_iter().flat_map(named).collect()
}

fn next(expression: &str, zone: &str, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_jobctl"));
    command.args(["next", "--cron", expression, "--tz", zone, "-n", "50", "--after", &after.to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| line.parse().unwrap()).take_while(|at| *at <= until).collect()
}

/// Lives from one instant to the other.
fn live_through(began: &str, until: &str) {
    let (began, until): (Timestamp, Timestamp) = (began.parse().unwrap(), until.parse().unwrap());
    let mut config = "[defaults]\ncatch_up = \"all\"\n".to_owned();
    for (name, (schedule, zone)) in jobs() {
        write!(config, "[jobs.{name}]\nschedule = \"{schedule}\"\ntimezone = \"{zone}\"\nshell = \":\"\n")
            .unwrap();
    }
    let mut jobd = Jobd::new(&config);
    let real = clock::now().wall;
    let pace = format!("{began},{real},{RATE}");
    jobd.start_with(&[(PACE, Path::new(&pace))]);
    jobd.wait_until_ready();
    let runs = |jobd: &Jobd| -> Vec<RunRecord> {
        serde_json::from_value(jobd.json(&["history", "-n", "1000"])["runs"].clone()).unwrap()
    };
    let lasts = Duration::try_from(until.duration_since(began)).unwrap();
    let runs = wait_within(lasts + Duration::from_mins(2), "the night is over, and nothing runs", || {
        let shown = began + (clock::now().wall.duration_since(real)) * i32::try_from(RATE).unwrap();
        let runs = (shown > until + Duration::from_mins(10)).then(|| runs(&jobd))?;
        runs.iter().all(|run| run.status.is_final()).then_some(runs)
    });
    let first = runs.iter().map(|run| run.started_at).min().unwrap();
    assert!(first < began + START + Duration::from_mins(30), "it began at {first}");
    for (name, (schedule, zone)) in jobs() {
        let of_job = runs.iter().filter(|run| run.task_name.as_str() == name);
        let mut fires: Vec<Timestamp> = of_job
            .inspect(|run| assert_eq!(run.status, Status::Success, "{run:?}"))
            .map(|run| run.scheduled_at.unwrap())
            .filter(|at| began + START < *at && *at <= until)
            .collect();
        fires.sort_unstable();
        let foretold = next(schedule, zone, began + START, until);
        assert_eq!(fires, foretold, "{name}");
    }
}

#[test]
fn thirty_zones_in_the_night_that_is_an_hour_longer() {
    live_through("2026-10-24T23:10:00Z", "2026-10-25T02:40:00Z");
}

#[test]
fn thirty_zones_in_the_night_that_is_an_hour_shorter() {
    live_through("2027-03-27T23:10:00Z", "2027-03-28T02:40:00Z");
}
