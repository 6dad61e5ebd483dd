//! Why a run hung: what is known of its processes before they are made to end.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Command as Program, Stdio};

use jobctl::engine::job::Command;
use jobctl::engine::run::{Exit, Report, Status};
use jobctl::os;
use jobctl::process::{ExamineError, examine, stop};
use jobctl::run::Evidence;
use jobctl::run::evidence::Process;
use tokio::sync::RwLock;

use crate::grace;
use crate::runs::{Run, in_time, launcher, until};

/// A crowd leaves others no processor to be looked at with, so it runs alone here.
static ROOM: RwLock<()> = RwLock::const_new(());

/// Stops a run that has written `ready` once `hangs` is so of one of its processes; returns how it ended.
async fn stopped(run: &Run, hangs: impl Fn(os::Process) -> bool) -> (Report, Evidence) {
    let shim = run.launch().await;
    run.until_written("ready").await;
    until(|| run.processes().into_iter().any(&hangs)).await;
    in_time(stop(&run.folder, "uid 0")).await.unwrap();
    let report = run.end(Some(shim)).await;
    let evidence = run.folder.evidence().unwrap().expect("evidence was taken");
    assert_eq!(report.status(), Status::Killed);
    assert_eq!(report.waited_for, evidence.summary);
    assert_eq!(run.processes(), []);
    (report, evidence)
}

/// Whether a process sleeps in a function of the kernel whose name holds this.
fn sleeps_in(place: &str) -> impl Fn(os::Process) -> bool {
    move |process| {
        let wchan = fs::read_to_string(format!("/proc/{}/wchan", process.pid));
        wchan.is_ok_and(|wchan| wchan.contains(place))
    }
}

fn line(evidence: &Evidence) -> &str {
    evidence.summary.as_deref().expect("somebody is to blame")
}

#[track_caller]
fn named<'a>(evidence: &'a Evidence, name: &str) -> &'a Process {
    evidence.processes.iter().find(|process| process.name == name).expect("it was listed")
}

#[track_caller]
fn assert_line(evidence: &Evidence, name: &str, words: &str) {
    let expected = format!("{name} pid {} {words}", named(evidence, name).pid);
    assert!(line(evidence).starts_with(&expected), "{} is not {expected}", line(evidence));
    assert!(line(evidence).contains(", last output "), "{}", line(evidence));
}

fn shell(line: &str) -> Run {
    Run::shell(line).with(|spec| spec.stop = grace(100))
}

/// A run of a Python script.
fn python(script: &str) -> Run {
    let run = shell("");
    let path = run.file("job.py", script);
    run.with(|spec| {
        let words = ["python3", "-u", path.to_str().unwrap()].map(str::to_owned);
        spec.command = Command::Argv(words.to_vec());
        spec.env.insert("PATH".into(), std::env::var("PATH").unwrap());
    })
}

#[tokio::test]
async fn a_peer_that_never_answers_is_named() {
    let _room = ROOM.read().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let run = python(&format!(
        "import socket\ns = socket.create_connection(('127.0.0.1', {}))\nprint('ready')\ns.recv(100)\n",
        address.port()
    ));
    let (_, evidence) = stopped(&run, sleeps_in("wait_woken")).await;
    assert_line(&evidence, "python3", &format!("waits in recv() on {address}, connected "));
    let process = named(&evidence, "python3");
    let call = process.waits[0].call.as_ref().unwrap();
    let file = process.files.iter().find(|file| Some(file.fd) == call.fd).unwrap();
    let socket = evidence.socket(&file.target).unwrap();
    assert_eq!((socket.state.as_str(), socket.peer.clone()), ("established", Some(address.to_string())));
    assert_eq!(evidence.output.unwrap().lines, ["ready"]);
    drop(listener);
}

#[tokio::test]
async fn a_pipe_leads_to_who_should_write_to_it() {
    let _room = ROOM.read().await;
    let (_, evidence) = stopped(&shell("echo ready; sleep 1000 | cat"), sleeps_in("pipe_read")).await;
    assert_line(&evidence, "sleep", "sleeps in nanosleep(), last output");
    let waits = format!("waits in read() on a pipe from pid {} (sleep)", named(&evidence, "sleep").pid);
    assert_eq!(evidence.doing(named(&evidence, "cat")), waits);
    let own = "import os\nr, w = os.pipe()\nprint('ready')\nos.read(r, 1)\n";
    let (_, evidence) = stopped(&python(own), sleeps_in("pipe_read")).await;
    assert_line(&evidence, "python3", "waits in read() on a pipe that it could itself still write to");
}

#[tokio::test]
async fn a_lock_is_named_with_who_holds_it() {
    let _room = ROOM.read().await;
    let run = shell("echo ready; flock $LOCK true");
    let path = run.state.path().join("job.lock");
    let lock = File::create(&path).unwrap();
    lock.lock().unwrap();
    let run = run.with(|spec| drop(spec.env.insert("LOCK".into(), path.display().to_string())));
    let (_, evidence) = stopped(&run, sleeps_in("lock")).await;
    let words = format!("waits for a lock on {}, held by pid {} (", path.display(), std::process::id());
    assert_line(&evidence, "flock", &words);
    assert_eq!(evidence.locks[0].kind, "FLOCK");
}

