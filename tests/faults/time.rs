//! What clocks do to a schedule (section B): steps, sleep, jitter, zones and the ends of integers.
//!
//! The clock of this machine is never touched. The engine is what decides, and it gets its time from outside.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use jobctl::clock;
use jobctl::engine::policy::CatchUp;
use jobctl::engine::reason::Reason;
use jobctl::engine::run::{Status, Trigger};
use jobctl::engine::time::Timestamp;

use crate::by_hand;
use crate::host::{Host, Start, job};
use crate::jobd::{Jobd, text};

const POLICIES: [(&str, CatchUp); 3] =
    [("skip", CatchUp::Skip), ("latest", CatchUp::Latest), ("all", CatchUp::All)];
const MINUTE: Duration = Duration::from_mins(1);

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A host at half past ten with a job at eleven and one each minute, under each policy.
fn morning() -> Host {
    let jobs = POLICIES.into_iter().flat_map(|(name, policy)| {
        [
            job(&format!("fixed-{name}"), "0 11 * * *", "UTC", policy),
            job(&format!("wild-{name}"), "* * * * *", "UTC", policy),
        ]
    });
    let mut host = Host::at("2026-03-10T10:28:15Z", jobs);
    host.pass(Duration::from_secs(150));
    host
}

/// What two hours cost that nobody was there for, a run of each job that makes up for any, and one message.
#[track_caller]
fn assert_two_hours_are_a_downtime(mut host: Host, before: Timestamp, why: &Reason) {
    let after = host.wall();
    host.pass(Duration::from_mins(10));
    for (policy, made_up_fixed, made_up_wild) in [("skip", 0, 0), ("latest", 1, 1), ("all", 1, 120)] {
        for (job, made_up) in [("fixed", made_up_fixed), ("wild", made_up_wild)] {
            let job = format!("{job}-{policy}");
            host.assert_accounted(&job, before - 2 * MINUTE, host.wall());
            let starts = host.starts_of(&job);
            let of_gap = |start: &&Start| before < start.fire && start.fire <= after;
            assert_eq!(starts.iter().filter(of_gap).count(), made_up, "{job}");
            let caught_up = starts.iter().filter(|start| start.trigger == Trigger::CatchUp).count();
            assert_eq!(caught_up, made_up, "{job}");
        }
    }
    let told = host.missed();
    assert_eq!(told.len(), 1, "{told:?}");
    let (reason, jobs) = told[0];
    assert_eq!(reason, why);
    let fires: Vec<u64> = jobs.iter().map(|job| job.fires).collect();
    assert_eq!(fires, [1, 1, 1, 120, 120, 120]);
    let folded: Vec<u64> = jobs.iter().map(|job| job.folded).collect();
    assert_eq!(folded, [0, 0, 0, 0, 119, 0], "one run stands for the rest");
    assert_eq!(host.fires("wild-latest", Status::Skipped), 119);
    assert_eq!(host.fires("wild-skip", Status::Missed), 120);
}

#[test]
fn two_hours_ahead_are_a_downtime() {
    let mut host = morning();
    let before = host.wall();
    host.set_clock(hours(2));
    assert_two_hours_are_a_downtime(host, before, &Reason::ClockMoved);
}

#[test]
fn a_day_ahead_is_a_downtime_of_a_day() {
    let mut host = morning();
    let before = host.wall();
    host.set_clock(hours(24));
    let after = host.wall();
    host.pass(Duration::from_mins(40));
    // A thousand is the most that is made up for at once.
    for (policy, fixed, wild) in [("skip", 0, 0), ("latest", 1, 1), ("all", 1, 1_000)] {
        for (job, made_up) in [("fixed", fixed), ("wild", wild)] {
            let job = format!("{job}-{policy}");
            host.assert_accounted(&job, before - 2 * MINUTE, host.wall());
            let of_gap = |start: &&Start| before < start.fire && start.fire <= after;
            assert_eq!(host.starts_of(&job).iter().filter(of_gap).count(), made_up, "{job}");
        }
    }
    let missed =
        ["skip", "latest", "all"].map(|policy| host.fires(&format!("wild-{policy}"), Status::Missed));
    assert_eq!(missed, [1_440, 0, 440]);
    assert_eq!(host.fires("wild-latest", Status::Skipped), 1_439, "one run stands for the rest");
    assert_eq!(host.missed().len(), 1);
    assert_eq!(host.missed()[0].0, &Reason::ClockMoved);
}

