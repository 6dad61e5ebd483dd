//! No process of a run outlives it: not at its timeout, not when its shim is killed.

use std::time::Duration;

use jobctl::clock;
use jobctl::engine::run::Status;

use crate::jobd::{Jobd, kill_9, wait_for};
use crate::webhook::Webhook;
use crate::{by_hand, folder};

/// Holds out against SIGTERM, with a grandchild in a session of its own that does too and holds its stdout.
const STUBBORN: &str = r#"shell = '''
trap '' TERM
setsid sh -c 'trap "" TERM; echo grandchild; while :; do sleep 0.05; done' &
echo main; while :; do sleep 0.05; done
'''
"#;

/// Starts the stubborn job, and waits until both of its processes are there.
#[track_caller]
fn started(jobd: &Jobd) -> u64 {
    let run = jobd.begin("stubborn");
    wait_for("the whole tree is there", || {
        let output = jobd.tell(&["logs", &run.to_string()]);
        (output.contains("main\n") && output.contains("grandchild\n")).then_some(())
    });
    run
}

#[test]
fn a_tree_that_ignores_sigterm_is_dead_soon_after_its_timeout_and_told_once() {
    let webhook = Webhook::started();
    let job = format!("timeout = \"1500ms\"\nkill_grace = \"500ms\"\n{STUBBORN}");
    let jobd = Jobd::started(&webhook.config(&by_hand("stubborn", &job)));
    let run = started(&jobd);
    assert!(jobd.job_processes().len() >= 2);
    let row = jobd.ended(run);
    assert!(jobd.job_processes().is_empty(), "the row is final, so nothing is left");
    assert_eq!((row.status, row.term_signal), (Status::Timeout, Some(9)));
    let took = Duration::from_millis(row.duration_ms.unwrap());
    assert!(Duration::from_secs(2) <= took && took <= Duration::from_secs(2 + 2), "{took:?}");

    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with("⚠️ stubborn 타임아웃\n"), "{}", texts[0]);
    for line in ["시작: ", "경과: "] {
        assert!(texts[0].lines().any(|found| found.starts_with(line)), "{}", texts[0]);
    }
}

#[test]
fn a_timeout_needs_no_jobd() {
    let webhook = Webhook::started();
    let job = format!("timeout = \"1s\"\nkill_grace = \"100ms\"\n{STUBBORN}");
    let mut jobd = Jobd::started(&webhook.config(&by_hand("stubborn", &job)));
    let run = started(&jobd);
    jobd.kill();
    wait_for("its tree is dead", || jobd.job_processes().is_empty().then_some(()));
    wait_for("its shim has ended", || jobd.shims().is_empty().then_some(()));
    let before = clock::now().wall;
    jobd.start();
    jobd.wait_until_ready();
    let row = jobd.run(run);
    assert_eq!((row.status, row.term_signal), (Status::Timeout, Some(9)));
    assert!(row.completed_at.unwrap() < before, "{row:?}");
    let texts = webhook.delivered(&jobd);
    assert!(texts.len() == 1 && texts[0].starts_with("⚠️ stubborn 타임아웃\n"), "{texts:?}");
}

#[test]
fn a_run_whose_shim_is_killed_is_lost_and_its_tree_dead() {
    let webhook = Webhook::started();
    let jobd = Jobd::started(&webhook.config(&by_hand("stubborn", STUBBORN)));
    let run = started(&jobd);
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
    let run = started(&jobd);
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
