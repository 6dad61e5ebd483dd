//! `jobd --announce-failure`: told without a running jobd.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::by_hand;
use crate::jobd::{JOBD, Jobd, text};
use crate::webhook::Webhook;

/// A systemd that knows how the unit ended.
const SYSTEMCTL: &str = "#!/bin/sh\necho \"$@\" > asked\n\
printf 'Result=exit-code\\nExecMainCode=1\\nExecMainStatus=2\\nNRestarts=5\\nActiveExitTimestampMonotonic=0\\n'\n";

/// Runs it, with a `systemctl` or without one.
fn announce(jobd: &Jobd, systemctl: Option<&str>) -> Output {
    let bin: PathBuf = jobd.path("bin");
    fs::create_dir_all(&bin).unwrap();
    if let Some(script) = systemctl {
        fs::write(bin.join("systemctl"), script).unwrap();
        fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let path = if systemctl.is_some() { path } else { bin.display().to_string() };
    let mut command = Command::new(JOBD);
    command.args(["--announce-failure", "jobd.service"]).env("PATH", path).current_dir(jobd.path(""));
    command.env("JOBD_CONFIG", jobd.path("jobs.toml")).env("JOBD_STATE_DIR", jobd.state_dir());
    command.output().unwrap()
}

#[test]
fn people_are_told_with_what_systemd_knows() {
    let webhook = Webhook::started();
    let jobd = Jobd::new(&webhook.config(&by_hand("any", "shell = \"exit 0\"")));
    let output = announce(&jobd, Some(SYSTEMCTL));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told = webhook.texts();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("❌ jobd가 실행되지 못하고 있습니다"), "{}", told[0]);
    assert!(told[0].contains("systemd: exit-code (exit code 2), 재시작 5회\n"), "{}", told[0]);
    assert!(told[0].contains("journalctl -u jobd.service -n 50"), "{}", told[0]);
    assert!(fs::read_to_string(jobd.path("asked")).unwrap().ends_with("-- jobd.service\n"));
    assert!(!jobd.state_dir().exists(), "it needs no store");
}

#[test]
fn a_configuration_that_is_refused_is_named_as_the_cause() {
    let webhook = Webhook::started();
    let good = webhook.config(&by_hand("any", "shell = \"exit 0\""));
    let jobd = Jobd::new(&good.replace("[jobs.any]", "[jobs.any]\ntiemout = \"5m\""));
    let output = announce(&jobd, None);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told = webhook.texts().remove(0);
    assert!(
        told.contains("설정이 거부되었습니다: ") && told.contains("jobs.toml:10:1: \"tiemout\""),
        "{told}"
    );
    assert!(!told.contains("systemd:"), "nobody answered for it: {told}");
    assert!(!text(&output.stderr).contains("services/key"), "the URL is a secret");
}

#[test]
fn a_webhook_that_is_down_at_first_is_told_when_it_is_up() {
    let mut webhook = Webhook::down();
    let jobd = Jobd::new(&webhook.config(&by_hand("any", "shell = \"exit 0\"")));
    let output = std::thread::scope(|scope| {
        let announced = scope.spawn(|| announce(&jobd, None));
        std::thread::sleep(std::time::Duration::from_millis(500));
        webhook.up();
        announced.join().unwrap()
    });
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(webhook.texts().len(), 1);
}

#[test]
fn where_nobody_can_be_told_it_fails_and_says_why() {
    let jobd = Jobd::new(
        "[channels.ops]\ntype = \"slack\"\nurl = { env = \"NOWHERE\" }\n[defaults]\nalert = [\"ops\"]\n",
    );
    let output = announce(&jobd, None);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("environment variable NOWHERE is not set"), "{said}");
    fs::remove_file(jobd.path("jobs.toml")).unwrap();
    let output = announce(&jobd, None);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nobody can be told") && said.contains("jobs.toml"), "{said}");
}
