//! Runs the commands of a README as they stand, against a real jobd in a folder of its own.
//!
//! What a test must not do to its host (build for minutes, talk to systemd, make a group) is checked instead: that the
//! target, the unit or the file that the command names is there and is right. A command that is neither is a failure.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use jobctl::api::places::SYSTEM_SOCKET;
use jobctl::clock;

use crate::jobd::{Jobd, text, wait_within};

/// The commands are done long before a fire that is further away than this.
const QUIET: Duration = Duration::from_secs(30);
/// The unit that `make install` installs.
const UNIT: &str = "usr/local/lib/systemd/system/jobd.service";
/// Stands in where there is no `sqlite3`: it takes the arguments that the README gives.
const SQLITE3: &str = r#"#!/usr/bin/env python3
import sqlite3, sys
_, option, path, query = sys.argv
assert option == "-readonly"
for row in sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute(query):
    print(*("" if value is None else value for value in row), sep="|")
"#;

/// Where a README is played.
pub struct Stage {
    jobd: Jobd,
}

impl Stage {
    /// With this `jobs.toml`, and jobd not started yet.
    pub fn new(config: &str) -> Self {
        let stage = Self { jobd: Jobd::new(config) };
        if !has("sqlite3") {
            fs::create_dir(stage.jobd.path("bin")).unwrap();
            let program = stage.jobd.path("bin/sqlite3");
            fs::write(&program, SQLITE3).unwrap();
            fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        stage
    }

    /// Waits until none of the jobs fires within the next half minute: a run in between would be in the lists.
    pub fn wait_for_quiet(&self, jobs: &toml::Table) {
        wait_within(QUIET * 3, "no job fires soon", || {
            let end = clock::now().wall.saturating_add(QUIET).unwrap();
            let is_far = |job: &String| {
                let next = self.jobd.json(&["next", job, "-n", "1"]);
                let next = next["fires"][0]["starts_at"].as_str().unwrap();
                next.parse::<jiff::Timestamp>().unwrap() > end
            };
            jobs.keys().all(is_far).then_some(())
        });
    }

    /// Waits until no run is active: one that was killed has not ended yet when `jobctl kill` has.
    pub fn wait_for_end(&self) {
        wait_within(QUIET, "no run is active", || self.jobd.tell(&["ps"]).is_empty().then_some(()));
    }

    /// The state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.jobd.state_dir()
    }

    /// Does what the command says, or checks it. What it prints on stdout.
    #[track_caller]
    pub fn perform(&mut self, command: &str) -> String {
        let bare = command.replace("sudo ", "");
        let words: Vec<&str> = bare.split(' ').collect();
        match words[0] {
            "make" => make(&self.jobd.path("root"), &words[1..]),
            "export" => check_export(words[1]),
            "jobd" => {
                assert_eq!(words, ["jobd"], "in the foreground of a terminal of its own");
                self.jobd.start();
                self.jobd.wait_until_ready();
            }
            "systemctl" => check_systemctl(&words[1..]),
            "journalctl" => assert_eq!(&words[1..3], ["-u", "jobd"], "{command}"),
            "groupadd" => assert_eq!(words, ["groupadd", "--system", "jobd"], "{command}"),
            "usermod" => assert_eq!(&words[..3], ["usermod", "-aG", "jobd"], "{command}"),
            "jobctl" | "sqlite3" | "sh" | "install" | "mkdir" | "printf" => return self.run(&bare),
            _ => panic!("{command}: this test does not know how to check it"),
        }
        String::new()
    }

