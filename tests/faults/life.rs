//! The life of jobd and its shims (section A): killed, stopped, doubled, rebooted, and mistaken for somebody else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;
use jobctl::failpoint::{Failpoint, VARIABLE};
use jobctl::os;
use jobctl::run::{Mark, Started};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, geteuid, mkfifo};

use crate::jobd::{Ended, JOBD, Jobd, PATIENCE, kill_9, text, wait_for, wait_within};
use crate::webhook::Webhook;
use crate::{by_hand, folder, lines, with_database};

const JOBS: usize = 20;

/// A job that says that it has started, waits for its gate to be opened, and ends in a way of its own.
pub fn gated(code: usize) -> String {
    format!(
        "shell = 'echo \"$JOBD_RUN_ID\" >> starts; echo first; : < gate; echo last; echo \"no good\" >&2; exit {code}'"
    )
}

/// A jobd with a run of each of so many jobs; the n-th waits at its gate to exit with n.
pub fn waiting(config: impl Fn(&str) -> String, jobs: usize) -> (Jobd, Vec<u64>) {
    let entries: String = (0..jobs).map(|n| by_hand(&format!("job{n}"), &gated(n))).collect();
    let mut jobd = Jobd::new(&config(&entries));
    mkfifo(&jobd.path("gate"), Mode::S_IRWXU).unwrap();
    jobd.start();
    jobd.wait_until_ready();
    let runs: Vec<u64> = (0..jobs).map(|n| jobd.begin(&format!("job{n}"))).collect();
    for run in &runs {
        let wrote = || jobd.tell(&["logs", &run.to_string()]).contains("first").then_some(());
        wait_for("the job waits", wrote);
    }
    (jobd, runs)
}

/// Whoever waits at the gate goes on, and whoever comes to it, for as long as this is kept.
pub fn open_gate(jobd: &Jobd) -> File {
    // For reading too: so it opens at once, and stays open.
    File::options().read(true).write(true).open(jobd.path("gate")).unwrap()
}

#[track_caller]
fn assert_true_end(jobd: &Jobd, code: usize, row: &RunRecord) {
    let status = if code == 0 { Status::Success } else { Status::Failed };
    assert_eq!((row.status, row.exit_code), (status, i32::try_from(code).ok()));
    let run = row.run_id.to_string();
    assert_eq!(jobd.tell(&["logs", "--stdout", &run]), "first\nlast\n");
    assert_eq!(jobd.tell(&["logs", "--stderr", &run]), "no good\n");
}

#[track_caller]
fn assert_started_once(jobd: &Jobd, runs: &[u64]) {
    let mut starts: Vec<u64> = lines(jobd, "starts").iter().map(|line| line.parse().unwrap()).collect();
    starts.sort_unstable();
    assert_eq!(starts, runs);
}

/// What the tests need no more than a plain configuration for.
fn plain(entries: &str) -> String {
    entries.to_owned()
}

#[test]
fn twenty_runs_go_on_through_kill_9_and_are_adopted() {
    let (mut jobd, runs) = waiting(plain, JOBS);
    let rows = |jobd: &Jobd| runs.iter().map(|run| jobd.run(*run)).collect::<Vec<_>>();
    let before = rows(&jobd);
    for _ in 0..3 {
        jobd.kill();
        jobd.start();
        jobd.wait_until_ready();
        assert_eq!(rows(&jobd), before, "the rows say what they said");
    }
    let _gate = open_gate(&jobd);
    for (code, run) in runs.iter().enumerate() {
        assert_true_end(&jobd, code, &jobd.ended(*run));
    }
    assert_started_once(&jobd, &runs);
}

#[test]
fn runs_that_end_while_jobd_is_down_have_their_own_ends() {
    let (mut jobd, runs) = waiting(plain, JOBS);
    jobd.kill();
    let _gate = open_gate(&jobd);
    wait_for("the shims have ended", || jobd.shims().is_empty().then_some(()));
    let restarted_at = clock::now().wall;
    jobd.start();
    jobd.wait_until_ready();
    for (code, run) in runs.iter().enumerate() {
        let row = jobd.run(*run);
        assert!(row.completed_at.unwrap() < restarted_at, "{row:?}");
        assert_true_end(&jobd, code, &row);
    }
    assert_started_once(&jobd, &runs);
}

