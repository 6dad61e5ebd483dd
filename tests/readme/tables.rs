//! The READMEs' tables, held against the programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jobctl::api::places::Places;
use jobctl::engine::run::Status;
use jobctl::run::RunFolder;

use crate::ENGLISH;
use crate::document::Document;
use crate::jobd::{Jobd, text};
use crate::stage::Stage;

/// Every table that both languages have to agree on.
pub const ALL: [&str; 7] = [
    "keys",
    "job environment",
    "columns",
    "state directory",
    "run folder",
    "exit codes",
    "program environment",
];

fn set(names: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
    names.into_iter().map(Into::into).collect()
}

fn help(program: &str) -> String {
    text(&Command::new(program).arg("--help").output().unwrap().stdout)
}

fn jobctl_help() -> String {
    help(env!("CARGO_BIN_EXE_jobctl"))
}

/// The verbs that `jobctl --help` lists.
pub fn verbs_of_help() -> BTreeSet<String> {
    let help = jobctl_help();
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    set(verbs.filter(|verb| *verb != "help"))
}

/// What lies in the state directory and in the runs' folders after the commands is what the tables say.
pub fn check_files(readme: &Document, stage: &Stage) {
    let state = stage.state_dir();
    // The copy of the database is made once a day.
    let mut names = names_in(&state);
    assert!(names.insert("backup".to_owned()));
    assert_eq!(set(readme.names("state directory")), names);
    let runs = children(&state.join("runs")).iter().flat_map(|date| children(date)).collect::<Vec<_>>();
    assert!(!runs.is_empty());
    let mut files: BTreeSet<String> = runs.iter().flat_map(|run| names_in(run)).collect();
    // A host on which nothing hangs has none of these.
    let folder = RunFolder::at(PathBuf::new());
    for path in [folder.stuck_path(), folder.silent_path()] {
        assert!(files.insert(path.display().to_string()));
    }
    assert_eq!(set(readme.names("run folder")), files);
}

fn children(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    set(children(folder).iter().map(|path| path.file_name().unwrap().to_str().unwrap()))
}

/// The codes are those of `jobctl --help`, and each happens.
pub fn check_exit_codes(readme: &Document, stage: &Stage) {
    let help = jobctl_help();
    let code = |line: &str| line.strip_prefix("  ")?.split("  ").next()?.parse::<u8>().ok();
    let codes = help.lines().filter_map(code).map(|code| code.to_string());
    assert_eq!(set(readme.names("exit codes")), set(codes));
    assert_eq!(stage.exit_code(&["status"]), Some(0));
    assert_eq!(stage.exit_code(&["kill", "backup"]), Some(1));
    assert_eq!(stage.exit_code(&["frobnicate"]), Some(2));
    assert_eq!(stage.exit_code(&["next", "--cron", "0 25 * * *"]), Some(2));
    assert_eq!(stage.exit_code(&["run", "backup", "--socket", "/nonexistent/jobd.sock"]), Some(3));
    assert_eq!(stage.exit_code(&["show", "nobody"]), Some(4));
    assert_eq!(stage.exit_code(&["show", "999999"]), Some(4));
}

/// The columns are the table's own.
pub fn check_columns(readme: &Document, stage: &mut Stage) {
    let query = "SELECT name FROM pragma_table_info('cron_job_logs')";
    let columns = stage.perform(&format!("sqlite3 -readonly /var/lib/jobd/state.db \"{query}\""));
    assert_eq!(readme.names("columns"), columns.lines().collect::<Vec<_>>());
    for status in Status::ALL {
        assert!(readme.text.contains(&format!("`{status}`")), "{status} is not told");
    }
}

