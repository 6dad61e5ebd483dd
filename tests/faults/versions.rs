//! Upgrades under way (F08): what an older version has written is understood, what a newer one has is refused whole.
//!
//! `tests/data/run-v1` is a run folder as the first version's jobd and shim left it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Output, Stdio};
use std::time::Duration;

use jobctl::engine::job::Command;
use jobctl::engine::run::{Exit, Report, RunId, Status, Trigger};
use jobctl::engine::stop::StopLadder;
use jobctl::os;
use jobctl::run::RunFolder;

use crate::jobd::{Jobd, wait_for};
use crate::life::{open_gate, waiting};
use crate::{by_hand, folder, lines, with_database};

fn v1() -> RunFolder {
    RunFolder::at(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/run-v1"))
}

#[test]
fn the_files_of_version_1_are_read_as_they_were_meant() {
    let spec = v1().spec().unwrap().unwrap();
    assert_eq!((spec.version, spec.run, spec.job.as_str()), (1, RunId(1), "report.daily"));
    assert_eq!(spec.due_at, "2026-03-01T01:00:00Z".parse().unwrap());
    assert_eq!((spec.trigger, spec.attempt, spec.umask), (Trigger::Manual, 1, 0o027));
    let line = "echo 보고서 3건; echo 'no good' >&2; exit 4";
    assert_eq!(spec.command, Command::Shell(line.to_owned()));
    assert_eq!(spec.env, BTreeMap::from([("LEVEL".to_owned(), "own".to_owned())]));
    assert_eq!(spec.timeout(), Some(Duration::from_mins(30)));
    // What is a ladder now was a grace, and everything else that came later is as if it were not there.
    assert_eq!(spec.stop, StopLadder::term(Duration::from_millis(1_500)));
    assert_eq!((spec.output_limit, spec.groups, spec.no_new_privileges), (None, None, false));
    assert_eq!(spec.resources, jobctl::engine::resources::Resources::default());

    let mark = v1().mark().unwrap().unwrap();
    assert_eq!((mark.version, mark.pid, mark.start_time), (1, 25_552, 1_319_229));
    assert_eq!((mark.boot_id, mark.job.map(|job| job.pid)), (spec.boot_id, Some(25_553)));

    let report = Report::from(v1().result().unwrap().unwrap());
    assert_eq!((&report.exit, report.status(), report.pid), (&Exit::Code(4), Status::Failed, Some(25_553)));
    assert_eq!((report.message.as_deref(), report.error_tail.as_str()), (Some("보고서 3건"), "no good\n"));
    assert_eq!((report.output_left_out, report.tree, report.waited_for, report.oom), (0, None, None, None));
}

/// A run that was under way when jobd went down and is over since: its folder, unsettled.
fn unsettled() -> (Jobd, u64) {
    let (mut jobd, runs) = waiting(str::to_owned, 1);
    jobd.kill();
    let _gate = open_gate(&jobd);
    wait_for("its shim has ended", || jobd.shims().is_empty().then_some(()));
    (jobd, runs[0])
}

#[test]
fn a_run_that_an_older_shim_has_ended_is_settled_by_a_newer_jobd() {
    let (mut jobd, run) = unsettled();
    let folder = folder(&jobd, run);
    for (from, to) in [
        (v1().spec_path(), folder.spec_path()),
        (v1().lock_path(), folder.lock_path()),
        (v1().result_path(), folder.result_path()),
    ] {
        fs::copy(from, to).unwrap();
    }
    jobd.start();
    jobd.wait_until_ready();
    let row = jobd.run(run);
    assert_eq!((row.status, row.exit_code, row.pid), (Status::Failed, Some(4), Some(25_553)));
    assert_eq!(row.message.as_deref(), Some("보고서 3건"));
    assert_eq!(row.error_message.as_deref(), Some("exit code 4\nno good"));
    assert_eq!(row.completed_at, Some("2026-11-22T14:30:08.102Z".parse().unwrap()));
}

/// Starts a shim as a jobd does, with the spec of the older one or what becomes of it.
fn shim(state: &tempfile::TempDir, spec: &str) -> (RunFolder, Output) {
    let folder = RunFolder::new(state.path(), "2026-03-01T01:00:00Z".parse().unwrap(), RunId(1));
    folder.create().unwrap();
    fs::write(folder.spec_path(), spec).unwrap();
    let lock = folder.create_lock().unwrap();
    assert!(os::try_lock(&lock).unwrap());
    let mut program = Program::new(env!("CARGO_BIN_EXE_jobd-shim"));
    let output = program.arg(folder.path()).stdin(Stdio::from(lock)).output().unwrap();
    (folder, output)
}

#[test]
fn a_newer_shim_runs_what_an_older_jobd_asks_for() {
    // So it is from the moment at which the programs are replaced until jobd is restarted.
    let state = tempfile::tempdir().unwrap();
    let (folder, output) = shim(&state, &fs::read_to_string(v1().spec_path()).unwrap());
    assert!(output.status.success(), "{output:?}");
    let report = Report::from(folder.result().unwrap().unwrap());
    assert_eq!((report.exit, report.message.as_deref()), (Exit::Code(4), Some("보고서 3건")));
}

#[test]
fn an_older_shim_runs_nothing_that_it_might_not_understand() {
    let state = tempfile::tempdir().unwrap();
    let spec = fs::read_to_string(v1().spec_path()).unwrap().replace("\"version\":1", "\"version\":99");
    let (folder, output) = shim(&state, &spec);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("spec.json has version 99"), "{said}");
    assert_eq!((folder.mark().unwrap(), folder.result().unwrap()), (None, None), "nothing was started");
}

