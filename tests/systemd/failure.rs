//! jobd cannot be kept up: people are told without it, and it is never given up.

use crate::jobd::{wait_for, wait_within};
use crate::machine::{Machine, Profile};
use crate::step;
use crate::watched::{JOBS, Watched};
use crate::webhook::Webhook;
use std::time::Duration;

/// A minute between the attempts is for people.
const SOON: &str = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\n";
/// Takes the place of jobd: it ends at once, but for what the alert needs.
const BROKEN: &str = "#!/bin/sh
case $1 in --announce-failure) exec /usr/local/bin/jobd.whole \"$@\" ;; esac
echo broken >>/srv/starts
exit 1
";

/// A machine whose jobd is up and has a channel, and which is tried again soon.
fn machine(profile: Profile, webhook: &Webhook) -> Machine {
    let machine = Machine::started(profile, &webhook.config(JOBS));
    machine.drop_in("jobd-retry.timer", SOON);
    machine
}

/// How often jobd was started anew after it had failed for good.
fn retries(machine: &Machine) -> usize {
    machine.journal().matches("Finished jobd-retry.service").count()
}

#[track_caller]
fn assert_told_once(webhook: &Webhook, about: &str) {
    let texts = webhook.texts();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("jobd") && texts[0].contains(about), "{texts:?}");
}

#[test]
fn a_configuration_that_is_refused_is_told_and_tried_again() {
    for profile in [Profile::Root, Profile::Hardened] {
        let webhook = Webhook::started();
        let machine = machine(profile, &webhook);
        let (runs, good) = (Watched::begin(&machine), machine.sh("cat /etc/jobd/jobs.toml"));
        step(&format!("a mistake in jobs.toml, systemctl restart jobd, {profile:?}"));
        machine.write("/etc/jobd/jobs.toml", &format!("{good}\nmistake = 1\n"));
        assert!(!machine.run(&["systemctl", "restart", "jobd"]).status.success());
        wait_for("somebody is told", || (!webhook.texts().is_empty()).then_some(()));
        wait_for("it is tried again", || (retries(&machine) >= 3).then_some(()));
        assert_told_once(&webhook, "\"mistake\"");
        step("the mistake is mended");
        machine.write("/etc/jobd/jobs.toml", &good);
        wait_for("jobd is up", || (machine.property("jobd", "ActiveState") == "active").then_some(()));
        runs.end_well();
        machine.assert_clean();
    }
}

#[test]
fn a_jobd_that_crashes_again_and_again_is_told_and_tried_again() {
    let webhook = Webhook::started();
    let machine = machine(Profile::Root, &webhook);
    let (runs, before) = (Watched::begin(&machine), machine.jobd());
    step("a jobd that ends at once");
    machine.sh("mv /usr/local/bin/jobd /usr/local/bin/jobd.whole");
    machine.write("/usr/local/bin/jobd", BROKEN);
    machine.sh(&format!("chmod 755 /usr/local/bin/jobd; kill -9 {before}"));
    wait_for("somebody is told", || (!webhook.texts().is_empty()).then_some(()));
    wait_within(Duration::from_mins(1), "it is tried again", || (retries(&machine) >= 2).then_some(()));
    let starts = machine.sh("wc -l </srv/starts");
    assert!(starts.trim().parse::<u32>().unwrap() >= 40, "twenty starts, each time: {starts}");
    assert_told_once(&webhook, "exit code 1");
    step("a whole jobd again");
    machine.sh("mv /usr/local/bin/jobd.whole /usr/local/bin/jobd");
    wait_for("jobd is up", || (machine.property("jobd", "ActiveState") == "active").then_some(()));
    runs.end_well();
    machine.assert_clean();
}

#[test]
fn a_jobd_that_is_stopped_by_hand_stays_so() {
    let webhook = Webhook::started();
    let machine = machine(Profile::Root, &webhook);
    machine.drop_in("jobd-retry.timer", "[Timer]\nOnActiveSec=\nOnActiveSec=1h\n");
    step("a mistake in jobs.toml, systemctl restart jobd, systemctl stop jobd");
    machine.write("/etc/jobd/jobs.toml", &format!("{}mistake = 1\n", webhook.config("")));
    assert!(!machine.run(&["systemctl", "restart", "jobd"]).status.success());
    wait_for("it waits", || (machine.property("jobd-retry.timer", "ActiveState") == "active").then_some(()));
    machine.tell(&["systemctl", "stop", "jobd"]);
    assert_eq!(machine.property("jobd-retry.timer", "ActiveState"), "inactive");
    assert_eq!(
        machine.tell(&["systemctl", "--failed", "--no-legend", "--plain"]).matches(".service").count(),
        1
    );
}
