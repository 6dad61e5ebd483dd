//! A systemd of its own, with jobd installed as `make install` does it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use jobctl::engine::record::RunRecord;
use serde_json::Value;
use tempfile::TempDir;

use crate::jobd::{text, wait_for};

/// What of the unit's profiles is installed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Profile {
    Root,
    Hardened,
}

impl Profile {
    const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Hardened => "hardened",
        }
    }

    /// The tree that `make install` makes, as a layer above Debian's.
    fn installed(self) -> &'static Path {
        static ROOT: OnceLock<PathBuf> = OnceLock::new();
        static HARDENED: OnceLock<PathBuf> = OnceLock::new();
        let layer = match self {
            Self::Root => &ROOT,
            Self::Hardened => &HARDENED,
        };
        layer.get_or_init(|| {
            let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("systemd").join(self.name());
            // It may be there from another time.
            let _ = fs::remove_dir_all(&tree);
            let programs = Path::new(env!("CARGO_BIN_EXE_jobd")).parent().unwrap();
            let mut make = package("make");
            // What an outer make was told is not for this one.
            make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
            make.arg("-s").arg("install").arg(format!("PROFILE={}", self.name()));
            make.arg(format!("BIN={}", programs.display())).arg(format!("DESTDIR={}", tree.display()));
            said(&mut make);
            tree
        })
    }
}

/// Debian's own tree.
fn debian() -> &'static Path {
    static TREE: OnceLock<PathBuf> = OnceLock::new();
    TREE.get_or_init(|| {
        let mut script = package("scripts/systemd-root.sh");
        PathBuf::from(said(script.stderr(Stdio::inherit())).trim_end())
    })
}

/// A command in the package's own folder.
fn package(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

/// What a command prints; it must succeed.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}{complained}", output.status);
    said
}

/// A systemd that is killed, and its files removed, when the test is over.
pub(crate) struct Machine {
    /// What is written on top of the installed tree; in memory.
    changes: TempDir,
    layers: String,
    boot: Option<Boot>,
}

/// From the start of a systemd to its end.
struct Boot {
    unshare: Child,
    init: String,
    cgroup: PathBuf,
}

impl Machine {
    /// A machine that is up, with jobd enabled and running with this `jobs.toml`.
    pub(crate) fn started(profile: Profile, config: &str) -> Self {
        let layers = format!("{}:{}", profile.installed().display(), debian().display());
        let changes = tempfile::Builder::new().prefix("jobd-systemd-").tempdir_in("/dev/shm").unwrap();
        let mut machine = Self { changes, layers, boot: None };
        machine.boot();
        machine.write("/etc/jobd/jobs.toml", config);
        machine.tell(&["systemd-sysusers"]);
        machine.tell(&["systemctl", "enable", "--now", "jobd"]);
        machine
    }

    /// Boots it, and waits until it is up.
    pub(crate) fn boot(&mut self) {
        static BOOTS: AtomicU32 = AtomicU32::new(0);
        assert!(self.boot.is_none(), "it is up");
        let name = format!("jobd-test-{}-{}", std::process::id(), BOOTS.fetch_add(1, Ordering::Relaxed));
        let cgroup = cgroups().join(name);
        // It is to go with this thread, however that ends.
        let mut script = package("setpriv");
        script.args(["--pdeathsig", "KILL", "tests/systemd/boot.sh"]);
        script.arg(&cgroup).arg(&self.layers).arg(self.changes.path());
        let mut unshare = script.spawn().unwrap();
        let init = wait_for("systemd starts", || {
            let ended = unshare.try_wait().unwrap();
            assert!(ended.is_none(), "systemd could not be started: {ended:?}");
            let pid = unshare.id();
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            let init = children.split_whitespace().next()?.to_owned();
            let name = fs::read_to_string(format!("/proc/{init}/comm")).ok()?;
            // Until then its root is this host's.
            (name == "systemd\n").then_some(init)
        });
        self.boot = Some(Boot { unshare, init, cgroup });
        wait_for("systemd is up", || {
            let state = text(&self.run(&["systemctl", "is-system-running"]).stdout);
            (state == "running\n").then_some(())
        });
    }

    /// `systemctl reboot`, until it is down.
    pub(crate) fn shut_down(&mut self) {
        // The connection may be gone before the answer.
        let _ = self.run(&["systemctl", "reboot"]);
        let boot = self.boot.as_mut().unwrap();
        wait_for("the host is down", || boot.unshare.try_wait().unwrap());
        self.clear();
    }

    /// What a reset does: nobody is told.
    pub(crate) fn reset(&mut self) {
        self.boot.as_mut().unwrap().unshare.kill().unwrap();
        self.clear();
    }