#[test]
fn a_day_back_is_lived_again_and_repeats_nothing() {
    let mut host = morning();
    let before = host.wall();
    host.set_clock(hours(-24));
    let again = host.wall();
    host.pass(Duration::from_hours(25));
    for (policy, _) in POLICIES {
        let (fixed, wild) = (format!("fixed-{policy}"), format!("wild-{policy}"));
        let elevens = ["2026-03-09T11:00:00Z", "2026-03-10T11:00:00Z"].map(instant);
        let fires: Vec<Timestamp> = host.starts_of(&fixed).iter().map(|start| start.fire).collect();
        assert_eq!(fires, elevens, "{fixed}");
        host.assert_accounted(&wild, again, host.wall());
        // The two minutes ahead of the step are those of their first time.
        let twice = host.starts_of(&wild).iter().filter(|start| start.fire <= before).count();
        assert_eq!(twice, 24 * 60, "{wild}");
    }
    assert_eq!(host.missed(), []);
}

#[test]
fn a_sleep_is_a_downtime_whose_fires_are_decided_on_waking() {
    let mut host = morning();
    let before = host.wall();
    host.suspend(Duration::from_hours(2));
    // It is decided when it wakes up, and so many a second are started.
    let woke_at = host.wall();
    assert_eq!(host.fires("fixed-latest", Status::Queued) + host.fires("fixed-latest", Status::Running), 1);
    host.pass(Duration::from_secs(1));
    let start = &host.starts_of("fixed-latest")[0];
    assert_eq!((start.fire, start.trigger), (instant("2026-03-10T11:00:00Z"), Trigger::CatchUp));
    assert!(start.at < woke_at + Duration::from_secs(1), "{start:?}");
    assert_two_hours_are_a_downtime(host, before, &Reason::Asleep);
}

#[test]
fn eight_hours_of_sleep_are_no_part_of_a_runs_time() {
    let mut host = Host::at("2026-03-10T10:59:59Z", [job("long", "0 11 * * *", "UTC", CatchUp::Latest)]);
    host.pass(Duration::from_millis(1_500));
    host.hang();
    host.suspend(Duration::from_hours(8));
    host.pass(Duration::from_mins(59));
    assert_eq!(host.reaped, [], "its hour is an hour of being awake");
    host.pass(Duration::from_mins(2));
    assert_eq!(host.reaped.len(), 1);
}

#[test]
fn thirty_days_ahead_are_bounded_work_and_few_rows() {
    let jobs = POLICIES.into_iter().flat_map(|(name, policy)| {
        [("minute", "* * * * *"), ("day", "0 11 * * *")]
            .map(|(often, schedule)| job(&format!("{often}-{name}"), schedule, "UTC", policy))
    });
    let second = job("second", "* * * * * *", "UTC", CatchUp::Latest);
    let mut host = Host::at("2026-03-10T10:28:15Z", jobs.chain([second]));
    host.pass(2 * MINUTE);
    let (rows, calls, before) = (host.ledger.rows.len(), host.calls, host.wall());
    host.set_clock(hours(30 * 24));
    host.pass(Duration::ZERO);
    assert!(host.calls - calls < 50, "{} calls", host.calls - calls);
    // A row for each crowd of fires, one for each day, and one for each that is made up for.
    assert!(host.ledger.rows.len() - rows < 2_000, "{} rows", host.ledger.rows.len() - rows);
    for (name, _) in POLICIES {
        host.assert_accounted(&format!("minute-{name}"), before, host.wall());
        host.assert_accounted(&format!("day-{name}"), before, host.wall());
    }
    let seconds: u64 = Status::ALL.map(|status| host.fires("second", status)).iter().sum();
    assert_eq!(seconds, 120 + 30 * 86_400);
    host.pass(Duration::from_secs(1));
    assert_eq!(host.starts_of("day-latest").len(), 1);
    assert!(host.missed().iter().all(|(reason, _)| **reason == Reason::ClockMoved));
    assert!(host.missed().len() <= 3, "{} messages", host.missed().len());
}

