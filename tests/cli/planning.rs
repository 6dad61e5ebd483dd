//! What configurations mean for the time to come: questions that need no jobd, and change nothing.

use std::path::Path;

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;
use serde_json::Value;

use crate::ask;
use crate::fake::{Fake, record};

/// Two jobs at the same minute, one of them long, in New York, where the clock goes back on 2026-11-01.
const INSTALLED: &str = r#"
timezone = "America/New_York"

[jobs.backup]
schedule = "30 1 * * *"
command = ["backup", "--all"]
env = { TOKEN = "hunter2" }

[jobs.pulse]
schedule = "*/20 * * * *"
command = ["true"]

[jobs.report]
schedule = "30 1 * * *"
command = ["report"]
"#;

/// One job moved and slower, one gone, one new, one as it was.
const PROPOSED: &str = r#"
timezone = "America/New_York"

[jobs.backup]
schedule = "45 1 * * *"
command = ["backup", "--all"]
env = { TOKEN = "hunter3" }
timeout = "2h"

[jobs.nightly]
schedule = "0 2 * * *"
command = ["true"]

[jobs.pulse]
schedule = "*/20 * * * *"
command = ["true"]
"#;

fn host() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("jobs.toml"), INSTALLED).unwrap();
    std::fs::write(dir.path().join("new.toml"), PROPOSED).unwrap();
    dir
}

/// A run of `backup` that took as long as any.
fn success(run: u64) -> RunRecord {
    RunRecord { duration_ms: Some(31_200), ..record(run, "backup", Status::Success) }
}

