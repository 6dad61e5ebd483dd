//! Runs that say nothing: told of, or ended, unless they do something.

use std::time::Duration;

use jobctl::engine::run::{Exit, Status, Stop};
use jobctl::engine::watch::{Silence, SilenceAction};
use jobctl::process::stop;

use crate::grace;
use crate::runs::{Run, in_time, until};

fn silent(line: &str, ms: u64, action: SilenceAction) -> Run {
    Run::shell(line).with(|spec| {
        spec.silence = Some(Silence { after: Duration::from_millis(ms), action });
        spec.stop = grace(500);
    })
}

#[tokio::test]
async fn a_run_that_sleeps_in_silence_is_told_of_and_goes_on() {
    let run = silent("echo ready; sleep 600", 400, SilenceAction::Warn);
    let shim = run.launch().await;
    until(|| run.folder.silent().unwrap().is_some()).await;
    let word = run.folder.silent().unwrap().unwrap();
    assert!(word.for_ms >= 400, "{word:?}");
    assert!(word.waits_for.is_some_and(|line| line.starts_with("sleep pid ")));
    assert!(run.folder.evidence().unwrap().is_some());
    assert!(!run.processes().is_empty());
    in_time(stop(&run.folder, "uid 0")).await.unwrap();
    assert_eq!(run.end(Some(shim)).await.status(), Status::Killed);
}

#[tokio::test]
async fn a_run_may_be_ended_for_its_silence() {
    let report = silent("echo ready; sleep 600", 400, SilenceAction::Kill).finish().await;
    assert_eq!((report.status(), &report.exit), (Status::Timeout, &Exit::Signal(15)));
    assert!(matches!(report.stop, Some(Stop::Silence { for_ms: 400.. })), "{:?}", report.stop);
    let told = report.describe_end(None);
    assert!(told.starts_with("silent for ") && told.ends_with(", and idle"), "{told}");
    assert!(report.waited_for.is_some_and(|line| line.starts_with("sleep pid ")));
}

#[tokio::test]
async fn who_computes_or_prints_is_not_silent() {
    let computes = "i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done";
    let prints = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.4; done";
    for line in [computes, prints] {
        let run = silent(line, 1_500, SilenceAction::Kill);
        let report = run.finish().await;
        assert_eq!((report.exit, report.stop), (Exit::Code(0), None), "{line}");
        assert_eq!(run.folder.silent().unwrap(), None, "{line}");
    }
}