#[test]
fn two_hours_back_repeat_nothing_and_a_running_limit_does_not_wait() {
    let mut host = morning();
    let (began, before) = (instant("2026-03-10T10:28:15Z"), host.wall());
    host.pass(Duration::from_millis(15_500));
    host.hang();
    host.set_clock(hours(-2));
    host.pass(Duration::from_mins(119));
    assert_eq!(host.reaped.len(), 3, "an hour is over on the clock that nobody sets");
    assert!(host.ledger.rows.values().all(|row| row.scheduled_at.unwrap() <= before + MINUTE));
    host.pass(Duration::from_mins(40));
    for (policy, _) in POLICIES {
        let job = format!("wild-{policy}");
        host.assert_accounted(&job, began, host.wall());
        let again = host.starts_of(&job).iter().filter(|start| start.fire > before + MINUTE).count();
        assert_eq!(again, 40 - 1, "it waits for the clock, and then goes on");
    }
    assert_eq!(host.missed(), []);
}

/// The true time, at which the clock is right again after it showed 1970.
fn after_ntp(mut host: Host, true_time: Timestamp, began: Timestamp) {
    let (messages, calls) = (host.missed().len(), host.calls);
    host.set_clock(true_time.duration_since(host.wall()));
    assert!(host.calls - calls < 20, "{} calls", host.calls - calls);
    host.pass(Duration::from_mins(5));
    host.assert_accounted("minute", began, host.wall());
    host.assert_accounted("minute", instant("1970-01-01T00:00:20Z"), instant("1970-01-01T00:10:00Z"));
    host.starts_of("minute");
    let told: Vec<u64> = host.missed()[messages..].iter().map(|(_, jobs)| jobs[0].fires).collect();
    // Of the ten minutes meanwhile the last is a few seconds ago, and on time.
    assert_eq!(told, [9], "what was missed are minutes, not half a century");
}

#[test]
fn a_clock_that_shows_1970_for_ten_minutes_costs_ten_minutes() {
    let began = instant("2026-03-10T10:28:15Z");
    let mut host = Host::at("2026-03-10T10:28:15Z", [job("minute", "* * * * *", "UTC", CatchUp::Latest)]);
    host.pass(Duration::from_mins(10));
    let before = host.wall();
    host.set_clock(instant("1970-01-01T00:00:20Z").duration_since(before));
    host.pass(Duration::from_mins(10));
    // It goes on within a minute, at the minutes that the clock shows.
    assert_eq!(host.starts_of("minute")[10].fire, instant("1970-01-01T00:01:00Z"));
    after_ntp(host, before + Duration::from_mins(10), began);
}

#[test]
fn a_host_that_boots_in_1970_loses_nothing_once_its_clock_is_right() {
    let began = instant("2026-03-10T10:28:15Z");
    let mut host = Host::at("2026-03-10T10:28:15Z", [job("minute", "* * * * *", "UTC", CatchUp::Latest)]);
    host.pass(Duration::from_mins(10));
    let before = host.wall();
    host.restart_at(instant("1970-01-01T00:00:20Z"));
    host.pass(Duration::from_mins(10));
    after_ntp(host, before + Duration::from_mins(10), began);
}

