//! What a person tells jobd: pause, resume, make up for, known.

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;

use crate::ask;
use crate::fake::{Fake, record};

/// A fire of 23:00 in Seoul that has no run.
fn without_a_run(row: u64, job: &str, day: &str, status: Status, reason: &str) -> RunRecord {
    let at = format!("{day}T14:00:00Z").parse().unwrap();
    let mut record = record(row, job, status);
    (record.scheduled_at, record.started_at, record.reason) = (Some(at), at, Some(reason.to_owned()));
    record
}

#[test]
fn a_pause_is_seen_everywhere_until_it_is_ended() {
    let fake = Fake::start();
    let jobctl = |args: &[&str]| ask(fake.dir.path(), args);
    let (code, out, err) = jobctl(&["pause", "backup", "--why", "the disk is full"]);
    let expected = "backup is paused: its fires are SKIPPED; 'jobctl resume backup' ends it\n";
    assert_eq!((code, out.as_str()), (0, expected), "{err}");
    let (_, out, _) = jobctl(&["list"]);
    assert!(out.lines().any(|line| line.starts_with("backup   0 23 * * *  paused ")), "{out}");
    let (_, out, _) = jobctl(&["show", "backup"]);
    assert!(out.contains(", without an end: the disk is full\n"), "{out}");
    let (code, out, _) = jobctl(&["status"]);
    assert!(code == 0 && out.contains("\n  paused  1 job\n"), "{out}");
    assert!(out.contains("problem: backup has been paused since "), "{out}");
    assert!(out.contains(", without an end: 'jobctl resume backup' ends it\n"), "{out}");
    let (_, out, _) = jobctl(&["why", "backup", "--at", "2100-01-01 23:00"]);
    assert!(out.starts_with("backup, 2100-01-01 23:00 KST: will be SKIPPED: paused by uid "), "{out}");
    let (code, out, _) = jobctl(&["resume", "backup"]);
    assert!(
        code == 0 && out.starts_with("backup is resumed; 'jobctl missed backup --skipped' shows"),
        "{out}"
    );
    let (_, out, _) = jobctl(&["status"]);
    assert!(!out.contains("paused"), "{out}");
    let (code, _, err) = jobctl(&["resume", "backup"]);
    let expected = "jobctl: it is not paused\n  help: 'jobctl list' shows which jobs are paused\n";
    assert_eq!((code, err.as_str()), (1, expected));
}

#[test]
fn a_pause_of_all_jobs_with_an_end_is_no_problem() {
    let fake = Fake::start();
    let jobctl = |args: &[&str]| ask(fake.dir.path(), args);
    let (code, out, _) = jobctl(&["pause", "--all", "--until", "2100-01-01", "--json"]);
    let pause: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &pause["until"], &pause["job"]),
        (0, &"2099-12-31T15:00:00Z".into(), &serde_json::Value::Null)
    );
    let (_, out, _) = jobctl(&["list"]);
    assert_eq!(out.matches("paused until 2100-01-01 00:00:00").count(), crate::fake::JOBS.len(), "{out}");
    let (_, out, _) = jobctl(&["status"]);
    assert!(out.contains("\n  paused  all jobs\n") && !out.contains("problem:"), "{out}");
    let (code, _, err) = jobctl(&["resume", "backup"]);
    let help = "help: all jobs are paused together: 'jobctl resume --all' ends that";
    assert!(code == 1 && err.contains(help), "{err}");
    assert_eq!(jobctl(&["resume", "--all"]).0, 0);
}

