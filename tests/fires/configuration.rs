//! The keys about days, as a person meets them.

use std::fmt::Write as _;
use std::path::Path;

use jobctl::config::{Config, LoadOptions, Rejected, Severity, load};
use jobctl::engine::calendar::OnHoliday;
use jobctl::engine::occurrence::{exclusion, fires, next_start};
use tempfile::TempDir;

use crate::at;

const JOB: &str = "[jobs.a]\ncommand = [\"true\"]\nschedule = \"0 9 * * *\"\n";
const KR: &str = "[calendars.kr]\ndates = [2026-01-01]\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn read(files: &[(&str, &str)]) -> Result<Config, Rejected> {
    load(&folder(files).path().join("jobs.toml"), &LoadOptions::validate())
}

fn config(text: &str) -> Config {
    read(&[("jobs.toml", text)]).unwrap_or_else(|rejected| panic!("{text}\n{rejected}"))
}

/// `file:line: message (help)` of each mistake.
fn mistakes(files: &[(&str, &str)]) -> Vec<String> {
    let rejected = read(files).expect_err(files[0].1);
    let line = |found: &jobctl::config::Diagnostic| {
        let mut text = String::new();
        if let Some(place) = &found.place {
            write!(text, "{}:{}: ", place.file.file_name().unwrap().display(), place.line).unwrap();
        }
        write!(text, "{} ({})", found.message, found.help.as_deref().unwrap_or_default()).unwrap();
        text
    };
    rejected.diagnostics.iter().map(line).collect()
}

/// Exactly one mistake, at this line, told with this word.
fn assert_mistake(text: &str, line: usize, word: &str) {
    let found = mistakes(&[("jobs.toml", text)]);
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    assert!(found[0].starts_with(&format!("jobs.toml:{line}: ")), "{text}\n{}", found[0]);
    assert!(found[0].contains(word), "{word:?} in {}\n{text}", found[0]);
}

#[test]
fn the_korean_holidays_are_those_of_the_almanac() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/calendars/kr-2026-2027.ics");
    let text =
        format!("timezone = \"Asia/Seoul\"\n[calendars.kr]\nfiles = [{path:?}]\n{JOB}calendar = \"kr\"\n");
    let config = config(&text);
    let spec = config.jobs.values().next().unwrap();
    let holidays = &spec.calendar.as_ref().unwrap().calendar.holidays;
    let of = |year: i16| holidays.keys().filter(|day| day.year() == year).count();
    // The almanac of 2027 counts 24 holidays, four of them Sundays.
    assert_eq!((of(2026), of(2027), holidays.len()), (22, 24, 46));
    let sundays =
        holidays.keys().filter(|day| day.year() == 2027 && day.weekday().to_monday_one_offset() == 7);
    assert_eq!(sundays.count(), 4);
    assert!(holidays.values().all(Option::is_some));
    // On the eve of the autumn feast of 2026 the next fire that starts is the one after it.
    let next = next_start(spec, at("2026-09-23T12:00:00+09:00")).unwrap().at;
    assert_eq!(next, at("2026-09-27T09:00:00+09:00"));
    let reason = exclusion(spec, at("2026-09-25T09:00:00+09:00")).unwrap();
    assert_eq!(reason.to_string(), "2026-09-25 is a holiday in kr: 추석");
}

#[test]
fn every_key_is_read() {
    let text = format!(
        "timezone = \"Asia/Seoul\"\n\
         [calendars.kr]\ndates = [2026-01-01, \"2026-02-16..2026-02-18\",\n\
         {{ date = 2026-12-25, name = \"X\\u000aMas\" }}]\n\
         [calendars.none-yet]\ndates = []\n\
         [defaults]\ncalendar = \"kr\"\non_holiday = \"next\"\njitter = \"5m\"\n\
         blackouts = [{{ schedule = \"0 0 * * *\", duration = \"2h\" }}]\n\
         {JOB}starts_on = 2026-01-01\nends_on = \"2026-12-31\"\n\
         [jobs.b]\ncommand = [\"true\"]\nschedule = \"H H * * *\"\ncalendar = \"none\"\n\
         blackouts = []\njitter = \"0s\"\n\
         [jobs.c]\ncommand = [\"true\"]\nschedule = \"@daily\"\non_holiday = \"previous\"\nweekends = \"off\"\n"
    );
    let config = config(&text);
    let [a, b, c] = ["a", "b", "c"].map(|name| &config.jobs[name]);
    let rule = a.calendar.as_ref().unwrap();
    assert_eq!((rule.on_holiday, rule.weekends, rule.calendar.holidays.len()), (OnHoliday::Next, false, 5));
    assert_eq!(rule.calendar.holidays[&"2026-12-25".parse().unwrap()].as_deref(), Some("X Mas"));
    assert_eq!(a.from, Some(at("2026-01-01T00:00:00+09:00")));
    assert_eq!(a.until, Some(at("2027-01-01T00:00:00+09:00")));
    assert_eq!((a.jitter.as_secs(), a.blackouts.len()), (300, 1));
    assert!(b.calendar.is_none() && b.blackouts.is_empty() && b.jitter.is_zero());
    assert_ne!(b.schedules[0].resolved(), "H H * * *");
    let rule = c.calendar.as_ref().unwrap();
    assert_eq!((rule.on_holiday, rule.weekends), (OnHoliday::Previous, true));
}

