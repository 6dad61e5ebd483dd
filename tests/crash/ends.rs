//! What each run is known to do, held against what jobd says that it did.

use std::collections::{BTreeMap, BTreeSet};

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{RunId, Status};
use jobctl::engine::time::Timestamp;
use jobctl::output::{Line, Parser, Stream};
use jobctl::run::find;

use crate::jobd::Jobd;

const LINES: usize = 20;

/// What every job does. Its stretches of failures are long enough to be incidents and short enough to end.
pub fn script() -> String {
    format!(
        "echo \"$JOBD_JOB $JOBD_SCHEDULED_AT $JOBD_RUN_ID\" >> marks\n\
         i=0; while [ $i -lt {LINES} ]; do echo \"line $i of run $JOBD_RUN_ID\"; i=$((i + 1)); done\n\
         sleep 0.$((JOBD_RUN_ID % 4))\n\
         [ $((JOBD_RUN_ID / 24 % 2)) = 0 ] || exit $((1 + JOBD_RUN_ID % 4))\n"
    )
}

fn expected_code(run: RunId) -> i32 {
    if (run.0 / 24).is_multiple_of(2) { 0 } else { 1 + i32::try_from(run.0 % 4).unwrap() }
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

/// Holds the rows of a jobd against what its jobs wrote down. `bereft` are the runs whose shims were killed.
pub fn are_true(jobd: &Jobd, rows: &[RunRecord], bereft: &BTreeSet<RunId>) {
    let marks = marks(&std::fs::read_to_string(jobd.path("marks")).unwrap());
    no_instant_has_two_starts(&marks);
    let started: BTreeMap<RunId, &Mark> = marks.iter().map(|mark| (mark.run, mark)).collect();
    for row in rows.iter().filter(|row| row.status.is_final()) {
        let run = row.run_id;
        if let Some(mark) = started.get(&run) {
            assert_eq!(
                (mark.job.as_str(), Some(mark.scheduled_at)),
                (row.task_name.as_str(), row.scheduled_at)
            );
        }
        let was_over = find(&jobd.state_dir(), run).is_some_and(|folder| folder.result().unwrap().is_some());
        if was_over {
            ended_as_known(jobd, row);
        } else if bereft.contains(&run) && !matches!(row.status, Status::Missed | Status::Skipped) {
            lost_its_shim(jobd, row, started.contains_key(&run));
        } else {
            let unstarted =
                matches!(row.status, Status::Missed | Status::Skipped) && !started.contains_key(&run);
            assert!(unstarted, "run {run} is {} without a result: {:?}", row.status, row.error_message);
        }
    }
}

fn no_instant_has_two_starts(marks: &[Mark]) {
    let mut seen = BTreeSet::new();
    for Mark { job, scheduled_at, .. } in marks {
        assert!(seen.insert((job, scheduled_at)), "{job} started twice for {scheduled_at}");
    }
}

fn ended_as_known(jobd: &Jobd, row: &RunRecord) {
    let (run, code) = (row.run_id, expected_code(row.run_id));
    let status = if code == 0 { Status::Success } else { Status::Failed };
    assert_eq!((row.status, row.exit_code), (status, Some(code)), "run {run}: {:?}", row.error_message);
    assert_eq!(output(jobd, run), expected_output(run).as_bytes(), "the output of run {run}");
}

/// A run that nobody saw end, and no guess: LOST; or the shim had not come so far as to start the job.
fn lost_its_shim(jobd: &Jobd, row: &RunRecord, was_started: bool) {
    let (run, why) = (row.run_id, &row.error_message);
    let never_started = row.status == Status::Failed && row.pid.is_none() && !was_started;
    assert!(row.status == Status::Lost || never_started, "run {run} is {}: {why:?}", row.status);
    assert_eq!(row.exit_code, None, "run {run}: {why:?}");
    assert!(expected_output(run).as_bytes().starts_with(&output(jobd, run)), "the output of run {run}");
}

fn output(jobd: &Jobd, run: RunId) -> Vec<u8> {
    let folder = find(&jobd.state_dir(), run).unwrap();
    stdout_of(&std::fs::read(folder.output_path()).unwrap_or_default())
}
