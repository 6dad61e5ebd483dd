//! Whatever happens to jobd, runs do not notice, and systemd finds nothing to complain about.

use crate::jobd::wait_for;
use crate::machine::{Machine, Profile};
use crate::step;
use crate::watched::{JOBS, Watched};

const GROUP: &str = "/sys/fs/cgroup/system.slice/jobd-runs.service";
const PROGRAMS: [&str; 3] = ["jobd", "jobctl", "jobd-shim"];

#[test]
fn each_run_has_a_group_that_systemctl_shows() {
    let machine = Machine::started(Profile::Root, JOBS);
    step("two runs");
    let runs = Watched::begin(&machine);
    let shown = machine.tell(&["systemctl", "status", "--no-pager", "--full", "jobd-runs"]);
    for run in runs.numbers() {
        assert!(shown.contains(&format!("─jobd-run-{run}-")), "{shown}");
    }
    assert_eq!(shown.matches("/usr/local/bin/jobd-shim").count(), 2, "{shown}");
    assert!(shown.contains("─shims"), "{shown}");
    let jobd = machine.tell(&["systemctl", "status", "--no-pager", "jobd"]);
    assert!(!jobd.contains("jobd-shim") && !jobd.contains("jobd-run-"), "{jobd}");
    runs.end_well();
    wait_for("their groups are gone", || {
        let groups = machine.sh(&format!("ls {GROUP}"));
        (!groups.contains("jobd-run-") && groups.contains("holder")).then_some(())
    });
    step("another systemd, and the end of the process that holds the group");
    let runs = Watched::begin(&machine);
    machine.tell(&["systemctl", "daemon-reexec"]);
    machine.sh(&format!("kill -9 $(cat {GROUP}/holder/cgroup.procs)"));
    runs.end_well();
    machine.assert_clean();
}

#[test]
fn a_restart_leaves_runs_alone() {
    for profile in [Profile::Root, Profile::Hardened] {
        let machine = Machine::started(profile, JOBS);
        step(&format!("systemctl restart jobd, {profile:?}"));
        let (runs, before) = (Watched::begin(&machine), machine.jobd());
        machine.tell(&["systemctl", "restart", "jobd"]);
        machine.other_jobd(&before);
        runs.end_well();
        machine.assert_clean();
    }
}

#[test]
fn runs_go_on_while_jobd_is_stopped() {
    let machine = Machine::started(Profile::Root, JOBS);
    step("systemctl stop jobd, a run ends meanwhile, systemctl start jobd");
    let runs = Watched::begin(&machine);
    machine.tell(&["systemctl", "stop", "jobd"]);
    assert_eq!(machine.property("jobd", "ActiveState"), "inactive");
    let shown = machine.tell(&["systemctl", "status", "--no-pager", "jobd-runs"]);
    assert_eq!(shown.matches("─jobd-run-").count(), 2, "{shown}");
    machine.tell(&["systemctl", "start", "jobd"]);
    runs.end_well();

    let runs = Watched::begin(&machine);
    machine.tell(&["systemctl", "stop", "jobd"]);
    machine.sh("touch /srv/go");
    let shims = format!("cat {GROUP}/shims/cgroup.procs");
    wait_for("the runs are over", || machine.sh(&shims).is_empty().then_some(()));
    machine.tell(&["systemctl", "start", "jobd"]);
    let codes = runs.numbers().map(|run| machine.row(run).exit_code);
    assert_eq!(codes, [Some(0), Some(7)], "settled before jobd is ready");
    machine.assert_clean();
}

#[test]
fn a_killed_jobd_is_back_at_once() {
    let machine = Machine::started(Profile::Root, JOBS);
    for _ in 0..3 {
        step("kill -9 jobd");
        let (runs, before) = (Watched::begin(&machine), machine.jobd());
        machine.sh(&format!("kill -9 {before}"));
        machine.other_jobd(&before);
        runs.end_well();
    }
    machine.assert_clean();
}

#[test]
fn a_jobd_that_hangs_is_ended_by_the_watchdog() {
    let machine = Machine::started(Profile::Root, JOBS);
    machine.drop_in("jobd.service", "[Service]\nWatchdogSec=2s\n");
    machine.tell(&["systemctl", "restart", "jobd"]);
    step("SIGSTOP, until the watchdog acts");
    let (runs, before) = (Watched::begin(&machine), machine.jobd());
    machine.sh(&format!("kill -STOP {before}"));
    machine.other_jobd(&before);
    assert!(machine.journal().contains("jobd.service: Watchdog timeout"), "it was the watchdog");
    runs.end_well();
    machine.assert_clean();
}

#[test]
fn an_upgrade_is_taken_up_by_a_reload() {
    let machine = Machine::started(Profile::Root, JOBS);
    let (runs, before) = (Watched::begin(&machine), machine.jobd());
    step("other programs, another job, systemctl reload jobd");
    for program in PROGRAMS {
        machine.sh(&format!("cd /usr/local/bin; cp {program} new; mv new {program}"));
    }
    let program = format!("/proc/{before}/exe");
    assert!(machine.tell(&["readlink", &program]).ends_with("(deleted)\n"));
    machine.write(
        "/etc/jobd/jobs.toml",
        &format!("{JOBS}[jobs.new]\nschedule = \"@yearly\"\nshell = \"echo new\"\n"),
    );
    machine.tell(&["systemctl", "reload", "jobd"]);
    assert_eq!(machine.jobd(), before, "the same process");
    assert!(machine.tell(&["readlink", &program]).ends_with("/jobd\n"), "another program");
    machine.tell(&["jobctl", "run", "new", "--wait"]);
    runs.end_well();

    step("a mistake in jobs.toml, systemctl reload jobd");
    let runs = Watched::begin(&machine);
    machine.write("/etc/jobd/jobs.toml", "not = \"a configuration\"\n");
    assert!(!machine.run(&["systemctl", "reload", "jobd"]).status.success());
    assert_eq!(machine.jobd(), before);
    machine.tell(&["jobctl", "run", "new", "--wait"]);
    runs.end_well();
    machine.assert_clean();
}