#[test]
fn a_clock_that_trembles_around_the_full_minute_repeats_and_drops_nothing() {
    let mut host = morning();
    let began = host.wall();
    let tremble = SignedDuration::from_millis(500);
    for _ in 0..20 * 60 {
        host.pass(Duration::from_millis(370));
        host.set_clock(tremble);
        host.pass(Duration::from_millis(410));
        host.set_clock(-tremble);
        host.pass(Duration::from_millis(220));
    }
    host.pass(Duration::from_secs(1));
    assert!(host.wall() >= began + Duration::from_mins(20));
    for (policy, _) in POLICIES {
        host.assert_accounted(&format!("wild-{policy}"), began, host.wall());
        assert!(host.starts_of(&format!("wild-{policy}")).len() >= 20);
    }
    assert_eq!(host.missed(), []);
}

/// What `jobctl next` says of an expression.
fn next(expression: &str, zone: &str, after: Timestamp, n: usize) -> Vec<Timestamp> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobctl"));
    command.args(["next", "--cron", expression, "--tz", zone, "-n", &n.to_string()]);
    let output = command.args(["--after", &after.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| line.parse().unwrap()).collect()
}

const ZONES: [&str; 30] = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "America/Havana",
    "America/Los_Angeles",
    "America/Miquelon",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/St_Johns",
    "America/Tijuana",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Nicosia",
    "Asia/Seoul",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Chisinau",
    "Europe/Dublin",
    "Europe/Lisbon",
    "Europe/London",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Easter",
    "Pacific/Norfolk",
];

/// How often the clocks of a zone are changed in this time.
fn changes(zone: &str, began: Timestamp, until: Timestamp) -> usize {
    let zone = TimeZone::get(zone).unwrap();
    zone.following(began).take_while(|change| change.timestamp() <= until).count()
}

/// Passes a time with jobs in zones, and compares what was started with what `jobctl next` names.
#[track_caller]
fn assert_live_as_foretold(began: &str, days: u64, jobs: &[(String, &str, &str)]) {
    let specs = jobs.iter().map(|(name, schedule, zone)| job(name, schedule, zone, CatchUp::Latest));
    let mut host = Host::at(began, specs);
    host.pass(Duration::from_hours(24 * days));
    for (name, schedule, zone) in jobs {
        let fires: Vec<Timestamp> = host.starts_of(name).iter().map(|start| start.fire).collect();
        let mut foretold = next(schedule, zone, instant(began), fires.len() + 1);
        assert!(foretold.pop().unwrap() > host.wall(), "{name} owes a fire");
        assert_eq!(fires, foretold, "{name}");
        assert!(host.starts_of(name).iter().all(|start| start.at == start.fire), "{name} was late");
    }
    assert_eq!(host.missed(), []);
}

#[test]
fn a_year_of_clock_changes_in_thirty_zones_is_lived_as_foretold() {
    let (began, days) = (instant("2025-12-31T12:00:00Z"), 366);
    let until = began + Duration::from_hours(24 * days);
    let lived: usize = ZONES.iter().map(|zone| changes(zone, began, until)).sum();
    assert!(lived >= 50, "the zones have {lived} changes in this year");
    let rules = [("night", "30 2 * * *"), ("early", "15 0,1 * * *"), ("often", "*/30 0-3 * * *")];
    let jobs: Vec<_> = ZONES
        .iter()
        .flat_map(|zone| {
            let name = zone.to_lowercase().replace('/', "-");
            rules.map(|(rule, schedule)| (format!("{name}-{rule}"), schedule, *zone))
        })
        .collect();
    assert_live_as_foretold(&began.to_string(), days, &jobs);
}

