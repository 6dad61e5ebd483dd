//! Alerts as they arrive: one for a stretch of trouble, one for its end, and none lost on the way.

use std::fs;

use jobctl::engine::run::Status;

use crate::by_hand;
use crate::jobd::{Jobd, text, wait_for};
use crate::webhook::Webhook;

/// Exits with the code that its file says.
const AS_TOLD: &str = "shell = \"exit $(cat code)\"";

#[track_caller]
fn run(jobd: &Jobd, code: &str) -> Status {
    fs::write(jobd.path("code"), code).unwrap();
    jobd.jobctl(&["run", "shaky", "--wait"]);
    jobd.history("shaky")[0].status
}

#[test]
fn trouble_is_told_once_and_so_is_its_end() {
    let webhook = Webhook::started();
    let jobd = Jobd::started(&webhook.config(&by_hand("shaky", AS_TOLD)));
    assert_eq!(run(&jobd, "0"), Status::Success);
    assert_eq!(run(&jobd, "1"), Status::Failed);
    assert_eq!(run(&jobd, "1"), Status::Failed);
    let trouble = jobd.json(&["status"])["incidents"].clone();
    assert_eq!((&trouble[0]["job"], &trouble[0]["bad_runs"]), (&"shaky".into(), &2.into()));
    assert_eq!(run(&jobd, "0"), Status::Success);
    assert_eq!(run(&jobd, "0"), Status::Success);
    assert_eq!(jobd.json(&["status"])["incidents"], serde_json::json!([]));
    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("❌ shaky 실패\n에러: 종료 코드 1\n"), "{}", texts[0]);
    assert!(texts[1].starts_with("✅ shaky 복구\n") && texts[1].contains("2회"), "{}", texts[1]);
}

#[test]
fn a_host_without_certificates_needs_none_where_no_tls_is_spoken() {
    let webhook = Webhook::started();
    let mut jobd = Jobd::new(&webhook.config(&by_hand("shaky", "shell = \"exit 1\"")));
    let nowhere = jobd.path("no-certificates");
    let variables = [("SSL_CERT_FILE", nowhere.as_path()), ("SSL_CERT_DIR", nowhere.as_path())];
    jobd.start_with(&variables);
    jobd.wait_until_ready();
    let output = jobd.command(&["run", "shaky", "--wait"]).envs(variables).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(webhook.delivered(&jobd).len(), 1);
}

#[test]
fn a_message_outlasts_a_webhook_that_is_down_and_kill_9() {
    let mut webhook = Webhook::down();
    let mut jobd = Jobd::started(&webhook.config(&by_hand("shaky", AS_TOLD)));
    assert_eq!(run(&jobd, "3"), Status::Failed);
    let alerts = wait_for("the first try has failed", || {
        let alerts = jobd.json(&["status"])["alerts"].clone();
        alerts["last_error"].is_string().then_some(alerts)
    });
    assert_eq!(alerts["waiting"], 1);
    assert!(!alerts["last_error"].to_string().contains("services/key"), "the URL is a secret: {alerts}");
    assert!(!jobd.log().contains("services/key"), "the URL is a secret: {}", jobd.log());
    jobd.kill();
    webhook.up();
    jobd.start();
    jobd.wait_until_ready();
    let texts = webhook.delivered(&jobd);
    assert!(texts.len() == 1 && texts[0].starts_with("❌ shaky 실패\n"), "{texts:?}");
    // It is marked as delivered, so the next jobd does not send it again: its next message is the recovery.
    jobd.kill();
    jobd.start();
    jobd.wait_until_ready();
    assert_eq!(run(&jobd, "0"), Status::Success);
    let texts = webhook.delivered(&jobd);
    assert!(texts.len() == 2 && texts[1].starts_with("✅ shaky 복구\n"), "{texts:?}");
}

#[test]
fn what_a_job_wrote_has_no_power_over_the_channel() {
    let webhook = Webhook::started();
    let entry = r"shell = '''printf '\033[31mred\033[0m <!channel> @here ```\nlast line\n' >&2; exit 1'''";
    let jobd = Jobd::started(&webhook.config(&by_hand("hostile", entry)));
    jobd.jobctl(&["run", "hostile", "--wait"]);
    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 1);
    let text = &texts[0];
    for power in ["\u{1b}", "<!channel>", "@here", "[31m"] {
        assert!(!text.contains(power), "{text:?}");
    }
    assert!(text.contains("red &lt;!channel&gt; "), "{text:?}");
    assert_eq!(text.matches("```").count(), 2, "the block that quotes it is closed where it ends: {text:?}");
    assert!(text.contains("\nlast line\n"), "{text:?}");
}

#[test]
fn a_job_that_cannot_be_started_has_failed_at_a_step_that_is_named() {
    let webhook = Webhook::started();
    let absent = "No such file or directory (ENOENT)";
    let jobs = [
        ("no_cwd", "cwd = \"/nowhere\"\nshell = \"exit 0\"", format!("chdir: /nowhere: {absent}")),
        ("no_program", "command = [\"/nowhere/program\"]", format!("exec: /nowhere/program: {absent}")),
        ("not_found", "command = [\"no-such-program\"]", format!("exec: no-such-program: {absent}")),
        ("no_right", "command = [\"/etc/passwd\"]", "exec: /etc/passwd: Permission denied (EACCES)".into()),
        ("no_env", "env_file = \"no.env\"\nshell = \"exit 0\"", format!("env_file: DIR/no.env: {absent}")),
    ];
    let entries: String = jobs.iter().map(|(name, entry, _)| by_hand(name, entry)).collect();
    let jobd = Jobd::started(&webhook.config(&entries));
    let folder = jobd.path("").display().to_string();
    let jobs = jobs.map(|(name, _, why)| (name, why.replace("DIR/", &folder)));
    for (name, why) in &jobs {
        let row = jobd.ended(jobd.begin(name));
        assert_eq!((row.status, row.pid, row.exit_code), (Status::Failed, None, None), "{name}");
        assert_eq!(row.error_message.as_deref(), Some(why.as_str()));
    }
    let texts = webhook.delivered(&jobd);
    for (name, why) in &jobs {
        let of_job = texts
            .iter()
            .filter(|text| text.starts_with(&format!("❌ {name} 실패\n에러: 시작하지 못함: {why}\n")));
        assert_eq!(of_job.count(), 1, "{texts:?}");
    }
    assert_eq!(texts.len(), jobs.len());
}
