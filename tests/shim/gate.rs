//! Shims that are started ahead of their instant.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use jobctl::clock;
use jobctl::engine::run::Exit;
use jobctl::os;
use jobctl::process::{Finding, Gate, LaunchError, Shim, inspect};

use super::runs::{Run, in_time, launcher};

impl Run {
    /// Starts its shim and waits until it is at its gate.
    async fn arm(&self) -> (Shim, Gate) {
        let (shim, gate) = launcher().arm(&self.folder, &self.spec).await.unwrap();
        assert!(in_time(gate.is_reached()).await, "it never comes to its gate");
        (shim, gate)
    }

    fn finding(&self) -> Finding {
        inspect(&self.folder, &os::boot_id().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn nothing_starts_before_its_gate_opens_and_all_counts_from_there() {
    let run = Run::shell("echo ran; ls -l /proc/self/fd").with(|spec| spec.timeout_ms = Some(60_000));
    let (shim, gate) = run.arm().await;
    assert_eq!(run.finding(), Finding::Held { mark: None });
    assert_eq!(run.processes(), []);
    assert!(matches!(launcher().launch(&run.folder, &run.spec).await, Err(LaunchError::Held(_))));
    let opened_at = clock::now().wall;
    assert!(gate.open());
    // A jobd that dies right after it takes nothing back.
    drop(gate);
    let report = run.end(Some(shim)).await;
    assert_eq!(report.exit, Exit::Code(0));
    assert!(report.started_at.unwrap() >= opened_at && report.duration < Duration::from_secs(30));
    let said = run.stdout();
    assert!(said.starts_with("ran\n") && !said.contains("socket") && !said.contains("lock"), "{said}");
}

#[tokio::test]
async fn a_gate_opened_on_the_way_is_passed() {
    let run = Run::shell("exit 3");
    let (shim, gate) = launcher().arm(&run.folder, &run.spec).await.unwrap();
    assert!(gate.open());
    assert_eq!(run.end(Some(shim)).await.exit, Exit::Code(3));
}

#[tokio::test]
async fn a_shim_whose_gate_never_opens_leaves_no_trace() {
    let run = Run::shell("echo ran");
    let (mut shim, gate) = run.arm().await;
    drop(gate);
    in_time(shim.ended()).await;
    assert_eq!(run.finding(), Finding::NeverStarted);
    assert!(!run.folder.path().exists());
    // The same run may be started after all.
    assert_eq!(run.finish().await.exit, Exit::Code(0));
}

#[tokio::test]
async fn a_shim_that_is_killed_at_its_gate_has_started_nothing() {
    for signal in [9, 15] {
        let run = Run::shell("echo ran");
        let (mut shim, gate) = run.arm().await;
        let pid = shim.pid().unwrap();
        os::Process::of(pid).unwrap().signal(signal);
        in_time(gate.left()).await;
        in_time(shim.ended()).await;
        assert_eq!(run.finding(), Finding::NeverStarted);
        assert!(!gate.open());
        assert_eq!(run.finish().await.exit, Exit::Code(0));
    }
}

#[tokio::test]
async fn what_cannot_be_prepared_is_told_at_the_start_and_not_ahead_of_it() {
    let run = Run::shell("true").with(|spec| spec.user = Some("nobody-of-this-name".into()));
    let (mut shim, gate) = launcher().arm(&run.folder, &run.spec).await.unwrap();
    assert!(!in_time(gate.is_reached()).await);
    in_time(shim.ended()).await;
    assert_eq!(run.finding(), Finding::NeverStarted);
    assert!(matches!(run.finish().await.exit, Exit::SpawnFailed { .. }));
}
