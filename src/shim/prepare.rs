//! Everything that is settled before the fork: who, where, with what.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use nix::libc::{EAGAIN, EPERM, ESPIPE};

use super::environment::{entries, environment};
use super::start::patiently;
use crate::engine::job::Command;
use crate::engine::resources::{IoPriority, Rlimit, RlimitPair};
use crate::os::{self, Account, AccountError, Entrance, Identity, Plan, SpawnFailure, Step};
use crate::run::{RunFolder, RunSpec};

/// How long the name service may take to say who the job's user is.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// Why a job could not be started: the step, and what was being done with the system's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) step: &'static str,
    pub(super) error: String,
}

impl Failure {
    pub(super) const fn new(step: &'static str, error: String) -> Self {
        Self { step, error }
    }
}

/// A job ready to be started. Owns what a [`Plan`] borrows.
#[derive(Debug)]
pub(super) struct Prepared {
    argv: Vec<CString>,
    programs: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    stdin: Option<CString>,
    identity: Option<Identity>,
    user: String,
    no_new_privileges: bool,
    nice: Option<i32>,
    io: Option<IoPriority>,
    rlimits: Vec<(Rlimit, RlimitPair)>,
    umask: u32,
    oom_score_adj: Option<CString>,
}

impl Prepared {
    /// What the child does, with the group to join.
    pub(super) fn plan<'a>(&'a self, cgroup: Option<&'a Entrance>) -> Plan<'a> {
        Plan {
            argv: &self.argv,
            programs: &self.programs,
            env: &self.env,
            cwd: &self.cwd,
            stdin: self.stdin.as_deref(),
            identity: self.identity.as_ref(),
            no_new_privileges: self.no_new_privileges,
            nice: self.nice,
            io: self.io,
            rlimits: &self.rlimits,
            umask: self.umask,
            oom_score_adj: self.oom_score_adj.as_deref(),
            cgroup,
        }
    }

    /// A failed step in words, with what it was tried on.
    pub(super) fn explain(&self, failure: SpawnFailure) -> Failure {
        let object = match failure.step {
            Step::Chdir => Some(self.cwd.to_string_lossy()),
            Step::Stdin => self.stdin.as_ref().map(|path| path.to_string_lossy()),
            Step::Exec => self.argv.first().map(|program| program.to_string_lossy()),
            Step::Setgroups | Step::Setgid | Step::Setuid => Some(self.user.as_str().into()),
            Step::Rlimits => {
                self.rlimits.get(usize::from(failure.item)).map(|(name, _)| name.as_str().into())
            }
            _ => None,
        };
        let reason = match (failure.step, failure.errno) {
            (Step::Stdin, ESPIPE) => "it is neither a file nor a device".to_owned(),
            (Step::Rlimits, EPERM) => {
                "to raise a hard limit takes CAP_SYS_RESOURCE, as root has (EPERM)".to_owned()
            }
            (Step::Exec, EAGAIN) => format!("{} has as many processes as it may (EAGAIN)", self.user),
            (_, errno) => os::describe_errno(errno),
        };
        let error = object.map_or_else(|| reason.clone(), |object| format!("{object}: {reason}"));
        Failure::new(failure.step.as_str(), error)
    }
}

/// Settles all that can be settled ahead.
pub(super) fn prepare(
    folder: &RunFolder,
    spec: &RunSpec,
    oom_score_adj: Option<i32>,
) -> Result<Prepared, Failure> {
    let account = account(spec)?;
    let variables = environment(folder, spec, &account)?;
    let argv = argv(&spec.command)?;
    let programs = programs(&argv, &variables)?;
    create_message_file(folder, account.identity.as_ref()).map_err(|error| {
        Failure::new("message", format!("{}: {}", folder.message_path().display(), os::describe(&error)))
    })?;
    Ok(Prepared {
        programs,
        argv,
        env: entries(&variables)?,
        cwd: c_string("chdir", spec.cwd.as_os_str())?,
        stdin: spec.stdin.as_ref().map(|path| c_string("stdin", path.as_os_str())).transpose()?,
        identity: account.identity,
        user: account.name,
        no_new_privileges: spec.no_new_privileges,
        nice: spec.resources.nice,
        io: spec.resources.io,
        rlimits: spec.resources.rlimits.iter().map(|(name, pair)| (*name, *pair)).collect(),
        umask: spec.umask,
        oom_score_adj: oom_score_adj.and_then(|value| CString::new(value.to_string()).ok()),
    })
}

/// Who the job is. The name service may hang for ever, and this process is to fork: so the thread that asks is over
/// when this returns, or nothing is started.
fn account(spec: &RunSpec) -> Result<Account, Failure> {
    let ask = || {
        let (user, groups) = (spec.user.clone(), spec.groups.clone());
        os::ask_in_time(LOOKUP_LIMIT, move || Account::find(user.as_deref(), groups.as_deref()))
    };
    patiently(AccountError::is_shortage, ask).map_err(|error| {
        let is_group = matches!(error, AccountError::NoSuchGroup(_) | AccountError::OtherGroups);
        Failure::new(if is_group { "groups" } else { "user" }, error.to_string())
    })
}

fn argv(command: &Command) -> Result<Vec<CString>, Failure> {
    let words: Vec<&str> = match command {
        Command::Argv(words) => words.iter().map(String::as_str).collect(),
        Command::Shell(line) => vec!["/bin/sh", "-c", line],
    };
    if words.first().is_none_or(|program| program.is_empty()) {
        return Err(Failure::new("exec", "the command is empty".to_owned()));
    }
    words.into_iter().map(|word| c_string("exec", OsStr::new(word))).collect()
}

/// The files to try: the program itself if it is a path, else one for each entry of the job's own `PATH`.
fn programs(argv: &[CString], variables: &BTreeMap<String, String>) -> Result<Vec<CString>, Failure> {
    let Some(program) = argv.first().map(CString::as_bytes) else {
        return Ok(Vec::new());
    };
    if program.contains(&b'/') {
        return Ok(argv[..1].to_vec());
    }
    let path = variables.get("PATH").map(String::as_str).unwrap_or_default();
    let candidate = |entry: &str| {
        // An empty entry means the working directory (POSIX); it must be written by who wants it.
        let entry = if entry.is_empty() { "." } else { entry };
        c_string("exec", OsStr::from_bytes(&[entry.as_bytes(), b"/", program].concat()))
    };
    path.split(':').map(candidate).collect()
}

fn c_string(step: &'static str, text: &OsStr) -> Result<CString, Failure> {
    CString::new(text.as_bytes())
        .map_err(|_| Failure::new(step, format!("{} holds a NUL byte", text.to_string_lossy())))
}

/// Empty, and the job's own: its user may write it, though not put another file in its place.
fn create_message_file(folder: &RunFolder, identity: Option<&Identity>) -> io::Result<()> {
    let path = folder.message_path();
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    identity
        .map_or(Ok(()), |identity| std::os::unix::fs::fchown(&file, Some(identity.uid), Some(identity.gid)))
}
