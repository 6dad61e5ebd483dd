//! The real `jobd-shim` with real processes: how jobs start, end, and are made to end.

mod end;
mod evidence;
mod gate;
mod output;

#[path = "../support/hang.rs"]
mod hang;
#[path = "../support/runs.rs"]
mod runs;
mod silence;
mod start;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::run::{Exit, Report, Status, Stop};
use jobctl::engine::stop::StopLadder;
use jobctl::os;
use jobctl::output::Stream;
use jobctl::process::{Finding, LaunchError, Launcher, StopError, inspect, reap, stop};
use jobctl::run::Mark;
use runs::{Run, in_time, launcher, until};

/// A job that holds out against SIGTERM, with a grandchild in a session of its own that does too and holds stdout.
const STUBBORN: &str = "trap '' TERM
    setsid sh -c 'trap \"\" TERM; echo grandchild; while :; do sleep 0.05; done' &
    echo main; while :; do sleep 0.05; done";

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// SIGTERM, and SIGKILL so many milliseconds later.
fn grace(ms: u64) -> StopLadder {
    StopLadder::term(Duration::from_millis(ms))
}

fn spawn_failure(report: &Report) -> (&str, &str) {
    match &report.exit {
        Exit::SpawnFailed { step, error } => (step, error),
        other => panic!("it was started: {other:?}"),
    }
}

#[tokio::test]
async fn every_way_to_end_is_told_as_it_is() {
    for code in 0..=255 {
        let report = Run::shell(&format!("exit {code}")).finish().await;
        assert_eq!(report.exit, Exit::Code(code));
        assert_eq!((report.stop, report.remark), (None, None));
    }
    // The others of the first 31 end nobody: they stop, continue, or are passed over.
    let ending = (1..=31).filter(|signal| !matches!(signal, 17..=23 | 28));
    for signal in ending.chain(34..=64) {
        let report = Run::shell(&format!("ulimit -c 0; kill -{signal} $$")).finish().await;
        assert_eq!(report.exit, Exit::Signal(signal));
        assert_eq!(report.status(), Status::Failed);
    }
}

#[tokio::test]
async fn a_report_is_complete() {
    let before = clock::now();
    let run =
        Run::shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo all done; echo oh >&2; exit 4");
    let report = run.finish().await;
    let after = clock::now();
    assert_eq!(report.exit, Exit::Code(4));
    let started_at = report.started_at.unwrap();
    assert!(before.wall <= started_at && started_at <= report.ended_at && report.ended_at <= after.wall);
    assert!(report.duration > Duration::ZERO && report.duration <= after.monotonic.since(before.monotonic));
    assert!(report.cpu > Duration::ZERO && report.max_rss_kib > 0);
    assert_eq!(report.pid, run.mark().job.map(|job| job.pid));
    assert_eq!(report.output_bytes, 12);
    assert_eq!(report.message.as_deref(), Some("all done"));
    assert_eq!(report.error_tail, "oh\n");
    assert_eq!(report.remark, None);
}

#[tokio::test]
async fn a_run_that_overruns_is_killed_with_all_its_processes() {
    for cgroup in [true, false] {
        let run = Run::shell(STUBBORN).with(|spec| {
            (spec.timeout_ms, spec.stop, spec.cgroup) = (Some(500), grace(300), cgroup);
        });
        let report = run.finish().await;
        assert_eq!(run.processes(), []);
        assert_eq!((report.exit.clone(), report.stop.clone()), (Exit::Signal(9), Some(Stop::Timeout)));
        assert_eq!(report.status(), Status::Timeout);
        assert!(report.duration >= Duration::from_millis(800), "{report:?}");
        assert!(report.duration <= Duration::from_millis(800 + 2000), "{report:?}");
        assert_eq!(report.remark, None);
        assert!(run.stdout().contains("main\n") && run.stdout().contains("grandchild\n"));
        if let Some(path) = run.mark().cgroup {
            assert!(cgroup && !path.exists());
        }
    }
}

#[tokio::test]
async fn a_run_that_flees_by_forking_is_killed() {
    for cgroup in [true, false] {
        let run = Run::argv(&[]);
        // Each process lives for as long as it takes to start the next one; SIGTERM does not touch them.
        let script = run.file("flee", "trap '' TERM; /bin/sh \"$0\" & exit 0\n");
        let line = format!("trap '' TERM; /bin/sh {} & wait; while :; do sleep 0.05; done", script.display());
        let run = run.with(|spec| {
            spec.command = jobctl::engine::job::Command::Shell(line);
            (spec.timeout_ms, spec.stop, spec.cgroup) = (Some(200), grace(50), cgroup);
        });
        let report = run.finish().await;
        assert_eq!((report.status(), report.remark), (Status::Timeout, None), "cgroup: {cgroup}");
        assert_eq!(run.processes(), []);
    }
}

