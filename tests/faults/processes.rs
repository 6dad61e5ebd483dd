//! What a run's processes do to their supervisor (section D): stay, hold on, fork, pile up, and come in crowds.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use jiff::tz::TimeZone;
use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;
use jobctl::engine::time::Timestamp;
use jobctl::store::{Reader, RunFilter};
use serde_json::Value;

use crate::jobd::{Jobd, PATIENCE, processes, wait_for, wait_within};
use crate::life::{STUBBORN, stubborn};
use crate::webhook::Webhook;
use crate::{by_hand, crowd, folder};

/// Who start short jobs at the same time.
const WORKERS: usize = 4;

#[test]
fn a_tree_that_ignores_sigterm_is_dead_soon_after_its_timeout_and_told_once() {
    let webhook = Webhook::started();
    let job = format!("timeout = \"1500ms\"\nkill_grace = \"500ms\"\n{STUBBORN}");
    let jobd = Jobd::started(&webhook.config(&by_hand("stubborn", &job)));
    let run = stubborn(&jobd);
    assert!(jobd.job_processes().len() >= 2);
    let row = jobd.ended(run);
    assert!(jobd.job_processes().is_empty(), "the row is final, so nothing is left");
    assert_eq!((row.status, row.term_signal), (Status::Timeout, Some(9)));
    let took = Duration::from_millis(row.duration_ms.unwrap());
    assert!(Duration::from_secs(2) <= took && took <= Duration::from_secs(2 + 2), "{took:?}");

    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with("⚠️ stubborn 타임아웃\n"), "{}", texts[0]);
    for line in ["시작: ", "경과: "] {
        assert!(texts[0].lines().any(|found| found.starts_with(line)), "{}", texts[0]);
    }
}

#[test]
fn a_timeout_needs_no_jobd() {
    let webhook = Webhook::started();
    let job = format!("timeout = \"1s\"\nkill_grace = \"100ms\"\n{STUBBORN}");
    let mut jobd = Jobd::started(&webhook.config(&by_hand("stubborn", &job)));
    let run = stubborn(&jobd);
    jobd.kill();
    wait_for("its tree is dead", || jobd.job_processes().is_empty().then_some(()));
    wait_for("its shim has ended", || jobd.shims().is_empty().then_some(()));
    let before = clock::now().wall;
    jobd.start();
    jobd.wait_until_ready();
    let row = jobd.run(run);
    assert_eq!((row.status, row.term_signal), (Status::Timeout, Some(9)));
    assert!(row.completed_at.unwrap() < before, "{row:?}");
    let texts = webhook.delivered(&jobd);
    assert!(texts.len() == 1 && texts[0].starts_with("⚠️ stubborn 타임아웃\n"), "{texts:?}");
}

/// The row of a run of a shell line, which must end long before what it leaves behind would, and leave none of it.
#[track_caller]
fn over_at_once(line: &str) -> (RunRecord, String) {
    let jobd = Jobd::started(&by_hand("leaves", &format!("shell = '''{line}'''")));
    let run = jobd.begin("leaves");
    let row = jobd.ended(run);
    assert!(row.duration_ms.unwrap() < 30_000, "{row:?}");
    assert!(jobd.job_processes().is_empty(), "the row is final, so nothing is left");
    (row, jobd.tell(&["logs", &run.to_string()]))
}

#[test]
fn a_job_that_daemonizes_ends_with_its_main_process() {
    let (row, _) = over_at_once("setsid sh -c 'exec sleep 300' <&- >&- 2>&- & setsid -f sleep 300; exit 3");
    assert_eq!((row.status, row.exit_code), (Status::Failed, Some(3)));
}

#[test]
fn a_grandchild_that_keeps_the_pipe_open_holds_up_neither_the_end_nor_the_output() {
    let (row, output) = over_at_once("sleep 300 & echo hi; echo oh >&2; exit 3");
    assert_eq!((row.status, row.exit_code), (Status::Failed, Some(3)));
    assert_eq!(output, "hi\noh\n");
}

/// A tree of 512 processes, each of which starts itself anew again and again; nine deep, and deaf to SIGTERM.
const BOMB: &str = "#!/bin/sh
trap '' TERM
if [ $1 -gt 0 ]; then sh $0 $(($1 - 1)) & sh $0 $(($1 - 1)) & fi
sleep 1.$2 & wait $!
exec sh $0 0 $2
";

#[test]
fn a_fork_bomb_is_dead_after_its_timeout_and_others_go_on_meanwhile() {
    let bomb = by_hand("bomb", "timeout = \"3s\"\nkill_grace = \"200ms\"\nshell = 'exec sh ./bomb 8 9'");
    let beside = "[jobs.beside]\nschedule = \"* * * * * *\"\nshell = \"exit 0\"\n";
    let mut jobd = Jobd::new(&(bomb + beside));
    fs::write(jobd.path("bomb"), BOMB).unwrap();
    jobd.start();
    jobd.wait_until_ready();
    let run = jobd.begin("bomb");
    let message = folder(&jobd, run).message_path();
    let bomb = || processes("environ", &format!("JOBD_MESSAGE_FILE={}\0", message.display()));
    wait_for("it has grown", || (bomb().len() > 300).then_some(()));
    // The host is so busy that an answer may take longer than jobctl waits for it.
    let row = wait_within(2 * PATIENCE, "the run is over", || {
        let rows = jobd.jobctl(&["show", &run.to_string(), "--json"]);
        let answer: Value = serde_json::from_slice(&rows.stdout).ok()?;
        let row: RunRecord = serde_json::from_value(answer["run"].clone()).ok()?;
        row.status.is_final().then_some(row)
    });
    assert_eq!(bomb().len(), 0, "{row:?}");
    // Where there is no turn left even for its shim, jobd ends it from outside, and nobody knows how it ended.
    assert!(matches!(row.status, Status::Timeout | Status::Lost), "{row:?}");
    assert!(jobd.history("beside").len() >= 2, "nothing ran beside it");
    for row in jobd.history("beside") {
        let late = row.started_at.duration_since(row.scheduled_at.unwrap());
        assert!(row.status != Status::Missed && late.as_secs() < 5, "{row:?}");
    }
}