/// A job's environment is what the table says, and nothing else; a job without keys has the defaults it says.
#[test]
fn a_job_sees_what_is_said_and_has_the_defaults_that_are_said() {
    let readme = Document::read(ENGLISH);
    let jobd = Jobd::started("[jobs.env]\nschedule = \"@yearly\"\ncommand = [\"env\"]\n");
    let seen = jobd.tell(&["run", "env", "--follow"]);
    let variables: Vec<(&str, &str)> = seen.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(set(readme.names("job environment")), set(variables.iter().map(|(name, _)| *name)));
    for (name, value) in variables.into_iter().filter(|(name, _)| ["PATH", "SHELL"].contains(name)) {
        assert!(readme.table("job environment").contains(&vec![name.to_owned(), value.to_owned()]), "{name}");
    }
    let shown = jobd.tell(&["show", "env"]);
    for key in [
        "timeout",
        "kill_grace",
        "stop_signals",
        "leftover",
        "output_limit",
        "after",
        "overlap",
        "queue_limit",
        "locks",
        "pools",
        "busy",
        "priority",
        "retry",
        "catch_up",
        "catch_up_window",
        "jitter",
        "calendar",
        "blackouts",
        "starts_on",
        "ends_on",
        "late_after",
        "must_finish_by",
        "max_since_success",
        "warn_after",
        "min_duration",
        "silence",
        "usual",
        "stdin",
        "no_new_privileges",
        "umask",
        "nice",
        "ionice",
        "rlimits",
        "limits",
    ] {
        let row = readme.table("keys").into_iter().find(|row| row[0] == key).unwrap();
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap();
        let default = line.trim_start().trim_start_matches(key).trim_start();
        assert_eq!(default.trim_start_matches('0'), row[1].trim_start_matches('0'), "{key}");
    }
}

/// The words of a list of strings in a source of ours.
fn list(source: &str, name: &str) -> BTreeSet<String> {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(source)).unwrap();
    let begin = source.find(&format!("const {name}: &[&str] = &[")).unwrap();
    let list = &source[begin..begin + source[begin..].find("];").unwrap()];
    set(list.split('"').skip(1).step_by(2))
}

/// The keys are those that the configuration takes, and what it knows to be planned is listed as not built.
#[test]
fn the_keys_are_those_there_are() {
    let readme = Document::read(ENGLISH);
    assert_eq!(set(readme.names("keys")), list("src/config/job.rs", "KEYS"));
    let root = list("src/config/loader.rs", "KEYS");
    assert!(root.iter().all(|key| readme.text.contains(key)), "{root:?}");
    let unbuilt = &readme.text[readme.text.find("## Not built yet").unwrap()..];
    for key in list("src/config/loader.rs", "PLANNED") {
        assert!(unbuilt.contains(&format!("`{key}`")), "{key} is not built, and that is not said");
    }
}

/// The variables are those that the programs read, and the places are where they look.
#[test]
fn the_variables_and_places_are_those_of_the_programs() {
    let readme = Document::read(ENGLISH);
    let named = set(readme.names("program environment"));
    for row in readme.table("program environment").iter().filter(|row| row[2].starts_with("--")) {
        let option = row[2].split(';').next().unwrap();
        let is_told = |help: &str| help.contains(option) && help.contains(&row[0]);
        assert!(is_told(&jobctl_help()) && is_told(&help(env!("CARGO_BIN_EXE_jobd"))), "{row:?}");
    }
    let job = set(readme.names("job environment"));
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    for name in &named {
        assert!(sources.contains(&format!("\"{name}\"")), "nobody reads {name}");
    }
    let literals = sources.split('"').filter(|text| {
        text.starts_with("JOBD_") && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    });
    for name in literals.filter(|name| *name != "JOBD_") {
        assert!(named.contains(name) || job.contains(name), "{name} is not in the README");
    }
    let root = Places::defaults(true, |_| None);
    let others = Places::defaults(false, |name| (name == "HOME").then(|| "~".into()));
    for place in [&root.config, &root.state_dir, &root.socket, &others.config, &others.state_dir] {
        assert!(readme.text.contains(&format!("`{}`", place.display())), "{}", place.display());
    }
}

/// The shipped code, as one text. What only a debug build reads, for a test to let it die, is nothing for users.
fn sources(folder: &Path) -> String {
    let read = |path: PathBuf| {
        if path.ends_with("failpoint.rs") {
            return String::new();
        }
        if path.is_dir() { sources(&path) } else { fs::read_to_string(path).unwrap_or_default() }
    };
    let texts: Vec<String> = children(folder).into_iter().map(read).collect();
    texts
        .into_iter()
        .map(|text| text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned())
        .collect()
}
