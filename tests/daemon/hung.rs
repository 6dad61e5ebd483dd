//! A run that hangs says why: in what is shown of it, while it lives and afterwards, and in its alert.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use jobctl::engine::run::Status;
use jobctl::failpoint;

use crate::jobd::{Jobd, text, wait_for};
use crate::webhook::Webhook;
use crate::{by_hand, folder};

/// A job that waits for a line from a peer that never sends one, and is allowed so many milliseconds.
fn client(listener: &TcpListener, timeout_ms: u32) -> String {
    let script = format!(
        "import socket; s = socket.create_connection((\"127.0.0.1\", {})); print(\"connected\", flush=True); \
         s.recv(100)",
        listener.local_addr().unwrap().port()
    );
    let path = std::env::var("PATH").unwrap();
    let limits =
        format!("timeout = \"{timeout_ms}ms\"\nkill_grace = \"100ms\"\nenv = {{ PATH = \"{path}\" }}");
    by_hand("invoices", &format!("{limits}\ncommand = [\"python3\", \"-c\", '{script}']"))
}

#[test]
fn a_run_that_hangs_is_explained_in_the_alert_and_by_show() {
    let webhook = Webhook::started();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut jobd = Jobd::started(&webhook.config(&client(&listener, 4000)));
    let run = jobd.begin("invoices");
    wait_for("the client is connected", || {
        jobd.tell(&["logs", &run.to_string()]).contains("connected").then_some(())
    });
    let row = jobd.ended(run);
    assert_eq!(row.status, Status::Timeout);
    let line = format!("python3 pid {} waits in recv() on {address}, connected ", row.pid.unwrap());
    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains(&format!("\n멈춘 곳: {line}")), "{}", texts[0]);

    let detail = jobd.json(&["show", &run.to_string()]);
    assert!(detail["evidence"]["summary"].as_str().unwrap().starts_with(&line), "{detail}");
    assert_eq!(detail["end"]["waited_for"], detail["evidence"]["summary"]);
    assert_eq!(detail["end"]["tree"]["left"], serde_json::json!([]));
    jobd.kill();
    let shown = jobd.tell(&["show", &run.to_string()]);
    assert!(shown.contains(&format!("  waits\n    {line}")), "with jobd down too: {shown}");
    assert!(shown.contains(&format!(" to {address}, established")), "{shown}");
    assert!(shown.contains("  last output, "), "{shown}");
}

#[test]
fn a_live_run_is_inspected_and_one_that_is_over_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let jobd = Jobd::started(&client(&listener, 600_000));
    let run = jobd.begin("invoices").to_string();
    let summary = wait_for("it waits for its peer", || {
        // Until its process is there, that is what it says.
        let found = jobd.jobctl(&["inspect", &run, "--json"]);
        let evidence: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap_or_default();
        evidence["summary"].as_str().filter(|line| line.contains("recv()")).map(str::to_owned)
    });
    assert!(summary.contains(&format!(" waits in recv() on {address}, connected ")), "{summary}");
    let shown = jobd.tell(&["inspect", &run]);
    assert!(shown.starts_with(&format!("run {run}\n  waits\n    python3 pid ")), "{shown}");
    let none = jobd.jobctl(&["inspect", "4711"]);
    assert_eq!(none.status.code(), Some(4), "{}", text(&none.stderr));
    jobd.tell(&["kill", &run]);
    jobd.ended(run.parse().unwrap());
    let over = jobd.jobctl(&["inspect", &run]);
    assert_eq!(over.status.code(), Some(1));
    let said = text(&over.stderr);
    assert!(said.contains("is over: KILLED") && said.contains(&format!("'jobctl show {run}'")), "{said}");
}

#[test]
fn a_look_that_hangs_holds_up_no_kill() {
    let mut jobd = Jobd::new(&by_hand(
        "stubborn",
        "timeout = \"1s\"\nkill_grace = \"100ms\"\nshell = \"trap '' TERM; echo on; while :; do sleep 0.05; done\"",
    ));
    jobd.start_with(&[(failpoint::VARIABLE, Path::new(failpoint::EVIDENCE_HANGS))]);
    jobd.wait_until_ready();
    let run = jobd.begin("stubborn");
    let row = jobd.ended(run);
    assert_eq!((row.status, row.term_signal), (Status::Timeout, Some(9)));
    let took = Duration::from_millis(row.duration_ms.unwrap());
    assert!(Duration::from_millis(1300) <= took && took < Duration::from_secs(4), "{took:?}");
    let evidence = folder(&jobd, run).evidence().unwrap().unwrap();
    assert!(!evidence.is_whole && !evidence.processes.is_empty(), "what came before is kept: {evidence:?}");
    assert!((250..2000).contains(&evidence.took_ms), "{}", evidence.took_ms);
    assert!(jobd.job_processes().is_empty());
}
