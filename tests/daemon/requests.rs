//! What a person asks of jobd: runs by hand, for an instant, to be waited for, to be ended; and what is refused.

use std::fs;
use std::process::Stdio;

use jobctl::clock;
use jobctl::engine::run::{Status, Trigger};

use crate::jobd::{Jobd, text, wait_for};
use crate::webhook::Webhook;
use crate::{by_hand, lines};

const GATED: &str = "shell = \"echo $JOBD_JOB >> starts; until [ -e gate ]; do sleep 0.05; done\"";

#[track_caller]
fn refused(jobd: &Jobd, arguments: &[&str], code: i32, words: &[&str]) {
    let output = jobd.jobctl(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_fire_while_a_run_is_active_is_skipped_and_names_it() {
    let jobd = Jobd::started(&format!("[jobs.slow]\nschedule = \"* * * * * *\"\n{GATED}\n"));
    let skipped = wait_for("a fire is skipped", || {
        jobd.history("slow").into_iter().find(|row| row.status == Status::Skipped)
    });
    let first = jobd.history("slow").pop().unwrap();
    assert_eq!((first.status, first.triggered_by), (Status::Running, Trigger::Schedule));
    assert_eq!(skipped.reason, Some(format!("run {} was still active", first.run_id)));
    assert!(skipped.pid.is_none() && skipped.scheduled_at > first.scheduled_at);
    fs::write(jobd.path("gate"), "").unwrap();
    assert_eq!(jobd.ended(first.run_id.0).status, Status::Success);
    wait_for("the next fire runs", || {
        let rows = jobd.history("slow");
        rows.iter().any(|row| row.run_id > first.run_id && row.status == Status::Success).then_some(())
    });
}

#[test]
fn a_run_that_goes_on_is_shown_with_its_process() {
    let jobd = Jobd::started(&by_hand("slow", "shell = 'echo $$ > pid; exec sleep 300'"));
    jobd.tell(&["run", "slow"]);
    let pid = wait_for("the job says its pid", || lines(&jobd, "pid").first()?.parse::<u64>().ok());
    let shown = wait_for("ps shows it", || jobd.json(&["ps"])["runs"][0]["pid"].as_u64());
    assert_eq!(shown, pid);
    jobd.tell(&["kill", "slow"]);
    jobd.ended(1);
}

#[test]
fn a_run_for_an_instant_that_has_one_is_its_next_attempt() {
    let entry = "shell = 'echo \"$JOBD_ATTEMPT $JOBD_TRIGGER $JOBD_SCHEDULED_AT\" >> starts'";
    let jobd = Jobd::started(&by_hand("report", entry));
    let at = "2026-03-01T10:00:00Z";
    for attempt in 1..=3 {
        jobd.tell(&["run", "report", "--at", at, "--wait"]);
        let row = jobd.history("report").remove(0);
        assert_eq!((row.attempt, row.triggered_by), (attempt, Trigger::Manual));
        assert_eq!(row.scheduled_at, Some(at.parse().unwrap()));
    }
    let started: Vec<String> = lines(&jobd, "starts");
    let words: Vec<&str> = started.iter().filter_map(|line| line.get(.."1 manual".len())).collect();
    assert_eq!(words, ["1 manual", "2 manual", "3 manual"]);
    let tomorrow = (clock::now().wall + std::time::Duration::from_hours(24)).to_string();
    refused(&jobd, &["run", "report", "--at", &tomorrow], 1, &["has not come yet"]);
    assert_eq!(jobd.history("report").len(), 3);
}

#[test]
fn a_second_run_is_refused_while_one_is_active() {
    let jobd = Jobd::started(&by_hand("slow", GATED));
    let run = jobd.begin("slow");
    refused(&jobd, &["run", "slow"], 1, &[&format!("run {run}"), &format!("jobctl kill {run}")]);
    assert_eq!(jobd.history("slow").len(), 1);
}

#[test]
fn whoever_waits_gets_the_jobs_own_code() {
    let jobs = [
        ("good", "shell = \"exit 0\"", 0, Status::Success),
        ("bad", "shell = \"exit 7\"", 7, Status::Failed),
        ("shot", "shell = \"kill -9 $$\"", 128 + 9, Status::Failed),
        ("late", "command = [\"sleep\", \"60\"]\ntimeout = \"200ms\"", 124, Status::Timeout),
        ("absent", "command = [\"/nowhere/program\"]", 125, Status::Failed),
    ];
    let jobd = Jobd::started(&jobs.map(|(name, entry, ..)| by_hand(name, entry)).concat());
    for (name, _, code, status) in jobs {
        let output = jobd.jobctl(&["run", name, "--wait"]);
        assert_eq!(output.status.code(), Some(code), "{name}: {}", text(&output.stderr));
        assert_eq!(jobd.history(name)[0].status, status);
    }
}

#[test]
fn whoever_waits_for_a_run_that_is_killed_gets_its_signal() {
    let stubborn = "kill_grace = \"200ms\"\n\
                    shell = \"trap '' TERM; echo $JOBD_JOB >> starts; while :; do sleep 0.05; done\"";
    let jobd = Jobd::started(&(by_hand("slow", GATED) + &by_hand("stubborn", stubborn)));
    for (job, signal) in [("slow", 15), ("stubborn", 9)] {
        let mut command = jobd.command(&["run", job, "--wait"]);
        let mut waiting = command.stderr(Stdio::null()).spawn().unwrap();
        let started = || lines(&jobd, "starts").contains(&job.to_owned()).then_some(());
        wait_for("the job has started", started);
        jobd.tell(&["kill", job]);
        assert_eq!(waiting.wait().unwrap().code(), Some(128 + signal), "{job}");
        assert_eq!(jobd.history(job)[0].term_signal, Some(signal));
    }
}

#[test]
fn a_killed_run_says_by_whom_and_alerts_nobody() {
    let webhook = Webhook::started();
    let jobs = by_hand("slow", GATED) + &by_hand("bad", "shell = \"exit 1\"");
    let jobd = Jobd::started(&webhook.config(&jobs));
    let run = jobd.begin("slow");
    jobd.tell(&["kill", &run.to_string()]);
    let row = jobd.ended(run);
    assert_eq!((row.status, row.term_signal), (Status::Killed, Some(15)));
    let by = format!("killed by uid {}", nix::unistd::getuid());
    assert!(row.reason.as_ref().unwrap().starts_with(&by), "{row:?}");
    assert!(jobd.job_processes().is_empty());
    refused(&jobd, &["kill", &run.to_string()], 1, &["not active"]);
    // A message of the kill would have been sent before this one.
    jobd.jobctl(&["run", "bad", "--wait"]);
    let texts = webhook.delivered(&jobd);
    assert!(texts.len() == 1 && texts[0].starts_with("❌ bad 실패"), "{texts:?}");
}

#[test]
fn a_run_that_is_killed_as_soon_as_it_is_asked_for_ends_all_the_same() {
    let jobd = Jobd::started(&by_hand("slow", GATED));
    for _ in 0..5 {
        let run = jobd.begin("slow");
        jobd.tell(&["kill", &run.to_string()]);
        assert_eq!(jobd.ended(run).status, Status::Killed);
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let jobd = Jobd::started(&by_hand("backup", "shell = \"exit 0\""));
    refused(&jobd, &["run", "bakcup"], 4, &["there is no job 'bakcup'", "did you mean 'backup'?"]);
    refused(&jobd, &["run", "Backup!"], 4, &["there is no job 'Backup!'"]);
    refused(&jobd, &["kill", "999"], 4, &["there is no run 999"]);
    refused(&jobd, &["show", "999"], 4, &["there is no run 999"]);
}
