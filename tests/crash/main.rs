//! `kill -9` of jobd at random moments while twenty jobs fire each second.
//!
//! Judged from outside: by a file to which the jobs append, by the seconds of the clock, and by what each job is known
//! to print and to exit with. `KILLS=2000` kills that often.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the modules of a test are its own")]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/jobd.rs"]
mod jobd;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{RunId, Status};
use jobctl::engine::time::Timestamp;
use jobctl::output::{Line, Parser, Stream};
use jobctl::run::find;
use jobctl::store::{Reader, RunFilter};

use jobd::{Jobd, wait_within};

const JOBS: usize = 20;
const LINES: usize = 20;
const PAGE: u32 = 500;

/// Each job fires each second, says who it is, prints what can be checked, and exits with a code that can be.
fn config(marks: &str) -> String {
    let mut text = String::from("timezone = \"UTC\"\n[defaults]\ntimeout = \"1m\"\n");
    for job in 0..JOBS {
        let catch_up = ["skip", "latest", "all"][job % 3];
        write!(
            text,
            "[jobs.job{job}]\nschedule = \"* * * * * *\"\ncatch_up = \"{catch_up}\"\nshell = '''\n\
             echo \"$JOBD_JOB $JOBD_SCHEDULED_AT $JOBD_RUN_ID\" >> {marks}\n\
             i=0; while [ $i -lt {LINES} ]; do echo \"line $i of run $JOBD_RUN_ID\"; i=$((i + 1)); done\n\
             exit $((JOBD_RUN_ID % 5))\n'''\n"
        )
        .unwrap();
    }
    text
}

fn expected_output(run: RunId) -> String {
    let lines: Vec<String> = (0..LINES).map(|line| format!("line {line} of run {run}\n")).collect();
    lines.concat()
}

/// What a job wrote to its stdout, from the bytes of its output file.
fn stdout_of(file: &[u8]) -> Vec<u8> {
    let mut stdout = Vec::new();
    Parser::default().feed(file, |line| match line {
        Line::Record(record) if record.stream == Stream::Stdout => record.append_to(&mut stdout),
        Line::Record(_) => {}
        Line::Unreadable(bytes) => panic!("not a record: {bytes:?}"),
    });
    stdout
}

/// A job's start, as the job itself wrote it down.
#[derive(Debug)]
struct Mark {
    job: String,
    scheduled_at: Timestamp,
    run: RunId,
}

fn marks(text: &str) -> Vec<Mark> {
    let mark = |line: &str| {
        let mut words = line.split(' ');
        let job = words.next()?.to_owned();
        let scheduled_at = words.next()?.parse().ok()?;
        Some(Mark { job, scheduled_at, run: RunId(words.next()?.parse().ok()?) })
    };
    text.lines().map(|line| mark(line).unwrap_or_else(|| panic!("a torn mark: {line:?}"))).collect()
}

/// A number from the kernel's own source of chance.
fn chance(below: u64) -> u64 {
    let mut bytes = [0; 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    u64::from_le_bytes(bytes) % below
}

/// Lets a random time pass: what is tested is that no moment is special.
fn pass(most: Duration) {
    std::thread::sleep(Duration::from_micros(chance(u64::try_from(most.as_micros()).unwrap())));
}

fn all_rows(jobd: &Jobd) -> Vec<RunRecord> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let reader = Reader::open(&jobd.state_dir()).await.unwrap();
        let mut rows: Vec<RunRecord> = Vec::new();
        loop {
            let before_run = rows.last().map(|row| row.run_id);
            let filter = RunFilter { before_run, limit: PAGE, ..RunFilter::default() };
            let page = reader.runs(&filter).await.unwrap();
            if page.is_empty() {
                return rows;
            }
            rows.extend(page);
        }
    })
}

