//! Verbs that only read work without jobd, and say so.

use std::fs;

use crate::jobd::{Jobd, text, wait_for};
use crate::{by_hand, folder};

/// What a reading verb prints without jobd; it must succeed, and say where it has that from.
#[track_caller]
fn read(jobd: &Jobd, arguments: &[&str]) -> String {
    let output = jobd.jobctl(arguments);
    let complained = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complained}");
    assert!(complained.contains("jobd is not running"), "{arguments:?}: {complained}");
    text(&output.stdout)
}

#[track_caller]
fn assert_all_is_readable(jobd: &Jobd, run: &str) {
    for (arguments, words) in [
        (&["list"][..], &["backup"][..]),
        (&["show", "backup"], &["backup", "timeout"]),
        (&["show", run], &["backup", "FAILED"]),
        (&["history"], &["backup", "FAILED"]),
        (&["logs", run], &["saved\n"]),
        (&["logs", "backup"], &["saved\n"]),
        (&["next", "backup"], &["T00:00:00"]),
    ] {
        let said = read(jobd, arguments);
        assert!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
    }
    let output = jobd.jobctl(&["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("jobd is down"), "{}", text(&output.stdout));
    let output = jobd.jobctl(&["run", "backup"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn readers_do_without_a_jobd_that_was_stopped() {
    let mut jobd = Jobd::started(&by_hand("backup", "shell = \"echo saved; exit 5\""));
    let run = jobd.begin("backup");
    let before = jobd.ended(run);
    jobd.stop();
    assert_all_is_readable(&jobd, &run.to_string());
    assert_eq!(jobd.history("backup"), [before]);
}

#[test]
fn readers_see_the_end_of_a_run_that_nobody_has_settled() {
    let entry = "shell = \"echo saved; until [ -e gate ]; do sleep 0.05; done; exit 5\"";
    let mut jobd = Jobd::started(&by_hand("backup", entry));
    let run = jobd.begin("backup");
    wait_for("the job runs", || jobd.tell(&["logs", &run.to_string()]).contains("saved").then_some(()));
    jobd.kill();
    assert!(read(&jobd, &["ps"]).contains("backup"));
    fs::write(jobd.path("gate"), "").unwrap();
    let result = folder(&jobd, run).result_path();
    wait_for("the run is over", || fs::metadata(&result).is_ok_and(|file| file.len() > 0).then_some(()));
    assert_all_is_readable(&jobd, &run.to_string());
    let seen = jobd.run(run);
    jobd.start();
    jobd.wait_until_ready();
    assert_eq!(seen, jobd.run(run), "the row is what it was shown to be");
}