#[test]
fn sigterm_ends_jobd_at_once_and_no_run() {
    let (mut jobd, runs) = waiting(plain, 3);
    // Somebody who follows a run holds nothing up, and sees all of it.
    let mut command = jobd.command(&["logs", "--follow", &runs[1].to_string()]);
    let follower = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let before = clock::now().monotonic;
    assert_eq!(jobd.stop(), Some(0), "{}", jobd.log());
    let took = clock::now().monotonic.since(before);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(jobd.job_processes().len(), runs.len());
    assert!(!jobd.path("jobd.sock").exists(), "nobody knocks in vain");
    jobd.start();
    jobd.wait_until_ready();
    assert!(runs.iter().all(|run| jobd.run(*run).status == Status::Running));
    let _gate = open_gate(&jobd);
    for (code, run) in runs.iter().enumerate() {
        assert_true_end(&jobd, code, &jobd.ended(*run));
    }
    let output = follower.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "first\nlast\nno good\n".to_owned()));
}

/// Holds out against SIGTERM, with a grandchild in a session of its own that does too and holds its stdout.
pub const STUBBORN: &str = r#"shell = '''
trap '' TERM
setsid sh -c 'trap "" TERM; echo grandchild; while :; do sleep 0.05; done' &
echo main; while :; do sleep 0.05; done
'''
"#;

/// Starts the stubborn job, and waits until both of its processes are there.
#[track_caller]
pub fn stubborn(jobd: &Jobd) -> u64 {
    let run = jobd.begin("stubborn");
    wait_for("the whole tree is there", || {
        let output = jobd.tell(&["logs", &run.to_string()]);
        (output.contains("main\n") && output.contains("grandchild\n")).then_some(())
    });
    run
}

#[test]
fn a_run_whose_shim_is_killed_is_lost_and_its_tree_dead() {
    let webhook = Webhook::started();
    let jobd = Jobd::started(&webhook.config(&by_hand("stubborn", STUBBORN)));
    let run = stubborn(&jobd);
    let shim = folder(&jobd, run).mark().unwrap().unwrap().pid;
    let killed_at = clock::now().wall;
    kill_9(shim.try_into().unwrap());
    let row = jobd.ended(run);
    assert!(jobd.job_processes().is_empty());
    assert_eq!((row.status, row.exit_code), (Status::Lost, None));
    let noticed_after = row.completed_at.unwrap().duration_since(killed_at);
    // A second on a machine with nothing else to do.
    assert!(noticed_after.as_secs() < 3, "{noticed_after}");

    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with("❌ stubborn 결과 불명\n"), "{}", texts[0]);
}

#[test]
fn a_run_whose_shim_is_killed_while_jobd_is_down_is_lost_and_its_tree_dead() {
    let mut jobd = Jobd::started(&by_hand("stubborn", STUBBORN));
    let run = stubborn(&jobd);
    jobd.kill();
    for shim in jobd.shims() {
        kill_9(shim);
    }
    assert!(!jobd.job_processes().is_empty(), "nobody is there to end them yet");
    jobd.start();
    jobd.wait_until_ready();
    assert_eq!(jobd.run(run).status, Status::Lost);
    assert!(jobd.job_processes().is_empty());
}

/// A second jobd for the same state directory refuses within two seconds and names the first; nothing is disturbed.
#[track_caller]
fn assert_second_is_refused(jobd: &Jobd, command: Command) {
    let before = clock::now().monotonic;
    let variables: [(&str, &Path); 1] = [("JOBD_SOCKET", &jobd.path("other.sock"))];
    let (code, said) = jobd.start_in_vain_by(command, &variables);
    let took = clock::now().monotonic.since(before);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(code, Some(1), "{said}");
    for word in [&format!("the jobd with pid {}", jobd.pid()), "--state-dir"] {
        assert!(said.contains(word), "{said}");
    }
    jobd.tell(&["run", "job", "--wait"]);
}

#[test]
fn a_state_directory_has_one_jobd() {
    let jobd = Jobd::started(&by_hand("job", "shell = \"exit 0\""));
    assert_second_is_refused(&jobd, Command::new(JOBD));
}

#[test]
fn a_jobd_in_another_pid_namespace_is_a_second_one_too() {
    let jobd = Jobd::started(&by_hand("job", "shell = \"exit 0\""));
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", JOBD]);
    if geteuid().is_root() {
        assert_second_is_refused(&jobd, command);
    } else {
        // Without root's rights there is no such namespace, and so no such jobd.
        let (code, said) = jobd.start_in_vain_by(command, &[]);
        assert!(code == Some(1) && said.contains("unshare"), "{said}");
    }
}

/// A process that has nothing to do with us.
fn stranger() -> Ended {
    Ended(Command::new("sleep").arg("300").spawn().unwrap())
}

#[track_caller]
fn assert_unharmed(stranger: &mut Ended) {
    assert_eq!(stranger.0.try_wait().unwrap(), None, "a process that is no run's was ended");
}

/// Rewrites a run's mark so that it names the stranger's pids, and whatever else.
fn mistake(jobd: &Jobd, run: u64, stranger: &Ended, change: impl FnOnce(&mut Mark)) {
    let folder = folder(jobd, run);
    let mut mark = folder.mark().unwrap().unwrap();
    mark.pid = stranger.0.id();
    mark.start_time = os::start_time(mark.pid).unwrap();
    mark.job = mark.job.map(|job| Started { pid: stranger.0.id(), ..job });
    change(&mut mark);
    fs::write(folder.lock_path(), serde_json::to_vec(&mark).unwrap()).unwrap();
}

/// A run that went down with its shim and jobd, as in a power cut.
fn cut_off() -> (Webhook, Jobd, u64) {
    let webhook = Webhook::started();
    let (mut jobd, runs) = waiting(|entries| webhook.config(entries), 1);
    jobd.kill();
    for shim in jobd.shims() {
        kill_9(shim);
    }
    wait_for("nothing is left", || jobd.job_processes().is_empty().then_some(()));
    (webhook, jobd, runs[0])
}

#[track_caller]
fn assert_lost(webhook: &Webhook, mut jobd: Jobd, run: u64, why: &str, told: &str) {
    jobd.start();
    jobd.wait_until_ready();
    let row = jobd.run(run);
    assert_eq!((row.status, row.exit_code), (Status::Lost, None));
    assert_eq!(row.error_message.as_deref(), Some(why));
    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with("❌ job0 결과 불명\n") && texts[0].contains(told), "{}", texts[0]);
    // It is settled for good, and the job runs again.
    jobd.kill();
    jobd.start();
    jobd.wait_until_ready();
    assert_eq!(jobd.run(run), row);
    let _gate = open_gate(&jobd);
    assert_true_end(&jobd, 0, &jobd.ended(jobd.begin("job0")));
}

#[test]
fn after_a_reboot_a_run_is_lost_and_no_pid_of_it_is_signalled() {
    let (webhook, jobd, run) = cut_off();
    let mut stranger = stranger();
    // In the new boot the same pid, started at the same tick, is somebody else.
    mistake(&jobd, run, &stranger, |mark| "another boot".clone_into(&mut mark.boot_id));
    assert_lost(&webhook, jobd, run, "host rebooted", "호스트가 다시 시작됨");
    assert_unharmed(&mut stranger);
}

#[test]
fn after_a_power_cut_at_a_gate_no_fire_has_two_starts() {
    let entries = "[jobs.job]\nschedule = \"* * * * * *\"\ncatch_up = \"all\"\n\
                   shell = 'echo \"$JOBD_SCHEDULED_AT\" >> starts'\n";
    let mut jobd = Jobd::new(entries);
    // The gate is opened, the job starts, and the row of it is not there.
    jobd.start_with(&[(VARIABLE, Path::new(Failpoint::AfterGo.as_str()))]);
    assert_eq!(jobd.wait_until_dead().signal(), Some(Signal::SIGABRT as i32), "{}", jobd.log());
    wait_for("the job was started", || (!lines(&jobd, "starts").is_empty()).then_some(()));
    wait_for("nothing is left", || jobd.shims().is_empty().then_some(()));
    let ahead = "SELECT json_array(run_id, scheduled_at) FROM claims WHERE state = 'ahead'";
    let (run, fire): (u64, String) = with_database(&jobd, async |database| {
        let json: String = sqlx::query_scalar(ahead).fetch_one(&mut *database).await.unwrap();
        sqlx::query("UPDATE meta SET boot_id = 'another boot'").execute(database).await.unwrap();
        serde_json::from_str(&json).unwrap()
    });
    // What was not synced is gone: all but the folder itself.
    let of_run = folder(&jobd, run);
    for file in fs::read_dir(of_run.path()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    jobd.start();
    jobd.wait_until_ready();
    let row = jobd.run(run);
    assert_eq!((row.status, row.error_message.as_deref()), (Status::Lost, Some("host rebooted")));
    assert_eq!(row.scheduled_at, Some(fire.parse().unwrap()));
    wait_for("it goes on", || (jobd.history("job")[0].run_id.0 > run + 2).then_some(()));
    let starts = lines(&jobd, "starts");
    let fires: BTreeSet<&String> = starts.iter().collect();
    assert_eq!(fires.len(), starts.len(), "a fire was started twice: {starts:?}");
}

#[test]
fn a_pid_that_is_somebody_elses_by_now_is_left_alone() {
    let (webhook, jobd, run) = cut_off();
    let mut stranger = stranger();
    mistake(&jobd, run, &stranger, |mark| mark.start_time -= 1);
    assert_lost(&webhook, jobd, run, "its shim vanished", "작업을 맡은 jobd-shim이 사라짐");
    assert_unharmed(&mut stranger);
}

#[test]
fn a_mark_that_names_a_stranger_gets_nobody_killed_while_the_run_is_held() {
    let (mut jobd, runs) = waiting(plain, 1);
    let mut stranger = stranger();
    mistake(&jobd, runs[0], &stranger, |mark| mark.start_time -= 1);
    for times in 1..=2 {
        jobd.tell(&["kill", &runs[0].to_string()]);
        wait_for("jobd says that it has stopped nobody", || {
            let said = "the run was not stopped: the run is not active";
            (jobd.log().matches(said).count() == times).then_some(())
        });
        jobd.kill();
        jobd.start();
        jobd.wait_until_ready();
    }
    assert_eq!(jobd.run(runs[0]).status, Status::Running, "its lock is held");
    let _gate = open_gate(&jobd);
    assert_true_end(&jobd, 0, &jobd.ended(runs[0]));
    assert_unharmed(&mut stranger);
}

#[test]
fn a_jobd_that_stands_still_for_a_while_accounts_for_every_fire_of_it() {
    let seconds: u64 = std::env::var("STOPPED").map_or(5, |text| text.parse().expect("STOPPED is a number"));
    let job = "schedule = \"* * * * * *\"\nshell = 'echo \"$JOBD_RUN_ID\" >> starts'\n";
    let policies = ["skip", "latest", "all"];
    let jobs = policies.map(|policy| {
        let window = "catch_up_window = \"3s\"\n";
        format!("[jobs.{policy}]\ncatch_up = \"{policy}\"\n{window}{job}")
    });
    let jobd = Jobd::started(&jobs.concat());
    wait_for("it fires", || (!lines(&jobd, "starts").is_empty()).then_some(()));
    let pid = Pid::from_raw(jobd.pid().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let stopped_at = clock::now().wall.as_second();
    wait_within(PATIENCE + Duration::from_secs(seconds), "the time has passed", || {
        (clock::now().wall.as_second() >= stopped_at + i64::try_from(seconds).unwrap()).then_some(())
    });
    kill(pid, Signal::SIGCONT).unwrap();
    let continued_at = clock::now().wall.as_second();
    for policy in policies {
        let rows = wait_for("it fires again", || {
            let rows = jobd.history(policy);
            let again = |row: &RunRecord| {
                row.status == Status::Success && row.scheduled_at.unwrap().as_second() > continued_at + 1
            };
            rows.iter().any(again).then_some(rows)
        });
        assert_each_second_has_a_row(&rows);
        let during = |row: &&RunRecord| {
            (stopped_at + 1..continued_at).contains(&row.scheduled_at.unwrap().as_second())
        };
        let ran = rows.iter().filter(during).filter(|row| row.pid.is_some()).count();
        assert!(ran <= 1, "{policy}: {ran} of the fires that nobody was there for were run");
    }
    let starts = lines(&jobd, "starts");
    assert_eq!(starts.iter().collect::<BTreeSet<_>>().len(), starts.len(), "a run was started twice");
}

#[track_caller]
fn assert_each_second_has_a_row(rows: &[RunRecord]) {
    let mut seconds: Vec<i64> = Vec::new();
    for row in rows {
        let at = row.scheduled_at.unwrap().as_second();
        seconds.extend(at..at + i64::try_from(row.fires).unwrap());
    }
    seconds.sort_unstable();
    let every: Vec<i64> = (seconds[0]..=seconds[seconds.len() - 1]).collect();
    assert_eq!(seconds, every, "each second has one row");
}