#[test]
fn the_fingerprint_follows_the_fires() {
    let hash = |text: &str| config(text).jobs["a"].schedule_hash.clone();
    let with = |lines: &str| hash(&format!("timezone = \"UTC\"\n{KR}{JOB}{lines}"));
    let plain = with("");
    let others = [
        "calendar = \"kr\"",
        "calendar = \"kr\"\non_holiday = \"next\"",
        "calendar = \"kr\"\nweekends = \"off\"",
        "starts_on = 2026-01-01",
        "ends_on = 2026-01-01",
        "blackouts = [{ schedule = \"0 0 * * *\", duration = \"2h\" }]",
        "blackouts = [{ schedule = \"0 0 * * *\", duration = \"3h\" }]",
        "timezone = \"Asia/Seoul\"",
    ];
    let mut seen: std::collections::BTreeSet<String> = others.iter().map(|lines| with(lines)).collect();
    seen.insert(plain.clone());
    assert_eq!(seen.len(), others.len() + 1);
    assert_eq!(with("jitter = \"1m\""), plain, "a spread start is the same fire");
    let more = format!(
        "timezone = \"UTC\"\n[calendars.kr]\ndates = [2026-01-01, 2026-01-02]\n{JOB}calendar = \"kr\"\n"
    );
    assert!(!seen.contains(&hash(&more)), "a date that is added changes the fires");
    // What has none of these keys has the fingerprint that it had before there were any.
    assert_eq!(plain, hash(&format!("timezone = \"UTC\"\n{JOB}")));
}

#[test]
fn mistakes_have_their_place() {
    let keys = |lines: &str| format!("{KR}{JOB}{lines}\n");
    for (lines, word) in [
        ("calendar = \"kl\"", "did you mean \"kr\"?"),
        ("calendar = 1", "expected a string"),
        ("on_holiday = \"next\"", "without a calendar"),
        ("weekends = \"off\"", "without a calendar"),
        ("weekends = \"of\"", "did you mean \"off\"?"),
        ("jitter = \"5\"", "no unit"),
        ("starts_on = 2026-02-03T00:00:00", "expected a date"),
        ("starts_on = \"2026-2-3\"", "no day of the calendar"),
        ("ends_on = 20260101", "expected a date"),
        ("blackouts = [{ schedule = \"0 0 * * *\" }]", "has no `duration`"),
        ("blackouts = [{ duration = \"2h\" }]", "has no `schedule`"),
        ("blackouts = [{ schedule = \"@reboot\", duration = \"2h\" }]", "names no instant"),
        ("blackouts = [{ schedule = \"0 25 * * *\", duration = \"2h\" }]", "out of range"),
        ("blackouts = [{ schedule = \"0 H * * *\", duration = \"2h\" }]", "no job is named"),
        ("blackouts = [{ schedule = \"0 2 * * *\", duration = \"0s\" }]", "is zero"),
        ("blackouts = [{ schedule = \"0 2 * * *\", duration = \"1h\", x = 1 }]", "not a key of a blackout"),
    ] {
        assert_mistake(&keys(lines), 6, word);
    }
    assert_mistake(&keys("starts_on = 2026-02-01\nends_on = 2026-01-31"), 7, "before the first");
    let every = format!(
        "{KR}[jobs.a]\ncommand = [\"true\"]\nschedule = [\"0 9 * * *\", \"@every 90s\"]\n\
         calendar = \"kr\"\non_holiday = \"next\"\n"
    );
    assert_mistake(&every, 7, "no time of day");
    let hashed = format!("{KR}[jobs.a]\ncommand = [\"true\"]\nschedule = \"H(0-70) * * * *\"\n");
    assert_mistake(&hashed, 5, "out of range");
}

