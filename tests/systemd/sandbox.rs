//! What jobs may do under each profile, and what not.

use std::fmt::Write as _;

use jobctl::engine::run::Status;

use crate::jobd::wait_for;
use crate::machine::{Machine, Profile};
use crate::step;

/// As whom (nobody: jobd's own user), and what. Under the root profile each of these works.
const ROOT_MAY: [(&str, &str); 10] = [
    ("root", "for place in /srv /home /var/local /etc /tmp; do echo mine > $place/of-root; done"),
    ("root", "install -d -o daemon -m 2775 /srv/daemon; install -m 4755 /usr/bin/id /srv/id-of-root"),
    ("daemon", "test $(id -un) = daemon; umask 022; echo mine > /srv/daemon/file"),
    ("daemon", "test $(sudo -n id -u) = 0; /srv/id-of-root | grep -q 'euid=0(root)'"),
    ("root", "test $(su daemon -s /bin/sh -c 'id -un') = daemon"),
    ("daemon", "ping -c 1 127.0.0.1"),
    ("daemon", CONNECT),
    ("root", "nice -n -5 true; ionice -c 2 -n 7 true; prlimit --nofile=512 true"),
    ("root", "kill -0 1; cat /proc/1/environ > /dev/null"),
    ("root", "mkdir /srv/deep; chown daemon /srv/deep; touch /srv/deep/file"),
];

/// And none of these, which do without a sandbox.
const ROOT_MAY_NOT: [(&str, &str); 6] = [
    ("root", "echo mine > /usr/of-root"),
    ("root", "mount -t tmpfs tmpfs /mnt"),
    ("root", "value=$(cat /proc/sys/vm/swappiness); echo $value > /proc/sys/vm/swappiness"),
    ("root", "unshare --mount true"),
    ("root", "mknod /srv/null c 1 3"),
    ("daemon", "cat /proc/1/cmdline"),
];

const HARDENED_MAY: [(&str, &str); 5] = [
    ("", "test $(id -un) = jobd; grep -q 'NoNewPrivs:.1' /proc/self/status"),
    ("", "grep -q 'CapPrm:.0*$' /proc/self/status; grep -q 'CapBnd:.0*$' /proc/self/status"),
    ("", "grep -q '/system-jobd.slice/jobd-runs.service/jobd-run-' /proc/self/cgroup"),
    ("", "echo mine > /tmp/left; echo mine > /dev/shm/left; echo mine > /var/lib/jobd/left; ls /etc /home"),
    ("", CONNECT),
];

const HARDENED_MAY_NOT: [(&str, &str); 5] = [
    ("", "sudo -n true"),
    ("", "echo mine > /srv/of-jobd/file"),
    ("", "echo mine > /home/of-jobd/file"),
    ("", "cp /usr/bin/id /var/tmp/id; chmod 4755 /var/tmp/id"),
    ("", "cat /proc/1/cmdline"),
];

/// Python, and a network.
const CONNECT: &str = "exec python3 -c '\
    import socket; \
    server = socket.create_server((\"127.0.0.1\", 0)); \
    socket.create_connection(server.getsockname())'";

/// A job for each line.
fn config(jobs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (at, (user, line)) in jobs.iter().enumerate() {
        let user = if user.is_empty() { String::new() } else { format!("user = \"{user}\"\n") };
        write!(text, "[jobs.job{at}]\n{user}schedule = \"@yearly\"\nshell = '''\nset -e\n{line}\n'''\n")
            .unwrap();
    }
    text
}

/// Runs each job, the first `may` of them with success. The others have none, and it is the sandbox that forbids it.
#[track_caller]
fn assert_runs(machine: &Machine, jobs: &[(&str, &str)], may: usize) {
    for (at, job) in jobs.iter().enumerate() {
        let row = machine.ended(machine.begin(&format!("job{at}")));
        let expected = if at < may { Status::Success } else { Status::Failed };
        assert_eq!(row.status, expected, "{job:?}: {row:?}");
        assert!(row.exit_code.is_some(), "it has run: {row:?}");
    }
    for (user, line) in &jobs[may..] {
        let user = if user.is_empty() { "jobd" } else { user };
        machine.tell(&["setpriv", "--reuid", user, "--clear-groups", "sh", "-ec", line]);
    }
}

#[test]
fn jobs_of_the_root_profile_do_what_ordinary_jobs_do() {
    let jobs: Vec<_> = ROOT_MAY.into_iter().chain(ROOT_MAY_NOT).collect();
    let machine = Machine::started(Profile::Root, &config(&jobs));
    machine.write("/etc/sudoers.d/daemon", "daemon ALL=(ALL) NOPASSWD: ALL\n");
    step("what jobs of the root profile may do");
    assert_runs(&machine, &jobs, ROOT_MAY.len());
    assert_eq!(machine.sh("cat /tmp/of-root /srv/of-root"), "mine\nmine\n", "files are everybody's");
    machine.assert_clean();
}

#[test]
fn jobs_of_the_hardened_profile_are_kept_to_themselves() {
    let left = ("", "cat /tmp/left /dev/shm/left");
    let jobs: Vec<_> = HARDENED_MAY.into_iter().chain(HARDENED_MAY_NOT).chain([left]).collect();
    let machine = Machine::started(Profile::Hardened, &config(&jobs));
    machine.write("/etc/sudoers.d/jobd", "jobd ALL=(ALL) NOPASSWD: ALL\n");
    machine.sh("install -d -o jobd /srv/of-jobd /home/of-jobd");
    step("what jobs of the hardened profile may do");
    assert_runs(&machine, &jobs[..jobs.len() - 1], HARDENED_MAY.len());
    machine.sh("test ! -e /tmp/left");
    step("what they have in memory and /tmp outlives jobd");
    machine.tell(&["systemctl", "stop", "jobd"]);
    machine.tell(&["systemctl", "start", "jobd"]);
    let run = machine.begin(&format!("job{}", jobs.len() - 1));
    assert_eq!(machine.ended(run).exit_code, Some(0), "{}", machine.output(run));
    wait_for("nobody is left", || {
        let group = "/sys/fs/cgroup/system.slice/system-jobd.slice/jobd-runs.service";
        machine.sh(&format!("cat {group}/shims/cgroup.procs")).is_empty().then_some(())
    });
    machine.assert_clean();
}
