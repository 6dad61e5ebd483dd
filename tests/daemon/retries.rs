//! A fire that is tried again: told of when no try is left, and tried again by the next jobd too.

use std::fs;

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{Status, Trigger};

use crate::jobd::{Jobd, wait_for};
use crate::webhook::Webhook;
use crate::{by_hand, lines};

/// Tried twice; exits with the code that its file says.
fn shaky(delay: &str) -> String {
    by_hand(
        "shaky",
        &format!(
            "retry = {{ attempts = 2, delay = \"{delay}\", jitter = \"0s\" }}\n\
             shell = 'echo \"$JOBD_ATTEMPT\" >> tries; exit $(cat code)'"
        ),
    )
}

/// The rows of the second try and of the first, when both are over.
#[track_caller]
fn both_tries(jobd: &Jobd) -> Vec<RunRecord> {
    let rows = wait_for("both tries are over", || {
        let rows = jobd.history("shaky");
        (rows.len() == 2 && rows.iter().all(|row| row.status.is_final())).then_some(rows)
    });
    let tries: Vec<(u32, Trigger)> = rows.iter().map(|row| (row.attempt, row.triggered_by)).collect();
    assert_eq!(tries, [(2, Trigger::Retry), (1, Trigger::Manual)]);
    assert_eq!(lines(jobd, "tries"), ["1", "2"], "each try was started once");
    rows
}

#[test]
fn what_fails_again_is_told_once_after_the_last_try() {
    let webhook = Webhook::started();
    let jobd = Jobd::started(&webhook.config(&shaky("1s")));
    fs::write(jobd.path("code"), "1").unwrap();
    jobd.begin("shaky");
    let rows = both_tries(&jobd);
    assert!(rows.iter().all(|row| row.status == Status::Failed), "{rows:?}");
    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 1, "{texts:?}");
    let last = format!("`jobctl show {}`", rows[0].run_id);
    assert!(texts[0].starts_with("❌ shaky 실패\n") && texts[0].contains(&last), "{}", texts[0]);
    fs::write(jobd.path("code"), "0").unwrap();
    assert_eq!(jobd.ended(jobd.begin("shaky")).status, Status::Success);
    let texts = webhook.delivered(&jobd);
    assert!(texts.len() == 2 && texts[1].starts_with("✅ shaky 복구\n"), "{texts:?}");
}

#[test]
fn a_retry_that_waits_outlives_kill_9_and_its_success_is_no_trouble() {
    let webhook = Webhook::started();
    let mut jobd = Jobd::started(&webhook.config(&shaky("3s")));
    fs::write(jobd.path("code"), "1").unwrap();
    let first = jobd.begin("shaky");
    wait_for("the retry waits", || (jobd.history("shaky")[0].status == Status::Queued).then_some(()));
    let waits = jobd.tell(&["ps"]);
    assert!(waits.contains("retry 2 of 2 at "), "{waits}");
    jobd.kill();
    fs::write(jobd.path("code"), "0").unwrap();
    jobd.start();
    jobd.wait_until_ready();
    let rows = both_tries(&jobd);
    assert_eq!((rows[0].status, rows[1].status), (Status::Success, Status::Failed));
    assert_eq!(rows[1].run_id.0, first);
    let waited = rows[0].started_at.duration_since(rows[1].completed_at.unwrap());
    assert!(waited.as_millis() >= 2_900, "{waited:?}");
    assert_eq!(webhook.delivered(&jobd), Vec::<String>::new(), "nothing was wrong in the end");
}
