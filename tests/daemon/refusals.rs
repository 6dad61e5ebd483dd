//! When jobd refuses to start: it says why and what to do, and leaves everything as it is.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::by_hand;
use crate::jobd::Jobd;

#[track_caller]
fn assert_refused(jobd: &Jobd, variables: &[(&str, &Path)], code: i32, words: &[&str]) {
    let (ended, said) = jobd.start_in_vain(variables);
    assert_eq!(ended, Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
}

/// A jobd that has run a job, and is stopped.
fn stopped() -> Jobd {
    let mut jobd = Jobd::started(&by_hand("job", "shell = \"exit 0\""));
    jobd.tell(&["run", "job", "--wait"]);
    assert_eq!(jobd.stop(), Some(0));
    jobd
}

#[test]
fn a_socket_has_one_jobd() {
    let jobd = Jobd::started(&by_hand("job", "shell = \"exit 0\""));
    let words = ["already listening", "jobd.sock", "--socket"];
    assert_refused(&jobd, &[("JOBD_STATE_DIR", &jobd.path("other"))], 1, &words);
    jobd.tell(&["run", "job", "--wait"]);
}

#[test]
fn every_mistake_of_a_configuration_is_named_at_once() {
    let config = "timezone = \"Asia/Soul\"\n[jobs.a]\nschedule = \"0 25 * * *\"\nshel = \"true\"\n\
                  [jobs.b]\nschedule = \"@daily\"\nshell = \"true\"\ntimeout = \"0s\"\n";
    let jobd = Jobd::new(config);
    let words = ["jobs.toml:1:", "Asia/Seoul", ":3:", "25", ":4:", "shel", "shell", ":8:", "timeout"];
    assert_refused(&jobd, &[], 2, &words);
    assert!(!jobd.state_dir().exists(), "nothing was touched");
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let jobd = Jobd::new("");
    fs::remove_file(jobd.path("jobs.toml")).unwrap();
    assert_refused(&jobd, &[], 2, &["jobs.toml", "No such file"]);
}

#[test]
fn a_damaged_database_is_left_alone() {
    let jobd = stopped();
    let database = jobd.state_dir().join("state.db");
    let file = fs::File::options().write(true).open(&database).unwrap();
    let length = file.metadata().unwrap().len();
    // The first page, which says that it is a database, stays.
    file.write_all_at(&vec![0xa5; usize::try_from(length - 4096).unwrap()], 4096).unwrap();
    let before = fs::read(&database).unwrap();
    assert_refused(&jobd, &[], 1, &["state.db", "damaged"]);
    assert!(fs::read(&database).unwrap() == before, "it was changed");
    fs::write(&database, "").unwrap();
    assert_refused(&jobd, &[], 1, &["state.db", "it is empty"]);
    assert_eq!(fs::metadata(&database).unwrap().len(), 0);
}

#[test]
fn a_history_that_is_gone_is_not_begun_anew() {
    let jobd = stopped();
    fs::remove_file(jobd.state_dir().join("state.db")).unwrap();
    assert_refused(&jobd, &[], 1, &["state.db is gone", "backup"]);
    assert!(!jobd.state_dir().join("state.db").exists());
}
