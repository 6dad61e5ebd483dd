//! The host goes down: in order, and not.

use jobctl::engine::run::Status;

use crate::jobd::wait_for;
use crate::machine::{Machine, Profile};
use crate::step;

/// The shell itself would tell of the command that the signal ended.
const JOBS: &str = r#"
[jobs.tidy]
schedule = "0 0 29 2 *"
shell = "exec 2>&-; trap 'echo told; exit 3' TERM; echo begin; while :; do sleep 0.05; done"

[jobs.own_signal]
schedule = "0 0 29 2 *"
stop_signals = ["INT:30s", "KILL"]
shell = '''
exec 2>&-; trap 'echo other; exit 1' TERM; trap 'echo told; exit 4' INT
echo begin; while :; do sleep 0.05; done
'''

[jobs.slow]
schedule = "0 0 29 2 *"
kill_grace = "20s"
shell = "exec 2>&-; trap 'echo told; sleep 3; echo saved; exit 5' TERM; echo begin; while :; do sleep 0.05; done"

[jobs.deaf]
schedule = "0 0 29 2 *"
kill_grace = "1s"
shell = "exec 2>&-; trap '' TERM; echo begin; while :; do sleep 0.05; done"
"#;

const TOLD: [(&str, Option<i32>, Option<i32>, &str); 4] = [
    ("tidy", Some(3), None, "begin\ntold\n"),
    ("own_signal", Some(4), None, "begin\ntold\n"),
    ("slow", Some(5), None, "begin\ntold\nsaved\n"),
    ("deaf", None, Some(9), "begin\n"),
];

fn begin_all(machine: &Machine) -> Vec<u64> {
    let runs: Vec<u64> = TOLD.iter().map(|(job, ..)| machine.begin(job)).collect();
    for &run in &runs {
        wait_for("the job has begun", || (machine.output(run) == "begin\n").then_some(()));
    }
    runs
}

/// Each job was ended in its own way, and that is what is known of it.
#[track_caller]
fn assert_told(machine: &Machine, runs: &[u64]) {
    for ((job, code, signal, output), &run) in TOLD.into_iter().zip(runs) {
        let row = machine.row(run);
        assert!(matches!(row.status, Status::Failed | Status::Killed), "{row:?}");
        assert_eq!((row.exit_code, row.term_signal), (code, signal), "{job}: {row:?}");
        assert_eq!(machine.output(run), output, "{job}");
    }
}

#[test]
fn runs_are_ended_by_their_shims_when_the_host_is_shut_down() {
    let mut machine = Machine::started(Profile::Root, JOBS);
    let runs = begin_all(&machine);
    step("systemctl reboot");
    machine.shut_down();
    machine.boot();
    assert_told(&machine, &runs);
    machine.assert_clean();
}

#[test]
fn runs_are_ended_by_their_shims_when_their_unit_is_stopped() {
    let machine = Machine::started(Profile::Root, JOBS);
    let (runs, before) = (begin_all(&machine), machine.jobd());
    step("systemctl restart jobd-runs");
    machine.tell(&["systemctl", "restart", "jobd-runs"]);
    machine.other_jobd(&before);
    assert_told(&machine, &runs);
    let run = machine.begin("tidy");
    wait_for("the job has begun", || (machine.output(run) == "begin\n").then_some(()));
    machine.assert_clean();
    step("systemctl stop jobd-runs");
    machine.tell(&["systemctl", "stop", "jobd-runs"]);
    assert_eq!(machine.property("jobd", "ActiveState"), "inactive", "jobd goes with it");
    machine.tell(&["systemctl", "start", "jobd"]);
    assert_eq!(machine.row(run).exit_code, Some(3));
    machine.assert_clean();
}

/// Of the kernel's own boot id there is one only. `boot.sh` puts another one over it, as LXC and nspawn do; a unit with
/// a `/proc` of its own does not see that.
#[test]
fn runs_that_a_reset_has_cut_off_are_lost() {
    let mut machine = Machine::started(Profile::Root, JOBS);
    machine.drop_in("jobd.service", "[Service]\nProtectProc=default\nProtectKernelTunables=no\n");
    machine.tell(&["systemctl", "restart", "jobd"]);
    let runs = begin_all(&machine);
    step("the host is reset");
    machine.reset();
    machine.boot();
    for run in runs {
        let row = machine.row(run);
        assert_eq!((row.status, row.exit_code), (Status::Lost, None));
        assert_eq!(row.reason.as_deref(), Some("host rebooted"));
        assert_eq!(machine.output(run), "begin\n");
    }
    machine.assert_clean();
}
