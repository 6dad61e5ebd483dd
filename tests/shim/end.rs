//! How a run is made to end, and what is said of what does not.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::policy::Leftover;
use jobctl::engine::run::{Exit, KnownBy, LeftProcess, Report, Status, Stop, Tree};
use jobctl::engine::stop::{StopLadder, StopSignal, StopStep};
use jobctl::os;
use jobctl::process::{Finding, inspect, reap, stop, stuck};

use crate::grace;
use crate::hang::Hang;
use crate::runs::{Run, launcher, until};

/// What the tree of a run is known by, given whether the host let it have a control group.
fn known_by(run: &Run) -> KnownBy {
    if run.mark().cgroup.is_some() { KnownBy::Cgroup } else { KnownBy::Children }
}

fn empty(run: &Run) -> Tree {
    Tree { known_by: known_by(run), left: Vec::new() }
}

/// Ends what a run has left alive, and removes its group.
async fn clean_up(run: &Run) {
    run.processes().into_iter().for_each(|process| process.signal(9));
    until(|| run.processes().is_empty()).await;
    if let Some(group) = run.mark().cgroup.as_deref().and_then(os::Cgroup::existing) {
        until(|| group.is_populated() != Some(true)).await;
        group.remove();
    }
}

#[tokio::test]
async fn a_ladder_is_climbed_one_signal_after_the_other() {
    let line = "trap 'echo QUIT $(date +%s%3N)' QUIT; trap 'echo TERM $(date +%s%3N)' TERM; \
                while :; do sleep 0.05; done";
    let step = |signal| StopStep { signal, wait_ms: 1_500 };
    let signals = StopLadder(vec![step(StopSignal::Quit), step(StopSignal::Term)]);
    let run = Run::shell(line).with(|spec| (spec.timeout_ms, spec.stop) = (Some(1_000), signals));
    let report = run.finish().await;
    assert_eq!((report.exit.clone(), report.status()), (Exit::Signal(9), Status::Timeout));
    let stdout = run.stdout();
    let seen: Vec<(&str, u64)> = stdout
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(signal, at)| (signal, at.parse().unwrap()))
        .collect();
    let [("QUIT", quit), ("TERM", term)] = seen[..] else { panic!("{stdout}") };
    // The shell looks up from its sleep every 50 ms, and from there a busy machine may take its time.
    assert!((500..10_000).contains(&(term - quit)), "{stdout}");
    assert!(report.duration >= Duration::from_secs(4), "{report:?}");
    assert_eq!((report.remark, report.tree.clone()), (None, Some(empty(&run))));
}

#[tokio::test]
async fn without_a_signal_on_it_a_ladder_is_sigkill() {
    let line = "trap 'echo asked' HUP INT QUIT USR1 USR2 TERM; echo ready; while :; do sleep 0.05; done";
    for cgroup in [true, false] {
        let run = Run::shell(line).with(|spec| (spec.stop, spec.cgroup) = (StopLadder(Vec::new()), cgroup));
        let shim = run.launch().await;
        run.until_written("ready").await;
        stop(&run.folder, "uid 0").await.unwrap();
        let report = run.end(Some(shim)).await;
        assert_eq!((report.exit.clone(), report.status()), (Exit::Signal(9), Status::Killed));
        assert_eq!(run.stdout(), "ready\n");
        assert_eq!(report.tree, Some(empty(&run)));
    }
}

#[tokio::test]
async fn every_signal_wakes_a_stopped_job() {
    let line = "trap 'echo woken; exit 0' USR1; echo ready; kill -STOP $$; while :; do sleep 0.05; done";
    let signals = StopLadder(vec![StopStep { signal: StopSignal::Usr1, wait_ms: 60_000 }]);
    let run = Run::shell(line).with(|spec| spec.stop = signals);
    let shim = run.launch().await;
    run.until_written("ready").await;
    until(|| run.mark().job.is_some()).await;
    let job = run.mark().job.unwrap().pid;
    until(|| os::Process::of(job).unwrap().look().unwrap().state == 'T').await;
    stop(&run.folder, "uid 0").await.unwrap();
    let report = run.end(Some(shim)).await;
    assert_eq!((report.exit, report.stop), (Exit::Code(0), Some(Stop::Manual { by: "uid 0".into() })));
    assert_eq!(run.stdout(), "ready\nwoken\n");
}