#[test]
fn an_offset_that_changes_for_good_is_lived_as_foretold() {
    // Venezuela went half an hour ahead on 1 May 2016, North Korea on 5 May 2018, Samoa a whole day in 2011.
    for (zone, began) in [
        ("America/Caracas", "2016-04-29T00:00:00Z"),
        ("Asia/Pyongyang", "2018-05-03T00:00:00Z"),
        ("Pacific/Apia", "2011-12-28T00:00:00Z"),
    ] {
        let jobs = [("fixed", "45 2,23 * * *"), ("wild", "*/20 * * * *")];
        let jobs = jobs.map(|(name, schedule)| (name.to_owned(), schedule, zone));
        assert_live_as_foretold(began, 5, &jobs);
    }
}

/// The contents of a zone file with one offset that never changes (RFC 8536, version 1).
fn zone_file(hours: i32) -> Vec<u8> {
    let mut file = b"TZif".to_vec();
    file.resize(20, 0);
    // No leap seconds and no changes: one type, whose name has four bytes.
    for count in [0_u32, 0, 0, 0, 1, 4] {
        file.extend(count.to_be_bytes());
    }
    file.extend((hours * 3_600).to_be_bytes());
    file.extend([0, 0]);
    file.extend(b"TST\0");
    file
}

#[test]
fn a_zone_file_that_is_replaced_counts_from_the_next_start() {
    let config = format!("timezone = \"Test/Zone\"\n{}", by_hand("job", "shell = \"true\""));
    let mut jobd = Jobd::new(&config);
    let zones = jobd.path("zoneinfo");
    let write = |hours| {
        std::fs::create_dir_all(zones.join("Test")).unwrap();
        std::fs::write(zones.join("Test/Zone"), zone_file(hours)).unwrap();
    };
    // Midnight there, as jobd has it.
    let next = |jobd: &Jobd| jobd.json(&["status"])["next_fire"]["at"].as_str().unwrap()[10..].to_owned();
    write(9);
    jobd.start_with(&[("TZDIR", &zones)]);
    jobd.wait_until_ready();
    assert_eq!(next(&jobd), "T15:00:00Z");
    write(5);
    assert_eq!(next(&jobd), "T15:00:00Z");
    jobd.stop();
    jobd.start_with(&[("TZDIR", &zones)]);
    jobd.wait_until_ready();
    assert_eq!(next(&jobd), "T19:00:00Z");
}

#[test]
fn a_schedule_that_never_fires_is_refused_at_once() {
    let mut entries = String::new();
    for (n, schedule) in ["0 0 30 2 *", "59 23 31 2 *", "0 0 31 4,6,9,11 ?"].iter().enumerate() {
        write!(entries, "[jobs.never{n}]\nschedule = \"{schedule}\"\nshell = \"true\"\n").unwrap();
    }
    let jobd = Jobd::new(&entries);
    let (code, said) = jobd.start_in_vain(&[]);
    assert_eq!((code, said.matches("this never fires").count()), (Some(2), 3), "{said}");
    let before = clock::now().monotonic;
    let output = jobd.jobctl(&["next", "--cron", "0 0 30 2 *"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    // As rare as can be: five times in four hundred years.
    let rare = next("0 0 29 2 *", "UTC", instant("2096-03-01T00:00:00Z"), 100);
    assert_eq!((rare[0], rare.len()), (instant("2104-02-29T00:00:00Z"), 100));
    assert!(clock::now().monotonic.since(before) < Duration::from_secs(2));
}

#[test]
fn the_last_second_of_32_bits_is_a_second_like_any_other() {
    for end in ["2038-01-19T03:14:07Z", "2106-02-07T06:28:15Z"] {
        let began = instant(end) - Duration::from_mins(5);
        let jobs = [("second", "* * * * * *"), ("minute", "* * * * *")]
            .map(|(name, schedule)| job(name, schedule, "Asia/Seoul", CatchUp::Latest));
        let mut host = Host::at(&began.to_string(), jobs);
        host.pass(Duration::from_mins(10));
        for (name, starts) in [("second", 300), ("minute", 10)] {
            host.assert_accounted(name, began, host.wall());
            assert!(host.starts_of(name).len() >= starts);
        }
        assert_eq!(host.missed(), []);
    }
}
