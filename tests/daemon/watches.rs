//! Late, long, silent, or without a success: what no run's end tells is told all the same.

use std::fs;

use jobctl::engine::run::Status;

use crate::jobd::{Jobd, wait_for};
use crate::webhook::Webhook;
use crate::{by_hand, folder};

const FOREVER: &str = "shell = \"echo ready; exec sleep 600\"";

/// Waits for the one message that begins so.
#[track_caller]
fn told(webhook: &Webhook, beginning: &str) -> String {
    let found = wait_for(beginning, || webhook.texts().into_iter().find(|text| text.starts_with(beginning)));
    assert_eq!(webhook.texts().len(), 1, "{:?}", webhook.texts());
    found
}

#[test]
fn a_silent_run_is_told_of_with_what_it_is_stuck_in_and_goes_on() {
    let webhook = Webhook::started();
    let jobd = Jobd::started(&webhook.config(&by_hand("quiet", &format!("silence = \"1s\"\n{FOREVER}"))));
    let run = jobd.begin("quiet");
    let text = told(&webhook, "⚠️ quiet 응답 없음\n");
    assert!(text.contains("\n멈춘 곳: sleep pid "), "{text}");
    assert!(text.contains(&format!("`jobctl inspect {run}`")), "{text}");
    assert_eq!(jobd.run(run).status, Status::Running);
}

#[test]
fn a_silent_run_is_ended_where_the_entry_says_so() {
    let webhook = Webhook::started();
    let entry = format!("silence = {{ after = \"1s\", action = \"kill\" }}\n{FOREVER}");
    let jobd = Jobd::started(&webhook.config(&by_hand("quiet", &entry)));
    let row = jobd.ended(jobd.begin("quiet"));
    let error = row.error_message.unwrap();
    assert_eq!(row.status, Status::Timeout, "{error}");
    assert!(error.starts_with("silent for "), "{error}");
    let texts = webhook.delivered(&jobd);
    assert!(texts.iter().any(|text| text.starts_with("⚠️ quiet 타임아웃\n")), "{texts:?}");
}

#[test]
fn a_run_that_takes_long_is_told_while_it_goes_on() {
    let webhook = Webhook::started();
    let jobd = Jobd::started(&webhook.config(&by_hand("long", &format!("warn_after = \"1s\"\n{FOREVER}"))));
    let run = jobd.begin("long");
    let text = told(&webhook, "⚠️ long 오래 실행 중\n");
    assert!(text.contains(" (경고 기준 1초)\n"), "{text}");
    assert_eq!(jobd.run(run).status, Status::Running);
}

#[test]
fn a_fire_that_has_not_started_is_told_with_what_it_waits_for() {
    let webhook = Webhook::started();
    let jobs = by_hand("holder", &format!("locks = [\"db\"]\n{FOREVER}"));
    let mut jobd = Jobd::new(&webhook.config(&jobs));
    jobd.start();
    jobd.wait_until_ready();
    let holder = jobd.begin("holder");
    wait_for("it runs", || (jobd.run(holder).status == Status::Running).then_some(()));
    let late = "[jobs.late]\nschedule = \"*/2 * * * * *\"\nlocks = [\"db\"]\nlate_after = \"1s\"\nshell = \"exit 0\"\n";
    fs::write(jobd.path("jobs.toml"), webhook.config(&format!("{jobs}{late}"))).unwrap();
    jobd.tell(&["reload"]);
    let beginning = "⚠️ late 시작 지연\n1초 안에 시작되어야 하지만 아직 시작되지 않았습니다.\n";
    let text = wait_for(beginning, || webhook.texts().into_iter().find(|text| text.starts_with(beginning)));
    assert!(text.contains("\n대기: ") && text.contains(&format!("run {holder}")), "{text}");
}

#[test]
fn a_run_longer_than_usual_is_told_with_the_numbers() {
    let webhook = Webhook::started();
    let entry = "usual = { factor = 2.0, floor = \"1s\", min_runs = 3 }\n\
                 shell = \"until [ -e gate ]; do sleep 0.05; done\"";
    let jobd = Jobd::started(&webhook.config(&by_hand("steady", entry)));
    fs::write(jobd.path("gate"), "").unwrap();
    for _ in 0..3 {
        assert_eq!(jobd.ended(jobd.begin("steady")).status, Status::Success);
    }
    fs::remove_file(jobd.path("gate")).unwrap();
    jobd.begin("steady");
    let text = told(&webhook, "⚠️ steady 평소보다 오래 실행 중\n평소 ");
    assert!(text.contains(" (성공 3회 기준), 지금 1."), "{text}");
}

#[test]
fn a_limit_is_learned_from_what_succeeded() {
    let jobd = Jobd::started(&by_hand("learner", "timeout = \"auto\"\nshell = \"exit 0\""));
    let limit = |run| folder(&jobd, run).spec().unwrap().unwrap().timeout_ms;
    let runs: Vec<u64> = (0..6)
        .map(|_| {
            let run = jobd.begin("learner");
            assert_eq!(jobd.ended(run).status, Status::Success);
            run
        })
        .collect();
    assert_eq!(limit(runs[5]), Some(60_000), "three times next to nothing is the least limit");
    assert_ne!(limit(runs[0]), Some(60_000), "of its first run nothing was known");
}

#[test]
fn a_job_without_a_success_is_told_also_when_it_is_gone_until_a_person_knows() {
    let webhook = Webhook::started();
    let jobs = by_hand("nightly", "max_since_success = \"3s\"\nshell = \"exit 0\"");
    let mut jobd = Jobd::started(&webhook.config(&jobs));
    fs::write(jobd.path("jobs.toml"), webhook.config(&by_hand("other", "shell = \"exit 0\""))).unwrap();
    jobd.tell(&["reload"]);
    let text = told(&webhook, "⚠️ nightly 성공 없음: ");
    assert!(text.contains("`jobctl ack nightly`"), "{text}");
    jobd.kill();
    jobd.start();
    jobd.wait_until_ready();
    assert_eq!(webhook.delivered(&jobd).len(), 1, "it is told once, whoever tells it");
    jobd.tell(&["ack", "nightly"]);
    // What has been answered is durable.
    jobd.kill();
    jobd.start();
    jobd.wait_until_ready();
    assert_eq!(jobd.jobctl(&["ack", "nightly"]).status.code(), Some(4), "there is no such job any more");
}
