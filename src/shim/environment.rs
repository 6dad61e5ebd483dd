//! The job's environment: made from nothing, so that nothing of jobd's own gets into it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::tz::TimeZone;
use nix::libc::{O_NOCTTY, O_NONBLOCK};

use super::prepare::Failure;
use crate::os::{self, Account};
use crate::run::{RunFolder, RunSpec};

/// Where programs are looked for unless the job says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// As under cron: the shell of the job's lines, not the user's login shell, which may refuse to run anything.
const SHELL: &str = "/bin/sh";
/// The largest file of variables, bytes; the kernel would not take more by far for one process.
const ENV_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// All variables of a run. Later ones win: the clean set, the file, the job's own, and ours.
pub(super) fn environment(
    folder: &RunFolder,
    spec: &RunSpec,
    account: &Account,
) -> Result<BTreeMap<String, String>, Failure> {
    let clean = [
        ("PATH", PATH.to_owned()),
        ("HOME", account.home.display().to_string()),
        ("USER", account.name.clone()),
        ("LOGNAME", account.name.clone()),
        ("SHELL", SHELL.to_owned()),
        ("LANG", spec.lang.clone()),
        ("TZ", spec.zone.clone()),
    ];
    let ours = [
        ("JOBD_JOB", spec.job.to_string()),
        ("JOBD_RUN_ID", spec.run.to_string()),
        ("JOBD_SCHEDULED_AT", due_at(spec)),
        ("JOBD_TRIGGER", spec.trigger.to_string()),
        ("JOBD_ATTEMPT", spec.attempt.to_string()),
        ("JOBD_MESSAGE_FILE", folder.message_path().display().to_string()),
    ];
    let named = |(name, value): (&str, String)| (name.to_owned(), value);
    let mut all: BTreeMap<String, String> = clean.into_iter().map(named).collect();
    if let Some(path) = &spec.env_file {
        all.extend(read_env_file(path)?);
    }
    all.extend(spec.env.clone());
    all.extend(ours.into_iter().map(named));
    Ok(all)
}

/// The variables as exec wants them.
pub(super) fn entries(variables: &BTreeMap<String, String>) -> Result<Vec<CString>, Failure> {
    let entry = |(name, value): (&String, &String)| {
        if !is_name(name) {
            return Err(Failure::new("env", format!("{name:?} is no name for a variable")));
        }
        CString::new(format!("{name}={value}"))
            .map_err(|_| Failure::new("env", format!("the value of {name} holds a NUL byte")))
    };
    variables.iter().map(entry).collect()
}

/// Anything exec can carry but what a shell could not name; `.` and `-` appear in the wild.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0', ' ', '\t', '\n', '"', '\''])
}

/// The instant at which the run was due, with the offset that the job's zone has then.
fn due_at(spec: &RunSpec) -> String {
    // The launcher's host knew the zone; should this one have lost it, UTC is the same instant.
    let zone = TimeZone::get(&spec.zone).unwrap_or(TimeZone::UTC);
    spec.due_at.display_with_offset(zone.to_offset(spec.due_at)).to_string()
}

fn read_env_file(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let failed =
        |error: io::Error| Failure::new("env_file", format!("{}: {}", path.display(), os::describe(&error)));
    let mut text = String::new();
    // Opened without waiting: nobody may ever write to what turns out to be a pipe.
    let file =
        OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Failure::new("env_file", format!("{}: it is no regular file", path.display())));
    }
    file.take(ENV_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > ENV_FILE_BYTES_MAX {
        return Err(Failure::new("env_file", format!("{}: larger than 1 MiB", path.display())));
    }
    parse_env_file(&text).map_err(|line| {
        Failure::new("env_file", format!("{}: line {line} is not NAME=value", path.display()))
    })
}

/// Lines of `NAME=value`, as for systemd's `EnvironmentFile`: empty lines and those that begin with `#` are passed
/// over, a word `export` ahead is tolerated, and one pair of quotes around a value is taken off. Nothing is expanded.
fn parse_env_file(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=').ok_or(index + 1)?;
        let name = name.trim_end();
        if !is_name(name) {
            return Err(index + 1);
        }
        variables.push((name.to_owned(), unquote(value.trim_start()).ok_or(index + 1)?.to_owned()));
    }
    Ok(variables)
}

/// `None` if a quote is opened and not closed at the end.
fn unquote(value: &str) -> Option<&str> {
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].strip_suffix(quote),
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_is_read_line_by_line() {
        let text = "# a comment\n\nA=1\n export B = two words \nC=\"quo'ted\"\nD='#'\nE=\nF=a=b # kept\r\n";
        let variables = parse_env_file(text).unwrap();
        let expected =
            [("A", "1"), ("B", "two words"), ("C", "quo'ted"), ("D", "#"), ("E", ""), ("F", "a=b # kept")];
        let variables: Vec<(&str, &str)> = variables.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(variables, expected);
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(parse_env_file("A=1\nB\n"), Err(2));
        assert_eq!(parse_env_file("=1\n"), Err(1));
        assert_eq!(parse_env_file("A B=1\n"), Err(1));
        assert_eq!(parse_env_file("\nA=\"open\n"), Err(2));
    }

    #[test]
    fn an_entry_that_exec_cannot_carry_is_refused() {
        let entries = |name: &str, value: &str| entries(&BTreeMap::from([(name.into(), value.into())]));
        assert!(entries("A", "b=c").is_ok());
        assert!(entries("A=B", "").is_err());
        assert!(entries("", "").is_err());
        assert!(entries("A", "b\0c").unwrap_err().error.contains("NUL"));
    }
}
