//! `H`: what a job's name chooses.

use std::collections::{BTreeMap, BTreeSet};

use jobctl::engine::job::JobName;
use jobctl::engine::schedule::{Schedule, ScheduleError};

fn read(name: &str, text: &str) -> Result<Schedule, ScheduleError> {
    Schedule::parse_for(&JobName::new(name).unwrap(), text)
}

/// The numbers of one field over many names.
fn chosen(text: &str, field: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for number in 0..1_000 {
        let schedule = read(&format!("job-{number}"), text).unwrap();
        let word = schedule.resolved().split(' ').nth(field).unwrap().to_owned();
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// These stand in people's nights: another release must not move them.
#[test]
fn a_name_has_its_numbers_for_good() {
    for (name, text, resolved) in [
        ("backup", "H H * * *", "7 8 * * *"),
        ("backup", "H/15 * * * *", "7-59/15 * * * *"),
        ("statistics_aggregation", "H(0-29) H(1-5) H * *", "6 4 16 * *"),
        ("invoice_generation", "H H 9 H(1-6) * H", "1 50 9 2 * 6"),
    ] {
        let schedule = read(name, text).unwrap();
        assert_eq!(schedule.resolved(), resolved, "{name} {text}");
        assert_eq!(schedule.as_str(), text);
    }
}

#[test]
fn a_thousand_names_are_spread_over_every_number_of_the_field() {
    for (text, field, low, high) in [
        ("H * * * *", 0, 0, 59),
        ("H(0-29) * * * *", 0, 0, 29),
        ("0 H * * *", 1, 0, 23),
        ("0 0 H * *", 2, 1, 28),
        ("0 0 1 H *", 3, 1, 12),
        ("0 0 * * H", 4, 0, 6),
        ("H 0 0 * * *", 0, 0, 59),
        ("0 0 1 h(jan-jun) *", 3, 1, 6),
    ] {
        let counts = chosen(text, field);
        let expected: Vec<String> = (low..=high).map(|number: i32| number.to_string()).collect();
        let mut found: Vec<String> = counts.keys().cloned().collect();
        found.sort_by_key(|number| number.parse::<i32>().unwrap());
        assert_eq!(found, expected, "{text}");
        let fair = 1_000 / expected.len();
        assert!(counts.values().all(|count| (fair / 4..fair * 3).contains(count)), "{text}: {counts:?}");
    }
}

#[test]
fn a_step_begins_where_the_name_chooses() {
    let counts = chosen("H/15 * * * *", 0);
    let expected: BTreeSet<String> = (0..15).map(|first| format!("{first}-59/15")).collect();
    assert!(counts.keys().eq(&expected), "{counts:?}");
    assert_eq!(chosen("0 H(9-17)/2 * * *", 1).into_keys().collect::<Vec<_>>(), ["10-17/2", "9-17/2"]);
    assert_eq!(chosen("H(0-5)/30 * * * *", 0).len(), 6);
}

#[test]
fn it_means_what_its_resolved_text_means() {
    for text in
        ["H H * * *", "H/7 H(2-20)/3 * * *", "5,H,H(40-50) * * * *", "H H H H H", "H H(9-17) 1,H * mon,H"]
    {
        for number in 0..50 {
            let schedule = read(&format!("job-{number}"), text).unwrap();
            let plain = Schedule::parse(schedule.resolved()).unwrap();
            let (utc, mut after) = (jiff::tz::TimeZone::UTC, "2026-01-01T00:00:00Z".parse().unwrap());
            for _ in 0..20 {
                let next = schedule.next(&utc, after).unwrap();
                assert_eq!(Some(next), plain.next(&utc, after), "{text}: {}", schedule.resolved());
                after = next;
            }
        }
    }
}

#[test]
fn fields_and_names_choose_apart() {
    let schedule = read("backup", "H H H H H").unwrap();
    let minutes = (0..200).filter(|number| {
        let schedule = read(&format!("job-{number}"), "H(0-9) H(0-9) * * *").unwrap();
        let words: Vec<&str> = schedule.resolved().split(' ').collect();
        words[0] == words[1]
    });
    assert!((5..40).contains(&minutes.count()), "minute and hour are one number: {}", schedule.resolved());
}

#[test]
fn what_is_no_h_is_refused_at_its_place() {
    let text_at = |text: &str| {
        let error = read("backup", text).expect_err(text);
        (error.message.clone(), text[error.span].to_owned())
    };
    for (text, wrong) in [
        ("H5 * * * *", "5"),
        ("H( * * * *", "("),
        ("H() * * * *", "()"),
        ("H(5) * * * *", "(5)"),
        ("H(0-60) * * * *", "60"),
        ("0 H(9-5) * * *", "H(9-5)"),
        ("H/0 * * * *", "0"),
        ("H/x * * * *", "x"),
        ("0 0 HW * *", "W"),
        ("0 0 * * H#2", "#2"),
        ("H-5 * * * *", "-5"),
        ("H,99 * * * *", "H,99"),
        ("1-H * * * *", "H"),
        ("H(0-29 * * * *", "(0-29"),
        ("H/60 * * * * *", "60"),
        ("H(가-나) * * * *", "가"),
    ] {
        let (message, span) = text_at(text);
        assert_eq!(span, wrong, "{text}: {message}");
    }
    let error = read("backup", "0 0 31 H(2-2) *").unwrap_err();
    assert!(error.message.contains("never fires"), "{}", error.message);
    assert!(read("backup", "H H *").unwrap_err().message.contains("3 fields"));
    assert!(read("backup", "H H H H H H H").is_err());
}

#[test]
fn without_a_name_nothing_chooses() {
    let error = Schedule::parse("15 H * * *").unwrap_err();
    assert_eq!(error.span, 3..4);
    assert!(error.message.contains("no job is named"), "{}", error.message);
    assert_eq!(Schedule::parse("0 3 * * *").unwrap().resolved(), "0 3 * * *");
}