#[test]
fn what_is_no_pause_is_refused() {
    let fake = Fake::start();
    let jobctl = |args: &[&str]| ask(fake.dir.path(), args);
    for (args, code, words) in [
        (&["pause", "bakcup"][..], 4, "did you mean 'backup'?"),
        (&["pause"], 2, "<JOB|--all>"),
        (&["pause", "backup", "--all"], 2, "cannot be used with"),
        (&["pause", "backup", "--for", "soon"], 2, "write 90s, 30m, 2h or 1d12h"),
        (&["pause", "backup", "--for", "0s"], 2, "'0s' is no length of time"),
        (&["pause", "backup", "--until", "soon"], 2, "--until: 'soon' is no time"),
        (&["pause", "backup", "--until", "2020-01-01"], 1, "2020-01-01T00:00:00+09:00 is over"),
        (&["pause", "backup", "--why", "two\nlines"], 1, "in one line of at most 500 characters"),
        (&["resume", "bakcup"], 4, "did you mean 'backup'?"),
        (&["ack", "bakcup"], 4, "did you mean 'backup'?"),
        (&["ack", "backup"], 1, "there is nothing to acknowledge"),
    ] {
        let (is, out, err) = jobctl(args);
        assert!(is == code && out.is_empty() && err.contains(words), "{args:?} {is}: {err}");
    }
    assert_eq!(jobctl(&["ack", "fails"]).1, "it is known that fails does not succeed\n");
}

#[test]
fn missed_fires_are_listed_and_made_up_for() {
    let fake = Fake::start();
    let jobctl = |args: &[&str]| ask(fake.dir.path(), args);
    fake.remember([
        without_a_run(1, "backup", "2025-03-01", Status::Missed, "jobd was not running"),
        without_a_run(2, "backup", "2025-03-02", Status::Skipped, "run 1 was still active"),
        without_a_run(3, "writes", "2025-03-02", Status::Missed, "jobd was not running"),
    ]);
    let (code, out, err) = jobctl(&["missed"]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[1], "  3  writes  MISSED  2025-03-02 23:00:00      1  jobd was not running");
    assert!(lines.len() == 3 && lines[2].starts_with("  1  backup"), "{out}");
    assert!(err.starts_with("'jobctl catchup writes@2025-03-02T23:00:00+09:00' makes up for one"), "{err}");
    assert_eq!(jobctl(&["missed", "backup", "--skipped"]).1.lines().count(), 3);
    assert_eq!(jobctl(&["missed", "backup", "--since", "2025-03-02"]).2, "no fire was missed\n");
    assert_eq!(jobctl(&["missed", "bakcup"]).0, 4);
    let (code, out, err) = jobctl(&["catchup", "--all", "--dry-run"]);
    let expected = "\
JOB     FIRE                 REASON
backup  2025-03-01 23:00:00  jobd was not running
writes  2025-03-02 23:00:00  jobd was not running
";
    assert_eq!((code, out.as_str()), (0, expected));
    assert_eq!(err, "2 fires would run, oldest first; without --dry-run they do\n");
    let (code, out, err) = jobctl(&["catchup", "--all", "--wait"]);
    let expected = "run 4 makes up for backup at 2025-03-01 23:00:00\n\
                    run 5 makes up for writes at 2025-03-02 23:00:00\n";
    assert_eq!((code, out.as_str()), (0, expected), "{err}");
    assert_eq!(jobctl(&["missed"]).2, "no fire was missed\n");
    let (code, out, _) = jobctl(&["catchup", "backup@2025-03-02 23:00", "--json"]);
    let outcome: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &outcome["runs"][0]["run_id"]), (0, &6.into()), "a person may undo a skip: {out}");
}