#[test]
fn mistakes_of_calendars_have_their_place() {
    for (lines, word) in [
        ("", "has no dates"),
        ("dates = 1", "expected a list"),
        ("dates = [1]", "expected a date"),
        ("dates = [2026-01-01T00:00:00Z]", "expected a date"),
        ("dates = [\"2026-01-32\"]", "no day of the calendar"),
        ("dates = [\"2026-01-03..2026-01-01\"]", "is no range"),
        ("dates = [\"2026-01-03..2028-01-01\"]", "is no range"),
        ("dates = [\"2026-01-03..\"]", "no day of the calendar"),
        ("dates = [{ name = \"x\" }]", "has no `date`"),
        ("dates = [{ date = 2026-01-01, nmae = \"x\" }]", "did you mean `name`?"),
        ("date = [2026-01-01]\ndates = []", "did you mean `dates`?"),
        ("files = [\"none.ics\"]", "cannot be read"),
    ] {
        let line = if lines.is_empty() { 1 } else { 2 };
        assert_mistake(&format!("[calendars.kr]\n{lines}\n{JOB}"), line, word);
    }
    assert_mistake(&format!("[calendars.\"k r\"]\ndates = []\n{JOB}"), 1, "can't be the name of a calendar");
    let twice = [("jobs.toml", &*format!("include = [\"b.toml\"]\n{KR}{JOB}")), ("b.toml", KR)];
    assert!(mistakes(&twice)[0].contains("calendar \"kr\" is given twice"));
}

#[test]
fn mistakes_of_files_have_their_line() {
    let main = format!("[calendars.kr]\nfiles = [\"kr.ics\"]\n{JOB}calendar = \"kr\"\n");
    let ics = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101T090000Z\nEND:VEVENT\n\
               BEGIN:VEVENT\nDTSTART:20260102\nRRULE:FREQ=DAILY\nEND:VEVENT\nEND:VCALENDAR\n";
    let found = mistakes(&[("jobs.toml", &main), ("kr.ics", ics)]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("kr.ics:3: ") && found[0].contains("whole days"), "{found:#?}");
    assert!(found.iter().any(|line| line.starts_with("kr.ics:7: ")), "{found:#?}");
    let found = mistakes(&[("jobs.toml", &main), ("kr.ics", "<!doctype html>")]);
    assert!(found[0].starts_with("kr.ics:1: this is no iCalendar file"), "{found:#?}");
    let huge = format!("BEGIN:VCALENDAR\n{}", "X:1\n".repeat(300_000));
    let found = mistakes(&[("jobs.toml", &main), ("kr.ics", &huge)]);
    assert!(found[0].contains("at most 1 MiB"), "{found:#?}");
}

#[test]
fn a_calendar_that_comes_to_its_end_is_a_warning() {
    let warnings = |text: &str, now: &str| {
        let options = LoadOptions::validate().at(at(now));
        let config = load(&folder(&[("jobs.toml", text)]).path().join("jobs.toml"), &options).unwrap();
        assert!(config.warnings.iter().all(|warning| warning.severity == Severity::Warning));
        config.warnings.iter().map(|warning| warning.message.clone()).collect::<Vec<_>>()
    };
    let used = format!("timezone = \"UTC\"\n{KR}{JOB}calendar = \"kr\"\n");
    assert_eq!(warnings(&used, "2025-10-01T00:00:00Z"), [""; 0]);
    assert_eq!(
        warnings(&used, "2025-12-01T00:00:00Z"),
        ["calendar \"kr\" knows no holiday after 2026-01-01"]
    );
    assert_eq!(warnings(&used, "2030-01-01T00:00:00Z").len(), 1);
    let unused = format!("timezone = \"UTC\"\n{KR}{JOB}");
    assert_eq!(warnings(&unused, "2030-01-01T00:00:00Z"), [""; 0]);
}

#[test]
fn a_first_day_is_the_days_of_the_jobs_own_zone() {
    let text = format!("timezone = \"UTC\"\n{JOB}timezone = \"America/New_York\"\nstarts_on = 2026-07-04\n");
    let config = config(&text);
    let first = fires(&config.jobs["a"], at("2026-01-01T00:00:00Z")).next().unwrap().at;
    assert_eq!(first, at("2026-07-04T09:00:00-04:00"));
}