fn json(dir: &Path, args: &[&str]) -> Value {
    let (code, out, err) = ask(dir, &[args, &["--json"]].concat());
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

/// The files of a folder: what a question leaves behind.
fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn simulate_shows_what_would_become_of_each_fire() {
    let dir = host();
    let stretch = ["--from", "2026-11-02 01:00", "--to", "1h", "--took", "pulse=30m", "--took", "5m"];
    let simulate = [&["simulate"], &stretch[..]].concat();
    let (code, out, err) = ask(dir.path(), &simulate);
    let expected = "\
WHEN                 JOB     RUN  STATUS   WAITS    TOOK  REMARK
2026-11-02 01:00:00  pulse     1  SUCCESS      -  30m 0s
2026-11-02 01:20:00  pulse     2  SKIPPED      -       -  run 1 was still active
2026-11-02 01:30:00  backup    3  SUCCESS      -   5m 0s
2026-11-02 01:30:00  report    4  SUCCESS      -   5m 0s
2026-11-02 01:40:00  pulse     5  RUNNING      -  30m 0s  goes on until 2026-11-02 02:10:00
";
    assert_eq!((code, out.as_str()), (0, expected), "{err}");
    let sum = "5 fires: 1 RUNNING, 3 SUCCESS, 1 SKIPPED, \
               from 2026-11-02 01:00:00 to 2026-11-02 02:00:00 (America/New_York)\n";
    assert_eq!(err, sum);
    let (_, out, err) = ask(dir.path(), &[&simulate[..], &["--job", "pulse", "--limit", "1"]].concat());
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(err.contains("2 more are not shown: --limit 3 shows all\n"), "{err}");
    assert_eq!(files(dir.path()), ["jobs.toml", "new.toml"], "it writes nothing");
}

#[test]
fn simulate_keeps_its_shape() {
    let dir = host();
    let answer = json(dir.path(), &["simulate", "--from", "2026-11-02 01:00", "--to", "1h", "--took", "1m"]);
    let fire = &answer["fires"][1];
    assert_eq!((&fire["task_name"], &fire["status"]), (&"pulse".into(), &"SUCCESS".into()));
    assert_eq!(fire["scheduled_at"], "2026-11-02T06:20:00Z");
    assert_eq!(fire["completed_at"], "2026-11-02T06:21:00Z");
    assert_eq!((&answer["left_out"], &answer["ended_early"]), (&0.into(), &Value::Null));
    let backup = &answer["jobs"][0];
    assert_eq!((&backup["job"], &backup["took_ms"]), (&"backup".into(), &60_000.into()));
    assert_eq!((&backup["took_known_from"], &backup["fires"]["SUCCESS"]), (&"option".into(), &1.into()));
}

#[test]
fn simulate_without_a_history_says_what_it_takes_for_granted() {
    let dir = host();
    let (code, _, err) = ask(dir.path(), &["simulate", "--from", "2026-11-02", "--to", "1d"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("\nno history: ") && err.contains("of 3 jobs no success is known"), "{err}");
}

#[test]
fn simulate_takes_as_long_as_the_history_says() {
    let fake = Fake::start();
    fake.remember((1..=20).map(success));
    std::fs::write(fake.dir.path().join("jobs.toml"), INSTALLED).unwrap();
    let args = ["simulate", "--from", "2026-11-02 01:00", "--to", "1h", "--job", "backup"];
    let answer = json(fake.dir.path(), &args);
    assert_eq!(answer["jobs"][0]["took_known_from"], "history");
    assert_eq!(answer["jobs"][0]["took_ms"], 31_200);
}

#[test]
fn a_stretch_and_a_length_are_checked() {
    let dir = host();
    for (args, word) in [
        (&["simulate", "--from", "soon"][..], "--from: 'soon' is no time"),
        (&["simulate", "--to", "2020-01-01"], "--to 7d"),
        (&["pressure", "--to", "0s"], "--to 7d"),
        (&["simulate", "--took", "backup=soon"], "--took backup=5m"),
        (&["plan", "new.toml", "--from", "2026-11-01 01:30"], "happened twice"),
    ] {
        let (code, out, err) = ask(dir.path(), args);
        assert_eq!((code, out.as_str(), err.contains(word)), (2, "", true), "{args:?}: {err}");
    }
    let (code, _, err) = ask(dir.path(), &["simulate", "--job", "bakcup"]);
    assert_eq!((code, err.contains("did you mean 'backup'?")), (4, true), "{err}");
}

#[test]
fn pressure_shows_what_starts_together_and_where_there_is_room() {
    let dir = host();
    let config = INSTALLED.replace("*/20 * * * *", "*/30 1 * * *");
    std::fs::write(dir.path().join("jobs.toml"), config).unwrap();
    let (code, out, err) = ask(dir.path(), &["pressure", "--from", "2026-11-02", "--to", "2d"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let shown: Vec<&str> = out.lines().collect();
    assert_eq!(
        shown[0],
        "8 fires of 3 jobs, from 2026-11-02 00:00:00 to 2026-11-04 00:00:00 (America/New_York)"
    );
    let busiest = [
        "BUSIEST MINUTE    JOBS  FIRES  WHICH",
        "2026-11-02 01:30     3      3  backup pulse report",
        "2026-11-03 01:30     3      3  backup pulse report",
        "2026-11-02 01:00     1      1  pulse",
        "2026-11-03 01:00     1      1  pulse",
    ];
    assert_eq!(shown[2..7], busiest);
    assert_eq!(shown[8], "HOUR  MON  TUE  WED  THU  FRI  SAT  SUN  ALL");
    assert_eq!(shown[10], "01      4    4    .    .    .    .    .    8");
    assert!(out.contains("room in the minutes :01 :02 :03 :04 :05 :06 :07 :08 (no fire)\n"), "{out}");
    assert!(out.contains("room in the hours 00 02 03 04 05 06 07 08 (no fire)\n"), "{out}");
    let moves = "\
COULD MOVE  NOW           INSTEAD
backup      30 1 * * *    schedule = \"H 1 * * *\"
pulse       */30 1 * * *  schedule = \"H/30 1 * * *\"
report      30 1 * * *    schedule = \"H 1 * * *\"
";
    assert!(out.ends_with(moves), "{out}");
    assert!(out.lines().skip(1).all(|line| line.chars().count() <= 80), "{out}");
    let answer = json(dir.path(), &["pressure", "--from", "2026-11-02", "--to", "2d"]);
    assert_eq!(
        (&answer["fires"], &answer["hours"][1][0], &answer["minutes"][30]),
        (&8.into(), &4.into(), &6.into())
    );
    assert_eq!(answer["busiest"][0]["names"][2], "report");
    assert_eq!(answer["moves"][0]["instead"], "schedule = \"H 1 * * *\"");
}

#[test]
fn plan_says_what_a_new_configuration_changes() {
    let dir = host();
    let plan = ["plan", "new.toml", "--from", "2026-11-02", "--days", "30"];
    let (code, out, err) = ask(dir.path(), &plan);
    assert_eq!((code, err.as_str()), (0, ""));
    let expected = "\
~ backup
    timeout    1h -> 2h
    schedule   30 1 * * * -> 45 1 * * *
    env.TOKEN  set -> set to another value
    30 fires moved: 2026-11-02 01:30:00 -> 01:45:00, 2026-11-03 01:30:00 -> 01:45:00, ...
+ nightly
    30 fires added: 2026-11-02 02:00:00, 2026-11-03 02:00:00, ...
- report
    30 fires dropped: 2026-11-02 01:30:00, 2026-11-03 01:30:00, ...

jobs: 1 added, 1 removed, 1 changed
fires within 30 days: 30 added, 30 dropped, 30 moved
busiest minute: 2 jobs at 2026-11-02 01:30 -> 2 jobs at 2026-11-02 02:00
";
    assert_eq!(out, expected);
    assert!(!out.contains("hunter"), "{out}");
    let answer = json(dir.path(), &plan);
    assert_eq!((&answer["changes"], &answer["jobs"]["nightly"]["change"]), (&true.into(), &"added".into()));
    assert_eq!(answer["jobs"]["backup"]["fires"]["moved"], 30);
    assert_eq!(answer["jobs"]["backup"]["fields"][0]["new"], "2h");
    assert_eq!(answer["peak_after"]["jobs"], 2);
}

#[test]
fn plan_tells_a_pipeline_by_its_exit_code() {
    let dir = host();
    let plan = |args: &[&str]| ask(dir.path(), &[&["plan"], args].concat());
    assert_eq!(plan(&["jobs.toml", "--exit-code"]), (0, "nothing changes\n".to_owned(), String::new()));
    assert_eq!(plan(&["new.toml"]).0, 0, "a plan that was made is no failure");
    assert_eq!(plan(&["new.toml", "--exit-code"]).0, 1);
    assert_eq!(plan(&["new.toml", "--against", "new.toml", "--exit-code"]).0, 0);
    std::fs::write(dir.path().join("wrong.toml"), "[jobs.a]\nschedule = \"0 25 * * *\"\n").unwrap();
    let (code, out, err) = plan(&["wrong.toml"]);
    assert_eq!((code, out.as_str(), err.contains("wrong.toml:2:")), (2, "", true), "{err}");
    let (code, _, err) = plan(&["new.toml", "--against", "wrong.toml"]);
    assert_eq!((code, err.contains("wrong.toml:2:")), (1, true), "{err}");
    let (code, _, err) = plan(&["new.toml", "--against", "running"]);
    assert_eq!((code, err.starts_with("jobctl: jobd is not running")), (3, true), "{err}");
    std::fs::remove_file(dir.path().join("jobs.toml")).unwrap();
    let (code, out, err) = plan(&["new.toml"]);
    assert_eq!(code, 0);
    assert!(err.contains("jobs.toml yet: all of it is new\n") && out.contains("jobs: 3 added"), "{out}{err}");
}

#[test]
fn plan_names_what_a_clock_change_does_to_new_fires() {
    let dir = host();
    let config = INSTALLED.replace("30 1 * * *", "45 1 * * *");
    std::fs::write(dir.path().join("new.toml"), config).unwrap();
    let (code, out, _) = ask(dir.path(), &["plan", "new.toml", "--from", "2026-10-31", "--days", "3"]);
    assert_eq!(code, 0);
    let line =
        "    clock change: 2026-11-01 01:45:00: the clock shows this time twice: only the first counts\n";
    assert_eq!(out.matches(line).count(), 2, "{out}");
}

#[test]
fn suggest_offers_a_line_to_paste() {
    let fake = Fake::start();
    fake.remember((1..=9).map(success));
    fake.remember([record(10, "fails", Status::Failed)]);
    let (code, out, err) = ask(fake.dir.path(), &["suggest", "backup"]);
    let expected = "\
JOB     RUNS    P50    P95  LONGEST  NOW  SUGGESTED          REMARK
backup     9  31.2s  31.2s    31.2s   1h  timeout = \"1m30s\"  a hang is noticed after 115 times the usual
";
    assert_eq!((code, out.as_str(), err.as_str()), (0, expected, ""));
    let answer = json(fake.dir.path(), &["suggest"]);
    assert_eq!(answer["jobs"].as_array().unwrap().len(), crate::fake::JOBS.len());
    assert_eq!(answer["jobs"][0]["suggested_ms"], 90_000);
    assert_eq!((&answer["jobs"][1]["runs"], &answer["jobs"][1]["suggested_ms"]), (&0.into(), &Value::Null));
    let (code, _, err) = ask(fake.dir.path(), &["suggest", "bakcup"]);
    assert_eq!((code, err.contains("did you mean 'backup'?")), (4, true), "{err}");
}

#[test]
fn next_of_a_job_has_both_times_and_says_what_the_clock_does() {
    let dir = host();
    let next = |args: &[&str]| ask(dir.path(), &[&["next"], args].concat());
    let (code, out, _) = next(&["backup", "--from", "2026-11-01", "--to", "2d"]);
    let expected = "\
LOCAL                      UTC                   REMARKS
2026-11-01T01:30:00-04:00  2026-11-01T05:30:00Z  the clock shows this time twice: only the first counts
2026-11-02T01:30:00-05:00  2026-11-02T06:30:00Z
";
    assert_eq!((code, out.as_str()), (0, expected));
    let answer = json(dir.path(), &["next", "backup", "--from", "2026-11-01", "-n", "1"]);
    assert_eq!((&answer["job"], &answer["timezone"]), (&"backup".into(), &"America/New_York".into()));
    assert_eq!(answer["fires"][0]["local"], "2026-11-01T01:30:00-04:00");
    assert_eq!(answer["fires"][0]["starts_at"], "2026-11-01T05:30:00Z");
    let gap = ["--cron", "30 2 * * *", "--tz", "America/New_York", "--after", "2026-03-08", "-n", "1"];
    assert_eq!(next(&gap).1, "2026-03-08T03:00:00-04:00\n", "scripts read one instant a line");
    let (_, out, _) = next(&[&gap[..], &["--remarks"]].concat());
    assert!(out.contains("2026-03-08T03:00:00-04:00  2026-03-08T07:00:00Z  the clock leaves out "), "{out}");
    let (code, out, err) = next(&["backup", "--from", "2026-11-01 02:00", "--to", "1h"]);
    assert_eq!(
        (code, out.as_str(), err.ends_with("it does not fire in that time\n")),
        (0, "", true),
        "{err}"
    );
}