#[tokio::test]
async fn a_lock_whose_taker_has_ended_is_found_where_it_went() {
    let _room = ROOM.read().await;
    let run = shell("echo ready; flock $LOCK true");
    let path = run.state.path().join("job.lock");
    // The program that takes the lock ends at once; the shell's descriptor keeps it.
    let mut holder = Program::new("sh");
    holder.args(["-c", "exec 9>\"$0\"; flock 9; echo held; read line"]).arg(&path);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut word = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut word).unwrap();
    let run = run.with(|spec| drop(spec.env.insert("LOCK".into(), path.display().to_string())));
    let shim = run.launch().await;
    run.until_written("ready").await;
    // All that the host has open is looked at: a moment's work, unless it has very much to do.
    let expected = format!(" waits for a lock on {}, held by pid {} (sh), ", path.display(), holder.id());
    in_time(async {
        let is_told =
            |evidence: &Evidence| evidence.summary.as_ref().is_some_and(|line| line.contains(&expected));
        while !examine(&launcher(), &run.folder, jobctl::clock::now).await.is_ok_and(|found| is_told(&found))
        {
        }
    })
    .await;
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(run.end(Some(shim)).await.exit, Exit::Code(0));
}

#[tokio::test]
async fn a_stopped_process_is_told() {
    let _room = ROOM.read().await;
    let is_stopped = |process: os::Process| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid));
        stat.is_ok_and(|stat| stat.contains(") T "))
    };
    let (_, evidence) = stopped(&shell("echo ready; kill -STOP $$"), is_stopped).await;
    assert_line(&evidence, "sh", "is stopped (SIGSTOP or the like)");
}

/// The first sample is taken five seconds before the limit, so the evidence knows them.
#[tokio::test]
async fn a_busy_loop_is_told_by_what_it_used_in_the_last_seconds() {
    let _room = ROOM.read().await;
    let run = shell("echo ready; while :; do :; done").with(|spec| spec.timeout_ms = Some(10_000));
    let report = run.finish().await;
    assert_eq!(report.status(), Status::Timeout);
    let evidence = run.folder.evidence().unwrap().unwrap();
    let usage = named(&evidence, "sh").usage.unwrap();
    assert!((4000..10_000).contains(&usage.window_ms), "{usage:?}");
    assert!(usage.user_ms > 0 && usage.user_ms >= usage.system_ms, "{usage:?}");
    assert_line(&evidence, "sh", "has used ");
    assert!(line(&evidence).contains(" % CPU for the last "), "{}", line(&evidence));
    assert_eq!(report.tree.map(|tree| tree.left), Some(vec![]));
}

#[tokio::test]
async fn a_run_that_ends_by_itself_leaves_no_evidence() {
    let _room = ROOM.read().await;
    let run = shell("echo done");
    let report = run.finish().await;
    assert_eq!((report.waited_for, run.folder.evidence().unwrap()), (None, None));
}

#[tokio::test]
async fn a_crowd_is_looked_at_within_bounds() {
    let _alone = ROOM.write().await;
    let run = python(
        "import os, resource, signal\n\
         hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n\
         resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 6000), hard))\n\
         r, w = os.pipe()\n\
         for _ in range(2000):\n    if os.fork() == 0:\n        os.write(w, b'x')\n        signal.pause()\n\
         for _ in range(2000):\n    os.read(r, 1)\n\
         files = [os.open('/dev/null', os.O_RDONLY) for _ in range(min(hard, 6000) - 1000)]\n\
         print('ready')\nsignal.pause()\n",
    );
    let (_, evidence) = stopped(&run, sleeps_in("pause")).await;
    assert_eq!(evidence.processes.len() as u64 + evidence.processes_left_out, 2001);
    assert!(evidence.processes.len() <= 500);
    let files: usize = evidence.processes.iter().map(|process| process.files.len()).sum();
    assert!(files <= 2500, "{files}");
    assert!(fs::metadata(run.folder.evidence_path()).unwrap().len() < 4 * 1024 * 1024);
    assert!(evidence.took_ms < 2000, "{} ms", evidence.took_ms);
    assert!(line(&evidence).starts_with("python3 pid "), "{}", line(&evidence));
}

#[tokio::test]
async fn a_live_run_is_looked_at_and_goes_on() {
    let _room = ROOM.read().await;
    let run = shell("echo ready; read line < $GATE; exit 3");
    let gate = run.state.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = run.with(|spec| drop(spec.env.insert("GATE".into(), gate.display().to_string())));
    let look = || async { examine(&launcher(), &run.folder, jobctl::clock::now).await };
    assert!(matches!(look().await, Err(ExamineError::NotActive)));
    let shim = run.launch().await;
    run.until_written("ready").await;
    let evidence = in_time(look()).await.unwrap();
    assert_eq!(run.folder.evidence().unwrap(), None, "a look leaves nothing behind");
    assert!(evidence.is_whole, "{evidence:?}");
    assert_eq!(evidence.processes.len(), 1);
    assert_eq!(Some(named(&evidence, "sh").pid), run.mark().job.map(|job| job.pid));
    assert!(named(&evidence, "sh").usage.is_some());
    fs::write(&gate, "go on\n").unwrap();
    let report = run.end(Some(shim)).await;
    assert_eq!((report.exit, report.waited_for), (Exit::Code(3), None));
    assert!(matches!(look().await, Err(ExamineError::NotActive)));
}
