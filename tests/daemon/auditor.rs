//! The second pair of eyes: what the engine does not do is told all the same.

use std::path::Path;
use std::time::Duration;

use jobctl::engine::run::Status;

use crate::jobd::{Jobd, text, wait_within};
use crate::webhook::Webhook;

/// Two looks and some patience find what is missing within a minute of its instant.
const LIMIT: Duration = Duration::from_mins(2);

const EVERY_TEN_SECONDS: &str = "[jobs.tick]\nschedule = \"*/10 * * * * *\"\nshell = \"exit 0\"\n";

#[test]
fn a_timer_that_never_comes_is_told_within_a_minute() {
    let webhook = Webhook::started();
    let mut jobd = Jobd::new(&webhook.config(EVERY_TEN_SECONDS));
    jobd.start_with(&[("JOBD_FAILPOINT", Path::new("timers-fail"))]);
    jobd.wait_until_ready();
    let told = wait_within(LIMIT, "the auditor tells", || {
        webhook.texts().into_iter().find(|told| told.contains("tick"))
    });
    assert!(jobd.history("tick").is_empty(), "{told}: and nothing has fired");
    let status = text(&jobd.jobctl(&["status"]).stdout);
    assert!(status.contains("fires of tick are due and neither started nor accounted for"), "{status}");
    assert_eq!(webhook.texts().len(), 1, "{:?}", webhook.texts());
    // A jobd whose timer works accounts for them, and nobody complains any more.
    jobd.kill();
    jobd.start();
    jobd.wait_until_ready();
    wait_within(LIMIT, "the fires are accounted for, and new ones come", || {
        jobd.history("tick").iter().any(|run| run.status == Status::Success).then_some(())
    });
    let is_folded = |reason: &str| reason.starts_with("made up for by run ");
    let rows = jobd.history("tick");
    assert!(
        rows.iter().any(|run| run.status == Status::Skipped && run.reason.as_deref().is_some_and(is_folded)),
        "what nobody started is accounted for: {rows:?}"
    );
    let status = text(&jobd.jobctl(&["status"]).stdout);
    assert!(!status.contains("accounted for"), "{status}");
}