#[tokio::test]
async fn what_outlives_a_good_end_lives_on_if_the_job_wants_it() {
    for (leftover, cgroup) in
        [(Leftover::Warn, true), (Leftover::Warn, false), (Leftover::Allow, true), (Leftover::Allow, false)]
    {
        // One of the two holds the output.
        let line = "sleep 301 & setsid sleep 302 </dev/null >/dev/null 2>&1 & echo hi; exit 0";
        let run = Run::shell(line).with(|spec| (spec.leftover, spec.cgroup) = (leftover, cgroup));
        let report = run.finish().await;
        assert_eq!((report.exit.clone(), report.status()), (Exit::Code(0), Status::Success));
        assert!(report.duration < Duration::from_secs(5), "{report:?}");
        assert_eq!(run.stdout(), "hi\n");
        let mut alive: Vec<u32> = run.processes().iter().map(|process| process.pid).collect();
        alive.sort_unstable();
        assert_eq!(alive.len(), 2, "{leftover:?}");
        let Tree { known_by: by, left } = report.tree.clone().unwrap();
        assert_eq!(by, known_by(&run));
        let mut named: Vec<u32> = left.iter().map(|process| process.pid).collect();
        named.sort_unstable();
        assert_eq!(named, alive);
        assert!(left.iter().all(|process| process.name == "sleep" && process.state == 'S'), "{left:?}");
        match (leftover, report.remark) {
            (Leftover::Warn, Some(remark)) => {
                let told = format!("2 processes live on: {}, {}", left[0], left[1]);
                assert_eq!(remark, told);
            }
            (Leftover::Allow, None) => {}
            other => panic!("{other:?}"),
        }
        if let Some(path) = run.mark().cgroup {
            assert!(path.exists(), "it names those that live on");
        }
        clean_up(&run).await;
    }
}

#[tokio::test]
async fn whoever_lives_on_writes_to_nobody() {
    let run = Run::argv(&[]);
    let told = run.state.path().join("told");
    let line = format!(
        "(trap '' PIPE; while echo more 2>/dev/null; do sleep 0.02; done; echo nobody > {}) & exit 0",
        told.display()
    );
    let run = run.with(|spec| {
        (spec.command, spec.leftover) = (jobctl::engine::job::Command::Shell(line), Leftover::Allow);
    });
    let report = run.finish().await;
    assert_eq!((report.status(), report.remark), (Status::Success, None));
    until(|| fs::read_to_string(&told).is_ok_and(|text| text == "nobody\n")).await;
    clean_up(&run).await;
}

#[tokio::test]
async fn what_outlives_any_other_end_is_killed() {
    for (leftover, cgroup) in [(Leftover::Allow, true), (Leftover::Warn, false)] {
        let set = |run: Run| run.with(|spec| (spec.leftover, spec.cgroup) = (leftover, cgroup));
        let failed = set(Run::shell("sleep 300 & exit 3"));
        let report = failed.finish().await;
        let remark = Some("1 process outlived the main process and was killed");
        assert_eq!((report.exit, report.remark.as_deref()), (Exit::Code(3), remark));
        assert_eq!((failed.processes(), report.tree), (vec![], Some(empty(&failed))));

        let line = "trap 'exit 0' TERM; (trap '' TERM; while :; do sleep 0.05; done) & \
                    while :; do sleep 0.05; done";
        let overrun =
            set(Run::shell(line)).with(|spec| (spec.timeout_ms, spec.stop) = (Some(300), grace(300)));
        let report = overrun.finish().await;
        assert_eq!((report.exit.clone(), report.status()), (Exit::Code(0), Status::Timeout));
        assert_eq!((overrun.processes(), report.tree), (vec![], Some(empty(&overrun))));
    }
    let killed = Run::shell("sleep 300 & exit 0");
    let report = killed.finish().await;
    assert_eq!(report.remark.as_deref(), Some("1 process outlived the main process and was killed"));
    assert_eq!(
        (killed.processes(), report.tree),
        (vec![], Some(empty(&killed))),
        "what nobody asked to keep"
    );
}