#[tokio::test]
async fn a_full_disk_costs_output_and_not_the_job() {
    let line = "echo ready; read line < $GATES/1; head -c 1000000 /dev/zero | tr '\\0' x | fold -w 99; \
                echo; read line < $GATES/2; echo again; exit 6";
    let run = Run::shell(line);
    let gates = run.state.path().to_owned();
    for gate in ["1", "2"] {
        nix::unistd::mkfifo(&gates.join(gate), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let run = run.with(|spec| drop(spec.env.insert("GATES".into(), gates.display().to_string())));
    let shim = run.launch().await;
    run.until_written("ready").await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(run.mark().pid).unwrap());
    // A limit on the size of the shim's files stands for the end of the disk.
    let limit = |bytes| {
        let limits = rustix::process::Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(pid, rustix::process::Resource::Fsize, limits).unwrap();
    };
    limit(Some(64 * 1024));
    for (gate, room) in [("1", Some(64 * 1024)), ("2", None)] {
        let gate = gates.join(gate);
        // Opening waits until the job has come to this gate, and so until it has written all before it.
        let opened = tokio::task::spawn_blocking(move || File::options().write(true).open(gate).unwrap());
        let mut opened = in_time(opened).await.unwrap();
        limit(room);
        opened.write_all(b"go on\n").unwrap();
    }
    let report = run.end(Some(shim)).await;
    assert_eq!(report.exit, Exit::Code(6));
    assert_eq!(report.message.as_deref(), Some("again"));
    let remark = report.remark.unwrap();
    assert!(remark.ends_with("bytes of output (EFBIG: File too large) could not be written"), "{remark}");
    let lost: u64 = remark.split(' ').next().unwrap().parse().unwrap();
    assert!(lost > 0);
    let stdout = run.stdout();
    assert!(stdout.starts_with("ready\n") && stdout.ends_with("\nagain\n"));
    assert_eq!(stdout.len() as u64 + lost, report.output_bytes);
    let file = fs::read_to_string(run.folder.output_path()).unwrap();
    assert!(file.contains(" stderr F:jobd ") && file.contains("could not be written here\n"));
}

#[tokio::test]
async fn a_job_that_heeds_sigterm_has_still_overrun() {
    let line = "trap 'echo tidy; exit 0' TERM; while :; do sleep 0.05; done";
    let run = Run::shell(line).with(|spec| spec.timeout_ms = Some(300));
    let report = run.finish().await;
    assert_eq!((report.exit.clone(), report.status()), (Exit::Code(0), Status::Timeout));
    assert_eq!(run.stdout(), "tidy\n");
    assert!(report.duration < Duration::from_secs(5), "it did not wait for the grace: {report:?}");
}

#[tokio::test]
async fn a_stopped_job_still_overruns() {
    for cgroup in [true, false] {
        let run = Run::shell("kill -STOP $$; echo woken").with(|spec| {
            (spec.timeout_ms, spec.cgroup) = (Some(200), cgroup);
        });
        let report = run.finish().await;
        assert_eq!((report.exit.clone(), report.status()), (Exit::Signal(15), Status::Timeout));
        assert!(report.duration < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn what_outlives_the_main_process_holds_up_nothing() {
    for cgroup in [true, false] {
        let run = Run::shell("sleep 300 & echo hi; exit 3").with(|spec| spec.cgroup = cgroup);
        let report = run.finish().await;
        assert_eq!(report.exit, Exit::Code(3));
        assert!(report.duration < Duration::from_secs(2), "{report:?}");
        assert_eq!(run.stdout(), "hi\n");
        assert_eq!(run.processes(), []);
        let remark = "1 process outlived the main process and was killed";
        assert_eq!(report.remark.as_deref(), Some(remark));
    }
}

#[tokio::test]
async fn daemons_that_ignore_sigterm_do_not_outlive_the_run() {
    for cgroup in [true, false] {
        let daemon = "trap \"\" TERM; while :; do sleep 0.05; done";
        let line =
            format!("setsid sh -c '{daemon}' </dev/null >/dev/null 2>&1 & (sh -c '{daemon}' &) ; exit 0");
        let run = Run::shell(&line).with(|spec| spec.cgroup = cgroup);
        let report = run.finish().await;
        assert_eq!((report.exit.clone(), report.stop.clone()), (Exit::Code(0), None));
        assert!(report.duration < Duration::from_millis(2_500), "{report:?}");
        assert_eq!(run.processes(), []);
        assert!(report.remark.unwrap().contains("outlived the main process and were killed"));
    }
}

#[tokio::test]
async fn the_end_of_a_pipeline_may_finish_its_work() {
    // The shell does not wait for the reader, which has its output still to write.
    let run = Run::shell("(sleep 0.05; echo late) & echo early");
    let report = run.finish().await;
    assert_eq!((report.exit, report.remark), (Exit::Code(0), None));
    assert_eq!(run.stdout(), "early\nlate\n");
}

#[tokio::test]
async fn a_job_sees_a_clean_environment() {
    let run = Run::argv(&["env"]).with(|spec| {
        spec.env.insert("OWN".into(), "from the entry".into());
        spec.env.insert("LANG".into(), "ko_KR.UTF-8".into());
    });
    let file =
        run.file("variables", "# comment\nexport FROM_FILE='a b'\nOWN=\"from the file\"\nJOBD_JOB=forged\n");
    let run = run.with(|spec| spec.env_file = Some(file));
    assert_eq!(run.finish().await.exit, Exit::Code(0));
    let account = os::Account::own().unwrap();
    let expected = [
        "FROM_FILE=a b".to_owned(),
        format!("HOME={}", account.home.display()),
        "JOBD_ATTEMPT=1".to_owned(),
        "JOBD_JOB=report.daily".to_owned(),
        format!("JOBD_MESSAGE_FILE={}", run.folder.message_path().display()),
        "JOBD_RUN_ID=42".to_owned(),
        "JOBD_SCHEDULED_AT=2026-03-01T10:00:00+09:00".to_owned(),
        "JOBD_TRIGGER=schedule".to_owned(),
        "LANG=ko_KR.UTF-8".to_owned(),
        format!("LOGNAME={}", account.name),
        "OWN=from the entry".to_owned(),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "SHELL=/bin/sh".to_owned(),
        "TZ=Asia/Seoul".to_owned(),
        format!("USER={}", account.name),
    ];
    let stdout = run.stdout();
    let mut variables: Vec<&str> = stdout.lines().collect();
    variables.sort_unstable();
    assert_eq!(variables, expected);
}

#[tokio::test]
async fn a_job_inherits_neither_descriptors_nor_signals() {
    // What somebody has opened without O_CLOEXEC gets as far as the shim, and no further.
    let leak = rustix::io::dup(File::open("/dev/null").unwrap()).unwrap();
    let run = Run::shell("ls /proc/$$/fd; readlink /proc/$$/fd/0; :");
    assert_eq!(run.finish().await.exit, Exit::Code(0));
    assert!(leak.as_raw_fd() > 2);
    assert_eq!(run.stdout(), "0\n1\n2\n/dev/null\n");

    let run = Run::argv(&["grep", "-E", "^Sig(Pnd|Blk|Ign):", "/proc/self/status"]);
    run.finish().await;
    let none = "0000000000000000";
    assert_eq!(run.stdout(), format!("SigPnd:\t{none}\nSigBlk:\t{none}\nSigIgn:\t{none}\n"));

    let run = Run::argv(&["cut", "-d ", "-f1,5,6", "/proc/self/stat"]);
    let pid = run.finish().await.pid.unwrap();
    assert_eq!(run.stdout(), format!("{pid} {pid} {pid}\n"), "pid, process group, session");

    let run = Run::argv(&["cat", "/proc/self/oom_score_adj"]);
    run.finish().await;
    assert_eq!(run.stdout(), format!("{}\n", os::oom_score_adj().unwrap().max(0)));
}

#[tokio::test]
async fn the_working_directory_and_the_umask_are_the_jobs_own() {
    let run = Run::shell("pwd; umask; : > made").with(|spec| spec.umask = 0o027);
    let cwd = run.state.path().to_owned();
    let run = run.with(|spec| spec.cwd = cwd.clone());
    assert_eq!(run.finish().await.exit, Exit::Code(0));
    assert_eq!(run.stdout(), format!("{}\n0027\n", cwd.display()));
    assert_eq!(fs::metadata(cwd.join("made")).unwrap().permissions().mode() & 0o777, 0o640);
}

#[tokio::test]
async fn a_program_is_looked_for_in_the_jobs_own_path() {
    let run = Run::argv(&["mine", "1"]);
    let folder = run.state.path().to_owned();
    run.executable("mine", &run.file("source", "#!/bin/sh\necho found $1\n"));
    let path = format!("/nowhere:{}", folder.display());
    let run = run.with(|spec| drop(spec.env.insert("PATH".into(), path)));
    assert_eq!(run.finish().await.exit, Exit::Code(0));
    assert_eq!(run.stdout(), "found 1\n");
}

#[tokio::test]
async fn a_job_that_cannot_be_started_says_at_which_step() {
    let run = Run::argv(&["true"]).with(|spec| spec.cwd = "/nope".into());
    let report = run.finish().await;
    assert_eq!(spawn_failure(&report), ("chdir", "/nope: No such file or directory (ENOENT)"));
    assert_eq!((report.started_at, report.status()), (None, Status::Failed));

    let report = Run::argv(&["no-such-program"]).finish().await;
    assert_eq!(spawn_failure(&report), ("exec", "no-such-program: No such file or directory (ENOENT)"));

    let report = Run::argv(&["/etc/passwd"]).finish().await;
    assert_eq!(spawn_failure(&report), ("exec", "/etc/passwd: Permission denied (EACCES)"));

    let run = Run::argv(&[]);
    let program = run.executable("no-interpreter", &run.file("source", "echo never\n"));
    let text = program.display().to_string();
    let run = run.with(|spec| spec.command = jobctl::engine::job::Command::Argv(vec![text.clone()]));
    let report = run.finish().await;
    assert_eq!(spawn_failure(&report), ("exec", &*format!("{text}: Exec format error (ENOEXEC)")));

    let report = Run::argv(&[]).finish().await;
    assert_eq!(spawn_failure(&report), ("exec", "the command is empty"));

    let report = Run::argv(&["true"]).with(|spec| spec.user = Some("no-such-user".into())).finish().await;
    assert_eq!(spawn_failure(&report), ("user", "no-such-user: there is no such user (ENOENT)"));

    let report = Run::argv(&["true"]).with(|spec| spec.env_file = Some("/nope".into())).finish().await;
    assert_eq!(spawn_failure(&report), ("env_file", "/nope: No such file or directory (ENOENT)"));

    let run = Run::argv(&["true"]);
    let file = run.file("variables", "A=1\nnonsense\n");
    let text = format!("{}: line 2 is not NAME=value", file.display());
    let report = run.with(|spec| spec.env_file = Some(file)).finish().await;
    assert_eq!(spawn_failure(&report), ("env_file", &*text));

    let run = Run::argv(&["true"]).with(|spec| drop(spec.env.insert("A B".into(), String::new())));
    assert_eq!(spawn_failure(&run.finish().await), ("env", "\"A B\" is no name for a variable"));
}

#[tokio::test]
async fn a_job_runs_as_its_user_and_can_not_go_back() {
    let user = if is_root() { "nobody" } else { "root" };
    let run = Run::shell(
        "grep -E '^(Uid|Gid|Groups):' /proc/self/status; \
                          echo $USER $HOME; umask; echo from nobody > $JOBD_MESSAGE_FILE",
    )
    .with(|spec| spec.user = Some(user.into()));
    let report = run.finish().await;
    if !is_root() {
        let (step, error) = spawn_failure(&report);
        assert_eq!(step, "user");
        assert!(error.contains("only a jobd that runs as root") && error.ends_with("(EPERM)"), "{error}");
        return;
    }
    assert_eq!(report.exit, Exit::Code(0), "{report:?}");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid, nobody.gid);
    let expected = format!(
        "Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nGroups:\t{gid} \nnobody {}\n0022\n",
        nobody.dir.display()
    );
    assert_eq!(run.stdout(), expected);
    assert_eq!(report.message.as_deref(), Some("from nobody"));
    // The folder is changed into as the user: root may be allowed where the user is not.
    let closed = run.state.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let run = Run::argv(&["true"]).with(|spec| {
        (spec.user, spec.cwd) = (Some("nobody".into()), closed.clone());
    });
    let report = run.finish().await;
    let text = format!("{}: Permission denied (EACCES)", closed.display());
    assert_eq!(spawn_failure(&report), ("chdir", &*text));
}

#[tokio::test]
async fn without_roots_rights_no_other_user_can_be_had() {
    let run = Run::argv(&["id", "-u"]).with(|spec| spec.user = Some("root".into()));
    if !is_root() {
        assert_eq!(spawn_failure(&run.finish().await).0, "user");
        return;
    }
    // As root, the shim itself is started as somebody else, with a folder that belongs to that user.
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    let shim = run.executable("jobd-shim", &launcher().shim);
    for (user, expected) in [("root", "user"), ("nobody", "")] {
        let run = Run::argv(&["id", "-u"]).with(|spec| spec.user = Some(user.into()));
        run.folder.create().unwrap();
        run.folder.write_spec(&run.spec).unwrap();
        let lock = run.folder.create_lock().unwrap();
        assert!(os::try_lock(&lock).unwrap());
        for path in [run.folder.path().to_owned(), run.folder.spec_path(), run.folder.lock_path()] {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
        let status =
            Program::new(&shim).arg(run.folder.path()).stdin(Stdio::from(lock)).uid(uid).gid(gid).status();
        assert!(status.unwrap().success());
        let report = Report::from(run.folder.result().unwrap().unwrap());
        if expected.is_empty() {
            assert_eq!(report.exit, Exit::Code(0), "{report:?}");
            assert_eq!(run.stdout(), format!("{uid}\n"));
        } else {
            assert_eq!(spawn_failure(&report).0, expected);
        }
    }
}

#[tokio::test]
async fn output_is_kept_byte_by_byte() {
    let binary: Vec<u8> =
        (0..750_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let long_line = [vec![b'x'; 1_000_000], b"\nend without newline".to_vec()].concat();
    let run = Run::argv(&[]);
    let (one, two) = (run.file("binary", &binary), run.file("long", &long_line));
    let line = format!("cat {} & cat {} >&2; wait", one.display(), two.display());
    let run = run.with(|spec| spec.command = jobctl::engine::job::Command::Shell(line));
    let report = run.finish().await;
    assert_eq!(report.exit, Exit::Code(0));
    assert!(run.output(Stream::Stdout) == binary, "stdout differs");
    assert!(run.output(Stream::Stderr) == long_line, "stderr differs");
    assert_eq!(report.output_bytes, (binary.len() + long_line.len()) as u64);
    assert!(report.error_tail.ends_with("xxx\nend without newline") && report.error_tail.len() <= 60_000);
}

#[tokio::test]
async fn the_message_is_the_jobs_own_word() {
    let report = Run::shell("echo said; echo first > $JOBD_MESSAGE_FILE; echo last >> $JOBD_MESSAGE_FILE")
        .finish()
        .await;
    assert_eq!(report.message.as_deref(), Some("last"));
    let report = Run::shell("echo 보고서 3건; echo; echo '  '").finish().await;
    assert_eq!(report.message.as_deref(), Some("보고서 3건"));
    let report = Run::shell("echo only an error >&2").finish().await;
    assert_eq!(report.message, None);
    // Something else in the file's place is not read.
    let report = Run::shell("rm -f $JOBD_MESSAGE_FILE; ln -s /etc/passwd $JOBD_MESSAGE_FILE; echo said")
        .finish()
        .await;
    assert_eq!(report.message.as_deref(), Some("said"));
}

#[tokio::test]
async fn a_run_can_be_stopped_and_says_by_whom() {
    for cgroup in [true, false] {
        let run = Run::shell(STUBBORN).with(|spec| (spec.stop, spec.cgroup) = (grace(300), cgroup));
        let shim = run.launch().await;
        run.until_written("grandchild").await;
        stop(&run.folder, "uid 1000").await.unwrap();
        stop(&run.folder, "uid 0").await.unwrap();
        let report = run.end(Some(shim)).await;
        assert_eq!(report.stop, Some(Stop::Manual { by: "uid 1000".into() }));
        assert_eq!((report.exit.clone(), report.status()), (Exit::Signal(9), Status::Killed));
        assert_eq!(run.processes(), []);
        let error = stop(&run.folder, "uid 1000").await.unwrap_err();
        assert!(matches!(error, StopError::NotActive));
    }
}

#[tokio::test]
async fn a_bare_sigterm_to_the_shim_stops_the_run() {
    let run = Run::shell("echo ready; exec sleep 300");
    let shim = run.launch().await;
    run.until_written("ready").await;
    let mark = run.mark();
    os::Pidfd::open(mark.pid, mark.start_time).unwrap().unwrap().signal(15).unwrap();
    let report = run.end(Some(shim)).await;
    assert_eq!(report.stop, Some(Stop::Signal));
    assert_eq!(report.exit, Exit::Signal(15));
}

#[tokio::test]
async fn a_run_whose_shim_is_killed_is_lost_and_leaves_nothing_behind() {
    for (cgroup, adopted) in [(true, false), (false, false), (true, true), (false, true)] {
        let run = Run::shell(STUBBORN).with(|spec| spec.cgroup = cgroup);
        let shim = run.launch().await;
        run.until_written("grandchild").await;
        let mark = run.mark();
        let before = clock::now().monotonic;
        os::Pidfd::open(mark.pid, mark.start_time).unwrap().unwrap().signal(9).unwrap();
        let report = run.end((!adopted).then_some(shim)).await;
        assert!(clock::now().monotonic.since(before) < Duration::from_secs(1));
        assert_eq!(report.exit, Exit::Unknown { why: "its shim vanished".into() });
        assert_eq!(report.status(), Status::Lost);
        assert_eq!(report.pid, mark.job.as_ref().map(|job| job.pid));
        assert_eq!(report.started_at, mark.job.map(|job| job.at));
        assert_eq!(report.remark, None);
        assert_eq!(run.processes(), []);
        assert!(mark.cgroup.is_none_or(|path| !path.exists()));
    }
}

#[tokio::test]
async fn reaping_kills_the_shim_and_its_processes() {
    for cgroup in [true, false] {
        let run = Run::shell(STUBBORN).with(|spec| spec.cgroup = cgroup);
        let shim = run.launch().await;
        run.until_written("grandchild").await;
        assert_eq!(reap(&run.folder).await.unwrap(), None);
        assert_eq!(run.processes(), []);
        assert_eq!(run.end(Some(shim)).await.status(), Status::Lost);
    }
}

#[tokio::test]
async fn the_main_process_dies_with_its_shim_even_if_nobody_looks() {
    let run = Run::shell("echo ready; while :; do sleep 0.05; done");
    let shim = run.launch().await;
    run.until_written("ready").await;
    let mark = run.mark();
    os::Pidfd::open(mark.pid, mark.start_time).unwrap().unwrap().signal(9).unwrap();
    until(|| os::start_time(mark.job.as_ref().unwrap().pid).is_none() || run.processes().is_empty()).await;
    assert_eq!(run.end(Some(shim)).await.status(), Status::Lost);
}

#[tokio::test]
async fn a_run_is_adopted_after_a_restart() {
    let run = Run::shell("echo ready; read line < $GATE; echo $line; exit 5");
    let gate = run.state.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = run.with(|spec| drop(spec.env.insert("GATE".into(), gate.display().to_string())));
    // jobd's end of the child is dropped, as by a crash; only the folder is left.
    drop(run.launch().await);
    run.until_written("ready").await;
    let boot_id = os::boot_id().unwrap();
    assert!(matches!(inspect(&run.folder, &boot_id).unwrap(), Finding::Held { mark: Some(_) }));
    let opened = tokio::task::spawn_blocking(move || fs::write(gate, "go on\n"));
    let report = run.end(None).await;
    opened.await.unwrap().unwrap();
    assert_eq!(report.exit, Exit::Code(5));
    assert_eq!(run.stdout(), "ready\ngo on\n");
}

#[tokio::test]
async fn the_lock_is_held_without_a_gap_until_the_result_is_there() {
    for _ in 0..10 {
        let run = Run::shell("sleep 0.02");
        let shim = run.launch().await;
        let lock = run.folder.open_lock().unwrap().unwrap();
        let (result, before) = (run.folder.result_path(), clock::now().monotonic);
        let looked = tokio::task::spawn_blocking(move || {
            while os::is_locked(&lock).unwrap() {
                assert!(clock::now().monotonic.since(before) < Duration::from_mins(1));
                std::thread::yield_now();
            }
            result.exists()
        });
        assert!(in_time(looked).await.unwrap(), "the lock was free before there was a result");
        assert_eq!(run.end(Some(shim)).await.exit, Exit::Code(0));
    }
}

#[tokio::test]
async fn a_run_is_never_started_twice() {
    let run = Run::shell("echo once; exec sleep 300");
    let shim = run.launch().await;
    run.until_written("once").await;
    let again = launcher().launch(&run.folder, &run.spec).await;
    assert!(matches!(again, Err(LaunchError::Held(_))));
    stop(&run.folder, "a test").await.unwrap();
    run.end(Some(shim)).await;
    let again = launcher().launch(&run.folder, &run.spec).await;
    assert!(matches!(again, Err(LaunchError::AlreadyStarted(_))));
    assert_eq!(run.stdout(), "once\n");
}

#[tokio::test]
async fn a_launch_that_fails_has_started_nothing() {
    let run = Run::shell("true");
    let nowhere = Launcher { shim: "/nope/jobd-shim".into() };
    let error = nowhere.launch(&run.folder, &run.spec).await.unwrap_err();
    assert!(matches!(error, LaunchError::Spawn { .. }));
    assert!(error.to_string().contains("/nope/jobd-shim"), "{error}");
    let boot_id = os::boot_id().unwrap();
    // A process that another thread is just starting has a copy of every descriptor, the lock's too, until it execs.
    until(|| inspect(&run.folder, &boot_id).unwrap() == Finding::NeverStarted).await;
    // And so it may be launched after all.
    assert_eq!(run.finish().await.exit, Exit::Code(0));
}

#[tokio::test]
async fn a_shim_that_dies_before_the_job_started_is_no_lost_run() {
    let run = Run::shell("true");
    let dies = Launcher { shim: "/bin/false".into() };
    let shim = dies.launch(&run.folder, &run.spec).await.unwrap();
    let report = run.end(Some(shim)).await;
    assert_eq!(spawn_failure(&report).0, "shim");
    assert_eq!(report.started_at, None);
}

#[tokio::test]
async fn a_folder_is_judged_by_what_is_in_it() {
    let boot_id = os::boot_id().unwrap();
    let run = Run::shell("true");
    let folder = &run.folder;
    let finding = || inspect(folder, &boot_id).unwrap();
    let why = |finding: Finding| match finding {
        Finding::Lost { why, .. } => why,
        other => panic!("not lost: {other:?}"),
    };
    assert_eq!(finding(), Finding::NeverStarted, "no folder");
    folder.create().unwrap();
    assert_eq!(finding(), Finding::NeverStarted, "an empty folder");
    folder.write_spec(&run.spec).unwrap();
    let lock = folder.create_lock().unwrap();
    assert_eq!(finding(), Finding::NeverStarted, "free, without a mark");
    let elsewhere = inspect(folder, "another boot").unwrap();
    assert_eq!(why(elsewhere), "host rebooted", "free, without a mark, after a reboot");
    assert!(os::try_lock(&lock).unwrap());
    assert_eq!(finding(), Finding::Held { mark: None });
    let mark = Mark::new(1, 2, boot_id.clone(), None);
    mark.write(&lock, &folder.lock_path()).unwrap();
    assert_eq!(finding(), Finding::Held { mark: Some(mark) });
    drop(lock);
    // A process that another thread is just starting has a copy of every descriptor until it execs.
    until(|| !matches!(finding(), Finding::Held { .. })).await;
    assert_eq!(why(finding()), "its shim vanished");
    assert_eq!(why(inspect(folder, "another boot").unwrap()), "host rebooted");
    fs::write(folder.lock_path(), "{\"version\":1,").unwrap();
    assert!(why(finding()).ends_with("lock is corrupt"));
    fs::write(folder.result_path(), "torn").unwrap();
    assert!(why(finding()).ends_with("result.json is corrupt"));
    fs::write(folder.result_path(), "{\"version\":9}").unwrap();
    assert!(inspect(folder, &boot_id).unwrap_err().to_string().contains("start the newer jobd again"));
    let report = Report::lost("for the test", None, clock::now().wall);
    let result = jobctl::run::RunResult::from(report.clone());
    fs::write(folder.result_path(), serde_json::to_vec(&result).unwrap()).unwrap();
    assert_eq!(finding(), Finding::Ended(Box::new(report)));
}

#[test]
fn a_shim_started_by_hand_refuses() {
    let shim = launcher().shim;
    let usage = Program::new(&shim).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&usage.stderr).starts_with("usage: "));
    let run = Run::shell("true");
    run.folder.create().unwrap();
    run.folder.write_spec(&run.spec).unwrap();
    let refused = Program::new(&shim).arg(run.folder.path()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("started by jobd, not by hand"));
}
