//! A run outlives jobd, and the next jobd knows how it ended.

use std::fs;
use std::process::Stdio;

use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;

use crate::jobd::{Jobd, text, wait_for};
use crate::{by_hand, lines};

/// Says that it has started, waits until it may end, and fails in a way of its own.
const GATED: &str = r#"shell = '''
echo "$JOBD_RUN_ID" >> starts; echo first
until [ -e gate ]; do sleep 0.05; done
echo last; echo "no good" >&2; exit 7
'''
"#;

/// A jobd with a run that waits at its gate.
fn waiting() -> (Jobd, u64) {
    let jobd = Jobd::started(&by_hand("gated", GATED));
    let run = jobd.begin("gated");
    wait_for("the job waits", || jobd.tell(&["logs", &run.to_string()]).contains("first").then_some(()));
    (jobd, run)
}

fn open_gate(jobd: &Jobd) {
    fs::write(jobd.path("gate"), "").unwrap();
}

#[track_caller]
fn assert_true_end(jobd: &Jobd, row: &RunRecord) {
    assert_eq!((row.status, row.exit_code), (Status::Failed, Some(7)));
    assert_eq!(row.error_message.as_deref(), Some("exit code 7\nno good"));
    let run = row.run_id.to_string();
    assert_eq!(jobd.tell(&["logs", "--stdout", &run]), "first\nlast\n");
    assert_eq!(jobd.tell(&["logs", "--stderr", &run]), "no good\n");
    assert_eq!(lines(jobd, "starts"), [run], "it was started once");
    assert_eq!(jobd.history("gated").len(), 1);
}

#[test]
fn a_run_outlives_its_entry_and_a_bad_configuration() {
    let (mut jobd, run) = waiting();
    assert_eq!(jobd.stop(), Some(0));
    fs::write(jobd.path("jobs.toml"), "[jobs.other]\nschedule = \"@never\"\n").unwrap();
    assert_eq!(jobd.start_in_vain(&[]).0, Some(2));
    assert!(!jobd.job_processes().is_empty());
    fs::write(jobd.path("jobs.toml"), by_hand("other", "shell = \"exit 0\"")).unwrap();
    jobd.start();
    jobd.wait_until_ready();
    assert_eq!(jobd.run(run).status, Status::Running);
    open_gate(&jobd);
    assert_true_end(&jobd, &jobd.ended(run));
}

/// Follows a run while jobd is restarted.
#[track_caller]
fn follow_through(restart: impl Fn(&mut Jobd)) {
    let mut jobd = Jobd::started(&by_hand("gated", GATED));
    let mut command = jobd.command(&["run", "gated", "--follow"]);
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the job waits", || (lines(&jobd, "starts").len() == 1).then_some(()));
    restart(&mut jobd);
    jobd.start();
    jobd.wait_until_ready();
    open_gate(&jobd);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "first\nlast\n", "{}", text(&output.stderr));
}

#[test]
fn whoever_follows_a_run_outlasts_kill_9() {
    follow_through(Jobd::kill);
}

#[test]
fn whoever_follows_a_run_outlasts_a_restart() {
    follow_through(|jobd| assert_eq!(jobd.stop(), Some(0)));
}

#[test]
fn reboot_jobs_run_once_a_boot() {
    let mut jobd = Jobd::started(
        "[jobs.mount]\nschedule = \"@reboot\"\nshell = \"echo $JOBD_SCHEDULED_AT >> starts\"\n\
         [jobs.after]\nschedule = \"@every 1s\"\nshell = \"exit 0\"\n",
    );
    wait_for("it has run", || {
        jobd.history("mount").iter().any(|row| row.status == Status::Success).then_some(())
    });
    let before = jobd.history("mount");
    assert_eq!((before.len(), before[0].scheduled_at), (1, Some(clock::booted_at())));
    jobd.stop();
    jobd.start();
    jobd.wait_until_ready();
    jobd.kill();
    jobd.start();
    jobd.wait_until_ready();
    let fired = jobd.history("after").len();
    wait_for("jobd fires", || (jobd.history("after").len() > fired).then_some(()));
    assert_eq!(jobd.history("mount"), before);
    assert_eq!(lines(&jobd, "starts").len(), 1);
}
