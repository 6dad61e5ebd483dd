//! A run whose process hangs in the kernel: it is not over before it is, one is told where it hangs, and all else goes
//! on.

use std::fs;

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{RunId, Status, Tree};

use crate::hang::Hang;
use crate::jobd::{Jobd, kill_9, wait_for};
use crate::webhook::Webhook;
use crate::{by_hand, folder};

/// A job that hangs, and one that does not.
fn jobs(hang: &Hang, entry: &str) -> String {
    let hung = format!("shell = \"exec cat {}\"\nkill_grace = \"100ms\"\n{entry}", hang.file().display());
    by_hand("hung", &hung) + &by_hand("other", "shell = \"exit 0\"")
}

/// Starts the job that hangs, and waits until its row says that it cannot be killed.
#[track_caller]
fn noted(jobd: &Jobd, run: u64) -> RunRecord {
    wait_for("its row says that it cannot be killed", || {
        Some(jobd.run(run)).filter(|row| row.reason.is_some() || row.status.is_final())
    })
}

#[track_caller]
fn started(jobd: &Jobd, hang: &Hang) -> u64 {
    let run = jobd.begin("hung");
    wait_for("it hangs", || (hang.touched() > 0).then_some(()));
    run
}

/// What the row says while it hangs, checked against what the process really does.
#[track_caller]
fn place(jobd: &Jobd, row: &RunRecord) -> (u32, String) {
    assert_eq!((row.status, row.completed_at), (Status::Running, None), "{row:?}");
    let mark = folder(jobd, row.run_id.0).mark().unwrap().unwrap();
    let pid = mark.job.unwrap().pid;
    let place = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap();
    assert_eq!(row.reason, Some(format!("process {pid} (cat) cannot be killed: D in {place}")));
    (pid, place)
}

#[test]
fn a_run_that_cannot_be_killed_goes_on_until_it_is_gone_and_is_told_once() {
    let mut hang = Hang::new();
    let webhook = Webhook::started();
    let mut jobd = Jobd::started(&webhook.config(&jobs(&hang, "timeout = \"1s\"")));
    let run = started(&jobd, &hang);
    let (pid, place) = place(&jobd, &noted(&jobd, run));
    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with("⚠️ hung 종료 불가\n"), "{}", texts[0]);
    let line = format!("프로세스: {pid} (cat), 상태 D, {place}에서 대기");
    assert!(texts[0].lines().any(|found| found == line), "{}", texts[0]);

    // Its job waits for it, and no other does.
    let refused = jobd.jobctl(&["run", "hung"]);
    assert_ne!(refused.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&format!("run {run} of hung is active")));
    let other = jobd.begin("other");
    assert_eq!(jobd.ended(other).status, Status::Success);

    // A jobd that starts anew takes it up, and does not tell it again; nor does one that finds it past its limit.
    jobd.kill();
    jobd.start();
    jobd.wait_until_ready();
    let found = format!("process {pid} (cat) cannot be killed");
    wait_for("the next jobd has found it as well", || {
        (jobd.log().matches(&found).count() == 2).then_some(())
    });
    assert_eq!(jobd.run(run).status, Status::Running);

    hang.release();
    let row = jobd.ended(run);
    assert_eq!((row.status, row.term_signal), (Status::Timeout, Some(15)));
    let reason = row.reason.unwrap();
    let (begin, end) = (format!("process {pid} (cat) could not be killed for "), format!(": D in {place}"));
    assert!(reason.starts_with(&begin) && reason.ends_with(&end), "{reason}");
    let error = row.error_message.unwrap();
    assert!(error.starts_with("timed out after 1s\n") && error.contains(&reason), "{error}");
    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[1].starts_with("⚠️ hung 타임아웃\n"), "{}", texts[1]);
    let Tree { left, .. } = folder(&jobd, run).result().unwrap().unwrap().tree.unwrap();
    assert_eq!(left, []);
    assert_eq!(jobd.run(other).run_id, RunId(other));
}

#[test]
fn a_run_without_a_limit_that_cannot_be_killed_is_told_when_it_is_stopped() {
    let mut hang = Hang::new();
    let webhook = Webhook::started();
    let jobd = Jobd::started(&webhook.config(&jobs(&hang, "timeout = \"none\"")));
    let run = started(&jobd, &hang);
    jobd.tell(&["kill", &run.to_string()]);
    place(&jobd, &noted(&jobd, run));
    assert_eq!(webhook.delivered(&jobd).len(), 1);
    hang.release();
    let row = jobd.ended(run);
    assert_eq!(row.status, Status::Killed);
    let reason = row.reason.unwrap();
    assert!(reason.starts_with("killed by ") && reason.contains(" could not be killed for "), "{reason}");
    assert_eq!(webhook.delivered(&jobd).len(), 1, "a person knows what a person did");
}

#[test]
fn a_killed_shim_of_a_run_that_cannot_be_killed_tells_where_it_hangs() {
    let mut hang = Hang::new();
    let webhook = Webhook::started();
    let jobd = Jobd::started(&webhook.config(&jobs(&hang, "timeout = \"none\"")));
    let run = started(&jobd, &hang);
    let mark = folder(&jobd, run).mark().unwrap().unwrap();
    kill_9(mark.pid.try_into().unwrap());
    let row = jobd.ended(run);
    assert_eq!(row.status, Status::Lost);
    let told = format!("process {} (cat) cannot be killed: D in ", mark.job.unwrap().pid);
    assert!(row.error_message.unwrap().contains(&told));
    let texts = webhook.delivered(&jobd);
    assert!(texts.len() == 1 && texts[0].contains(&told), "{texts:?}");
    hang.release();
    wait_for("it is gone", || jobd.job_processes().is_empty().then_some(()));
}