/// Every row, read as jobctl does without jobd.
fn all_rows(jobd: &Jobd) -> Vec<RunRecord> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let reader = Reader::open(&jobd.state_dir()).await.unwrap();
        let mut rows: Vec<RunRecord> = Vec::new();
        loop {
            let before_run = rows.last().map(|row| row.run_id);
            let page =
                reader.runs(&RunFilter { before_run, limit: 500, ..RunFilter::default() }).await.unwrap();
            if page.is_empty() {
                return rows;
            }
            rows.extend(page);
        }
    })
}

/// How many descriptors a process has open.
fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The processes of this name, whoever is their parent, that are dead and that nobody has waited for.
fn zombies(name: &str) -> usize {
    let stats = fs::read_dir("/proc").unwrap();
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(&format!("({name}) Z "))).count()
}

/// Lets each worker run its job so often, one run after the other.
fn run_together(jobd: &Jobd, times: usize) {
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || {
                for _ in 0..times {
                    jobd.tell(&["run", &format!("short{worker}"), "--wait"]);
                }
            });
        }
    });
}

#[test]
fn of_many_short_jobs_with_double_forks_no_zombie_and_no_descriptor_is_left() {
    let name = format!("orphan{}", std::process::id());
    let line = format!("./{name} & (./{name} &); (./{name} & ./{name} &) &");
    let job = |worker: usize| by_hand(&format!("short{worker}"), &format!("shell = '{line}'"));
    let mut jobd = Jobd::new(&(0..WORKERS).map(job).collect::<String>());
    let copied = Command::new("install").args(["-m", "755", "/bin/true"]).arg(jobd.path(&name)).status();
    assert!(copied.unwrap().success());
    jobd.start();
    jobd.wait_until_ready();
    // The first round opens what is kept open: connections of the database, and those that wait for answers.
    run_together(&jobd, 5);
    let before = descriptors(jobd.pid());
    run_together(&jobd, crowd() / WORKERS);
    let rows = all_rows(&jobd);
    assert_eq!(rows.len(), WORKERS * (5 + crowd() / WORKERS));
    assert!(rows.iter().all(|row| row.status == Status::Success));
    wait_within(Duration::from_secs(5), "no zombie is left", || (zombies(&name) == 0).then_some(()));
    wait_for("the shims have ended", || jobd.shims().is_empty().then_some(()));
    wait_for("no descriptor is left", || (descriptors(jobd.pid()) <= before + 4).then_some(()));
    println!("{} runs; {before} descriptors before, {} after", rows.len(), descriptors(jobd.pid()));
}

/// The peak of a process's memory, KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_crowd_that_is_due_at_once_is_started_one_and_all_and_its_lateness_told() {
    let due = clock::now().wall
        + Duration::from_secs(10)
        + Duration::from_millis(2) * u32::try_from(crowd()).unwrap();
    let due = Timestamp::from_second(due.as_second()).unwrap();
    let schedule = due.to_zoned(TimeZone::UTC).strftime("%-S %-M %-H %-d %-m *").to_string();
    let job = |n: usize| format!("[jobs.due{n}]\nschedule = \"{schedule}\"\nshell = 'exit {}'\n", n % 3);
    let jobs: String = (0..crowd()).map(job).collect();
    let mut jobd = Jobd::new(&format!("timezone = \"UTC\"\n{jobs}"));
    jobd.start();
    wait_within(Duration::from_mins(1), "jobd is ready", || {
        jobd.jobctl(&["status"]).status.success().then_some(())
    });
    assert!(clock::now().wall < due, "jobd was ready too late for them");
    // A minute, and beyond that at least 25 starts a second: each is a process, a folder and some syncs of the disk.
    let limit = Duration::from_mins(1) + Duration::from_millis(40) * u32::try_from(crowd()).unwrap();
    let rows = wait_within(limit + Duration::from_mins(1), "all of them are over", || {
        let rows = all_rows(&jobd);
        (rows.len() >= crowd() && rows.iter().all(|row| row.status.is_final())).then_some(rows)
    });
    let jobs: BTreeSet<&str> = rows.iter().map(|row| row.task_name.as_str()).collect();
    assert_eq!((rows.len(), jobs.len()), (crowd(), crowd()));
    for row in &rows {
        let code = row.task_name.as_str()["due".len()..].parse::<i32>().unwrap() % 3;
        assert_eq!((row.scheduled_at, row.exit_code), (Some(due), Some(code)), "{row:?}");
    }
    let last = rows.iter().map(|row| row.started_at.duration_since(due)).max().unwrap();
    let peak = peak_kib(jobd.pid());
    println!(
        "{} jobs due at once: the last was started after {last:#}; jobd took {} MiB",
        rows.len(),
        peak / 1024
    );
    assert!(Duration::try_from(last).unwrap() < limit, "the last one was started {last:#} late");
    assert!(peak < 200 * 1024, "jobd took {peak} KiB");
}