#[test]
fn a_row_of_many_is_made_up_for_one_by_one() {
    let fake = Fake::start();
    let jobctl = |args: &[&str]| ask(fake.dir.path(), args);
    let mut many = without_a_run(1, "backup", "2025-01-01", Status::Missed, "jobd was not running");
    (many.scheduled_until, many.fires) = ("2025-01-10T14:00:00Z".parse().ok(), 10);
    let mut ran = without_a_run(2, "backup", "2025-01-03", Status::Success, "");
    ran.reason = None;
    fake.remember([many, ran]);
    let (_, out, _) = jobctl(&["missed"]);
    assert!(out.contains("2025-01-01 23:00:00 .. 2025-01-10 23:00:00     10  jobd"), "{out}");
    let (_, out, _) = jobctl(&["catchup", "--all", "--dry-run"]);
    let days: Vec<&str> = out.lines().skip(1).filter_map(|line| line.get(16..18)).collect();
    assert_eq!(days, ["01", "02", "04", "05", "06", "07", "08", "09", "10"], "{out}");
    let (_, out, _) = jobctl(&["catchup", "--all", "--dry-run", "--since", "2025-01-09"]);
    assert_eq!(out.lines().count(), 3, "{out}");
    let (code, out, _) = jobctl(&["catchup", "backup@2025-01-05 23:00", "--wait"]);
    assert_eq!((code, out.as_str()), (0, "run 3 makes up for backup at 2025-01-05 23:00:00\n"));
    let (_, out, _) = jobctl(&["why", "backup", "--at", "2025-01-06 23:00"]);
    assert!(out.starts_with("backup, 2025-01-06 23:00 KST: MISSED: jobd was not running\n"), "{out}");
    let row = "row 1 MISSED for 10 fires, 2025-01-01 23:00:00 to 2025-01-10 23:00:00: jobd was not running\n";
    assert!(out.contains(row), "{out}");
}

#[test]
fn what_a_rehearsal_leaves_out_is_told() {
    let fake = Fake::start();
    let mut old = without_a_run(1, "backup", "2024-06-01", Status::Missed, "jobd was not running");
    (old.scheduled_until, old.fires) = ("2024-06-10T14:00:00Z".parse().ok(), 10);
    fake.remember([old, without_a_run(2, "gone", "2025-03-01", Status::Missed, "jobd was not running")]);
    let (code, out, err) = ask(fake.dir.path(), &["catchup", "--all", "--dry-run"]);
    assert_eq!((code, out.as_str()), (0, ""));
    let expected = "\
no fire was missed that could be made up for
left out: 10 fires of backup: its schedule has changed since: 'jobctl run JOB --at INSTANT' runs one
left out: 1 fire of gone: the job is no longer configured
";
    assert_eq!(err, expected);
    let mut many = without_a_run(3, "writes", "2025-01-01", Status::Missed, "jobd was not running");
    (many.scheduled_until, many.fires) = ("2025-01-02T14:00:00Z".parse().ok(), 86_401);
    fake.reschedule("writes", "* * * * * *", "Asia/Seoul");
    fake.remember([many]);
    let (_, out, err) = ask(fake.dir.path(), &["catchup", "--all", "--dry-run", "--job", "writes"]);
    assert_eq!(out.lines().count(), 1 + 1_000);
    assert!(out.ends_with("2025-01-02 23:00:00  jobd was not running\n"), "the newest are taken");
    assert!(err.contains("left out: 85401 fires of writes: only the newest 1,000"), "{err}");
}

#[test]
fn what_cannot_be_made_up_for_says_why() {
    let fake = Fake::start();
    let mut ran = without_a_run(1, "backup", "2025-03-01", Status::Success, "");
    ran.reason = None;
    fake.remember([ran]);
    for (fire, code, words) in [
        ("backup@2025-03-01 23:00", 1, "has its run: run 1, SUCCESS"),
        ("backup@2025-03-01 22:00", 1, "does not fire at 2025-03-01T22:00:00+09:00: hour 22 is not in 23"),
        ("backup@2025-03-02 23:00", 1, "nothing is recorded of the fire of backup"),
        ("backup@2100-03-02 23:00", 1, "2100-03-02T23:00:00+09:00 has not come yet"),
        ("backup@soon", 2, "JOB@INSTANT: 'soon' is no time"),
        ("backup", 2, "'backup' names no fire of a job"),
        ("bakcup@2025-03-01 23:00", 4, "did you mean 'backup'?"),
    ] {
        let (is, out, err) = ask(fake.dir.path(), &["catchup", fire]);
        assert!(is == code && out.is_empty() && err.contains(words), "{fire} {is}: {err}");
    }
    assert_eq!(ask(fake.dir.path(), &["catchup"]).0, 2);
    assert_eq!(ask(fake.dir.path(), &["catchup", "backup@2025-03-01", "--dry-run"]).0, 2);
}
