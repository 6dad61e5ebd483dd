//! The real `jobctl`, as a shell would run it, against a jobd made of memory or none at all.

#![expect(clippy::unwrap_used, reason = "a test whose preparation fails stops there")]

mod asking;
mod fake;
mod offline;
mod planning;
mod socket;
mod steering;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fake::{Fake, record};
use jobctl::api::types::State;
use jobctl::engine::run::{RunId, Status};

/// `jobctl` with a clean environment, its files in `dir` and the clock of Seoul.
fn jobctl(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobctl"));
    command.env_clear().env("TZ", "Asia/Seoul").current_dir(dir).args(args);
    command.arg("--config").arg(dir.join("jobs.toml"));
    command.arg("--state-dir").arg(dir.join("state"));
    command.arg("--socket").arg(dir.join("jobd.sock"));
    command
}

fn ask(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = jobctl(dir, args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn list_is_plain_in_a_pipe_and_coloured_only_when_told() {
    let fake = Fake::start();
    fake.remember([record(1, "backup", Status::Failed)]);
    let (code, out, err) = ask(fake.dir.path(), &["list"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("JOB      SCHEDULE    NEXT "), "{out}");
    assert!(lines[1].starts_with("backup   0 23 * * *  "), "{out}");
    assert!(lines[1].contains("2026-11-01 10:00:00  FAILED"), "{out}");
    assert!(lines[1].ends_with("backup: 시험"), "{out}");
    assert_eq!(lines.len(), 1 + fake::JOBS.len());
    assert!(!out.contains('\x1b') && !out.contains('\t'), "{out}");
    let (_, out, _) = ask(fake.dir.path(), &["list", "--color", "always"]);
    assert!(out.contains("\x1b["), "{out}");
}

#[test]
fn show_prints_every_default_and_no_secret() {
    let fake = Fake::start();
    let (code, out, _) = ask(fake.dir.path(), &["show", "backup"]);
    assert_eq!(code, 0);
    let is_told = |fact: &[&str]| out.lines().any(|line| line.split_whitespace().eq(fact.iter().copied()));
    assert!(is_told(&["timeout", "1h"]) && is_told(&["env", "API_KEY"]), "{out}");
    assert!(!out.contains("hunter2"), "{out}");
    let (_, out, _) = ask(fake.dir.path(), &["show", "backup", "--json"]);
    let job: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&job["timeout_ms"], &job["stop_signals"][0]), (&3_600_000.into(), &"TERM:10s".into()));
    assert_eq!(job["shell"], "true");
    assert_eq!(job["last_run"], serde_json::Value::Null);
}

#[test]
fn what_a_run_does_is_asked_of_jobd_while_it_runs() {
    let fake = Fake::start();
    fake.remember([record(7, "hangs", Status::Running), record(6, "hangs", Status::Timeout)]);
    let (code, out, err) = ask(fake.dir.path(), &["inspect", "7"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("    sh pid 7 of run 7 waits in read()\n"), "{out}");
    let (code, _, err) = ask(fake.dir.path(), &["inspect", "6"]);
    assert!(code == 1 && err.contains("'jobctl show 6' has what is known of it"), "{err}");
    assert_eq!(ask(fake.dir.path(), &["inspect", "8"]).0, 4);
    assert_eq!(ask(fake.dir.path(), &["inspect", "hangs"]).0, 2);
}

#[test]
fn history_comes_page_by_page() {
    let fake = Fake::start();
    fake.remember((1..=2500).map(|run| record(run, "backup", Status::Success)));
    let (code, out, _) = ask(fake.dir.path(), &["history", "-n", "2200", "--json"]);
    assert_eq!(code, 0);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    let runs = answer["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &runs[0]["run_id"], &runs[2199]["run_id"]), (2200, &2500.into(), &301.into()));
    assert_eq!(answer["next"], 301);
    let (_, out, _) = ask(fake.dir.path(), &["history", "-n", "3", "--before", "4"]);
    let numbers: Vec<&str> = out.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(numbers, ["3", "2", "1"]);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let fake = Fake::start();
    fake.remember((1..=5000).map(|run| record(run, "backup", Status::Success)));
    let mut command = jobctl(fake.dir.path(), &["history", "-n", "5000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 3];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b" RU");
    let left = child.wait_with_output().unwrap();
    assert_eq!((left.status.code(), left.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_run_that_is_waited_for_gives_its_own_exit_code() {
    let fake = Fake::start();
    let (code, out, err) = ask(fake.dir.path(), &["run", "backup", "--wait"]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.ends_with("run 1 of backup: SUCCESS after 31.2s\n"), "{err}");
    let (code, _, err) = ask(fake.dir.path(), &["run", "fails", "--wait"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.ends_with("run 2 of fails: FAILED after 31.2s, exit code 3\n"), "{err}");
    let (code, out, _) = ask(fake.dir.path(), &["run", "backup", "--at", "2026-10-31 23:00", "--json"]);
    assert_eq!((code, out.as_str()), (0, "{\n  \"run_id\": 3\n}\n"));
    let (_, out, _) = ask(fake.dir.path(), &["show", "3"]);
    assert!(out.contains("  scheduled  2026-10-31 23:00:00\n"), "{out}");
}

#[test]
fn a_run_that_is_followed_writes_where_the_job_did() {
    let fake = Fake::start();
    let (code, out, err) = ask(fake.dir.path(), &["run", "writes", "--follow"]);
    assert_eq!((code, out.as_str()), (0, "[START] writes\n"), "{err}");
    assert!(err.contains("\na warning\nrun 1 of writes: SUCCESS"), "{err}");
}

#[test]
fn kill_ends_a_run_and_whoever_waits_learns_it() {
    let fake = Fake::start();
    let mut waiting = jobctl(fake.dir.path(), &["run", "hangs", "--wait"]);
    let child = waiting.stderr(Stdio::piped()).spawn().unwrap();
    // The kill is tried until the run is there to be killed.
    let (code, out) = std::iter::repeat_with(|| ask(fake.dir.path(), &["kill", "hangs"]))
        .take(200)
        .find_map(|(code, out, _)| (code == 0).then_some((code, out)))
        .unwrap();
    assert_eq!((code, out.as_str()), (0, "run 1 is being ended\n"));
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(143));
    let err = String::from_utf8(ended.stderr).unwrap();
    assert!(err.contains("run 1 of hangs: KILLED, SIGTERM: by uid "), "{err}");
    let (code, _, err) = ask(fake.dir.path(), &["kill", "hangs"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "jobctl: hangs is not running\n  help: 'jobctl ps' shows the runs that are\n")
    );
}

#[test]
fn whoever_waits_outlasts_a_restart_of_jobd() {
    let mut fake = Fake::start();
    let mut waiting = jobctl(fake.dir.path(), &["run", "hangs", "--follow"]);
    let mut child = waiting.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut hears = |word: &str| said.find(|line| line.as_ref().unwrap().contains(word)).is_some();
    assert!(hears("run 1 of hangs is on its way"));
    fake.die();
    assert!(hears("run 1 goes on, waiting for jobd to come back"));
    let begun = format!("{} stdout F still here\n", fake::BEGAN);
    fake.write_output(RunId(1), &begun);
    fake.begin();
    assert_eq!(ask(fake.dir.path(), &["kill", "1"]).0, 0);
    assert!(hears("run 1 of hangs: KILLED"));
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stdout.as_slice()), (Some(143), &b"still here\n"[..]));
}

#[test]
fn logs_show_the_last_run_of_a_job() {
    let fake = Fake::start();
    fake.remember([record(1, "backup", Status::Success), record(2, "backup", Status::Missed)]);
    fake.write_output(
        RunId(1),
        "2026-11-01T01:00:00Z stdout F one\n2026-11-01T01:00:01Z stderr F \x1b[2Jtwo\n",
    );
    let logs = |args: &[&str]| ask(fake.dir.path(), &[&["logs"], args].concat());
    assert_eq!(logs(&["backup"]), (0, "one\n\x1b[2Jtwo\n".to_owned(), String::new()));
    assert_eq!(logs(&["1", "-n", "1", "--timestamps"]).1, "2026-11-01T01:00:01Z \x1b[2Jtwo\n");
    assert_eq!(logs(&["1", "--stdout", "-f"]).1, "one\n");
    let (code, _, err) = logs(&["2"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("jobctl: run 2 has no output: MISSED"), "{err}");
    let (code, _, err) = logs(&["hangs"]);
    assert_eq!(code, 4);
    assert!(err.starts_with("jobctl: no run of hangs has any output yet"), "{err}");
}

#[test]
fn what_is_not_there_is_answered_with_what_is() {
    let fake = Fake::start();
    for args in
        [&["show", "bakcup"][..], &["run", "bakcup"], &["history", "--job", "bakcup"], &["logs", "bakcup"]]
    {
        let (code, out, err) = ask(fake.dir.path(), args);
        assert_eq!((code, out.as_str()), (4, ""), "{args:?}: {err}");
        assert_eq!(err, "jobctl: there is no job 'bakcup'\n  help: did you mean 'backup'?\n", "{args:?}");
    }
    let (code, _, err) = ask(fake.dir.path(), &["show", "Backup!"]);
    assert_eq!((code, err.contains("did you mean 'backup'?")), (4, true), "{err}");
    let (code, _, err) = ask(fake.dir.path(), &["kill", "999"]);
    assert_eq!((code, err.as_str()), (0, ""), "the fake stops anything: {err}");
    let (code, _, err) = ask(fake.dir.path(), &["show", "998"]);
    assert_eq!(code, 4);
    assert_eq!(err, "jobctl: there is no run 998\n  help: 'jobctl history' shows the runs\n");
}

#[test]
fn a_refusal_is_told_in_jobds_words() {
    let fake = Fake::start();
    let (code, _, err) = ask(fake.dir.path(), &["run", "refuses"]);
    assert_eq!((code, err.as_str()), (1, "jobctl: run 1 of refuses is active\n"));
}

#[test]
fn status_is_0_only_when_jobd_is_ready() {
    let fake = Fake::start();
    let (code, out, _) = ask(fake.dir.path(), &["status"]);
    assert_eq!(code, 0);
    assert!(out.contains(" is ready\n  host    erp-1\n"), "{out}");
    fake.facts.send_modify(|facts| {
        let mut starting = facts.as_ref().clone();
        starting.state = State::Starting;
        *facts = starting.into();
    });
    let (code, out, _) = ask(fake.dir.path(), &["status", "--json"]);
    assert_eq!(code, 3);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["state"], "starting");
    let (code, _, err) = ask(fake.dir.path(), &["run", "backup"]);
    assert_eq!(code, 3);
    assert!(err.starts_with("jobctl: jobd is starting\n"), "{err}");
}

#[test]
fn without_jobd_nothing_is_started_and_the_socket_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["run", "backup"][..], &["kill", "1"]] {
        let (code, _, err) = ask(dir.path(), args);
        assert_eq!(code, 3, "{err}");
        let socket = dir.path().join("jobd.sock");
        assert!(err.starts_with("jobctl: jobd is not running: nobody answers on "), "{err}");
        assert!(err.contains(socket.to_str().unwrap()) && err.contains("systemctl status jobd"), "{err}");
    }
}

#[test]
fn a_jobd_that_hangs_is_given_up_on() {
    let dir = tempfile::tempdir().unwrap();
    let _deaf = UnixListener::bind(dir.path().join("jobd.sock")).unwrap();
    let (code, out, err) = ask(dir.path(), &["list"]);
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    assert!(err.contains("does not answer on") && err.contains("within 2 s"), "{err}");
}

#[test]
fn next_prints_one_instant_a_line_without_jobd_or_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let next = |args: &[&str]| ask(dir.path(), &[&["next"], args].concat());
    let rule = ["--cron", "0 10 1 * *", "--tz", "Asia/Seoul", "--after", "2026-11-01T01:00:00Z", "-n", "2"];
    let expected = "2026-12-01T10:00:00+09:00\n2027-01-01T10:00:00+09:00\n";
    assert_eq!(next(&rule), (0, expected.to_owned(), String::new()));
    let json = next(&[&rule[..], &["--json"]].concat()).1;
    assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap().len(), 2);
    // The hour that comes twice, told apart by its offset.
    let rule =
        ["--cron", "30 * * * *", "--tz", "America/New_York", "--after", "2026-11-01T05:00:00Z", "-n", "2"];
    assert_eq!(next(&rule).1, "2026-11-01T01:30:00-04:00\n2026-11-01T01:30:00-05:00\n");
}

#[test]
fn a_wrong_expression_is_shown_with_a_mark_under_the_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = ask(dir.path(), &["next", "--cron", "0 25 * * *"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("\n  0 25 * * *\n    ^^\n"), "{err}");
    let (code, _, err) = ask(dir.path(), &["next", "--cron", "@daily", "--tz", "Asia/Seuol"]);
    assert_eq!((code, err.contains("did you mean 'Asia/Seoul'?")), (2, true), "{err}");
    let (code, _, err) = ask(dir.path(), &["next", "--cron", "@daily", "--after", "soon"]);
    assert_eq!((code, err.starts_with("jobctl: --after: 'soon' is no time: write ")), (2, true), "{err}");
    assert_eq!(ask(dir.path(), &["next"]).0, 2);
    assert_eq!(ask(dir.path(), &["nonsense"]).0, 2);
    assert_eq!(ask(dir.path(), &["--help"]).0, 0);
}