#[tokio::test]
async fn of_a_job_that_never_started_no_tree_is_known() {
    assert_eq!(Run::argv(&["no-such-program"]).finish().await.tree, None);
    for cgroup in [true, false] {
        let run = Run::shell("exit 0").with(|spec| spec.cgroup = cgroup);
        let report = run.finish().await;
        assert_eq!(report.tree, Some(empty(&run)));
    }
}

/// A process of the run hangs in the kernel: who it is, and where it sleeps.
fn assert_hangs(left: &[LeftProcess], pid: Option<u32>) -> String {
    let [process] = left else { panic!("{left:?}") };
    assert!(pid.is_none_or(|pid| pid == process.pid), "{process:?}");
    assert_eq!((process.name.as_str(), process.state), ("cat", 'D'));
    let place = process.sleeps_in.clone().unwrap();
    assert!(!place.is_empty() && !place.contains(char::is_whitespace), "{place:?}");
    place
}

#[tokio::test]
async fn a_run_is_not_over_while_a_process_of_it_cannot_be_killed() {
    for cgroup in [true, false] {
        let mut hang = Hang::new();
        let line = format!("echo ready; exec cat {}", hang.file().display());
        let run = Run::shell(&line).with(|spec| {
            (spec.timeout_ms, spec.stop, spec.cgroup) = (Some(1_500), grace(100), cgroup);
        });
        let shim = run.launch().await;
        until(|| hang.touched() > 0).await;
        until(|| run.mark().job.is_some()).await;
        let job = run.mark().job.unwrap();
        until(|| run.folder.stuck().unwrap().is_some()).await;
        let word = run.folder.stuck().unwrap().unwrap();
        let place = assert_hangs(&word.left, Some(job.pid));
        assert!(word.since > job.at && word.since <= clock::now().wall, "{word:?}");
        // Two more seconds of SIGKILL, in which nothing else happens.
        let looked_at = clock::now().monotonic;
        until(|| clock::now().monotonic.since(looked_at) > Duration::from_secs(2)).await;
        let boot_id = os::boot_id().unwrap();
        assert!(matches!(inspect(&run.folder, &boot_id).unwrap(), Finding::Held { .. }));
        assert_eq!(stuck(&run.folder).unwrap(), Some(word));
        assert!(!run.folder.result_path().exists());

        hang.release();
        let report = run.end(Some(shim)).await;
        // SIGTERM had sealed its end before SIGKILL came.
        assert_eq!((report.exit.clone(), report.status()), (Exit::Signal(15), Status::Timeout));
        assert!(report.duration > Duration::from_secs(3), "{report:?}");
        let remark = report.remark.clone().unwrap();
        let (begin, end) =
            (format!("process {} (cat) could not be killed for ", job.pid), format!(": D in {place}"));
        assert!(remark.starts_with(&begin) && remark.ends_with(&end), "{remark}");
        assert_eq!(report.tree, Some(empty(&run)));
        assert_eq!(run.processes(), []);
        assert_eq!(stuck(&run.folder).unwrap(), None, "it is over");
    }
}

#[tokio::test]
async fn what_cannot_be_killed_after_a_good_end_is_waited_for_too() {
    let mut hang = Hang::new();
    let run = Run::argv(&[]);
    let go = run.state.path().join("go");
    let line = format!(
        "cat {} & while [ ! -e {} ]; do sleep 0.02; done; echo done",
        hang.file().display(),
        go.display()
    );
    let run = run.with(|spec| spec.command = jobctl::engine::job::Command::Shell(line));
    let shim = run.launch().await;
    until(|| hang.touched() > 0).await;
    fs::write(go, "").unwrap();
    until(|| run.folder.stuck().unwrap().is_some()).await;
    assert_hangs(&run.folder.stuck().unwrap().unwrap().left, None);
    // A shim that is killed now leaves nobody who could see the end; so jobd must not be told to.
    hang.release();
    let report = run.end(Some(shim)).await;
    assert_eq!((report.exit.clone(), report.status()), (Exit::Code(0), Status::Success));
    let remark = report.remark.unwrap();
    let (leftover, unkillable) = remark.split_once("; ").unwrap();
    assert_eq!(leftover, "1 process outlived the main process and was killed");
    assert!(unkillable.contains("(cat) could not be killed for "), "{unkillable}");
}

