//! `jobctl why`: what became of an instant, or will.

use jobctl::engine::run::{Status, Trigger};

use crate::ask;
use crate::fake::{Fake, record};

/// Midnight in Seoul is hours from 23:00 the day before.
const FIRE: &str = "2025-03-01T14:00:00Z";

#[test]
fn a_skip_names_the_run_in_the_way_and_how_long_it_was() {
    let fake = Fake::start();
    let at = FIRE.parse().unwrap();
    let mut blocking = record(41, "backup", Status::Success);
    (blocking.scheduled_at, blocking.triggered_by) = ("2025-02-28T14:00:00Z".parse().ok(), Trigger::Schedule);
    blocking.started_at = "2025-02-28T14:00:00Z".parse().unwrap();
    blocking.completed_at = "2025-03-01T17:12:07Z".parse().ok();
    let mut skipped = record(42, "backup", Status::Skipped);
    (skipped.scheduled_at, skipped.started_at) = (Some(at), at);
    skipped.reason = Some("run 41 was still active".to_owned());
    fake.remember([blocking, skipped]);
    fake.was_down("2025-03-01T20:00:00Z", "2025-03-01T21:00:00Z");
    let (code, out, err) = ask(fake.dir.path(), &["why", "backup", "--at", "2025-03-01 23:00"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    let verdict = "backup, 2025-03-01 23:00 KST: SKIPPED: run 41 was still active \
                   (2025-02-28 23:00:00 to 2025-03-02 02:12:07)";
    assert_eq!(lines[0], verdict, "{out}");
    assert_eq!(lines[1], "  instant        2025-03-01 23:00:00 Asia/Seoul, 2025-03-01 14:00:00 UTC");
    assert_eq!(lines[2], "  schedule       0 23 * * *: names it");
    assert_eq!(lines[3], "  fires around   2025-02-28 23:00:00 before, 2025-03-02 23:00:00 after");
    assert!(
        out.contains("\n  jobd away      2025-03-02 05:00:00 to 2025-03-02 06:00:00: jobd was not running\n")
    );
    let (_, out, _) = ask(fake.dir.path(), &["why", "backup", "--at", FIRE, "--json"]);
    let whys: serde_json::Value = serde_json::from_str(&out).unwrap();
    let why = &whys["answers"][0];
    assert_eq!((&why["verdict"], &why["active"][0]["run_id"]), (&"skipped".into(), &41.into()));
    assert_eq!(
        (&why["at"], &whys["timezone"], &why["is_fire"]),
        (&FIRE.into(), &"Asia/Seoul".into(), &true.into())
    );
}

#[test]
fn every_fire_of_a_day_has_a_line() {
    let fake = Fake::start();
    let at = FIRE.parse().unwrap();
    let mut by_hand = record(1, "backup", Status::Success);
    by_hand.scheduled_at = "2025-03-01T03:30:00Z".parse().ok();
    by_hand.started_at = "2025-03-01T03:30:00Z".parse().unwrap();
    let mut missed = record(2, "backup", Status::Missed);
    (missed.scheduled_at, missed.started_at) = (Some(at), at);
    missed.reason = Some("the host was asleep".to_owned());
    fake.remember([by_hand, missed]);
    let (code, out, _) = ask(fake.dir.path(), &["why", "backup", "--at", "2025-03-01"]);
    assert_eq!(code, 0);
    let expected = "\
FIRE                  VERDICT
2025-03-01 12:30 KST  SUCCESS: run 1, by hand, 0ms later
2025-03-01 23:00 KST  MISSED: the host was asleep
";
    assert_eq!(out, expected);
}

#[test]
fn an_instant_that_is_no_fire_says_which_field_says_no() {
    let fake = Fake::start();
    let why = |at: &str| ask(fake.dir.path(), &["why", "backup", "--at", at]).1;
    let out = why("2025-03-01 22:30");
    let verdict = "backup, 2025-03-01 22:30 KST: no fire: minute 30 is not in 0; hour 22 is not in 23\n";
    assert!(out.starts_with(verdict), "{out}");
    assert!(why("2025-03-02 23:00").contains("UNACCOUNTED: it was due, and nothing is recorded of it\n"));
    assert!(why("2024-03-02 23:00").contains("not accounted for: jobd did not know this schedule then\n"));
    assert!(why("2100-03-02 23:00").starts_with("backup, 2100-03-02 23:00 KST: will run in "));
}

#[test]
fn a_time_that_the_clock_leaves_out_or_shows_twice_is_told_with_its_day() {
    let fake = Fake::start();
    fake.reschedule("backup", "30 2 * * *", "America/New_York");
    let why = |at: &str| ask(fake.dir.path(), &["why", "backup", "--at", at]);
    let (code, out, err) = why("2100-03-14 02:30");
    assert_eq!(code, 0, "{err}");
    assert!(
        err.starts_with("'2100-03-14 02:30' did not happen, or happened twice, in America/New_York"),
        "{err}"
    );
    assert!(out.starts_with("backup, 2100-03-14 03:00 EDT: will run in "), "{out}");
    assert!(
        out.contains("\n  remark         the clock leaves out 2100-03-14T02:30:00: the first minute"),
        "{out}"
    );
    fake.reschedule("backup", "30 1 * * *", "America/New_York");
    let (_, out, _) = why("2100-11-07T01:30:00-05:00");
    let verdict = "no fire: the clock shows this time twice, and it fires at the first\n";
    assert!(out.contains(verdict), "{out}");
}

#[test]
fn without_a_time_the_last_fire_is_meant() {
    let fake = Fake::start();
    let (code, out, _) = ask(fake.dir.path(), &["why", "backup", "--json"]);
    let whys: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, whys["answers"].as_array().unwrap().len()), (0, 1), "{out}");
    assert_eq!(whys["answers"][0]["verdict"], "unaccounted");
    assert!(whys["answers"][0]["at"].as_str().unwrap().ends_with("T14:00:00Z"), "{out}");
}

#[test]
fn who_asks_wrongly_is_told_so() {
    let fake = Fake::start();
    let (code, out, err) = ask(fake.dir.path(), &["why", "bakcup"]);
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    assert!(err.contains("did you mean 'backup'?"), "{err}");
    let (code, _, err) = ask(fake.dir.path(), &["why", "backup", "--at", "soon"]);
    assert!(code == 2 && err.starts_with("jobctl: --at: 'soon' is no time"), "{err}");
}
