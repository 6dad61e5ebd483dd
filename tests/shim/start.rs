//! How a job is started: with what identity, limits and input, and what happens when that cannot be had.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command as Program, Stdio};

use jobctl::engine::job::Command;
use jobctl::engine::resources::{GroupLimits, IoPriority, Rlimit, RlimitPair};
use jobctl::engine::run::{Exit, Report, Status};
use jobctl::os;
use nix::unistd::{Group, User};

use super::runs::{Run, launcher, until};
use super::{is_root, spawn_failure};

const fn both(limit: u64) -> RlimitPair {
    RlimitPair { soft: Some(limit), hard: Some(limit) }
}

/// A user that is not ours: one that root can become, or root.
fn another() -> &'static str {
    if is_root() { "nobody" } else { "root" }
}

fn nobody() -> User {
    User::from_name("nobody").unwrap().unwrap()
}

/// Root in a container may lack this right.
fn may_raise_limits() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = lines(&status, &["CapEff"])[0].split_whitespace().last().unwrap();
    u64::from_str_radix(effective, 16).unwrap() >> CAP_SYS_RESOURCE & 1 == 1
}

/// Starts the shim by way of another program, which is told the shim and the folder as its last arguments.
fn finish_by(run: &Run, mut starter: Program) -> Report {
    run.folder.create().unwrap();
    run.folder.write_spec(&run.spec).unwrap();
    let lock = run.folder.create_lock().unwrap();
    assert!(os::try_lock(&lock).unwrap());
    starter.arg(launcher().shim).arg(run.folder.path()).stdin(Stdio::from(lock));
    let output = starter.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Report::from(run.folder.result().unwrap().unwrap())
}

/// The lines of a file of `/proc` with these names.
fn lines<'a>(text: &'a str, names: &[&str]) -> Vec<&'a str> {
    text.lines().filter(|line| names.contains(&line.split(':').next().unwrap())).collect()
}