    /// Takes away what is left of a systemd that has ended.
    fn clear(&mut self) {
        let Some(mut boot) = self.boot.take() else { return };
        let _ = boot.unshare.wait();
        // The last processes may be on their way out.
        wait_for("its control group is empty", || remove_cgroup(&boot.cgroup).then_some(()));
    }

    /// Runs a command in it to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// A command in it, with an environment of its own.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let init = &self.boot.as_ref().expect("it is up").init;
        let mut command = Command::new("nsenter");
        command.args(["--target", init, "--all", "--root", "--wd", "env", "-i", "LANG=C.UTF-8"]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").args(words);
        command.stdin(Stdio::null());
        command
    }

    /// What a command in it prints; it must succeed.
    #[track_caller]
    pub(crate) fn tell(&self, words: &[&str]) -> String {
        said(&mut self.command(words))
    }

    /// What a line for the shell prints; it must succeed.
    #[track_caller]
    pub(crate) fn sh(&self, line: &str) -> String {
        self.tell(&["sh", "-ec", line])
    }

    /// Writes a file in it.
    #[track_caller]
    pub(crate) fn write(&self, path: &str, contents: &str) {
        self.tell(&["sh", "-ec", "mkdir -p \"${1%/*}\"; printf %s \"$2\" >\"$1\"", "sh", path, contents]);
    }

    /// Adds a drop-in to a unit.
    #[track_caller]
    pub(crate) fn drop_in(&self, unit: &str, contents: &str) {
        self.write(&format!("/etc/systemd/system/{unit}.d/test.conf"), contents);
        self.tell(&["systemctl", "daemon-reload"]);
    }

    /// What jobctl prints with `--json`.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let words: Vec<&str> = ["jobctl"].iter().chain(arguments).copied().chain(["--json"]).collect();
        serde_json::from_str(&self.tell(&words)).unwrap()
    }

    /// Starts a run by hand, and returns its number.
    #[track_caller]
    pub(crate) fn begin(&self, job: &str) -> u64 {
        self.json(&["run", job])["run_id"].as_u64().unwrap()
    }

    /// The row of a run.
    #[track_caller]
    pub(crate) fn row(&self, run: u64) -> RunRecord {
        serde_json::from_value(self.json(&["show", &run.to_string()])["run"].clone()).unwrap()
    }

    /// Waits until a run is over, and returns its row.
    #[track_caller]
    pub(crate) fn ended(&self, run: u64) -> RunRecord {
        wait_for("the run is over", || Some(self.row(run)).filter(|row| row.status.is_final()))
    }

    /// What a run has written so far.
    #[track_caller]
    pub(crate) fn output(&self, run: u64) -> String {
        self.tell(&["jobctl", "logs", &run.to_string()])
    }

    /// A property of a unit.
    #[track_caller]
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.tell(&["systemctl", "show", "--value", "--property", name, unit]).trim_end().to_owned()
    }

    /// The pid of jobd, in it.
    #[track_caller]
    pub(crate) fn jobd(&self) -> String {
        self.property("jobd", "MainPID")
    }

    /// Waits until another jobd than that one is ready, and returns its pid.
    #[track_caller]
    pub(crate) fn other_jobd(&self, before: &str) -> String {
        wait_for("another jobd is ready", || {
            let (state, pid) = (self.property("jobd", "ActiveState"), self.jobd());
            (state == "active" && pid != before).then_some(pid)
        })
    }

    /// Everything that was told in all its boots.
    pub(crate) fn journal(&self) -> String {
        let folder = self.changes.path().join("changes/var/log/journal");
        if self.boot.is_some() {
            return text(&self.run(&["journalctl", "--no-pager"]).stdout);
        }
        said(Command::new("journalctl").arg("--no-pager").arg("--directory").arg(folder))
    }

    /// Nothing has failed, and systemd has found nothing where it should not be.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.tell(&["systemctl", "--failed", "--no-legend"]), "");
        assert_eq!(self.tell(&["systemctl", "is-active", "jobd", "jobd-runs"]), "active\nactive\n");
        let journal = self.journal();
        for mess in ["left-over process", "remains running", "Failed to attach", "Failed to create cgroup"] {
            let found = journal.lines().find(|line| line.contains(mess));
            assert_eq!(found, None, "{mess}");
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the journal:\n{}", self.journal());
        }
        if let Some(boot) = &mut self.boot {
            let _ = boot.unshare.kill();
        }
        self.clear();
    }
}

/// Where this host has its control groups, version 2.
fn cgroups() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let place = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).unwrap())
    });
    PathBuf::from(place.expect("this host has control groups, version 2"))
}

/// Removes a group and those below it; false if somebody still lives there.
fn remove_cgroup(path: &Path) -> bool {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    fs::remove_dir(path).is_ok() || !path.exists()
}