#[tokio::test]
async fn what_a_killed_shim_leaves_in_the_kernel_is_told_with_its_place() {
    for cgroup in [true, false] {
        let mut hang = Hang::new();
        let line = format!("exec cat {}", hang.file().display());
        let run = Run::shell(&line).with(|spec| spec.cgroup = cgroup);
        let shim = run.launch().await;
        until(|| hang.touched() > 0).await;
        until(|| run.mark().job.is_some()).await;
        let mark = run.mark();
        os::Pidfd::open(mark.pid, mark.start_time).unwrap().unwrap().signal(9).unwrap();
        let report = run.end(Some(shim)).await;
        assert_eq!(report.status(), Status::Lost);
        let tree = report.tree.unwrap();
        let place = assert_hangs(&tree.left, mark.job.map(|job| job.pid));
        let by = if mark.cgroup.is_some() { KnownBy::Cgroup } else { KnownBy::Environment };
        assert_eq!(tree.known_by, by);
        let told = format!("process {} (cat) cannot be killed: D in {place}", tree.left[0].pid);
        assert_eq!(report.remark, Some(told));
        hang.release();
        clean_up(&run).await;
    }
}

#[tokio::test]
async fn reaping_says_what_it_could_not_end() {
    let mut hang = Hang::new();
    let run = Run::shell(&format!("exec cat {}", hang.file().display()));
    let shim = run.launch().await;
    until(|| hang.touched() > 0).await;
    let said = reap(&run.folder).await.unwrap().unwrap();
    assert!(said.contains("(cat) cannot be killed: D in "), "{said}");
    assert_eq!(run.end(Some(shim)).await.status(), Status::Lost);
    hang.release();
    clean_up(&run).await;
}

/// A shim that is our child without our knowing, as after a jobd has executed itself anew. Its pid.
fn orphan(run: &Run, shim: &Path) -> u32 {
    run.folder.create().unwrap();
    run.folder.write_spec(&run.spec).unwrap();
    let lock = run.folder.create_lock().unwrap();
    assert!(os::try_lock(&lock).unwrap());
    let mut program = Program::new(shim);
    program.arg(run.folder.path()).stdin(Stdio::from(lock)).process_group(0);
    program.spawn().unwrap().id()
}

#[tokio::test]
async fn an_adopted_shim_that_is_our_child_stays_no_zombie() {
    // Watched to its end, and found ended.
    for watched in [true, false] {
        let run = Run::shell("read line < $GATE");
        let gate = run.state.path().join("gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let run = run.with(|spec| drop(spec.env.insert("GATE".into(), gate.display().to_string())));
        let pid = orphan(&run, &launcher().shim);
        until(|| matches!(run.folder.mark(), Ok(Some(mark)) if mark.job.is_some())).await;
        let opened = tokio::task::spawn_blocking(move || fs::write(gate, "go on\n"));
        if watched {
            let report = run.end(None).await;
            assert_eq!(report.exit, Exit::Code(0));
        } else {
            until(|| os::Process::of(pid).is_some_and(|process| !process.lived())).await;
            let boot_id = os::boot_id().unwrap();
            assert!(matches!(inspect(&run.folder, &boot_id).unwrap(), Finding::Ended(_)));
        }
        opened.await.unwrap().unwrap();
        assert_eq!(os::Process::of(pid), None);
    }
}

#[tokio::test]
async fn a_report_with_a_tree_is_read_as_it_was_written() {
    let run = Run::shell("exit 0");
    let report = run.finish().await;
    let read = Report::from(run.folder.result().unwrap().unwrap());
    assert_eq!(read, report);
}
