//! Whose turn it is: runs of a job beside and behind each other, and what jobs share.

use std::fs;

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;

use crate::jobd::{Jobd, wait_for};
use crate::webhook::Webhook;
use crate::{by_hand, lines};

/// Runs until somebody opens the gate.
const GATED: &str = "shell = 'echo \"$JOBD_JOB\" >> starts; until [ -e gate ]; do sleep 0.05; done'";

fn each_second(overlap: &str) -> String {
    format!("[jobs.slow]\nschedule = \"* * * * * *\"\n{overlap}\n{GATED}\n")
}

fn with_status(jobd: &Jobd, job: &str, status: Status) -> Vec<RunRecord> {
    jobd.history(job).into_iter().filter(|row| row.status == status).collect()
}

fn open(jobd: &Jobd) {
    fs::write(jobd.path("gate"), "").unwrap();
}

/// What a run waits for, as `jobctl ps` has it.
#[track_caller]
fn waits_for(jobd: &Jobd, run: u64) -> String {
    let told = jobd.tell(&["ps"]);
    let line = told.lines().find(|line| line.trim_start().starts_with(&format!("{run} "))).map(str::to_owned);
    line.unwrap_or_else(|| panic!("run {run} is not there:\n{told}"))
}

#[test]
fn a_queue_holds_as_many_as_may_wait_and_empties_in_order() {
    let jobd = Jobd::started(&each_second("overlap = \"queue\"\nqueue_limit = 1"));
    let skipped = wait_for("the queue is full", || with_status(&jobd, "slow", Status::Skipped).pop());
    let (running, queued) =
        (with_status(&jobd, "slow", Status::Running), with_status(&jobd, "slow", Status::Queued));
    assert_eq!((running.len(), queued.len()), (1, 1));
    let why = format!("run {} was still active, and 1 waited, which is the limit", running[0].run_id);
    assert_eq!(skipped.reason, Some(why));
    let line = waits_for(&jobd, queued[0].run_id.0);
    assert!(line.contains("QUEUED") && line.ends_with(&format!("run {}", running[0].run_id)), "{line}");
    open(&jobd);
    let second = jobd.ended(queued[0].run_id.0);
    assert_eq!(second.status, Status::Success);
    assert!(jobd.run(running[0].run_id.0).completed_at.unwrap() <= second.started_at);
}

#[test]
fn a_run_that_takes_anothers_place_ends_it_and_tells_nobody() {
    let webhook = Webhook::started();
    let jobd = Jobd::started(&webhook.config(&each_second("overlap = \"replace\"")));
    let killed = wait_for("a run is replaced", || with_status(&jobd, "slow", Status::Killed).pop());
    let why = killed.reason.unwrap();
    assert!(why.ends_with(", which takes its place"), "{why}");
    wait_for("another one runs", || with_status(&jobd, "slow", Status::Running).pop());
    assert_eq!(webhook.delivered(&jobd), Vec::<String>::new());
}

#[test]
fn runs_that_may_overlap_run_beside_each_other() {
    let jobd = Jobd::started(&each_second("overlap = \"allow\""));
    wait_for("three run", || (with_status(&jobd, "slow", Status::Running).len() >= 3).then_some(()));
    assert!(with_status(&jobd, "slow", Status::Skipped).is_empty());
}

#[test]
fn the_second_skip_behind_a_run_is_told_once_and_names_it() {
    let webhook = Webhook::started();
    let mut jobd = Jobd::started(&webhook.config(&each_second("overlap = \"skip\"")));
    let skips = |jobd: &Jobd| with_status(jobd, "slow", Status::Skipped).len();
    wait_for("fires are skipped", || (skips(&jobd) >= 2).then_some(()));
    let run = with_status(&jobd, "slow", Status::Running)[0].run_id;
    let texts = wait_for("it is told", || Some(webhook.delivered(&jobd)).filter(|texts| !texts.is_empty()));
    let said = format!("⚠️ slow 계속 건너뜀: 실행 {run}번이 아직 진행 중입니다\n건너뜀: 연속 2회\n");
    assert!(texts[0].starts_with(&said) && texts[0].contains(&format!("`jobctl kill {run}`")), "{texts:?}");
    jobd.kill();
    jobd.start();
    jobd.wait_until_ready();
    let before = skips(&jobd);
    wait_for("more are skipped behind it", || (skips(&jobd) >= before + 3).then_some(()));
    assert_eq!(webhook.delivered(&jobd).len(), 1, "once for each run in the way, whoever tells it");
}

#[test]
fn jobs_that_share_a_lock_run_one_after_the_other() {
    let sharing = format!("locks = [\"db\"]\n{GATED}");
    let jobd = Jobd::started(&(by_hand("first", &sharing) + &by_hand("second", &sharing)));
    let (first, second) = (jobd.begin("first"), jobd.begin("second"));
    wait_for("the second waits", || (jobd.run(second).status == Status::Queued).then_some(()));
    let line = waits_for(&jobd, second);
    assert!(line.ends_with(&format!("lock db, held by run {first}")), "{line}");
    open(&jobd);
    assert!(jobd.ended(first).completed_at.unwrap() <= jobd.ended(second).started_at);
}

#[test]
fn a_pool_has_as_many_places_as_it_says() {
    let one = format!("pools = [\"etl\"]\n{GATED}");
    let two = format!("pools = {{ etl = 2 }}\nbusy = \"skip\"\nschedule = \"* * * * * *\"\n{GATED}");
    let jobs = by_hand("one", &one) + &by_hand("other", &one) + &by_hand("third", &one);
    let jobd = Jobd::started(&format!("[pools]\netl = 2\n{jobs}"));
    let (one, other) = (jobd.begin("one"), jobd.begin("other"));
    let third = jobd.begin("third");
    wait_for("two run", || (lines(&jobd, "starts").len() == 2).then_some(()));
    assert!(waits_for(&jobd, third).contains("pool etl, used by run "), "{}", waits_for(&jobd, third));
    fs::write(jobd.path("jobs.toml"), format!("[pools]\netl = 2\n{jobs}[jobs.large]\n{two}\n")).unwrap();
    jobd.tell(&["reload"]);
    let skipped =
        wait_for("what does not wait is skipped", || with_status(&jobd, "large", Status::Skipped).pop());
    let why = skipped.reason.unwrap();
    assert!(
        why == format!("etl was held by run {one}") || why == format!("etl was held by run {other}"),
        "{why}"
    );
    open(&jobd);
    assert_eq!(jobd.ended(third).status, Status::Success);
}

#[test]
fn with_every_place_taken_the_more_important_goes_first() {
    let jobs = by_hand("holder", GATED)
        + &by_hand("low", GATED)
        + &by_hand("high", &format!("priority = 10\n{GATED}"));
    let jobd = Jobd::started(&format!("max_running = 1\n{jobs}"));
    jobd.begin("holder");
    let (low, high) = (jobd.begin("low"), jobd.begin("high"));
    for run in [low, high] {
        wait_for("it waits", || (jobd.run(run).status == Status::Queued).then_some(()));
    }
    open(&jobd);
    assert!(jobd.ended(high).completed_at.unwrap() <= jobd.ended(low).started_at);
    assert_eq!(lines(&jobd, "starts"), ["holder", "high", "low"]);
}
