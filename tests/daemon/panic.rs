//! Faults in jobd itself: one in a run's task stays with that run, one in its heart ends jobd.

use std::path::Path;

use jobctl::engine::run::Status;

use crate::by_hand;
use crate::jobd::{Jobd, wait_for};
use crate::webhook::Webhook;

fn jobs() -> String {
    by_hand("poisoned", "shell = \"sleep 0.5; exit 7\"") + &by_hand("healthy", "shell = \"exit 0\"")
}

/// A jobd that panics at a place of a job, so many times.
fn faulty(panic: &str) -> Jobd {
    let mut jobd = Jobd::new(&jobs());
    jobd.start_with(&[("JOBD_PANIC", Path::new(panic))]);
    jobd.wait_until_ready();
    jobd
}

#[test]
fn a_run_is_taken_up_again_and_others_are_not_touched() {
    let jobd = faulty("attend:poisoned:2");
    let poisoned = jobd.begin("poisoned");
    assert_eq!(jobd.ended(jobd.begin("healthy")).status, Status::Success);
    let row = jobd.ended(poisoned);
    assert_eq!((row.status, row.exit_code), (Status::Failed, Some(7)), "its end is its own: {row:?}");
    assert_eq!(jobd.history("poisoned").len(), 1);
    let log = jobd.log();
    assert!(log.contains("jobd failed to look after the run, and takes it up again in 1s"), "{log}");
    assert!(log.contains(&format!("run={poisoned}")) && log.contains("attend.rs"), "{log}");
}

#[test]
fn a_run_whose_launch_goes_astray_is_settled() {
    let jobd = faulty("launch:poisoned:1");
    let row = jobd.ended(jobd.begin("poisoned"));
    assert_eq!((row.status, row.pid), (Status::Failed, None), "{row:?}");
    assert_eq!(jobd.ended(jobd.begin("poisoned")).exit_code, Some(7));
}

#[test]
fn a_batch_is_stored_in_spite_of_a_fault() {
    let jobd = faulty("commit:poisoned:2");
    let run = jobd.begin("poisoned");
    assert_eq!(jobd.ended(run).exit_code, Some(7));
    wait_for("the store's trouble is over", || {
        jobd.json(&["status"])["store"]["error"].is_null().then_some(())
    });
    assert!(jobd.log().contains("the store cannot be written"), "{}", jobd.log());
}

#[test]
fn a_fault_in_the_loop_ends_jobd_and_no_run() {
    let webhook = Webhook::started();
    let mut jobd = Jobd::new(&webhook.config(&jobs()));
    jobd.start_with(&[("JOBD_PANIC", Path::new("dispatcher:healthy:1"))]);
    jobd.wait_until_ready();
    let run = jobd.begin("poisoned");
    assert!(!jobd.jobctl(&["run", "healthy"]).status.success());
    assert_eq!(jobd.exit_code(), Some(1), "{}", jobd.log());
    assert!(jobd.log().contains("dispatcher.rs"), "its place is told: {}", jobd.log());
    jobd.start();
    jobd.wait_until_ready();
    assert_eq!(jobd.ended(run).exit_code, Some(7));
    assert_eq!(webhook.delivered(&jobd).len(), 1);
}
