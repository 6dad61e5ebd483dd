//! A process that hangs in the kernel and cannot be killed.

use jobctl::engine::run::Status;

use crate::machine::Machine;

const JOBS: &str = r#"
timezone = "UTC"
[channels.ops]
type = "slack"
url = "http://127.0.0.1:9/nobody"
[defaults]
alert = ["ops"]
kill_grace = "1s"

[jobs.writer]
schedule = "@yearly"
shell = "echo word >/mnt/file"
timeout = "5s"

[jobs.good]
schedule = "@yearly"
shell = "exit 0"
"#;

#[test]
fn a_run_that_cannot_be_killed_is_told_and_kept_until_it_is_gone() {
    let mut machine = Machine::up();
    machine.sh("modprobe loop && truncate -s 16M /disk && mkfs.ext4 -q /disk && mount -o loop /disk /mnt");
    machine.supervise(JOBS);
    machine.sh("fsfreeze -f /mnt");
    let run = machine.begin("writer");
    machine.wait_for("somebody is told that it cannot be killed", |machine| {
        machine.notices().iter().any(|facts| facts.contains("unkillable")).then_some(())
    });
    assert_eq!(machine.run(run).status, Status::Running, "as long as a process of it is there");
    machine.runs_well("good");
    // A restart changes nothing of that.
    machine.sh("systemctl restart jobd");
    assert_eq!(machine.run(run).status, Status::Running);

    machine.sh("fsfreeze -u /mnt");
    let row = machine.ended(run);
    assert_eq!(row.status, Status::Timeout, "{row:#?}");
    assert!(
        row.error_message.as_deref().is_some_and(|told| told.contains("could not be killed")),
        "{row:#?}"
    );
    let told = machine.notices().iter().filter(|facts| facts.contains("unkillable")).count();
    assert_eq!(told, 1, "once");
}