    /// Runs a command that must succeed, with the system's places put into the folder.
    #[track_caller]
    fn run(&self, command: &str) -> String {
        let folder = self.jobd.path("");
        let here = |name: &str| folder.join(name).display().to_string();
        let command = command
            .replace("/var/lib/jobd", &here("state"))
            .replace("/etc/systemd", &here("root/etc/systemd"))
            .replace("/etc/jobd", &here(""))
            .replace("~/.config/jobd", &here(""));
        let output = self.shell(&command).output().unwrap();
        let (said, complained) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{command}: {}\n{said}{complained}", output.status);
        said
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).stdin(Stdio::null()).current_dir(self.jobd.path(""));
        shell.env("PATH", self.search_path());
        shell.env("JOBD_CONFIG", self.jobd.path("jobs.toml"));
        shell.env("JOBD_STATE_DIR", self.jobd.state_dir()).env("JOBD_SOCKET", self.jobd.path("jobd.sock"));
        shell
    }

    /// Our programs, the stand-in, and what the host has.
    fn search_path(&self) -> OsString {
        let mut path = OsString::from(programs());
        for part in [self.jobd.path("bin").into_os_string(), std::env::var_os("PATH").unwrap_or_default()] {
            path.push(":");
            path.push(part);
        }
        path
    }

    /// Exit code of jobctl, for what the README says of it.
    pub fn exit_code(&self, arguments: &[&str]) -> Option<i32> {
        self.jobd.jobctl(arguments).status.code()
    }

    /// The drop-in that lets a group use jobctl, as the commands wrote it.
    pub fn drop_in(&self) -> String {
        fs::read_to_string(self.jobd.path("root/etc/systemd/system/jobd.service.d/group.conf")).unwrap()
    }
}

/// The folder of the programs under test.
fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_jobd")).parent().unwrap()
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// `install` is done, into a folder and with the programs that are built; of other targets it is asked what they do.
fn make(root: &Path, arguments: &[&str]) {
    if arguments[0] == "install" {
        assert_eq!(arguments[1..], ["BIN=target/release"], "`make release` builds there");
        let bin = format!("BIN={}", programs().display());
        gnu_make(&["install", &bin, &format!("DESTDIR={}", root.display())]);
        check_installed(root);
    } else {
        let [target] = arguments else { panic!("make {arguments:?}") };
        let help = gnu_make(&["help"]);
        assert!(help.contains(&format!("make {target} ")), "`make help` does not list {target}:\n{help}");
        let plan = gnu_make(&["-n", target]);
        assert!(plan.contains("cargo "), "make {target} does nothing:\n{plan}");
    }
}

fn gnu_make(arguments: &[&str]) -> String {
    let mut make = Command::new("make");
    // A make above this test is not to be heard by this one.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
    let output = make.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "make {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The unit starts a program that is there, and the documents and the first configuration are as well.
fn check_installed(root: &Path) {
    let unit = fs::read_to_string(root.join(UNIT)).unwrap();
    let program = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/")).unwrap();
    assert!(root.join(program).is_file(), "{program} is not installed");
    for program in ["jobctl", "jobd-shim"] {
        assert!(root.join("usr/local/bin").join(program).is_file(), "{program} is not installed");
    }
    for document in ["README.md", "README.ko.md", "CHANGELOG.md"] {
        assert!(root.join("usr/local/share/doc/jobctl").join(document).is_file(), "{document}");
    }
    assert!(root.join("etc/jobd/jobs.toml").is_file());
}

fn check_export(assignment: &str) {
    match assignment.split_once('=').unwrap() {
        ("PATH", path) => assert_eq!(path, r#""$PWD/target/debug:$PATH""#, "where `make build` builds"),
        ("JOBD_SOCKET", path) => assert_eq!(path, SYSTEM_SOCKET),
        _ => panic!("export {assignment}: this test does not know how to check it"),
    }
}

fn check_systemctl(arguments: &[&str]) {
    match arguments {
        ["daemon-reload"] => {}
        ["enable", "--now", unit] | ["status" | "restart" | "reload", unit] => {
            assert_eq!(Path::new(UNIT).file_stem().unwrap(), *unit, "that is the unit");
        }
        _ => panic!("systemctl {arguments:?}: this test does not know how to check it"),
    }
}
