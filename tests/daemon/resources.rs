//! A host that is out of descriptors or processes: jobd waits, and nothing is lost or told wrongly.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::run::Status;
use jobctl::run::RunSpec;

use crate::jobd::{JOBD, Jobd, wait_for, wait_within};
use crate::{by_hand, folder, lines};

/// How many files jobd may have open here.
const FILES: usize = 64;

/// A jobd that may have few files open.
fn short(config: &str, soft: usize, hard: usize) -> Jobd {
    let mut jobd = Jobd::new(config);
    let mut command = Command::new("prlimit");
    command.args([&format!("--nofile={soft}:{hard}"), JOBD]);
    jobd.start_by(command, &[]);
    jobd.wait_until_ready();
    jobd
}

fn descriptors(jobd: &Jobd) -> usize {
    fs::read_dir(format!("/proc/{}/fd", jobd.pid())).unwrap().count()
}

fn cpu_ticks(jobd: &Jobd) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", jobd.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn many_runs_at_once_end_truly_with_few_descriptors() {
    const JOBS: usize = 100;
    let wait = "shell = 'until [ -e gate ]; do sleep 0.2; done; exit 7'";
    let jobs: Vec<String> = (0..JOBS).map(|job| by_hand(&format!("job{job}"), wait)).collect();
    let jobd = short(&jobs.concat(), FILES, FILES);
    let before = descriptors(&jobd);
    let runs: Vec<u64> = (0..JOBS).map(|job| jobd.begin(&format!("job{job}"))).collect();
    // Those for which there is nothing left wait, until the first have ended.
    wait_for("a launch waits", || jobd.log().contains("a run cannot be started for now").then_some(()));
    assert!(jobd.shims().len() >= FILES / 4, "{}", jobd.shims().len());
    fs::write(jobd.path("gate"), "").unwrap();
    for run in runs {
        let row = jobd.ended(run);
        assert_eq!((row.status, row.exit_code), (Status::Failed, Some(7)), "{row:?}");
    }
    // Readers of the store that were opened for the crowd of callers stay open, a few files each.
    wait_for("the descriptors are back", || (descriptors(&jobd) <= before + 16).then_some(()));
}

#[test]
fn connections_without_end_cost_no_run_and_no_processor() {
    let tick = "[jobs.tick]\nschedule = \"* * * * * *\"\nshell = \"echo $JOBD_SCHEDULED_AT >> ticks\"\n";
    let jobd = short(tick, FILES, FILES);
    wait_for("it fires", || (!lines(&jobd, "ticks").is_empty()).then_some(()));
    let connect = |_| UnixStream::connect(jobd.path("jobd.sock")).unwrap();
    let idle: Vec<UnixStream> = (0..2 * FILES).map(connect).collect();
    let (ticks, began) = (cpu_ticks(&jobd), clock::now().monotonic);
    wait_for("jobd is out of descriptors", || jobd.log().contains("can't accept").then_some(()));
    wait_for("a launch waits", || jobd.log().contains("a run cannot be started for now").then_some(()));
    let took = clock::now().monotonic.since(began).as_millis();
    let used = u128::from(cpu_ticks(&jobd) - ticks) * 10;
    assert!(used < took.max(2_000) / 2, "a loop that spins: {used} ms of {took} ms");
    drop(idle);
    wait_for("runs start again", || jobd.log().contains("runs can be started again").then_some(()));
    let started = lines(&jobd, "ticks").len();
    wait_for("it fires on", || (lines(&jobd, "ticks").len() > started + 1).then_some(()));
    let rows = jobd.history("tick");
    // The one that waited stood in the way of the next fires, and that is all.
    let is_well = |status| matches!(status, Status::Success | Status::Running | Status::Skipped);
    assert!(rows.iter().all(|row| is_well(row.status)), "{rows:?}");
}

#[test]
fn a_launch_that_stays_without_resources_fails_and_says_so() {
    let jobd = Jobd::started(&by_hand("late", "shell = \"exit 0\""));
    // What it has open already it keeps, and nothing more is to be had.
    let limit = |files: usize| {
        let set = Command::new("prlimit")
            .args([&format!("--pid={}", jobd.pid()), &format!("--nofile={files}:")])
            .status();
        assert!(set.unwrap().success());
    };
    // A connection that is open already, as the next one cannot be had.
    let mut stream = UnixStream::connect(jobd.path("jobd.sock")).unwrap();
    wait_for("it is taken up", || (descriptors(&jobd) > 0).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    limit(8);
    stream.write_all(b"POST /v1/jobs/late/runs HTTP/1.1\r\nHost: jobd\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    wait_within(Duration::from_mins(1), "it is given up", || {
        jobd.log().contains("ended: launch: ").then_some(())
    });
    limit(1024);
    let row =
        wait_for("jobd answers", || jobd.jobctl(&["status"]).status.success().then(|| jobd.history("late")))
            .remove(0);
    let error = row.error_message.unwrap();
    assert_eq!((row.status, row.pid), (Status::Failed, None), "{error}");
    assert!(error.starts_with("launch: ") && error.contains("Too many open files"), "{error}");
    assert_eq!(jobd.ended(jobd.begin("late")).status, Status::Success);
}

#[test]
fn jobd_raises_its_own_limit_and_remembers_what_jobs_get() {
    let jobd = short(&by_hand("any", "shell = \"ulimit -Sn\""), 100, 500);
    let limits = || {
        let text = fs::read_to_string(format!("/proc/{}/limits", jobd.pid())).unwrap();
        text.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned()
    };
    let soft = || {
        let run = jobd.begin("any");
        let seen: Option<u64> = jobd.ended(run).message.unwrap().parse().ok();
        let spec: RunSpec = folder(&jobd, run).spec().unwrap().unwrap();
        assert_eq!(seen, spec.nofile_soft, "what the job sees is what its spec says");
        seen
    };
    assert!(limits().split_whitespace().filter(|&word| word == "500").count() == 2, "{}", limits());
    assert_eq!(soft(), Some(100));
    jobd.tell(&["reload"]);
    assert!(limits().split_whitespace().filter(|&word| word == "500").count() == 2, "{}", limits());
    assert_eq!(soft(), Some(100), "a reload does not take the raised one for the former one");
}