/// Refuses to start over a file of a newer version, and has touched nothing; with the file as it was, all is well.
#[track_caller]
fn assert_refused_untouched(jobd: &mut Jobd, file: &Path) {
    let original = fs::read(file).unwrap();
    let newer = "{\"version\":99,\"nobody\":\"knows\"}";
    fs::write(file, newer).unwrap();
    let rows = jobd.history("job0");
    let (code, said) = jobd.start_in_vain(&[]);
    assert_eq!(code, Some(1), "{said}");
    for word in [file.to_str().unwrap(), "version 99", "start the newer jobd again"] {
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(jobd.history("job0"), rows);
    assert_eq!(fs::read_to_string(file).unwrap(), newer);
    fs::write(file, original).unwrap();
    jobd.start();
    jobd.wait_until_ready();
}

#[test]
fn a_newer_result_is_not_settled_by_guess() {
    let (mut jobd, run) = unsettled();
    let file = folder(&jobd, run).result_path();
    assert_refused_untouched(&mut jobd, &file);
    assert_eq!(jobd.run(run).status, Status::Success);
}

#[test]
fn a_newer_mark_is_not_taken_for_none() {
    let (mut jobd, runs) = waiting(str::to_owned, 1);
    jobd.kill();
    let file = folder(&jobd, runs[0]).lock_path();
    assert_refused_untouched(&mut jobd, &file);
    assert_eq!(jobd.run(runs[0]).status, Status::Running);
    let _gate = open_gate(&jobd);
    assert_eq!(jobd.ended(runs[0]).status, Status::Success);
}

/// A run that jobd has died over before it started anything: its spec is all there is.
fn not_started() -> (Jobd, PathBuf) {
    let mut jobd = Jobd::new(&by_hand("job0", "shell = 'echo $JOBD_RUN_ID >> starts'"));
    jobd.start_with(&[(jobctl::failpoint::VARIABLE, "before-fork".as_ref())]);
    wait_for("jobd answers", || jobd.jobctl(&["status"]).status.success().then_some(()));
    jobd.jobctl(&["run", "job0"]);
    jobd.wait_until_dead();
    let file = folder(&jobd, 1).spec_path();
    (jobd, file)
}

#[test]
fn a_newer_spec_is_not_run_by_guess() {
    let (mut jobd, file) = not_started();
    assert_refused_untouched(&mut jobd, &file);
    assert_eq!(jobd.ended(1).status, Status::Success);
    assert_eq!(lines(&jobd, "starts"), ["1"]);
}

#[test]
fn a_run_that_an_older_jobd_has_not_come_to_start_is_started_by_a_newer_one() {
    let (mut jobd, file) = not_started();
    let boot_id = v1().spec().unwrap().unwrap().boot_id;
    let spec = fs::read_to_string(v1().spec_path()).unwrap();
    fs::write(file, spec.replace(&boot_id, &os::boot_id().unwrap())).unwrap();
    jobd.start();
    jobd.wait_until_ready();
    assert_eq!(jobd.ended(1).status, Status::Success);
    assert_eq!(lines(&jobd, "starts"), ["1"], "what it is now, not what the older one wrote down");
}

#[test]
fn the_database_of_a_newer_jobd_is_left_alone() {
    let mut jobd = Jobd::started(&by_hand("job", "shell = \"exit 0\""));
    jobd.tell(&["run", "job", "--wait"]);
    assert_eq!(jobd.stop(), Some(0));
    with_database(&jobd, async |database| {
        sqlx::query("UPDATE _sqlx_migrations SET version = 99 WHERE version = 2")
            .execute(database)
            .await
            .unwrap();
    });
    let database = jobd.state_dir().join("state.db");
    let before = fs::read(&database).unwrap();
    let (code, said) = jobd.start_in_vain(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("state.db") && said.contains("newer jobd"), "{said}");
    assert!(fs::read(&database).unwrap() == before, "it was changed");
}
