//! A reboot and power cuts.

use std::collections::BTreeMap;
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{RunId, Status};

use crate::machine::Machine;
use crate::rows::{assert_each_once, second};

const POWER_CUTS: usize = 3;

const JOBS: &str = r#"
timezone = "UTC"

[jobs.long]
schedule = "@yearly"
command = ["sleep", "1000"]

[jobs.boot]
schedule = "@reboot"
command = ["cat", "/proc/sys/kernel/random/boot_id"]

[jobs.skip]
schedule = "*/2 * * * * *"
catch_up = "skip"
shell = "exit $((JOBD_RUN_ID % 3))"

[jobs.latest]
schedule = "*/2 * * * * *"
shell = "exit $((JOBD_RUN_ID % 3))"
"#;

/// `@reboot` has run once in each of these boots.
#[track_caller]
fn each_boot_ran_once(machine: &mut Machine, boots: &[String]) {
    let rows = machine.wait_for("the boot's run is over", |machine| {
        Some(machine.rows("boot"))
            .filter(|rows| rows.len() >= boots.len() && rows.iter().all(|row| row.status.is_final()))
    });
    // Of one whose power was cut the word may be lost with it.
    let said: Vec<&str> = rows.iter().filter_map(|row| row.message.as_deref()).collect();
    assert_eq!(rows.len(), boots.len(), "{rows:#?}");
    assert!(said.iter().all(|word| boots.iter().any(|boot| boot == word)), "{said:?} {boots:?}");
}

#[track_caller]
fn every_fire_has_one_row(machine: &mut Machine) {
    for job in ["skip", "latest"] {
        let rows = machine.rows(job);
        let [first, last] = [rows.first(), rows.last()].map(|row| second(row.unwrap().scheduled_at.unwrap()));
        assert_each_once(&rows, 2, first, last);
    }
}

/// The rows of both jobs that are final.
fn finished(machine: &mut Machine) -> BTreeMap<RunId, RunRecord> {
    let rows = ["skip", "latest"].map(|job| machine.rows(job)).into_iter().flatten();
    rows.filter(|row| row.status.is_final()).map(|row| (row.run_id, row)).collect()
}

#[test]
fn a_reboot_ends_what_runs_and_the_rows_tell() {
    let mut machine = Machine::with_jobs(JOBS);
    let run = machine.begin("long");
    machine.running(run);
    let mut boots = vec![machine.boot_id.clone()];
    machine.reboot();
    boots.push(machine.boot_id.clone());
    let row = machine.ended(run);
    assert!(matches!(row.status, Status::Killed | Status::Failed | Status::Lost), "{row:#?}");
    each_boot_ran_once(&mut machine, &boots);
    every_fire_has_one_row(&mut machine);
}

#[test]
fn a_power_cut_costs_what_was_running_and_no_row() {
    let mut machine = Machine::with_jobs(JOBS);
    let mut boots = vec![machine.boot_id.clone()];
    for cut in 1..=POWER_CUTS {
        let long = machine.begin("long");
        machine.running(long);
        let kept = machine.wait_for("runs are over", |machine| {
            Some(finished(machine)).filter(|rows| rows.len() > 10 * cut)
        });
        // Into the middle of whatever goes on: a different moment each time.
        let chance = clock::now().wall.subsec_nanosecond().unsigned_abs() % 2_000;
        std::thread::sleep(Duration::from_millis(chance.into()));
        machine.cut_power();
        boots.push(machine.boot_id.clone());

        let row = machine.ended(long);
        assert_eq!(row.status, Status::Lost, "{row:#?}");
        assert!(row.reason.as_deref().is_some_and(|reason| reason.contains("rebooted")), "{row:#?}");
        let now = finished(&mut machine);
        for (run, row) in kept {
            assert_eq!(now.get(&run), Some(&row), "what was over stays as it was");
        }
        each_boot_ran_once(&mut machine, &boots);
        every_fire_has_one_row(&mut machine);
    }
}