#[test]
fn kills_at_random_moments_cost_nothing() {
    let kills: u32 = std::env::var("KILLS").map_or(25, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let marks_file = directory.path().join("marks");
    let mut jobd = Jobd::new(&config(marks_file.to_str().unwrap()));
    let before = clock::now().wall;
    jobd.start();
    jobd.wait_until_ready();
    let known = clock::now().wall;
    for kill in 0..kills {
        pass(Duration::from_millis(1_500));
        jobd.kill();
        // Every fourth downtime is long enough for fires to count as missed.
        pass(Duration::from_millis(if kill % 4 == 0 { 6_000 } else { 500 }));
        jobd.start();
    }
    jobd.wait_until_ready();
    let until = clock::now().wall.as_second();
    let rows = wait_within(Duration::from_mins(2), "every fire is settled", || {
        let rows = all_rows(&jobd);
        let due = |row: &&RunRecord| row.scheduled_at.is_some_and(|at| at.as_second() <= until);
        rows.iter().filter(due).all(|row| row.status.is_final()).then_some(rows)
    });
    jobd.stop();
    let marks = marks(&std::fs::read_to_string(marks_file).unwrap());
    let due: Vec<&RunRecord> =
        rows.iter().filter(|row| row.scheduled_at.is_some_and(|at| at.as_second() <= until)).collect();
    each_second_has_one_row(&due, before.as_second(), known.as_second(), until);
    no_instant_has_two_starts(&marks);
    ends_are_true(&jobd, &due, &marks);
    report(kills, &due);
}

fn each_second_has_one_row(rows: &[&RunRecord], before: i64, known: i64, until: i64) {
    let mut seconds: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for row in rows {
        let at = row.scheduled_at.unwrap().as_second();
        let fires = i64::try_from(row.fires).unwrap();
        seconds.entry(row.task_name.as_str()).or_default().extend(at..at + fires);
    }
    assert_eq!(seconds.len(), JOBS);
    for (job, mut seconds) in seconds {
        seconds.sort_unstable();
        let first = seconds[0];
        assert!(
            before < first && first <= known + 1,
            "{job} was known from {before} to {known}, not {first}"
        );
        assert_eq!(seconds, (first..=until).collect::<Vec<_>>(), "the rows of {job} are not its fires");
    }
}

fn no_instant_has_two_starts(marks: &[Mark]) {
    let mut seen = BTreeSet::new();
    for mark in marks {
        assert!(
            seen.insert((&mark.job, mark.scheduled_at)),
            "{} started twice for {}",
            mark.job,
            mark.scheduled_at
        );
    }
}

fn ends_are_true(jobd: &Jobd, rows: &[&RunRecord], marks: &[Mark]) {
    let started: BTreeMap<RunId, &Mark> = marks.iter().map(|mark| (mark.run, mark)).collect();
    for row in rows {
        let run = row.run_id;
        let Some(mark) = started.get(&run) else {
            let unstarted = matches!(row.status, Status::Missed | Status::Skipped);
            assert!(unstarted, "run {run} is {} and never started: {:?}", row.status, row.error_message);
            continue;
        };
        assert_eq!((mark.job.as_str(), Some(mark.scheduled_at)), (row.task_name.as_str(), row.scheduled_at));
        let code = i32::try_from(run.0 % 5).unwrap();
        let status = if code == 0 { Status::Success } else { Status::Failed };
        assert_eq!((row.status, row.exit_code), (status, Some(code)), "run {run}: {:?}", row.error_message);
        let folder = find(&jobd.state_dir(), run).unwrap();
        let written = std::fs::read(folder.output_path()).unwrap();
        assert_eq!(stdout_of(&written), expected_output(run).as_bytes(), "the output of run {run}");
    }
}

fn report(kills: u32, rows: &[&RunRecord]) {
    let mut counts: BTreeMap<(Status, &str), usize> = BTreeMap::new();
    for row in rows {
        *counts.entry((row.status, row.triggered_by.as_str())).or_default() += 1;
    }
    println!("{kills} kills, {} fires: {counts:?}", rows.len());
    let happened = |status| counts.keys().any(|(found, _)| *found == status);
    assert!(happened(Status::Success) && happened(Status::Failed), "nothing ran, so nothing was tested");
}