/// The soft and the hard limit in a row of `/proc/PID/limits`, whose names have spaces.
fn limit_row(limits: &str, name: &str) -> (String, String) {
    let row = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let mut words = row.split_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

#[test]
fn a_child_is_clean_however_dirty_its_origin() {
    // All that a starter can leave to its children: signals blocked and ignored, descriptors, variables, a mask.
    let dirty = || {
        let mut starter = Program::new("sh");
        let line = "umask 077; exec 7</etc/passwd 8>&2; cd /tmp
            exec env --ignore-signal --block-signal LD_LIBRARY_PATH=/x NOTIFY_SOCKET=/x AWS_SECRET=x \"$@\"";
        starter.args(["-c", line, "sh"]);
        starter
    };
    let run = Run::argv(&["cat", "/proc/self/status"]);
    let report = finish_by(&run, dirty());
    assert_eq!((&report.exit, report.status()), (&Exit::Code(0), Status::Success), "{report:?}");
    let none = "0000000000000000";
    let signals = ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Umask", "TracerPid"];
    let status = run.stdout();
    let expected = [
        "Umask:\t0022".to_owned(),
        "TracerPid:\t0".to_owned(),
        format!("SigPnd:\t{none}"),
        format!("ShdPnd:\t{none}"),
        format!("SigBlk:\t{none}"),
        format!("SigIgn:\t{none}"),
        format!("SigCgt:\t{none}"),
        "NoNewPrivs:\t0".to_owned(),
    ];
    assert_eq!(lines(&status, &signals), expected);
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let identity = ["Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    assert_eq!(lines(&status, &identity), lines(&ours, &identity));

    let run = Run::shell("ls /proc/$$/fd; readlink /proc/$$/fd/0; pwd; exit 3");
    assert_eq!(finish_by(&run, dirty()).exit, Exit::Code(3));
    assert_eq!(run.stdout(), "0\n1\n2\n/dev/null\n/\n");

    let run = Run::argv(&["env"]);
    assert_eq!(finish_by(&run, dirty()).exit, Exit::Code(0));
    let stdout = run.stdout();
    let mut names: Vec<_> = stdout.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    let clean = "HOME JOBD_ATTEMPT JOBD_JOB JOBD_MESSAGE_FILE JOBD_RUN_ID JOBD_SCHEDULED_AT JOBD_TRIGGER LANG LOGNAME \
                 PATH SHELL TZ USER";
    assert_eq!(names.join(" "), clean);

    let run = Run::argv(&["cat", "/proc/self/limits"]).with(|spec| spec.nofile_soft = Some(77));
    assert_eq!(finish_by(&run, dirty()).exit, Exit::Code(0));
    let (limits, ours) = (run.stdout(), fs::read_to_string("/proc/self/limits").unwrap());
    assert_eq!(limit_row(&limits, "Max open files").0, "77");
    for name in ["Max stack size", "Max core file size", "Max processes", "Max address space"] {
        assert_eq!(limit_row(&limits, name), limit_row(&ours, name), "{name}");
    }
    let run = Run::argv(&["nice"]);
    assert_eq!(finish_by(&run, dirty()).exit, Exit::Code(0));
    let nice = Program::new("nice").output().unwrap().stdout;
    assert_eq!(run.stdout().as_bytes(), nice);
}

#[tokio::test]
async fn priorities_are_set_or_the_job_does_not_start() {
    let line = "nice; ionice -p $$; cut -d ' ' -f 3 /proc/self/autogroup 2>/dev/null || echo 7";
    let run = Run::shell(line).with(|spec| {
        (spec.resources.nice, spec.resources.io) = (Some(7), Some(IoPriority::BestEffort(6)));
    });
    assert_eq!(run.finish().await.exit, Exit::Code(0));
    assert_eq!(run.stdout(), "7\nbest-effort: prio 6\n7\n");
    let run = Run::argv(&["ionice"]).with(|spec| spec.resources.io = Some(IoPriority::Idle));
    assert_eq!(run.finish().await.exit, Exit::Code(0));
    assert_eq!(run.stdout(), "idle\n");

    let run = Run::argv(&["nice"]).with(|spec| {
        spec.resources.nice = Some(-3);
        spec.user = is_root().then(|| "nobody".to_owned());
    });
    let report = run.finish().await;
    if is_root() {
        assert_eq!(
            (report.exit, run.stdout().as_str()),
            (Exit::Code(0), "-3\n"),
            "set before the user is changed"
        );
    } else {
        assert_eq!(spawn_failure(&report), ("nice", "Permission denied (EACCES)"));
    }
}

#[tokio::test]
async fn limits_of_a_process_bind_the_job_and_not_its_start() {
    // A soft limit of four descriptors leaves no room for the file of stdin while the report's pipe is open.
    let run = Run::shell("cat; cat /proc/self/limits");
    let input = run.file("input", "read\n");
    let run = run.with(|spec| {
        spec.stdin = Some(input);
        spec.resources.rlimits = BTreeMap::from([
            (Rlimit::Nofile, RlimitPair { soft: Some(4), hard: Some(5) }),
            (Rlimit::Core, both(0)),
            (Rlimit::Fsize, both(1 << 20)),
            (Rlimit::Cpu, both(60)),
            (Rlimit::As, both(4 << 30)),
        ]);
        spec.nofile_soft = Some(77);
    });
    let report = run.finish().await;
    assert_eq!(report.exit, Exit::Code(0), "{report:?}");
    let stdout = run.stdout();
    assert!(stdout.starts_with("read\n"), "{stdout}");
    let row = |name| limit_row(&stdout, name);
    assert_eq!(row("Max open files"), ("4".to_owned(), "5".to_owned()));
    assert_eq!(row("Max core file size"), ("0".to_owned(), "0".to_owned()));
    assert_eq!(row("Max file size").1, "1048576");
    assert_eq!(row("Max cpu time"), ("60".to_owned(), "60".to_owned()));
    assert_eq!(row("Max address space").0, "4294967296");
}

#[test]
fn a_hard_limit_is_raised_by_who_may_and_by_nobody_else() {
    let run = Run::argv(&["cat", "/proc/self/limits"]).with(|spec| {
        spec.resources.rlimits = BTreeMap::from([
            (Rlimit::Core, both(0)),
            (Rlimit::Nofile, RlimitPair { soft: Some(60), hard: Some(70) }),
        ]);
        spec.user = is_root().then(|| "nobody".to_owned());
    });
    let mut starter = Program::new("prlimit");
    starter.arg("--nofile=50:50");
    let report = finish_by(&run, starter);
    if may_raise_limits() {
        assert_eq!(report.exit, Exit::Code(0), "{report:?}");
        assert_eq!(limit_row(&run.stdout(), "Max open files"), ("60".to_owned(), "70".to_owned()));
    } else {
        let expected = "nofile: to raise a hard limit takes CAP_SYS_RESOURCE, as root has (EPERM)";
        assert_eq!(spawn_failure(&report), ("rlimits", expected));
    }
}

/// The classic: the user has as many processes as it may, the change of users fails half-way, and the job runs on as
/// root.
#[tokio::test]
async fn a_user_with_too_many_processes_gets_no_job_and_root_gets_none_for_it() {
    let run = Run::argv(&["id", "-u"]).with(|spec| {
        spec.user = Some(another().to_owned());
        spec.resources.rlimits = BTreeMap::from([(Rlimit::Nproc, both(0))]);
    });
    if !is_root() {
        assert_eq!(spawn_failure(&run.finish().await).0, "user");
        return;
    }
    let (uid, gid) = (nobody().uid.as_raw(), nobody().gid.as_raw());
    let mut other = Program::new("setpriv")
        .args([format!("--reuid={uid}"), format!("--regid={gid}")])
        .args(["--clear-groups", "sh", "-c", "echo there; exec sleep 300"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut there = [0; 6];
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut there).unwrap();
    let report = run.finish().await;
    other.kill().unwrap();
    other.wait().unwrap();
    let (step, error) = spawn_failure(&report);
    assert_eq!((step, error), ("exec", "id: nobody has as many processes as it may (EAGAIN)"));
    assert_eq!((report.status(), run.stdout().as_str()), (Status::Failed, ""));
}

#[tokio::test]
async fn groups_are_those_of_the_entry() {
    let group = |name: &str| Group::from_name(name).unwrap().unwrap().gid.as_raw();
    let job = || Run::argv(&["grep", "^Groups:", "/proc/self/status"]);
    let daemon = || Some(vec!["daemon".to_owned()]);
    for user in [Some(another()), None] {
        let run = job().with(|spec| (spec.user, spec.groups) = (user.map(str::to_owned), daemon()));
        let report = run.finish().await;
        if !is_root() {
            let step = if user.is_some() { "user" } else { "groups" };
            let (found, error) = spawn_failure(&report);
            assert!(found == step && error.contains("only a jobd that runs as root"), "{error}");
            continue;
        }
        let own = if user.is_some() { nobody().gid.as_raw() } else { nix::unistd::getegid().as_raw() };
        let mut groups = [own, group("daemon")];
        groups.sort_unstable();
        assert_eq!(report.exit, Exit::Code(0), "{report:?}");
        assert_eq!(run.stdout(), format!("Groups:\t{} {} \n", groups[0], groups[1]));
    }
    if is_root() {
        let run = job().with(|spec| spec.groups = Some(vec!["no-such-group".to_owned()]));
        let expected = ("groups", "no-such-group: there is no such group (ENOENT)");
        assert_eq!(spawn_failure(&run.finish().await), expected);
    }
}

#[tokio::test]
async fn a_job_of_another_user_has_nothing_left_of_root() {
    let line = "grep -E '^Cap(Inh|Prm|Eff|Amb):' /proc/self/status; setpriv --reuid=0 id -u; id -u";
    let run = Run::shell(line).with(|spec| spec.user = Some(another().to_owned()));
    let report = run.finish().await;
    if !is_root() {
        assert_eq!(spawn_failure(&report).0, "user");
        return;
    }
    let none = "0000000000000000";
    let expected = format!("CapPrm:\t{none}\nCapEff:\t{none}\nCapAmb:\t{none}\n{}\n", nobody().uid);
    // What is inheritable has no effect without a program file that asks for it.
    let stdout = run.stdout();
    let without_inheritable: String =
        stdout.split_inclusive('\n').filter(|line| !line.starts_with("CapInh")).collect();
    assert_eq!(without_inheritable, expected, "{}", report.error_tail);
    assert!(report.error_tail.contains("setpriv"), "{}", report.error_tail);
}

#[tokio::test]
async fn new_privileges_are_given_up_where_the_entry_says_so() {
    let run =
        Run::argv(&["grep", "^NoNewPrivs:", "/proc/self/status"]).with(|spec| spec.no_new_privileges = true);
    assert_eq!(run.finish().await.exit, Exit::Code(0));
    assert_eq!(run.stdout(), "NoNewPrivs:\t1\n");
}

#[tokio::test]
async fn a_job_reads_its_file_and_no_other() {
    let run = Run::argv(&["cat"]);
    let file = run.file("answers", "yes\nno\n");
    let run = run.with(|spec| spec.stdin = Some(file));
    assert_eq!(run.finish().await.exit, Exit::Code(0));
    assert_eq!(run.stdout(), "yes\nno\n");

    let run = Run::argv(&["cat"]);
    let folder = run.state.path().to_owned();
    let (pipe, closed) = (folder.join("pipe"), run.file("closed", "secret"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(if is_root() { 0o600 } else { 0 })).unwrap();
    for (path, reason) in [
        (folder.join("gone"), "No such file or directory (ENOENT)"),
        (folder.clone(), "Is a directory (EISDIR)"),
        // Nobody ever writes to it: to wait for that would be to hang before there is anything to time out.
        (pipe, "it is neither a file nor a device"),
        // Root may read it, and must not for a user that may not.
        (closed, "Permission denied (EACCES)"),
    ] {
        let run = Run::argv(&["cat"]).with(|spec| {
            spec.stdin = Some(path.clone());
            spec.user = (is_root() && path.ends_with("closed")).then(|| "nobody".to_owned());
        });
        let report = run.finish().await;
        assert_eq!(spawn_failure(&report), ("stdin", &*format!("{}: {reason}", path.display())));
    }
}

#[tokio::test]
async fn a_file_of_variables_that_is_none_is_not_waited_for() {
    let run = Run::argv(&["env"]);
    let pipe = run.state.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = run.with(|spec| spec.env_file = Some(pipe.clone()));
    let expected = format!("{}: it is no regular file", pipe.display());
    assert_eq!(spawn_failure(&run.finish().await), ("env_file", &*expected));
}

#[tokio::test]
async fn limits_that_cannot_be_set_are_told_or_refused() {
    let limits =
        |required| GroupLimits { memory: Some(1 << 30), pids: Some(50), required, ..GroupLimits::default() };
    let job = |required| {
        Run::shell("echo ran").with(|spec| (spec.resources.group, spec.cgroup) = (limits(required), false))
    };
    let run = job(true);
    let report = run.finish().await;
    let expected = "the memory controller is not delegated to jobd here, the pids controller is not delegated to jobd \
                    here; run it with jobd-runs.service, or set required = false";
    assert_eq!(spawn_failure(&report), ("limits", expected));
    assert_eq!((report.status(), run.stdout().as_str()), (Status::Failed, ""));
    assert_eq!(run.folder.mark().unwrap(), None, "it has not been started");

    let run = job(false);
    let report = run.finish().await;
    let expected = "memory limit not applied: the memory controller is not delegated to jobd here; \
                    pids limit not applied: the pids controller is not delegated to jobd here";
    assert_eq!((report.exit, run.stdout().as_str()), (Exit::Code(0), "ran\n"));
    assert_eq!(report.remark.as_deref(), Some(expected));

    // With a group, what this host delegates is set, and the rest is told as well.
    let run = job(false).with(|spec| spec.cgroup = true);
    let report = run.finish().await;
    let remark = report.remark.unwrap_or_default();
    assert_eq!(report.exit, Exit::Code(0));
    assert!(remark.split("; ").all(|one| one.is_empty() || one.contains(" limit not applied: ")), "{remark}");
}

/// A host that is short of descriptors is given ten seconds; whoever has them all may give some back.
#[tokio::test]
async fn a_shortage_is_waited_out_and_then_told() {
    let job = || Run::shell("echo ran; exit 4").with(|spec| spec.nofile_soft = Some(9));
    let (patient, hopeless) = (job(), job());
    let eased = async {
        let shim = patient.launch().await;
        let pid = shim.pid().unwrap();
        // Between the mark and the job it does not wait for anything but the next try.
        until(|| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let is_asleep = stat.rsplit(") ").next().unwrap().starts_with('S');
            patient.folder.mark().is_ok_and(|mark| mark.is_some()) && is_asleep
        })
        .await;
        assert_eq!(patient.mark().job, None);
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
        let limits = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
        rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limits).unwrap();
        patient.end(Some(shim)).await
    };
    let (eased, told) = tokio::join!(eased, hopeless.finish());
    assert_eq!((eased.exit, patient.stdout().as_str()), (Exit::Code(4), "ran\n"));
    assert_eq!(spawn_failure(&told), ("pipe", "Too many open files (EMFILE)"));
    assert_eq!(told.status(), Status::Failed);
}

#[test]
fn a_program_that_cannot_be_executed_says_why() {
    let run = Run::argv(&[]);
    let program = run.executable("program", &run.file("source", "#!/nope/interpreter\necho never\n"));
    let text = program.display().to_string();
    let run = run.with(|spec| spec.command = Command::Argv(vec![text.clone()]));
    let report = finish_by(&run, Program::new("env"));
    assert_eq!(spawn_failure(&report), ("exec", &*format!("{text}: No such file or directory (ENOENT)")));

    let run = Run::argv(&[]);
    let folder = run.state.path().join("noexec");
    fs::create_dir(&folder).unwrap();
    let text = folder.join("program").display().to_string();
    let run = run.with(|spec| spec.command = Command::Argv(vec![text.clone()]));
    let mut starter = Program::new(if is_root() { "unshare" } else { "sh" });
    if is_root() {
        starter.args(["--mount", "sh"]);
    }
    // A file that may be executed on a file system that does not allow it; without root's rights one that may not be.
    let (mount, mode) = if is_root() { ("mount -t tmpfs -o noexec none", 755) } else { (":", 644) };
    let line =
        format!("{mount} {0} && install -m {mode} /bin/true {0}/program && exec \"$@\"", folder.display());
    starter.args(["-c", &line, "sh"]);
    let report = finish_by(&run, starter);
    assert_eq!(spawn_failure(&report), ("exec", &*format!("{text}: Permission denied (EACCES)")));
}
